# SPDX-License-Identifier: Apache-2.0
"""The posix launcher: no root needed."""

from __future__ import annotations

import asyncio
import os

import pytest

from containerizer.launcher.posix import PosixLauncher
from containerizer.linux import proc
from containerizer.linux.namespaces import CLONE_NEWNS
from mesos_compat.base.errors import LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.launcher.host import Host, launch_info
from tests.patience import PATIENCE_S


async def test_status_output_and_end(posix: Host) -> None:
    outcome = await posix.run(launch_info("echo out; echo err >&2; exit 2"))
    assert (outcome.status, outcome.stdout, outcome.stderr) == (str(2 << 8), "out\n", "err\n")


async def test_tree_dies_with_its_groups(posix: Host) -> None:
    script = "sh -c 'sleep 1000 & sleep 1000' & setsid sleep 1000 & echo $$; sleep 1000"
    container_id, init = await posix.start(launch_info(script))
    await posix.written(container_id)
    tree = {init.pid}
    while more := {c for pid in tree for c in proc.children(pid)} - tree:
        tree |= more
    async with asyncio.timeout(PATIENCE_S):
        await posix.launcher.destroy(container_id)
    posix.ids.clear()
    assert len(tree) >= 4
    assert all(proc.is_zombie_or_gone(pid) for pid in tree)


async def test_group_is_found_after_the_leader_ended(posix: Host) -> None:
    container_id, init = await posix.start(launch_info("sleep 1000 & echo $!; exit 0"))
    left = int((await posix.written(container_id))[0])
    await posix.launcher.wait(container_id)
    assert proc.stat(left).session == init.pid
    await posix.finish(container_id)
    assert proc.is_zombie_or_gone(left)


async def test_refusals(posix: Host) -> None:
    info = launch_info("true", clone_namespaces=[CLONE_NEWNS])
    with pytest.raises(LaunchError, match="does not support cloning namespaces"):
        await posix.start(info)
    with pytest.raises(LaunchError, match="does not support entering namespaces"):
        await posix.start(launch_info("true"), enter=CLONE_NEWNS)
    await posix.launcher.destroy(ContainerId("nobody"))


async def test_wait_is_for_many_and_each_may_give_up(posix: Host) -> None:
    container_id, init = await posix.start(launch_info("true"), release=False)
    first = asyncio.create_task(posix.launcher.wait(container_id))
    second = asyncio.create_task(posix.launcher.wait(container_id))
    await asyncio.sleep(0)
    first.cancel()
    init.release()
    async with asyncio.timeout(PATIENCE_S):
        await second
        await posix.launcher.wait(container_id)
    assert first.cancelled()


async def test_recover(posix: Host) -> None:
    states = [
        slave.ContainerState(
            container_id=ContainerId(name).message(), pid=os.getpid(), directory="/"
        )
        for name in ("a", "b")
    ]
    other = PosixLauncher(posix.launcher._spawner)  # type: ignore[attr-defined] # same helper
    assert await other.recover(states[:1]) == frozenset()
    assert other.pid(ContainerId("a")) == os.getpid()
    with pytest.raises(LaunchError, match="Detected duplicate pid"):
        await PosixLauncher(posix.launcher._spawner).recover(states)  # type: ignore[attr-defined]


async def test_recovered_pid_that_is_gone(posix: Host) -> None:
    state = slave.ContainerState(
        container_id=ContainerId("gone").message(), pid=2**31 + 5, directory="/"
    )
    await posix.launcher.recover([state])
    async with asyncio.timeout(PATIENCE_S):
        await posix.launcher.wait(ContainerId("gone"))
        await posix.launcher.destroy(ContainerId("gone"))
