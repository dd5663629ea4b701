# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes on disks of their own, shared ones, their groups, and their end."""

import json
import os
import pwd
from pathlib import Path

import pytest

from containerizer.linux import mount
from integration.agent import OurAgent
from integration.frameworks.owner import (
    ROLE,
    VolumeOwner,
    on_disk,
    operation,
    task,
    volumes,
)
from integration.processes import eventually, get_json
from integration.scene import Scene
from integration.subscription import Record

pytestmark = [pytest.mark.integration, pytest.mark.root]

GIDS = "[10000-10001]"
CAPABILITIES = {
    "AGENT_DRAINING",
    "AGENT_OPERATION_FEEDBACK",
    "HIERARCHICAL_ROLE",
    "MULTI_ROLE",
    "RESERVATION_REFINEMENT",
    "RESIZE_VOLUME",
    "RESOURCE_PROVIDER",
    "TASK_RESOURCE_LIMITS",
}


def free_gids(agent: OurAgent) -> float:
    found = get_json(agent.address, "/metrics/snapshot")
    assert found is not None
    return float(found["volume_gid_manager/volume_gids_free"])


def test_groups_of_volumes(scene: Scene, docker_images: str, tmp_path: Path) -> None:
    """Tasks of different users work in the same volumes; each volume has its own group."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)  # tasks are not root
    master = scene.master()
    agent = scene.agent(
        master,
        isolation="filesystem/linux,docker/runtime",
        image_providers="DOCKER",
        docker_registry=docker_images,
        volume_gid_range=GIDS,
    )
    owner = VolumeOwner(master.address)
    one, two, three = (on_disk(16, None, name) for name in ("one", "two", "three"))
    owner.make(one, two, three)
    script = "for v in one two; do mkdir $v/dir && echo x > $v/dir/file || exit 1; done; id -G > g"
    owner.launch(task("writes", script, one, two, user="nobody"))
    owner.director.until("writes", "TASK_FINISHED")
    assert {"10000", "10001"} <= set(Path(agent.sandbox("writes"), "g").read_text().split())
    roles = Path(agent.work_dir, "volumes", "roles", ROLE)
    found = [
        (roles / name / path).stat().st_gid for name in ("one", "two") for path in (".", "dir")
    ]
    assert sorted(found) == [10000, 10000, 10001, 10001]
    assert (roles / "one").stat().st_mode & 0o7777 == 0o2775
    assert free_gids(agent) == 0.0

    agent.kill()
    agent.spawn().wait_until_registered()
    container = {
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
    }
    script = "grep x one/dir/file && touch one/of-another"
    owner.launch(task("reads", script, one, user="daemon", container=container))
    owner.director.until("reads", "TASK_FINISHED")
    assert (roles / "one" / "of-another").owner() == "daemon"
    owner.launch(task("third", "true", three, user="nobody"))
    status = owner.director.until("third", "TASK_FAILED")
    assert "because the free gid range is exhausted" in status["message"]

    owner.destroy(one)
    eventually(lambda: not (roles / "one").exists(), 60, "the volume to be removed")
    eventually(lambda: free_gids(agent) == 1.0, 60, "its group to be free")
    owner.launch(task("again", "touch three/file", three, user="nobody"))
    owner.director.until("again", "TASK_FINISHED")
    # The next process does not come so far that it could destroy containers.
    eventually(lambda: get_json(agent.address, "/containers") == [], 60, "the last container's end")

    agent.kill()
    Path(agent.work_dir, "meta", "volume_gid_manager", "volume_gids").write_bytes(b"x")
    agent.spawn()
    assert agent.wait() == 1
    assert agent.said("Failed to perform recovery")


def test_groups_in_a_pod(scene: Scene, tmp_path: Path) -> None:
    """What tasks of a pod share has a group as long as the pod, but a volume as long as itself."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)  # tasks are not root
    master = scene.master()
    agent = scene.agent(
        master,
        isolation="filesystem/linux,volume/sandbox_path,namespaces/pid",
        volume_gid_range=GIDS,
    )
    owner = VolumeOwner(master.address)
    volume = on_disk(16, None, "data")
    owner.make(volume)
    shared = {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "common"}}
    mounts = [{"mode": "RW", "container_path": "common", "source": shared}]
    script = "id -G; echo x > data/file && echo y > common/file"
    pod = task("in", script, volume, user="nobody", container={"type": "MESOS", "volumes": mounts})
    owner.launch_pod(pod)
    owner.director.until("in", "TASK_FINISHED")
    roles = Path(agent.work_dir, "volumes", "roles", ROLE)
    sandbox = Path(agent.sandbox("pod"))
    (stdout,) = sandbox.glob("containers/*/stdout")
    assert {"10000", "10001"} <= set(stdout.read_text().split())
    eventually(lambda: free_gids(agent) == 1.0, 60, "the group of the sandbox to be free")
    assert (sandbox / "common" / "file").read_text() == "y\n"
    assert (sandbox / "common" / "file").stat().st_gid == pwd.getpwnam("nobody").pw_gid
    assert (roles / "data").stat().st_gid in (10000, 10001)
    assert (roles / "data" / "file").read_text() == "x\n"
    owner.destroy(volume)
    eventually(lambda: free_gids(agent) == 2.0, 60, "the group of the volume to be free")


