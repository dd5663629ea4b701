# SPDX-License-Identifier: Apache-2.0
"""Several containerizers as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from containerizer import create
from containerizer.api import Containerizer, LaunchOutcome
from containerizer.composing import ComposingContainerizer
from containerizer.create import create_containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.mesos import MesosContainerizer
from mesos_compat.base.errors import ContainerError, FlagError, LaunchAborted
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Group
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import FakeLauncher, NullLogger, Steps

C = ContainerId("c")
N = ContainerId("n", C)
TYPES = {"docker": pb.ContainerInfo.DOCKER, "mesos": pb.ContainerInfo.MESOS}


class Fake:
    """A containerizer of one type of containers."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name = name
        self.asked = asked
        self.known: dict[ContainerId, asyncio.Future[slave.ContainerTermination]] = {}
        self.failure: ContainerError | None = None
        self.gate: asyncio.Event | None = None

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        """All that only has to arrive."""

        async def asked(*arguments: object) -> str:
            self.asked.append(" ".join([self.name, verb, *map(str, arguments[:1])]))
            return self.name

        return asked

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        if self.failure is not None:
            raise self.failure
        for state in known:
            if state.directory == self.name:
                self.known[ContainerId.of(state.container_id)] = asyncio.Future()

    async def launch(
        self, container_id: ContainerId, config: slave.ContainerConfig, *_: object
    ) -> LaunchOutcome:
        self.asked.append(f"{self.name} launch {container_id}")
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if container_id.parent is None and config.container_info.type != TYPES[self.name]:
            return LaunchOutcome.NOT_SUPPORTED
        self.known[container_id] = asyncio.Future()
        return LaunchOutcome.SUCCESS

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        if container_id in self.known:
            return await asyncio.shield(self.known[container_id])
        return slave.ContainerTermination(message=self.name)

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        self.asked.append(f"{self.name} destroy {container_id}")
        self.ended(container_id)
        return termination

    def ended(self, container_id: ContainerId) -> None:
        if container_id in self.known:
            self.known.pop(container_id).set_result(slave.ContainerTermination())

    def containers(self) -> frozenset[ContainerId]:
        return frozenset(self.known)

    def pending(self) -> Sequence[tuple[str, ContainerId | None]]:
        return [(self.name, None)]

    def is_standalone(self, container_id: ContainerId) -> bool:
        return self.name == "mesos"


