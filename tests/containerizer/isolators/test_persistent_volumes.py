# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes as links: made, taken away, and never confused with what a task put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.isolators.filesystem_posix import PosixFilesystemIsolator
from mesos_compat.base.errors import IsolatorError
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
        self.isolator = PosixFilesystemIsolator(str(folder))

    async def prepare(self, *resources: pb.Resource) -> None:
        config = slave.ContainerConfig(directory=str(self.sandbox), resources=resources)
        config.executor_info.executor_id.value = "e"
        await self.isolator.prepare(C, config)


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
