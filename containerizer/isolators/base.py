# SPDX-License-Identifier: Apache-2.0
"""The contract of an isolator: one aspect of a container, eight verbs.

An isolator refuses missing prerequisites in ``create``. ``prepare`` returns data; an isolator never
calls another one, the launcher or the agent. Foreign isolators are classes under the entry-point
group ``mesos_compat.isolators``, named as in ``--isolation``.

Source: spec ``containerizer`` 2.1; upstream ``include/mesos/slave/isolator.hpp``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from google.protobuf.message import Message

from containerizer.isolators.context import IsolatorContext
from mesos_compat.model import jsonpb
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class Isolator:
    """Base of all isolators; a verb that is not overridden does nothing and costs nothing.

    Guarantees to the implementer: ``recover`` comes once, before everything else. ``cleanup`` comes
    at most once per container and never while ``prepare``, ``isolate`` or ``watch`` of that
    container run; it may come for a container that was never seen, and is then to be ignored.
    Verbs are called on the event loop, so anything slow belongs in a thread or a program.

    Failures are raised as ContainerError with a text fit for a task status.
    """

    #: Whether containers with a parent are shown to the isolator.
    supports_nesting: ClassVar[bool] = False
    #: Whether containers without an executor (and those nested in them) are shown to it.
    supports_standalone: ClassVar[bool] = False

    @classmethod
    def create(cls, context: IsolatorContext) -> Isolator:
        """Make the isolator; raises IsolatorError if this host or configuration cannot have it."""
        return cls()

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Take over the containers ``states``; ``orphans`` are about to be cleaned up."""

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Prepare for a container before its init exists. Isolators are asked in order.

        ``config`` is read-only.
        """
        return None

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Isolate init, which waits for its release and has done nothing yet."""

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        """Return when the container has to be destroyed for breaking a limit.

        Endless otherwise. Called once, before ``isolate``; cancelled before ``cleanup``.
        """
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves this future")

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Apply new resources. Top-level containers only."""

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        """Return what this isolator can measure of the container."""
        return None

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus | None:
        """Return what this isolator knows of the container."""
        return None

    async def cleanup(self, container_id: ContainerId) -> None:
        """Undo everything. All processes of the container are gone."""

    def close(self) -> None:
        """Undo what ``create`` did to the host. Called at the end if no container is left.

        May raise OSError, which is only logged.
        """


def executor_argument(name: str, message: Message) -> str:
    """Return the argument ``--name=<JSON>`` of a command executor, as upstream prints it."""
    text = jsonpb.dumps(jsonpb.to_value(message), sort_keys=True)
    return f"--{name}={text.decode('utf-8', 'surrogateescape')}"


def is_command_task(config: slave.ContainerConfig) -> bool:
    """Whether the agent generated the executor, which starts the task itself."""
    return config.HasField("task_info")


def is_debug(config: slave.ContainerConfig) -> bool:
    """Whether the container is a session in the namespaces of its parent."""
    return config.container_class == slave.ContainerClass.DEBUG
