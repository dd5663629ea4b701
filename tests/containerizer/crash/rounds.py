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
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from containerizer.linux import proc
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from tests.containerizer.crash import spawners
from tests.containerizer.crash.corner import WAIT_STATUS, Corner, Engine, Kind, descendants_gone
from tests.containerizer.crash.points import Points, is_forked, kill_self

#: Seconds for all that a round does; more is a hang.
_ROUND_S = 60
KILLED_STATUS = 9
#: Its terminal was gone, with the process that serves it.
HUNG_UP_STATUS = 1
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
    kind: Kind = Kind.V1
    #: Whether the image has to be pulled.
    cold: bool = False
    #: Whether to start spawners as programs, which takes time.
    real_spawner: bool = False
    #: Whether it is about volumes, which are the engine's alone.
    volume: bool = False


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
    """Rounds of one scene."""

    points: int = 0
    slowest_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def kill_engine(scene: Scene, corner: Corner, at: int) -> list[str]:
    """Kill the engine at its point ``at``; another one takes over."""

    async def victim() -> None:
        await _begin(scene, Engine(corner), kill_self)

    problems = in_child(corner, "victim", victim, killed=True)
    return problems + in_child(corner, "heir", lambda: _inherit(scene, corner))


def kill_spawner(scene: Scene, corner: Corner, at: int) -> list[str]:
    """Kill the spawner at the engine's point ``at``; the engine has to cope."""

    async def survivor() -> list[str]:
        engine = Engine(corner)

        def act() -> None:
            pid = engine.spawner.pid
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        return await _survive(scene, engine, act)

    return in_child(corner, "survivor", survivor)


def kill_inside(scene: Scene, corner: Corner, at: int) -> list[str]:
    """Kill the spawner, or whatever it forked, at its own point ``at``."""

    async def survivor() -> list[str]:
        spawners.fork_spawners(corner.points)
        return await _survive(scene, Engine(corner), None)

    return in_child(corner, "survivor", survivor)


def kill_program(scene: Scene, corner: Corner, at: int) -> list[str]:
    """Kill a program that unpacks an image at its own point ``at``."""

    async def survivor() -> list[str]:
        spawners.watch_programs(corner.points)
        return await _survive(scene, Engine(corner), None)

    return in_child(corner, "survivor", survivor)


Round = Callable[[Scene, Corner, int], list[str]]

ENGINE, SPAWNER, INSIDE, PROGRAM = "engine", "spawner", "inside", "program"

#: Who is killed, and how. Inside: the spawner or what it forked, at points of their own.
KILLED: Mapping[str, Round] = {
    ENGINE: kill_engine,
    SPAWNER: kill_spawner,
    INSIDE: kill_inside,
    PROGRAM: kill_program,
}


def run(scene: Scene, killed: str, corner: Corner, numbers: Iterable[int]) -> Report:
    """Do the rounds of a scene with these points, until it is played to its end."""
    report = Report()
    corner.kind = scene.kind
    for at in numbers:
        began = time.monotonic()
        corner.clear()
        if scene.cold:
            corner.forget_images()
        Points.prepare(corner.points, at)
        problems = KILLED[killed](scene, corner, at)
        point = Points.reached(corner.points)
        problems += [f"left {text}" for text in (*descendants_gone(), *corner.left())]
        report.findings += [
            Finding(scene.name, killed, point or f"{at}, the end", what) for what in problems
        ]
        report.slowest_s = max(report.slowest_s, time.monotonic() - began)
        if not point:
            break
        report.points += 1
    corner.clear()
    return report


