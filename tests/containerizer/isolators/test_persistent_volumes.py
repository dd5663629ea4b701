# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes as links: made, taken away, and never confused with what a task put there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from containerizer.isolators.filesystem_posix import PosixFilesystemIsolator
from containerizer.isolators.persistent_volumes import add_groups
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.errors import IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.model.test_operations import volume

C = ContainerId("c")


class Box:
    """A container with a sandbox, and a volume on disk."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = folder / "sandbox"
        self.sandbox.mkdir()
        self.source = folder / "volumes" / "roles" / "db" / "v"
        self.source.mkdir(parents=True)
        self.gids = VolumeGids(((10000, 10009),), str(folder), str(folder), Metrics())
        self.isolator = PosixFilesystemIsolator(str(folder))

    async def prepare(self, *resources: pb.Resource) -> slave.ContainerLaunchInfo | None:
        config = slave.ContainerConfig(directory=str(self.sandbox), resources=resources)
        config.executor_info.executor_id.value = "e"
        return await self.isolator.prepare(C, config)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


async def test_links_come_and_go(box: Box) -> None:
    await box.prepare(volume(1.0, "db"))
    link = box.sandbox / "data"
    assert link.readlink() == box.source
    await box.isolator.update(C, [volume(1.0, "db"), volume(1.0, "db")], {})
    await box.isolator.update(C, [], {})
    assert not link.is_symlink()
    assert box.source.is_dir()
    link.write_text("of the task")
    with pytest.raises(IsolatorError, match="The path 'data' in the sandbox is taken"):
        await box.isolator.update(C, [volume(1.0, "db")], {})
    link.unlink()
    link.symlink_to("/etc")
    with pytest.raises(IsolatorError, match="The path 'data' in the sandbox is taken"):
        await box.isolator.update(C, [volume(1.0, "db")], {})


async def test_what_an_earlier_agent_made(box: Box) -> None:
    (box.sandbox / "data").symlink_to(box.source)
    state = slave.ContainerState(directory=str(box.sandbox))
    state.container_id.value = C.value
    await box.isolator.recover([state], [])
    await box.isolator.update(C, [volume(1.0, "db")], {})
    await box.isolator.update(C, [], {})
    assert not (box.sandbox / "data").is_symlink()


async def test_a_task_that_replaces_its_link(box: Box) -> None:
    await box.prepare(volume(1.0, "db"))
    (box.sandbox / "data").unlink()
    (box.sandbox / "data").mkdir()
    await box.isolator.update(C, [], {})
    assert (box.sandbox / "data").is_dir()


async def test_paths_with_a_slash_are_passed_over(box: Box) -> None:
    disk = volume(1.0, "db")
    disk.disk.volume.container_path = "a/b"
    await box.prepare(disk)
    assert not list(box.sandbox.iterdir())


async def test_containers_that_are_unknown(box: Box) -> None:
    with pytest.raises(IsolatorError, match="Unknown container"):
        await box.isolator.update(C, [volume(1.0, "db")], {})


@pytest.mark.root
async def test_without_a_group_it_belongs_to_who_has_it(box: Box) -> None:
    shutil.chown(box.sandbox, "nobody", "daemon")
    assert await box.prepare(volume(1.0, "db")) is None
    assert (box.source.owner(), box.source.group()) == ("nobody", "daemon")


@pytest.mark.root
@pytest.mark.parametrize(("shared", "owner"), [(True, "nobody"), (False, "daemon")])
async def test_a_shared_one_belongs_to_who_came_first(box: Box, shared: bool, owner: str) -> None:
    disk = volume(1.0, "db")
    if shared:
        disk.shared.SetInParent()
    shutil.chown(box.sandbox, "nobody")
    await box.prepare(disk)
    other = box.sandbox.with_name("other")
    other.mkdir()
    shutil.chown(other, "daemon")
    config = slave.ContainerConfig(directory=str(other), resources=[disk])
    config.executor_info.executor_id.value = "e"
    await box.isolator.prepare(ContainerId("d"), config)
    assert box.source.owner() == owner
    await box.isolator.cleanup(C)
    await box.isolator.update(ContainerId("d"), [], {})
    await box.isolator.update(ContainerId("d"), [disk], {})
    assert box.source.owner() == "daemon"


@pytest.mark.root
async def test_with_a_group_it_belongs_to_nobody(box: Box) -> None:
    box.isolator = PosixFilesystemIsolator(str(box.source.parents[3]), box.gids)
    assert await box.prepare(volume(1.0, "db")) is None
    assert box.source.stat().st_gid == 0
    await box.isolator.cleanup(C)
    (box.sandbox / "data").unlink()
    shutil.chown(box.sandbox, "nobody")
    info = await box.prepare(volume(1.0, "db"))
    assert info is not None
    assert list(info.supplementary_groups) == [10000]
    assert (box.source.stat().st_uid, box.source.stat().st_gid) == (0, 10000)


def test_who_needs_the_groups() -> None:
    """The task, not its executor, if that is outside of the task's image."""
    config = slave.ContainerConfig()
    for rootfs, name in ((False, "supplementary_groups"), (True, "task_supplementary_groups")):
        config.task_info.name = "command task"
        if rootfs:
            config.rootfs = "/rootfs"
        info = slave.ContainerLaunchInfo()
        add_groups(info, config, (10000,))
        assert list(getattr(info, name)) == [10000]
        assert [field.name for field, _ in info.ListFields()] == [name]


@pytest.mark.root
async def test_a_container_that_goes_meanwhile_gets_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mounted after the cleanup would stay."""
    box.isolator = PosixFilesystemIsolator(str(box.source.parents[3]), box.gids)
    shutil.chown(box.sandbox, "nobody")
    await box.prepare()
    allocate = box.gids.allocate

    async def slow(*given: Any) -> int:
        gid = await allocate(*given)
        await box.isolator.cleanup(C)
        return gid

    monkeypatch.setattr(box.gids, "allocate", slow)
    with pytest.raises(IsolatorError, match="destroyed while it was given its volumes"):
        await box.isolator.update(C, [volume(1.0, "db")], {})
    assert not (box.sandbox / "data").is_symlink()