def test_a_removal_is_interrupted(scene: Scene) -> None:
    """The agent goes on meanwhile; the operation is over when nothing is left, and not before."""
    master = scene.master()
    agent = scene.agent(master, isolation="filesystem/posix")
    owner = VolumeOwner(master.address)
    volume = on_disk(16, None, "large")
    owner.make(volume)
    directory = Path(agent.work_dir, "volumes", "roles", ROLE, "large")
    eventually(directory.is_dir, 60, "the volume to be made")
    for name in ("a", "b"):
        (directory / name).mkdir()
        for number in range(1000):
            (directory / name / str(number)).touch()
    held = directory / "held"
    held.mkdir()
    mount.mount("tmpfs", str(held), "tmpfs", 0, "size=1m")
    try:
        owner.destroy(volume, id_="destroy")
        eventually(lambda: os.listdir(directory) == ["held"], 60, "the rest to be removed")
        owner.launch(task("beside", "true"))
        owner.director.until("beside", "TASK_FINISHED")
        assert "destroy" not in owner.director.operations
        agent.kill()
    finally:
        mount.umount(str(held), 0)
    agent.spawn().wait_until_registered()
    assert not directory.exists()
    told = owner.director.wait(
        lambda: owner.director.operations.get("destroy"), "word of the operation"
    )
    assert told[-1]["state"] == "OPERATION_FINISHED"
    assert master.running


def test_features_that_are_switched_off(scene: Scene) -> None:
    """The master sends nothing of that."""
    master = scene.master()
    names = [name for name in sorted(CAPABILITIES) if name != "RESIZE_VOLUME"]
    features = json.dumps({"capabilities": [{"type": name} for name in names]})
    agent = scene.agent(master, agent_features=features)
    assert sorted(agent.state()["capabilities"]) == names
    (seen,) = master.agents()
    assert sorted(seen["capabilities"]) == names
    owner = VolumeOwner(master.address)
    owner.make(on_disk(16, None, "one"))
    offer = owner.director.offer(lambda offer: bool(volumes(offer)))
    grown: Record = {"volume": on_disk(16, None, "one"), "addition": on_disk(1)}
    reserve = operation("RESERVE", on_disk(1))
    grow = {"type": "GROW_VOLUME", "grow_volume": grown, "id": {"value": "grow"}}
    owner.director.accept(offer, reserve, grow)
    told = owner.director.wait(lambda: owner.director.operations.get("grow"), "word of it")
    assert told[-1]["state"] == "OPERATION_ERROR"
    assert "RESIZE_VOLUME" in told[-1]["message"]
