# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos_compat.agent.machine.state import AgentPhase, AgentState, Drain
from mesos_compat.agent.service import ServiceManager
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import AgentId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.agent.machine.driver import config


class Listener:
    """A service manager's end of the socket, and what talks to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._managers: list[ServiceManager] = []

    def manager(self, **environ: str) -> ServiceManager:
        made = ServiceManager.take({"NOTIFY_SOCKET": self.address, **environ})
        self._managers.append(made)
        return made

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return found

    def hang_up(self) -> None:
        self._socket.close()

    def close(self) -> None:
        for manager in self._managers:
            manager.stopping()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    made = Listener(
        str(tmp_path / "notify") if request.param == "path" else f"@test-{uuid.uuid4().hex}"
    )
    yield made
    made.close()


def test_what_is_told_and_when(listener: Listener) -> None:
    state = AgentState(config(), b"v" * 16, start_time=0.0)
    environ = {"NOTIFY_SOCKET": listener.address, "OTHER": "1"}
    manager = ServiceManager.take(environ)
    assert environ == {"OTHER": "1"}
    manager.look(state)
    assert listener.heard() == ["STATUS=Recovering"]
    manager.look(state)
    assert listener.heard() == []
    state.phase = AgentPhase.DISCONNECTED
    manager.look(state)
    assert listener.heard() == ["READY=1", "STATUS=Looking for a master"]
    state.master = "master@10.0.0.1:5050"
    manager.look(state)
    assert listener.heard() == ["STATUS=Registering with master@10.0.0.1:5050"]
    state.phase, state.agent_id = AgentPhase.RUNNING, AgentId("A1")
    manager.look(state)
    assert listener.heard() == ["STATUS=Agent A1, registered with master@10.0.0.1:5050"]
    state.drain = Drain(pb.DrainConfig(), 0.0)
    manager.look(state)
    told = "STATUS=Agent A1, registered with master@10.0.0.1:5050, draining"
    assert listener.heard() == [told]
    manager.stopping()
    assert listener.heard() == ["STOPPING=1", "STATUS=Ending"]
    manager.look(state)
    assert listener.heard() == []


async def test_the_watchdog_is_fed_twice_per_period(listener: Listener) -> None:
    state = AgentState(config(), b"v" * 16, start_time=0.0)
    state.phase = AgentPhase.DISCONNECTED
    clock = FakeClock()
    manager = listener.manager(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    async with Scope("test") as scope:
        scope.spawn(manager.follow(state, clock), "follow")
        for _ in range(4):
            for _ in range(3):
                await asyncio.sleep(0)
            assert listener.heard().count("WATCHDOG=1") == 1
            assert clock.pending == [clock.now() + 1.5]
            clock.advance(1.5)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/does/not/exist"},
        {"NOTIFY_SOCKET": "/x" * 200},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
    ],
)
def test_nobody_listens(environ: dict[str, str]) -> None:
    manager = ServiceManager.take(dict(environ))
    assert not manager.interested
    manager.look(AgentState(config(), b"v" * 16, start_time=0.0))
    manager.stopping()


def test_a_watchdog_for_another_process_is_not_ours(listener: Listener) -> None:
    manager = listener.manager(WATCHDOG_USEC="1000000", WATCHDOG_PID="1")
    manager.look(AgentState(config(), b"v" * 16, start_time=0.0))
    assert "WATCHDOG=1" not in listener.heard()


def test_a_listener_that_goes_away_is_no_error(listener: Listener) -> None:
    manager = listener.manager()
    listener.hang_up()
    manager.look(AgentState(config(), b"v" * 16, start_time=0.0))
