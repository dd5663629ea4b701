# SPDX-License-Identifier: Apache-2.0
"""What HTTP handlers get of the agent: read the state, submit events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from containerizer.api import Containerizer
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.base.metrics import Metrics
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor


class AgentPort(Protocol):
    """The agent as its HTTP handlers see it."""

    @property
    def state(self) -> AgentState:
        """The agent's state; read only, and not to be kept across an await."""

    @property
    def containerizer(self) -> Containerizer:
        """The containers of this agent."""

    @property
    def flags(self) -> Mapping[str, str]:
        """Displayed value of each flag that has one, by name."""

    @property
    def metrics(self) -> Metrics:
        """The program's metrics; the agent's own are registered there."""

    @property
    def files(self) -> Mapping[str, str]:
        """Real path of each attached virtual path, both absolute and without trailing slash."""

    def submit(self, event: Event) -> None:
        """Queue an event. Events are handled one by one in the order of submission."""


class ExecutorEvents(Protocol):
    """The streams on which the agent talks to executors; kept by the executor API."""

    def send(self, stream_id: int, event: v1_executor.Event) -> None:
        """Queue an event on a stream; events for streams that are gone are dropped."""

    def close(self, stream_id: int) -> None:
        """End a stream after what was queued on it; unknown streams are ignored."""
