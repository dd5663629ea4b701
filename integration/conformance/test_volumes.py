# SPDX-License-Identifier: Apache-2.0
"""Volumes on disks of their own, and volumes that several tasks have at once."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import mount
from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import scalar
from integration.frameworks.owner import ROLE, VolumeOwner, on_disk, task
from integration.processes import eventually

pytestmark = pytest.mark.root


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Small file systems of their own; to be asked for before the scene."""
    made = tmp_path / "mounted"
    for name in ("whole", "part"):
        (made / name).mkdir(parents=True)
        mount.mount("tmpfs", str(made / name), "tmpfs", 0, "size=16m")
    yield made
    for name in ("whole", "part"):
        mount.umount(str(made / name), mount.MNT_DETACH)


def test_disks_of_their_own(mounted: Path, stage: Stage) -> None:
    """A task that uses them goes on while the agent is away; what is mounted stays mounted."""
    whole = {"type": "MOUNT", "mount": {"root": str(mounted / "whole")}}
    part = {"type": "PATH", "path": {"root": str(mounted / "part" / "root")}}
    disks = [scalar("disk", 16, disk={"source": source}) for source in (whole, part)]
    resources = json.dumps([scalar("cpus", 1), scalar("mem", 512), *disks])
    stage.up(isolation="filesystem/linux", resources=resources)
    owner, agent = VolumeOwner(stage.master.address), stage.agent
    made = on_disk(16, whole, "whole"), on_disk(8, part, "part")
    owner.make(*made)
    script = "echo x > whole/file && mkdir part/dir && echo y > part/dir/file && "
    owner.launch(
        task("on", f"{script} {UNTIL_END}; grep x whole/file && grep y part/dir/file", *made)
    )
    owner.director.until("on", "TASK_RUNNING")
    directory = mounted / "part" / "root" / "volumes" / "roles" / ROLE / "part"
    eventually((directory / "dir" / "file").exists, 60, "the task to write")
    agent.kill()
    agent.spawn().wait_until_registered()
    assert (mounted / "whole" / "file").read_text() == "x\n"
    Path(agent.sandbox("on"), "end").touch()
    owner.director.until("on", "TASK_FINISHED")

    owner.destroy(*made)
    eventually(lambda: not directory.exists(), 60, "the volume on the PATH disk to be removed")
    eventually(lambda: not os.listdir(mounted / "whole"), 60, "the MOUNT disk to be empty")
    assert os.path.ismount(mounted / "whole")
    owner.director.teardown()
    owner.director.close()


def test_a_shared_volume(stage: Stage) -> None:
    """Two tasks have it at once; it ends when none has it."""
    stage.up(isolation="filesystem/linux")
    owner, agent = VolumeOwner(stage.master.address), stage.agent
    shared = on_disk(16, None, "both", shared={})
    owner.make(shared)
    wait = "echo {} > both/{} && until [ -e both/{} ]; do sleep 0.1; done"
    names = ("one", "two")
    owner.launch(
        *(task(own, wait.format(own, own, other), shared) for own, other in (names, names[::-1]))
    )
    for name in names:
        owner.director.until(name, "TASK_FINISHED")
    directory = Path(agent.work_dir, "volumes", "roles", ROLE, "both")
    assert sorted(os.listdir(directory)) == ["one", "two"]
    owner.destroy(shared)
    eventually(lambda: not directory.exists(), 60, "the volume to be removed")
    owner.director.teardown()
    owner.director.close()