class World:
    """One of each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.docker, self.mesos = Fake("docker", self.asked), Fake("mesos", self.asked)
        both = cast(Sequence[Containerizer], (self.docker, self.mesos))
        self.all = ComposingContainerizer(both)

    async def launch(self, kind: str = "mesos", container_id: ContainerId = C) -> LaunchOutcome:
        config = slave.ContainerConfig()
        config.container_info.type = TYPES[kind]
        return await self.all.launch(container_id, config, {})


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.all.close()
    assert made.asked[-2:] == ["docker close", "mesos close"]


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not probe():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_each_is_asked_until_one_takes_it(world: World) -> None:
    implements: Containerizer = world.all
    assert await world.launch("mesos") is LaunchOutcome.SUCCESS
    assert world.asked == ["docker launch c", "mesos launch c"]
    assert await world.launch("mesos") is LaunchOutcome.ALREADY_LAUNCHED
    assert implements.containers() == {C}
    assert implements.pending() == [("docker", None), ("mesos", None)]
    assert implements.is_standalone(C)
    assert not implements.is_standalone(ContainerId("x"))


async def test_what_nobody_takes_is_forgotten(world: World) -> None:
    config = slave.ContainerConfig()
    config.container_info.type = TYPES["mesos"]
    world.mesos.name = "docker"  # both are of the same kind
    for _ in range(2):
        assert await world.all.launch(C, config, {}) is LaunchOutcome.NOT_SUPPORTED
    assert await world.all.wait(C) is None
    world.mesos.name = "mesos"


async def test_nested_ones_go_to_the_containerizer_of_their_root(world: World) -> None:
    await world.launch("mesos")
    world.asked.clear()
    assert await world.launch("docker", N) is LaunchOutcome.SUCCESS
    assert world.asked == ["mesos launch c.n"]
    world.mesos.ended(N)
    ended = slave.ContainerTermination(message="mesos")
    assert await world.all.wait(N) == ended  # which remembers
    await until(lambda: N not in world.all._entries)
    assert await world.all.destroy(N) == ended
    await world.all.remove(N)
    assert world.asked[1:] == ["mesos remove c.n"]
    stranger = ContainerId("n", ContainerId("x"))
    with pytest.raises(ContainerError, match=r"^Root container x not found$"):
        await world.launch("mesos", stranger)
    with pytest.raises(ContainerError, match=r"^Root container x not found$"):
        await world.all.remove(stranger)


async def test_calls_go_to_whoever_has_the_container(world: World) -> None:
    await world.launch("docker")
    world.asked.clear()
    calls = world.all
    await calls.update(C, (), {})
    await calls.usage(C)
    await calls.status(C)
    await calls.kill(C, 9)
    await calls.attach_output(C, "x")
    await calls.attach_input(C, "x", cast(Any, None))
    await calls.prune_images(())
    assert world.asked == [
        *(f"docker {verb} c" for verb in ("update", "usage", "status", "kill")),
        *("docker attach_output c", "docker attach_input c"),
        *("docker prune_images ()", "mesos prune_images ()"),
    ]
    unknown = ContainerId("x")
    assert not await calls.kill(unknown, 9)
    assert await calls.destroy(unknown) is None
    asked: list[Any] = [
        calls.update(unknown, (), {}),
        calls.usage(unknown),
        calls.status(unknown),
        calls.attach_output(unknown, "x"),
    ]
    for call in asked:
        with pytest.raises(ContainerError, match=r"^Container not found$"):
            await call


async def test_a_failed_launch_is_destroyed_by_its_caller(world: World) -> None:
    world.docker.failure = ContainerError("no")
    with pytest.raises(ContainerError, match=r"^no$"):
        await world.launch("docker")
    assert await world.launch("docker") is LaunchOutcome.ALREADY_LAUNCHED
    # by which the caller sees that there is something to destroy
    assert world.all.containers() == {C}
    why = slave.ContainerTermination(message="why")
    assert await world.all.destroy(C, why) == why
    world.docker.failure = None
    assert await world.launch("docker") is LaunchOutcome.SUCCESS


async def test_a_destroy_between_two_tries(world: World) -> None:
    world.docker.gate = asyncio.Event()
    launch = asyncio.ensure_future(world.launch("mesos"))
    await until(lambda: bool(world.asked))
    await world.all.destroy(C)
    world.docker.gate.set()
    with pytest.raises(LaunchAborted, match=r"^Container was destroyed while launching$"):
        await launch
    assert "mesos launch c" not in world.asked


async def test_what_was_recovered_is_known_until_its_end(world: World) -> None:
    await world.all.recover(
        [slave.ContainerState(container_id=C.message(), pid=1, directory="mesos")]
    )
    await world.all.usage(C)
    assert world.asked == ["mesos usage c"]
    world.mesos.ended(C)
    await until(lambda: C not in world.all._entries)
    assert await world.all.wait(C) is None


async def test_recovery_fails_with_any(world: World) -> None:
    world.mesos.failure = ContainerError("damaged")
    with pytest.raises(ContainerError, match=r"^damaged$"):
        await world.all.recover([])


# From the flag.


def made(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    containerizers: str,
    points: Mapping[str, str] | None = None,
) -> Containerizer:
    found: Iterable[EntryPoint] = [
        EntryPoint(name, f"{__name__}:{value}", create.GROUP)
        for name, value in (points or {}).items()
    ]
    monkeypatch.setattr(
        create, "Group", lambda name: Group(name, found if name == create.GROUP else None)
    )
    config = ContainerizerConfig(
        work_dir="/", runtime_dir=str(folder), launcher="posix", containerizers=containerizers
    )
    return create_containerizer(config, FakeLauncher(Steps()), None, Metrics(), logger=NullLogger())


def create_docker(config: ContainerizerConfig, metrics: Metrics) -> Fake:
    return Fake("docker", [])


def create_nonsense(config: ContainerizerConfig, metrics: Metrics) -> str:
    return "nonsense"


async def test_docker_is_tried_first_whatever_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flag in ("docker,mesos", "mesos,docker"):
        both = made(tmp_path, monkeypatch, flag, {"docker": "create_docker"})
        assert isinstance(both, ComposingContainerizer)
        first, second = both._containerizers
        assert isinstance(first, Fake)
        assert isinstance(second, MesosContainerizer)
        await both.close()
    alone = made(tmp_path, monkeypatch, "docker", {"docker": "create_docker"})
    assert isinstance(alone, Fake)


async def test_without_docker_there_is_ours_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ours = made(tmp_path, monkeypatch, "docker,mesos")
    assert isinstance(ours, MesosContainerizer)
    assert "tasks of type DOCKER will fail" in caplog.text
    await ours.close()


async def test_a_plug_in_that_is_no_containerizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FlagError, match="'docker' made str, which is no containerizer"):
        made(tmp_path, monkeypatch, "docker", {"docker": "create_nonsense"})
