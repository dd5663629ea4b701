# SPDX-License-Identifier: Apache-2.0
"""The composition root: what becomes of errors that nobody caught, what is always there."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from containerizer.api import Containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.local.engine import create_launcher, open_engine
from containerizer.provisioner.config import ProvisionerConfig
from mesos_compat.base.errors import FlagError, InvariantError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.cli import agent as module
from tests.libprocess.waiting import until


async def break_with(error: Exception) -> asyncio.Future[module.Ending]:
    """Let a child of a scope fail in an event loop that is set up like the agent's."""

    async def child() -> None:
        raise error

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[module.Ending] = loop.create_future()
    loop.set_exception_handler(partial(module._broken, ended))
    try:
        async with Scope("agent") as scope:
            scope.spawn(child(), "the child")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    return ended


async def test_a_broken_invariant_ends_the_agent_with_the_story(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = InvariantError("broken: the story")
    ended = await break_with(error)
    assert ended.exception() is error
    assert caplog.messages == ["agent: the child broke: broken: the story"]


async def test_any_other_failure_of_a_part_does_not(caplog: pytest.LogCaptureFixture) -> None:
    ended = await break_with(RuntimeError("one container"))
    assert not ended.done()
    assert caplog.messages == ["agent: the child failed: one container"]


def engine_of(
    tmp_path: Path, stack: AsyncExitStack, metrics: Metrics, backend: str | None
) -> Containerizer:
    """Open the engine of an agent without image providers."""
    spawner = Spawner(SpawnerConfig({}, quiet=True))
    stack.push_async_callback(spawner.close)
    work_dir, runtime_dir = str(tmp_path / "work"), str(tmp_path / "run")
    config = ContainerizerConfig(
        work_dir=work_dir,
        runtime_dir=runtime_dir,
        launcher="posix",
        isolation="filesystem/posix,posix/cpu,posix/mem",
    )
    images = ProvisionerConfig(work_dir=work_dir, image_provisioner_backend=backend)
    launcher = create_launcher(config, spawner, None)
    return open_engine(config, images, launcher, spawner, metrics, stack)


async def test_root_file_systems_of_earlier_agents_go_without_image_providers(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    container = tmp_path / "work" / "provisioner" / "containers" / "left"
    rootfs = container / "backends" / "copy" / "rootfses" / "b2b0ba35-06d5-4ad4-9d0a-d8aeb0d5e5d9"
    (rootfs / "bin").mkdir(parents=True)
    async with AsyncExitStack() as stack:
        engine = engine_of(tmp_path, stack, metrics, None)
        await engine.recover([])
        await until(lambda: not container.exists())
    assert metrics.snapshot()["containerizer/mesos/provisioner/remove_container_errors"] == 0


async def test_an_unusable_backend_stops_the_start_without_image_providers(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(FlagError, match="The specified provisioner backend 'zfs' is not supp"):
            engine_of(tmp_path, stack, Metrics(), "zfs")