def _watch(corner: Corner, act: Callable[[], None]) -> None:
    """Count the points of this process, and act at one of them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    Points(corner.points, act).install()


async def _begin(scene: Scene, engine: Engine, act: Callable[[], None] | None) -> None:
    """Set the scene and play it, to the end or not."""
    await engine.recover()
    if not scene.real_spawner:
        await engine.spawner.start()
    await scene.before(engine)
    if act is not None:
        _watch(engine.corner, act)
    Points.arm(engine.corner.points)
    await scene.act(engine)
    if act is kill_self:
        kill_self()


# What the survivors do.


async def _inherit(scene: Scene, corner: Corner) -> list[str]:
    """Take over after a crash; return what is wrong."""
    problems: list[str] = []
    alive = {each for each in scene.ids if _is_running(corner, each)}
    engine = Engine(corner)
    await engine.recover()
    known = engine.mesos.containers()
    # What was killed leaves its cgroup a moment before it is a zombie.
    until = time.monotonic() + _ROUND_S / 2
    while any(_is_running(corner, each) for each in alive - known) and time.monotonic() < until:  # noqa: ASYNC110 no event
        await asyncio.sleep(0.005)
    for each in alive - known:
        if _is_running(corner, each):
            problems.append(f"{each} runs and is not known")
    alive &= known
    engine.waiting = {each: asyncio.ensure_future(engine.mesos.wait(each)) for each in scene.ids}
    for each in reversed(scene.ids):
        try:
            status = await engine.ended(each)
        except TimeoutError:
            problems.append(f"{each} does not end")
        except ContainerError as error:
            problems.append(f"{each} cannot be destroyed: {error}")
        else:
            problems += _judged(scene, corner, each, each in alive, status)
    for each in engine.mesos.containers():
        await engine.mesos.destroy(each)
    for each in engine.mesos.containers():
        problems.append(f"{each} stays known")
    if scene.cold or scene.volume:
        problems += await _again(scene, engine)
    await engine.close()
    return problems


def _judged(
    scene: Scene,
    corner: Corner,
    container_id: ContainerId,
    alive: bool,
    status: int | None,
) -> list[str]:
    """Return what is wrong with an exit status."""
    dying = scene.destroys or container_id in scene.debug
    if corner.started(container_id):
        if dying:
            # Without any it was gone, as its caller may have learnt.
            right = status in (WAIT_STATUS, KILLED_STATUS, None) and not (alive and status is None)
        else:
            right = status == WAIT_STATUS
    else:
        right = status in (ABORTED, KILLED_STATUS if dying else ABORTED, None)
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


async def _survive(scene: Scene, engine: Engine, act: Callable[[], None] | None) -> list[str]:
    """Play a scene to its end whatever it meets; the host has to be as before."""
    corner = engine.corner
    problems: list[str] = []
    subject = scene.ids[-1] if scene.ids else None
    failed = ""
    try:
        async with asyncio.timeout(60):
            await _begin(scene, engine, act)
            while (  # noqa: ASYNC110 files
                subject in engine.mesos.containers() and not corner.started(subject)
            ):
                await asyncio.sleep(0.002)
    except ContainerError as error:
        failed = str(error)
    except TimeoutError:
        problems.append("hangs")
    Points.uninstall()
    Points.disarm(corner.points)
    point = Points.reached(corner.points)
    # A spawner that is lost is replaced. What it forked takes its container with it.
    harmless = act is not None or (bool(point) and not is_forked(point) and not scene.cold)
    if failed and (harmless or scene.destroys or not point):
        problems.append(f"fails: {failed}")
    if failed and subject is not None:
        await engine.mesos.destroy(subject)
    for each in reversed(scene.ids):
        status = await engine.ended(each)
        if each != subject or (harmless and not failed):
            right = {WAIT_STATUS}
        else:
            right = {WAIT_STATUS, KILLED_STATUS, HUNG_UP_STATUS, ABORTED}
        if scene.destroys:
            right |= {KILLED_STATUS}
        if status not in right and (each in engine.waiting or status is not None):
            problems.append(f"{each} ended with {status} instead of {sorted(right)}")
    if scene.cold:
        problems += await _again(scene, engine)
    await engine.close()
    return problems


async def _again(scene: Scene, engine: Engine) -> list[str]:
    """Return what is wrong with an image or a volume, of which nobody knows how far it came."""
    container_id = ContainerId("again")
    try:
        await engine.launch(container_id, image=scene.cold, volume=scene.volume)
    except ContainerError as error:
        return [f"another launch fails: {error}"]
    status = await engine.ended(container_id)
    return [] if status == WAIT_STATUS else [f"another container ended with {status}"]


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
        logging.basicConfig(level=logging.DEBUG, stream=sys.__stderr__, force=True)
        faulthandler.dump_traceback_later(_ROUND_S, exit=True, file=2)

        async def main() -> object:
            return await run()

        problems = asyncio.run(main())
        if isinstance(problems, Sequence):
            os.write(write, "\n".join(str(p).replace("\n", " ") for p in problems).encode())
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
