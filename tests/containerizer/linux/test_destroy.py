# SPDX-License-Identifier: Apache-2.0
"""A container destroyed anywhere on its way leaves nothing on this host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer.isolators import order
from containerizer.isolators.context import IsolatorContext
from containerizer.linux import cgroup1, mountinfo, proc
from mesos_compat.base.errors import IsolatorError, LaunchAborted
from mesos_compat.base.plugins import Group
from tests.containerizer.fakes import FakeIsolator, Steps
from tests.containerizer.linux.test_containers import ISOLATION, C, Host, cgroup_roots, corner

pytestmark = pytest.mark.root

#: Where a launch is stopped, in order, and whether init is there by then.
STEPS = {"provision c1": False, "held prepare c1": False, "held isolate c1": True}

_steps = Steps()


class HeldIsolator(FakeIsolator):
    """The last one of all, which a test can stop."""

    @classmethod
    def create(cls, context: IsolatorContext) -> HeldIsolator:
        return cls("held", _steps)


@pytest_asyncio.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    points: Iterable[EntryPoint] = [
        *Group(order.GROUP)._points.values(),
        EntryPoint("held", f"{__name__}:HeldIsolator", order.GROUP),
    ]
    monkeypatch.setattr(order, "Group", lambda name: Group(name, points))
    global _steps
    _steps = Steps()
    async for made in corner(tmp_path, "linux", f"{ISOLATION},held"):
        made.provisioner.steps = _steps
        made.make_rootfs()
        yield made


def traces(host: Host) -> list[str]:
    """What a container has on the host: cgroups, mounts, a runtime directory."""
    found = [each for root in cgroup_roots(host.root) for each in cgroup1.descendants(root)]
    mounts = [entry.target for entry in mountinfo.below(mountinfo.read(), str(host.folder))]
    found += [target for target in mounts if target != str(host.work)]
    runtime = host.folder / "run" / "containers"
    return found + (os.listdir(runtime) if runtime.is_dir() else [])


async def test_destroyed_in_each_state_of_a_launch(host: Host) -> None:
    for step, forked in STEPS.items():
        _steps.hold(step)
        launch = asyncio.create_task(
            host.mesos.launch(C, host.configured("sleep 600", image=True), {})
        )
        await _steps.reached(step)
        assert traces(host), step
        pid = host.launcher.pid(C)
        assert (pid is not None) is forked
        destroy = asyncio.create_task(host.mesos.destroy(C))
        await asyncio.sleep(0)
        if not step.startswith("provision"):  # the only one that is cut short
            _steps.release(step)
        with pytest.raises(LaunchAborted, match="Container is being destroyed during "):
            await launch
        if step.startswith("provision"):
            _steps.release(step)
        ended = await destroy
        assert ended is not None
        assert ended.HasField("status") is forked
        assert pid is None or proc.is_zombie_or_gone(pid)
        assert traces(host) == [], step
        assert host.mesos.containers() == frozenset()


async def test_destroyed_while_it_runs(host: Host) -> None:
    await host.started(host.configured("sleep 600 & sleep 600", image=True))
    pid = host.launcher.pid(C)
    assert pid is not None
    ended = await host.mesos.destroy(C)
    assert ended is not None
    assert ended.status == 9
    assert proc.is_zombie_or_gone(pid)
    assert traces(host) == []


@pytest.mark.parametrize("step", ["provision c1", "held prepare c1", "held isolate c1"])
async def test_a_launch_that_fails_anywhere_leaves_nothing(host: Host, step: str) -> None:
    _steps.fail(step, IsolatorError("broken"))
    with pytest.raises(IsolatorError, match="broken"):
        await host.mesos.launch(C, host.configured("sleep 600", image=True), {})
    ended = await host.mesos.destroy(C)
    assert ended is not None
    assert not ended.HasField("state")
    assert ended.HasField("status") is STEPS[step]
    assert traces(host) == []
