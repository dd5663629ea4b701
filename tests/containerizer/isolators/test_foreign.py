# SPDX-License-Identifier: Apache-2.0
"""Isolators of other distributions: where they come in, and what they cannot break."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from containerizer.create import create_containerizer
from containerizer.isolators.base import Isolator
from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from containerizer.isolators.order import GROUP
from containerizer.mesos import MesosContainerizer
from mesos_compat.base import plugins
from mesos_compat.base.errors import ContainerError, FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import FakeLauncher, NullLogger, Steps

MODULE = "isolators_for_test"
FAILED = (
    "Failed to create a containerizer: Could not create MesosContainerizer:"
    " Failed to create isolator 'foreign/x': "
)


class ForeignIsolator(Isolator):
    """Notes what it was created with."""

    context: IsolatorContext

    @classmethod
    def create(cls, context: IsolatorContext) -> ForeignIsolator:
        made = cls()
        cls.context = context
        return made


def creating(behaviour: Callable[[], Any]) -> type[Isolator]:
    class Odd(Isolator):
        @classmethod
        def create(cls, context: IsolatorContext) -> Any:
            return behaviour()

    return Odd


def ends() -> None:
    sys.exit("bye")


def waits() -> None:
    time.sleep(60)


def breaks() -> None:
    raise LookupError("y")


def refuses() -> None:
    raise IsolatorError("this host is too small")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes objects entry points, as attributes of a module."""

    def install(**objects: object) -> None:
        module = ModuleType(MODULE)
        module.__dict__.update(objects)
        monkeypatch.setitem(sys.modules, MODULE, module)
        foreign = [
            EntryPoint(f"foreign/{name}", f"{MODULE}:{name}", GROUP)
            for name in (*objects, "missing")
        ]

        def found(group: str) -> list[EntryPoint]:
            return [*entry_points(group=group), *(foreign if group == GROUP else [])]

        monkeypatch.setattr(plugins, "entry_points", found)

    return install


def create(folder: Path, isolation: str, **settings: Any) -> MesosContainerizer:
    config = ContainerizerConfig(
        work_dir=str(folder), runtime_dir=str(folder / "run"), launcher="posix", isolation=isolation
    )
    made = create_containerizer(
        dataclasses.replace(config, **settings),
        FakeLauncher(Steps()),
        None,
        Metrics(),
        NullLogger(),
    )
    assert isinstance(made, MesosContainerizer)
    return made


async def test_they_come_last_in_the_order_of_the_flag(
    tmp_path: Path, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    install(x=ForeignIsolator, a=ForeignIsolator)
    made = create(
        tmp_path,
        "foreign/x,posix/mem,foreign/a,posix/cpu",
        parameters={"foreign/a": (("k", "v"),)},
        extra={"work_dir": "/w"},
    )
    assert made.isolators == (
        "filesystem/posix",
        "posix/cpu",
        "posix/mem",
        "network/cni",
        "environment_secret",
        "foreign/x",
        "foreign/a",
    )
    context = ForeignIsolator.context
    assert context.parameters == (("k", "v"),)
    assert context.config.extra == {"work_dir": "/w"}
    assert f"Isolator 'foreign/x' is {MODULE}:x" in caplog.text
    await made.close()


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (creating(refuses), "this host is too small"),
        (creating(breaks), "LookupError: y"),
        (creating(ends), "SystemExit: bye"),
        (creating(waits), "it did not return within 0.05 s"),
        (creating(dict), "Odd.create returned dict"),
        (len, "<built-in function len> is no isolator"),
        (Isolator(), "<containerizer.isolators.base.Isolator object at"),
    ],
)
async def test_what_cannot_be_created_ends_the_start(
    tmp_path: Path,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    plugin: object,
    text: str,
) -> None:
    monkeypatch.setattr(plugins.call, "__kwdefaults__", {"limit_s": 0.05})
    install(x=plugin)
    with pytest.raises(FlagError) as caught:
        create(tmp_path, "foreign/x")
    assert str(caught.value).startswith(FAILED + text)


async def test_what_is_not_there_ends_the_start(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install()
    with pytest.raises(FlagError, match="Failed to load plug-in 'foreign/missing' of"):
        create(tmp_path, "foreign/missing")
    with pytest.raises(FlagError, match=r"Unknown or unsupported isolator 'foreign/none'$"):
        create(tmp_path, "foreign/none")


class PokingIsolator(Isolator):
    """Breaks whatever verb its config names."""

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        if config.command_info.value == "prepare":
            raise ZeroDivisionError("prepare")
        self.verb = config.command_info.value
        return None

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        if self.verb == "watch":
            raise ZeroDivisionError("watch")
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        if self.verb == "isolate":
            raise ZeroDivisionError("isolate")


@pytest.mark.parametrize("verb", ["prepare", "isolate", "watch"])
async def test_one_that_breaks_fails_its_container_only(
    tmp_path: Path, install: Callable[..., None], verb: str
) -> None:
    install(x=PokingIsolator)
    made = create(tmp_path, "foreign/x")
    config = slave.ContainerConfig(directory=str(tmp_path))
    config.executor_info.executor_id.value = "e"
    config.command_info.value = verb
    bad, good = ContainerId("bad"), ContainerId("good")
    text = {"watch": "^Container is being destroyed during isolating$"}.get(
        verb, rf"Isolator 'foreign/x' broke in {verb}: Zero"
    )
    with pytest.raises(ContainerError, match=text):
        await made.launch(bad, config, {})
    await made.destroy(bad)
    config.command_info.value = "nothing"
    await made.launch(good, config, {})
    assert made.containers() == {good}
    assert isinstance(await made.status(good), pb.ContainerStatus)
    await made.destroy(good)
    made.check()
    await made.close()


class OrderIsolator(Isolator):
    """Notes the order of its verbs."""

    done: ClassVar[list[str]] = []

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        self.done.append("watch begins")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.done.append("watch ends")
        raise AssertionError

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        self.done.append("isolate")

    async def cleanup(self, container_id: ContainerId) -> None:
        self.done.append("cleanup")


async def test_a_watch_is_around_isolate_and_over_before_cleanup(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install(x=OrderIsolator)
    made = create(tmp_path, "foreign/x")
    fetched: list[tuple[ContainerId, str]] = []
    made._fetched = lambda container_id, folder: fetched.append((container_id, folder))
    config = slave.ContainerConfig(directory=str(tmp_path))
    config.executor_info.executor_id.value = "e"
    config.command_info.value = "true"
    await made.launch(ContainerId("c"), config, {})
    assert fetched == [(ContainerId("c"), str(tmp_path))]
    await asyncio.gather(made.destroy(ContainerId("c")), made.destroy(ContainerId("c")))
    assert OrderIsolator.done == ["watch begins", "isolate", "watch ends", "cleanup"]
    await made.close()
