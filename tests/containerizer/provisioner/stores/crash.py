# SPDX-License-Identifier: Apache-2.0
"""Agents that are killed at every step of what they do to a store.

Run as a program of its own: ``python -m … FOLDER EVERY FIRST``. Each round forks a process that
does something and dies at one point (``tests.containerizer.crash.points``), then one that looks
at what it left. Prints the number of rounds of each scene.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.stores.docker import DockerStore, create_store
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.crash.points import Points, kill_self
from tests.containerizer.provisioner.images import Entry, legacy, saved, tar, write

BASE = tar([Entry("base", b"x" * 3000)])
#: What is allowed to be in a store.
_NAMES = {"gc", "layers", "staging", "storedImages"}


def docker(name: str, *, cached: bool = True) -> pb.Image:
    return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name), cached=cached)


class Corner:
    """A store and what it is filled from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "registry"
        self.points = folder / "points"

    def clear(self) -> None:
        shutil.rmtree(self.folder / "store", ignore_errors=True)
        shutil.rmtree(self.registry, ignore_errors=True)
        self.put("kept", b"1")
        self.put("old", b"1", kind="legacy")
        self.put("img", b"1")

    def put(self, name: str, content: bytes, kind: str = "saved") -> None:
        layers = [BASE, tar([Entry("f", content)])]
        data = legacy(layers, name=name) if kind == "legacy" else saved(layers, None, Cmd=[name])
        write(str(self.registry / f"{name}.tar"), data)

    def store(self, scope: Scope) -> DockerStore:
        config = ProvisionerConfig(
            work_dir=str(self.folder),
            docker_store_dir=str(self.folder / "store"),
            docker_registry=str(self.registry),
        )
        return create_store(config, scope, Metrics())


Job = Callable[[Corner, DockerStore], Awaitable[None]]


async def _nothing(corner: Corner, store: DockerStore) -> None:
    pass


async def _filled(corner: Corner, store: DockerStore) -> None:
    for name in ("kept", "old", "img"):
        await store.get(docker(name), "copy")


async def _pull(corner: Corner, store: DockerStore) -> None:
    await store.get(docker("img"), "copy")


async def _pull_legacy(corner: Corner, store: DockerStore) -> None:
    await store.get(docker("old"), "copy")


async def _again(corner: Corner, store: DockerStore) -> None:
    await store.get(docker("img", cached=False), "copy")


async def _prune(corner: Corner, store: DockerStore) -> None:
    await store.prune([docker("kept")], [])


async def _forget(corner: Corner, store: DockerStore) -> None:
    await store.forget(["img"], [])


async def _changed(corner: Corner, store: DockerStore) -> None:
    await _filled(corner, store)
    corner.put("img", b"2")


#: What happened before, what is interrupted, and what the image may contain after it.
SCENES: dict[str, tuple[Job, Job, tuple[bytes, ...]]] = {
    "pull": (_nothing, _pull, (b"1",)),
    "pull legacy": (_nothing, _pull_legacy, (b"1",)),
    "pull again": (_changed, _again, (b"1", b"2")),
    "prune": (_filled, _prune, (b"1",)),
    "forget": (_filled, _forget, (b"1",)),
    "start": (_filled, _nothing, (b"1",)),
}


async def _do(corner: Corner, job: Job, at_start: Callable[[], None] | None = None) -> None:
    async with Scope("crash") as scope:
        if at_start is not None:
            at_start()
        store = corner.store(scope)
        await store.recover()
        await job(corner, store)
        while len(scope):  # noqa: ASYNC110 - what was spawned ends
            await asyncio.sleep(0.001)
        store.close()


async def _look(corner: Corner, contents: tuple[bytes, ...]) -> None:
    """Check what is left, without the registry and with it."""
    root = corner.folder / "store"
    async with Scope("look") as scope:
        store = corner.store(scope)
        await store.recover()
        assert set(os.listdir(root)) <= _NAMES, os.listdir(root)
        assert not os.listdir(root / "staging")
        assert not os.listdir(root / "gc")
        away = corner.folder / "away"
        corner.registry.rename(away)
        for name in store.images:
            _check(await store.get(docker(name), "copy"), contents if name == "img" else (b"1",))
        away.rename(corner.registry)
        for name in ("kept", "old", "img"):
            _check(await store.get(docker(name), "copy"), contents if name == "img" else (b"1",))
        store.close()


def _check(info: object, contents: tuple[bytes, ...]) -> None:
    base, top = getattr(info, "layers")  # noqa: B009 - also of a store that returns nothing
    assert Path(base, "base").read_bytes() == b"x" * 3000
    assert os.listdir(base) == ["base"]
    assert os.listdir(top) == ["f"]
    assert Path(top, "f").read_bytes() in contents


def _forked(job: Callable[[], None]) -> int:
    """Return the wait status of a process that does ``job``."""
    pid = os.fork()
    if not pid:
        try:
            job()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def play(corner: Corner, name: str, every: int, first: int) -> int:
    """Play one scene; return the number of rounds."""
    before, job, contents = SCENES[name]
    rounds = 0
    at = 1 + first % every
    while True:
        corner.clear()
        assert _forked(lambda: asyncio.run(_do(corner, before))) == 0, name
        Points.prepare(corner.points, at)

        def watched() -> None:
            Points(corner.points, kill_self).install()

        def start() -> None:
            Points.arm(corner.points)

        def act() -> None:
            watched()
            asyncio.run(_do(corner, job, start))

        status = _forked(act)
        reached = Points.reached(corner.points)
        assert status == (9 if reached else 0), (name, status, reached)
        Points.disarm(corner.points)
        assert _forked(lambda: asyncio.run(_look(corner, contents))) == 0, (name, reached)
        rounds += 1
        if not reached:
            return rounds
        at += every


def main() -> int:
    folder, every, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for name in SCENES:
        print(f"{name}: {play(Corner(folder), name, every, first)} rounds", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
