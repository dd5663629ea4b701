# SPDX-License-Identifier: Apache-2.0
"""What every isolator must do. A test class derives from ``IsolatorSuite`` and says how.

The verbs are called through ``IsolatorCaller``, as in an agent, so answers of the wrong type and
exceptions that are none of the contract's show.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from containerizer.isolators.base import Isolator
from containerizer.isolators.caller import IsolatorCaller, NamedIsolator
from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from containerizer.merge import merged
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")
N = ContainerId("n", C)
UNKNOWN = ContainerId("unknown")


def context(folder: Path, **settings: object) -> IsolatorContext:
    """What an isolator is created with, over files in ``folder``."""
    config = ContainerizerConfig(
        work_dir=str(folder), runtime_dir=str(folder / "run"), launcher="linux"
    )
    return IsolatorContext(
        dataclasses.replace(config, **settings),  # type: ignore[arg-type]  # whatever a test sets
        frozenset(),
        Metrics(),
        lambda container_id: str(folder / "run" / "containers" / container_id.value),
        lambda _: None,
    )


@dataclasses.dataclass
class Asked:
    """An isolator and its caller."""

    isolator: Isolator
    caller: IsolatorCaller


class IsolatorSuite:
    """The tests. The classes' attributes are what the specification says of the isolator."""

    nesting: ClassVar[bool]
    standalone: ClassVar[bool]

    def make(self, folder: Path) -> Isolator:
        """Return an isolator over the files in ``folder``, without the need for root."""
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def asked(self, tmp_path: Path) -> AsyncIterator[Asked]:
        async with Scope("test") as scope:
            isolator = self.make(tmp_path)
            caller = IsolatorCaller([NamedIsolator("it", isolator)], scope, lambda _: False)
            yield Asked(isolator, caller)
            assert caller.pending() == []

    def config(self, folder: Path) -> slave.ContainerConfig:
        """Return the configuration of a container that the isolator has nothing against."""
        sandbox = folder / "sandbox"
        sandbox.mkdir(exist_ok=True)
        (folder / "run" / "containers" / "c").mkdir(parents=True, exist_ok=True)
        made = slave.ContainerConfig(directory=str(sandbox), user="root")
        made.command_info.value = "true"
        made.command_info.environment.variables.add(name="A", value="1")
        made.executor_info.executor_id.value = "e"
        for name, amount in (("cpus", 0.5), ("mem", 64.0)):
            made.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = amount
        return made

    def test_what_it_supports(self, tmp_path: Path) -> None:
        isolator = self.make(tmp_path)
        supports = isolator.supports_nesting, isolator.supports_standalone
        assert supports == (self.nesting, self.standalone)

    def test_its_verbs_have_the_shape_of_the_contract(self, tmp_path: Path) -> None:
        kind = type(self.make(tmp_path))
        assert issubclass(kind, Isolator)
        for name, verb in vars(Isolator).items():
            if inspect.iscoroutinefunction(verb):
                mine = getattr(kind, name)
                assert inspect.iscoroutinefunction(mine), name
                assert list(inspect.signature(mine).parameters) == list(
                    inspect.signature(verb).parameters
                ), name

    async def test_prepare_returns_data(self, asked: Asked, tmp_path: Path) -> None:
        config = self.config(tmp_path)
        before = config.SerializeToString(deterministic=True)
        descriptors = len(os.listdir("/proc/self/fd"))
        infos = await asked.caller.prepare(C, config)
        assert config.SerializeToString(deterministic=True) == before
        # Fewer, if what an earlier test has left is closed meanwhile.
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert len(infos) <= 1
        merged(infos)
        for info in infos:
            assert not info.HasField("user")
            assert not info.HasField("rootfs")
            assert info.IsInitialized()
        assert await asked.caller.cleanup(C) == []

    async def test_cleanup_of_a_prepared_container_forgets_it(
        self, asked: Asked, tmp_path: Path
    ) -> None:
        first = await asked.caller.prepare(C, self.config(tmp_path))
        assert await asked.caller.cleanup(C) == []
        assert await asked.caller.prepare(C, self.config(tmp_path)) == first
        assert await asked.caller.cleanup(C) == []
        assert await asked.caller.cleanup(C) == []

    async def test_cleanup_after_a_failed_prepare(self, asked: Asked, tmp_path: Path) -> None:
        broken = slave.ContainerConfig()
        broken.command_info.environment.variables.add(name="V", type="UNKNOWN")
        broken.container_info.volumes.add(container_path="../..", mode=pb.Volume.RW)
        try:
            await asked.caller.prepare(C, broken)
        except ContainerError:
            pass
        assert await asked.caller.cleanup(C) == []

    async def test_containers_that_it_never_saw(self, asked: Asked) -> None:
        for container_id in (UNKNOWN, N, ContainerId("n", UNKNOWN)):
            assert await asked.caller.cleanup(container_id) == []
        await asked.caller.usage(UNKNOWN)
        await asked.caller.status(UNKNOWN)
        refusal = ""
        try:
            await asked.caller.update(UNKNOWN, (), {})
        except ContainerError as error:
            refusal = str(error)
        assert "broke" not in refusal

    async def test_recovered_containers(self, asked: Asked, tmp_path: Path) -> None:
        config = self.config(tmp_path)
        state = slave.ContainerState(
            container_id=C.message(), pid=os.getpid(), directory=config.directory
        )
        state.executor_info.CopyFrom(config.executor_info)
        await asked.caller.recover([state], {UNKNOWN})
        await asked.caller.usage(C)
        await asked.caller.status(C)
        for container_id in (UNKNOWN, C):
            assert await asked.caller.cleanup(container_id) == []

    async def test_watch_is_endless_and_can_be_given_up(self, asked: Asked, tmp_path: Path) -> None:
        await asked.caller.prepare(C, self.config(tmp_path))
        for _, watch in asked.caller.watches(C):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch(C), 0.01)
        assert await asked.caller.cleanup(C) == []

    async def test_many_containers_leave_nothing(self, asked: Asked, tmp_path: Path) -> None:
        held = _size(asked.isolator)
        for number in range(3):
            container_id = ContainerId(f"many-{number}")
            await asked.caller.prepare(container_id, self.config(tmp_path))
            assert await asked.caller.cleanup(container_id) == []
        assert _size(asked.isolator) == held


def _size(isolator: Isolator) -> int:
    """Return how many entries the isolator's own collections have."""
    return sum(
        len(value) for value in vars(isolator).values() if isinstance(value, dict | set | list)
    )
