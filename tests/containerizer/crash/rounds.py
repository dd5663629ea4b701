# SPDX-License-Identifier: Apache-2.0
"""One round per fault point: an engine is brought there and dies, another one takes over.

A round runs in processes of its own, forked from one that has everything loaded: the victim, which
sets the scene and goes on until it is killed; and the heir, which recovers, checks, and clears
away. Whoever runs rounds adopts what they orphan, so nothing can hide from the last look.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from containerizer.linux import proc
from containerizer.linux.prctl import set_child_subreaper
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.crash.corner import WAIT_STATUS, Corner, Engine, descendants_gone
from tests.containerizer.crash.points import Points, kill_self

#: Seconds for all that a round does; more is a hang.
_ROUND_S = 60
#: No scene has more points than this.
_MOST = 2000

KILLED = 9
#: Init was told that nobody will release it.
ABORTED = 1 << 8


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens, and to whom."""

    name: str
    #: Containers that run when it begins, and so do the commands in them.
    before: Callable[[Engine], Awaitable[None]]
    #: What is interrupted.
    act: Callable[[Engine], Awaitable[object]]
    #: Launched or destroyed by ``act``; the last is what it is about.
    ids: tuple[ContainerId, ...]
    destroys: bool = False
    #: Containers that end with their agent.
    debug: frozenset[ContainerId] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong after a crash at one point."""

    scene: str
    killed: str
    point: str
    what: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.scene}, {self.killed} killed at [{self.point}]: {self.what}"


@dataclass(slots=True)
class Report:
    """All rounds of one scene."""

    points: int = 0
    findings: list[Finding] = field(default_factory=list)


def kill_engine(scene: Scene, corner: Corner, at: int) -> tuple[bool, str, list[str]]:
    """Kill the engine at its point ``at``; say whether there is one, which, and what is wrong."""
    Points.prepare(corner.points, at)

    async def victim() -> None:
        Points(corner.points, kill_self).install()
        engine = Engine(corner)
        await engine.mesos.recover([])
        await scene.before(engine)
        Points.arm(corner.points)
        await scene.act(engine)
        kill_self()

    problems = in_child(corner, "victim", victim, killed=True)
    point = Points.reached(corner.points)
    problems += in_child(corner, "heir", lambda: _inherit(scene, corner))
    problems += [f"left {text}" for text in (*descendants_gone(), *corner.left())]
    corner.clear()
    return bool(point), point or "the end", problems


def kill_spawner(scene: Scene, corner: Corner, at: int) -> tuple[bool, str, list[str]]:
    """Kill the spawner at the engine's point ``at``; the engine has to cope."""
    Points.prepare(corner.points, at)

    async def survivor() -> None:
        engine: Engine | None = None

        def act() -> None:
            pid = engine.spawner.pid if engine is not None else None
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        Points(corner.points, act).install()
        engine = Engine(corner)
        await _survive(scene, corner, engine)

    problems = in_child(corner, "survivor", survivor)
    point = Points.reached(corner.points)
    problems += [f"left {text}" for text in (*descendants_gone(), *corner.left())]
    corner.clear()
    return bool(point), point or "the end", problems


def kill_inside(scene: Scene, corner: Corner, at: int) -> tuple[bool, str, list[str]]:
    """Kill the spawner, or whatever it forked, at its own point ``at``."""
    Points.prepare(corner.points, at)

    async def survivor() -> None:
        await _survive(scene, corner, Engine(corner, watched_spawner=True))

    problems = in_child(corner, "survivor", survivor)
    point = Points.reached(corner.points)
    problems += [f"left {text}" for text in (*descendants_gone(), *corner.left())]
    corner.clear()
    return bool(point), point or "the end", problems


Round = Callable[[Scene, Corner, int], tuple[bool, str, list[str]]]

KILLED_ONES: Mapping[str, Round] = {
    "engine": kill_engine,
    "spawner": kill_spawner,
    "spawner's child": kill_inside,
}


def run(scene: Scene, killed: str, corner: Corner, first: int, step: int) -> Report:
    """Do all rounds of a scene, from point ``first`` on, until it is played to its end."""
    set_child_subreaper(True)
    report = Report()
    for at in range(first, _MOST, step):
        there, point, problems = KILLED_ONES[killed](scene, corner, at)
        report.findings += [Finding(scene.name, killed, point, what) for what in problems]
        if not there:
            return report
        report.points += 1
    raise AssertionError(f"{scene.name} does not end")


# What the survivors do.


