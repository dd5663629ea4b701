# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesos_compat.executor.client import AgentClient
from mesos_compat.executor.loop import Loop
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.executor.fake_agent import FakeAgent, RunningExecutor

Start = Callable[..., RunningExecutor]


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    made = FakeAgent()
    yield made
    made.close()


@pytest.fixture
def start(agent: FakeAgent, tmp_path: Path) -> Iterator[Start]:
    """Start command executors: ``start("--flag=value", MESOS_NAME="value")``."""
    yield from _starter(agent, tmp_path, grouped=False)


@pytest.fixture
def start_default(agent: FakeAgent, tmp_path: Path) -> Iterator[Start]:
    """Start default executors in the same way."""
    yield from _starter(agent, tmp_path, grouped=True)


def _starter(agent: FakeAgent, folder: Path, *, grouped: bool) -> Iterator[Start]:
    running: list[RunningExecutor] = []

    def start_one(*arguments: str, **environ: str) -> RunningExecutor:
        sandbox = folder / f"sandbox{len(running)}"
        sandbox.mkdir()
        running.append(RunningExecutor(agent, str(sandbox), list(arguments), environ, grouped))
        return running[-1]

    yield start_one
    for one in running:
        one.stop()


class Skip:
    """Time of executors started from now on, which a test can move on."""

    def __init__(self, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
        self._agent = agent
        self._skipped_s = 0
        self._dispatch = AgentClient._dispatch
        monkeypatch.setattr(Loop, "now", lambda loop: time.monotonic() + self._skipped_s)
        monkeypatch.setattr(
            AgentClient, "_dispatch", lambda client, event: self._dispatched(client, event)
        )

    def __call__(self) -> None:
        """Let 100 s pass once the executor has seen all events sent before."""
        self._agent.send(api.Event(type=api.Event.HEARTBEAT))

    def _dispatched(self, client: AgentClient, event: api.Event) -> None:
        if event.type == api.Event.HEARTBEAT:
            self._skipped_s += 100
        else:
            self._dispatch(client, event)


@pytest.fixture
def skip(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> Skip:
    return Skip(agent, monkeypatch)
