# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes come into real containers and leave them, and what is on them stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.linux import mountinfo
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.linux.test_containers import C, Host, linux
from tests.model.test_operations import volume

pytestmark = pytest.mark.root

D = ContainerId("c2")
OTHER = 12345

#: Fixtures of another module.
__all__ = ["linux"]


def made(host: Host, name: str = "v", **changes: bool) -> tuple[pb.Resource, Path]:
    """A volume and its directory, which the agent has made."""
    path = host.work / "volumes" / "roles" / "db" / name
    path.mkdir(parents=True, exist_ok=True)
    return volume(32.0, "db", name=name, **changes), path


@pytest.mark.parametrize("image", [False, True])
async def test_from_the_start(linux: Host, image: bool) -> None:
    if image:
        linux.make_rootfs()
    disk, path = made(linux)
    config = linux.configured("cat data/old; echo new > data/new", image)
    (path / "old").write_text("before")
    config.resources.append(disk)
    assert (await linux.run(config)).status == 0
    assert linux.output().endswith("before")
    assert (path / "new").read_text() == "new\n"
    assert not mountinfo.below(mountinfo.read(), str(linux.sandbox()))


@pytest.mark.parametrize("image", [False, True])
async def test_a_running_container(linux: Host, image: bool) -> None:
    if image:
        linux.make_rootfs()
    disk, path = made(linux)
    (path / "old").write_text("before")
    until = "until cat data/old 2>&-; do sleep 0.1; done; "
    write = "echo x > data/new || echo refused; while test -e data/old; do sleep 0.1; done"
    disk.disk.volume.mode = pb.Volume.RO
    config = linux.configured(until + write, image)
    waited = await linux.started(config)
    await linux.mesos.update(C, [*config.resources, disk], {})
    await linux.said("refused")
    await linux.mesos.update(C, [*config.resources, disk, disk], {})
    assert [path.name for path in path.iterdir()] == ["old"]
    await linux.mesos.update(C, config.resources, {})
    assert not (linux.sandbox() / "data").exists()
    assert await waited is not None
    assert (path / "old").read_text() == "before"


async def test_owners(linux: Host) -> None:
    """The first container of a shared volume decides, of others the last one."""
    shared, shared_path = made(linux, "s", shared=True)
    own, own_path = made(linux, "o")
    own.disk.volume.container_path = "own"
    waited = []
    for number, container_id in enumerate((C, D)):
        config = linux.configured("sleep 1000", container_id=container_id)
        os.chown(linux.sandbox(container_id), OTHER + number, OTHER + number)
        config.resources.extend([shared, own] if number == 0 else [shared])
        waited.append(await linux.started(config, container_id))
    assert shared_path.stat().st_uid == OTHER
    assert (own_path.stat().st_uid, own_path.stat().st_gid) == (OTHER, OTHER)
    for container_id in (C, D):
        await linux.mesos.destroy(container_id)
    for one in waited:
        await one


async def test_a_link_in_its_place(linux: Host, tmp_path: Path) -> None:
    """What a task puts there leads nobody out of the sandbox."""
    disk, path = made(linux)
    (tmp_path / "victim").mkdir()
    (linux.sandbox() / "data").symlink_to(tmp_path / "victim")
    config = linux.configured("sleep 1000")
    waited = await linux.started(config)
    with pytest.raises(ContainerError, match="Failed to mount persistent volume"):
        await linux.mesos.update(C, [*config.resources, disk], {})
    assert not mountinfo.below(mountinfo.read(), str(tmp_path / "victim"))
    await linux.mesos.destroy(C)
    await waited
    assert path.is_dir()


@pytest.mark.parametrize("name", ["..", ".", "", "a\nb"])
async def test_paths_that_name_no_directory(linux: Host, name: str) -> None:
    disk, _ = made(linux)
    disk.disk.volume.container_path = name
    config = linux.configured("true")
    config.resources.append(disk)
    with pytest.raises(ContainerError, match="Invalid path of persistent volume"):
        await linux.started(config)
    await linux.mesos.destroy(C)


async def test_two_at_one_path(linux: Host) -> None:
    config = linux.configured("true")
    config.resources.extend([made(linux)[0], made(linux, "w")[0]])
    with pytest.raises(ContainerError, match="two persistent volumes at 'data'"):
        await linux.started(config)
    await linux.mesos.destroy(C)


async def test_standalone_containers_have_none(linux: Host) -> None:
    config = linux.configured("true")
    config.ClearField("executor_info")
    config.resources.append(made(linux)[0])
    with pytest.raises(ContainerError, match="not supported for standalone containers"):
        await linux.started(config)
    await linux.mesos.destroy(C)
