# SPDX-License-Identifier: Apache-2.0
"""An agent that is killed while its containers run: who goes on, and how that ends.

Source: spec ``containerizer`` 10; the numbers of its checklist are named.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from containerizer.launcher.spawn import SpawnedInit
from containerizer.linux import proc
from containerizer.linux.prctl import set_child_subreaper
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.crash import spawners
from tests.containerizer.crash.corner import (
    WAIT_STATUS,
    Corner,
    Engine,
    Kind,
    descendants_gone,
    unified_mount,
)
from tests.containerizer.crash.points import kill_self
from tests.containerizer.crash.rounds import ABORTED, KILLED_STATUS, in_child

pytestmark = pytest.mark.root

E = ContainerId("executor")
S = ContainerId("standalone")
#: Nested ones: running, with a child of its own, ended, and a session.
N = ContainerId("n", S)
X = ContainerId("x", N)
T = ContainerId("t", S)
D = ContainerId("d", S)
IN_E = ContainerId("n", E)

KINDS = [Kind.V1, Kind.POSIX, *([Kind.V2] if unified_mount() is not None else [])]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def corner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Corner]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Corner(tmp_path, "restart")
    made.kind = request.param
    set_child_subreaper(True)
    try:
        yield made
    finally:
        set_child_subreaper(False)
        made.clear()


def play(
    corner: Corner,
    victim: Callable[[Engine], Awaitable[None]],
    heir: Callable[[Engine], Awaitable[list[str]]],
    between: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return what the second agent tells, and what is left of both."""

    async def first() -> None:
        spawners.choose(real=False)
        engine = Engine(corner)
        await engine.mesos.recover([])
        await victim(engine)
        kill_self()

    async def second() -> list[str]:
        engine = Engine(corner)
        told = await heir(engine)
        await engine.close()
        return told

    told = in_child(corner, "victim", first, killed=True)
    between()
    told += in_child(corner, "heir", second)
    return [*told, *descendants_gone(), *corner.left()]


async def _ended(engine: Engine, *ids: ContainerId) -> list[str]:
    return [f"{each} {await engine.ended(each)}" for each in ids]


async def _gone(engine: Engine, *ids: ContainerId) -> None:
    """Wait until nobody knows them."""
    async with asyncio.timeout(60):
        while engine.mesos.containers() & set(ids):  # noqa: ASYNC110 no event
            await asyncio.sleep(0.005)


def test_who_goes_on(corner: Corner) -> None:
    """26: standalone and nested containers go on; 23: an end that was told is told again."""

    async def victim(engine: Engine) -> None:
        for each in (S, N, X, T):
            await engine.launch(each)
        await engine.running(S, N, X, T)
        assert await engine.ended(T) == WAIT_STATUS

    async def heir(engine: Engine) -> list[str]:
        await engine.mesos.recover([])
        assert engine.mesos.containers() == {S, N, X}
        told = await _ended(engine, T, X, T, N)
        assert engine.mesos.containers() == {S}
        told += await _ended(engine, X, S)
        return told + await _ended(engine, S, N, T)

    status = WAIT_STATUS
    known = [f"{T} {status}", f"{X} {status}", f"{T} {status}", f"{N} {status}", f"{X} {status}"]
    unknown = [f"{each} None" for each in (S, N, T)]
    assert play(corner, victim, heir) == [*known, f"{S} {status}", *unknown]


def test_sessions_end_with_their_agent(corner: Corner) -> None:
    """26: DEBUG containers are destroyed."""
    if corner.kind is Kind.POSIX:
        pytest.skip("the posix launcher has no sessions")

    async def victim(engine: Engine) -> None:
        await engine.launch(S)
        await engine.running(S)
        await engine.launch(D, debug=True)
        await engine.running(D)

    async def heir(engine: Engine) -> list[str]:
        await engine.mesos.recover([])
        assert engine.mesos.containers() == {S, D}
        await _gone(engine, D)
        return await _ended(engine, D, S)

    assert play(corner, victim, heir) == [f"{D} {KILLED_STATUS}", f"{S} {WAIT_STATUS}"]


@pytest.mark.parametrize("checkpointed", [True, False])
def test_executors(checkpointed: bool, corner: Corner, tmp_path: Path) -> None:
    """26: one that its agent knows goes on with what is nested in it; 27: others are orphans."""
    pid_path = tmp_path / "forked.pid"

    async def victim(engine: Engine) -> None:
        await engine.launch(E, pid_checkpoint_path=str(pid_path))
        await engine.running(E)
        await engine.launch(IN_E)
        await engine.launch(S)
        await engine.running(IN_E, S)

    async def heir(engine: Engine) -> list[str]:
        state = slave.ContainerState(
            container_id=E.message(),
            pid=int(pid_path.read_text()),
            directory=str(corner.sandbox(E)),
        )
        await engine.mesos.recover([state] if checkpointed else [])
        if not checkpointed:
            engine.waiting = {
                each: asyncio.ensure_future(engine.mesos.wait(each)) for each in (IN_E, E)
            }
            await asyncio.wait(engine.waiting.values())
        return await _ended(engine, IN_E, E, S)

    expected = WAIT_STATUS if checkpointed else KILLED_STATUS
    told = [f"{IN_E} {expected}", f"{E} {expected}", f"{S} {WAIT_STATUS}"]
    assert play(corner, victim, heir) == told


def test_killed_before_the_release(corner: Corner) -> None:
    """8: init says why it ends, and nothing of the container stays."""

    async def victim(engine: Engine) -> None:
        SpawnedInit.release = lambda self: kill_self()  # type: ignore[method-assign]
        await engine.launch(S)

    async def heir(engine: Engine) -> list[str]:
        await engine.mesos.recover([])
        return await _ended(engine, S)

    assert play(corner, victim, heir) == [f"{S} {ABORTED}"]
    told = (corner.sandbox(S) / "stderr").read_text()
    assert told == "Failed to synchronize with agent (it's probably exited)\n"
    assert not corner.started(S)


def test_cgroups_of_which_nothing_else_tells(corner: Corner, tmp_path: Path) -> None:
    """28: the runtime directory is gone."""
    if corner.kind is Kind.POSIX:
        pytest.skip("the posix launcher has no cgroups")
    pids = tmp_path / "pids"

    async def victim(engine: Engine) -> None:
        for each in (S, N):
            await engine.launch(each)
        await engine.running(S, N)
        found = [int(Path(corner.rundir.path(each), "pid").read_text()) for each in (S, N)]
        pids.write_text(" ".join(map(str, found)))

    async def heir(engine: Engine) -> list[str]:
        await engine.mesos.recover([])
        assert engine.mesos.containers() == {S, N}
        await _gone(engine, S, N)
        return [pid for pid in pids.read_text().split() if not proc.is_zombie_or_gone(int(pid))]

    assert play(corner, victim, heir, lambda: shutil.rmtree(corner.rundir.root)) == []