async def _inherit(scene: Scene, corner: Corner) -> list[str]:
    """Take over after a crash; return what is wrong."""
    problems: list[str] = []
    alive = {each for each in scene.ids if _is_running(corner, each)}
    engine = Engine(corner)
    await engine.mesos.recover([])
    known = engine.mesos.containers()
    for each in alive - known:
        problems.append(f"{each} runs and is not known")
    waiting = {each: asyncio.ensure_future(engine.mesos.wait(each)) for each in scene.ids}
    for each in reversed(scene.ids):
        corner.let_go(each)
        try:
            async with asyncio.timeout(20):
                ended = await waiting[each]
        except TimeoutError:
            problems.append(f"{each} does not end")
            continue
        except ContainerError as error:
            problems.append(f"{each} cannot be destroyed: {error}")
            continue
        problems += _judged(scene, corner, each, each in alive, ended)
    for each in engine.mesos.containers():
        await engine.mesos.destroy(each)
    for each in engine.mesos.containers():
        problems.append(f"{each} stays known")
    await engine.close()
    return problems


def _judged(
    scene: Scene,
    corner: Corner,
    container_id: ContainerId,
    alive: bool,
    ended: slave.ContainerTermination | None,
) -> list[str]:
    """Return what is wrong with an exit status."""
    status = ended.status if ended is not None and ended.HasField("status") else None
    dying = scene.destroys or container_id in scene.debug
    if corner.started(container_id):
        if dying:
            # Without any it was gone, as its caller may have learnt.
            right = status in (WAIT_STATUS, KILLED, None) and not (alive and status is None)
        else:
            right = status == WAIT_STATUS
    else:
        right = status in (ABORTED, KILLED if dying else ABORTED, None)
    if right:
        return []
    return [f"{container_id} ended with {status}, started {corner.started(container_id)}"]


def _is_running(corner: Corner, container_id: ContainerId) -> bool:
    """Whether the container has a process that was released."""
    if not corner.started(container_id):
        return False
    with contextlib.suppress(OSError, ValueError):
        pid = int(Path(corner.rundir.path(container_id), "pid").read_text())
        return not proc.is_zombie_or_gone(pid)
    return False


async def _survive(scene: Scene, corner: Corner, engine: Engine) -> list[str]:
    """Play a scene to its end whatever it meets; the host has to be as before."""
    problems: list[str] = []
    await engine.mesos.recover([])
    await scene.before(engine)
    running = [each for each in scene.ids if each in engine.mesos.containers()]
    Points.arm(corner.points)
    subject = scene.ids[-1]
    try:
        async with asyncio.timeout(20):
            await scene.act(engine)
            while not scene.destroys and not corner.started(subject):
                if subject not in engine.mesos.containers():
                    break
                await asyncio.sleep(0.005)
    except ContainerError as error:
        if scene.destroys:
            problems.append(f"fails: {error}")
        else:
            await engine.mesos.destroy(subject)
    except TimeoutError:
        problems.append("hangs")
    Points.disarm(corner.points)
    for each in reversed(scene.ids):
        waiting = asyncio.ensure_future(engine.mesos.wait(each))
        corner.let_go(each)
        async with asyncio.timeout(20):
            ended = await waiting
        known = each in running or corner.started(each)
        wrong = known and ended is not None and ended.status != WAIT_STATUS
        if wrong and not scene.destroys and each != subject:
            problems.append(f"{each} ended with {ended}")
    await engine.close()
    return problems


# Processes.


def in_child(
    corner: Corner, name: str, run: Callable[[], Awaitable[object]], *, killed: bool = False
) -> list[str]:
    """Run a coroutine in a forked process; return the problems it tells, or what became of it."""
    log = corner.folder / f"{name}.log"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _be_child(log, write, run)
    os.close(write)
    # As process 1 of a host does: what is not reaped keeps its pid namespace from ending.
    while True:
        ended, wait_status = os.waitpid(-1, 0)
        if ended == pid:
            break
    with open(read, encoding="utf-8") as told:
        problems = [line for line in told.read().splitlines() if line]
    code = os.waitstatus_to_exitcode(wait_status)
    if killed and code == -signal.SIGKILL:
        return []
    if code != 0 or killed:
        problems.append(f"{name} ended with {code}: {log.read_text()[-3000:]}")
    return problems


def _be_child(log: Path, write: int, run: Callable[[], Awaitable[object]]) -> None:
    code = 1
    try:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(fd, number)
        faulthandler.dump_traceback_later(_ROUND_S, exit=True, file=2)

        async def main() -> object:
            return await run()

        problems = asyncio.run(main())
        if isinstance(problems, Sequence):
            os.write(write, "\n".join(str(p).replace("\n", " ") for p in problems).encode())
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
