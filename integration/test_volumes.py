# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes on disks of their own, shared ones, their groups, and their end."""

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import mount
from integration.agent import OurAgent
from integration.conformance.stage import UNTIL_END
from integration.conformance.test_operations import ROLE, reserved
from integration.frameworks.director import MODERN, Director, needs, scalar, shell
from integration.master import RealMaster
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


def on_disk(
    size: float, source: Record | None = None, volume: str = "", **fields: object
) -> Record:
    """Reserved disk, or a volume on it whose path is its id."""
    disk: Record = {} if source is None else {"source": source}
    if volume:
        disk["persistence"] = {"id": volume}
        disk["volume"] = {"container_path": volume, "mode": "RW"}
    return reserved("disk", size, **({"disk": disk} if disk else {}), **fields)


def operation(kind: str, *resources: Record, id_: str = "") -> Record:
    field = "volumes" if kind in ("CREATE", "DESTROY") else "resources"
    made: Record = {"type": kind, kind.lower(): {field: list(resources)}}
    return made | {"id": {"value": id_}} if id_ else made


def volumes(offer: Record) -> set[str]:
    """Ids of the volumes in an offer."""
    return {
        resource["disk"]["persistence"]["id"]
        for resource in offer["resources"]
        if "persistence" in resource.get("disk", {})
    }


class Owner:
    """A framework with volumes."""

    def __init__(self, master: RealMaster) -> None:
        self.director = Director(
            master.address, roles=[ROLE], capabilities=(*MODERN, "SHARED_RESOURCES")
        ).start()

    def make(self, *made: Record) -> None:
        """Reserve disk and make volumes of it; wait until they are offered."""
        parts = []
        for volume in made:
            source = volume["disk"].get("source")
            parts.append(on_disk(volume["scalar"]["value"], source))
        operations = operation("RESERVE", *parts), operation("CREATE", *made)
        self.director.accept(self.director.offer(), *operations)

    def destroy(self, *destroyed: Record, id_: str = "") -> None:
        """Destroy volumes."""
        names = {volume["disk"]["persistence"]["id"] for volume in destroyed}
        offer = self.director.offer(lambda offer: names <= volumes(offer))
        self.director.accept(offer, operation("DESTROY", *destroyed, id_=id_))

    def launch(self, *tasks: Record) -> None:
        """Launch tasks on an offer that has their volumes."""
        names = {
            resource["disk"]["persistence"]["id"]
            for task in tasks
            for resource in task["resources"]
            if "disk" in resource
        }
        offer = self.director.offer(lambda offer: names <= volumes(offer))
        infos = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        self.director.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": infos}})

    def launch_pod(self, *tasks: Record) -> None:
        """Launch tasks on one default executor."""
        offer = self.director.offer(lambda offer: bool(volumes(offer)))
        infos = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        executor = {
            "type": "DEFAULT",
            "executor_id": {"value": "pod"},
            "framework_id": offer["framework_id"],
            "resources": [
                *needs(role=ROLE),
                scalar("disk", 32, allocation_info={"role": ROLE}),
            ],
        }
        group = {"executor": executor, "task_group": {"tasks": infos}}
        self.director.accept(offer, {"type": "LAUNCH_GROUP", "launch_group": group})


def task(name: str, script: str, *resources: Record, user: str = "", **fields: object) -> Record:
    made = shell(name, script, resources=[*needs(role=ROLE), *resources], **fields)
    if user:
        made["command"]["user"] = user
    return made


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Small file systems of their own; to be asked for before the scene."""
    made = tmp_path / "mounted"
    for name in ("whole", "part"):
        (made / name).mkdir(parents=True)
        mount.mount("tmpfs", str(made / name), "tmpfs", 0, "size=16m")
    yield made
    for name in ("whole", "part"):
        mount.umount(str(made / name), 0)


@pytest.mark.parametrize("version", ["1.4.3", "1.7.3", "1.11.0"])
def test_disks_of_their_own(mounted: Path, scene: Scene, version: str) -> None:
    """A task that uses them goes on while the agent is away; what is mounted stays mounted."""
    whole = {"type": "MOUNT", "mount": {"root": str(mounted / "whole")}}
    part = {"type": "PATH", "path": {"root": str(mounted / "part" / "root")}}
    disks = [scalar("disk", 16, disk={"source": source}) for source in (whole, part)]
    master = scene.master(version)
    resources = json.dumps([scalar("cpus", 1), scalar("mem", 512), *disks])
    agent = scene.agent(master, isolation="filesystem/linux", resources=resources)
    owner = Owner(master)
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
    assert master.running


@pytest.mark.parametrize("version", ["1.4.3", "1.7.3", "1.11.0"])
def test_a_shared_volume(scene: Scene, version: str) -> None:
    """Two tasks have it at once; it ends when none has it."""
    master = scene.master(version)
    agent = scene.agent(master, isolation="filesystem/linux")
    owner = Owner(master)
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
    assert master.running


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
    owner = Owner(master)
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
    owner = Owner(master)
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
    owner = Owner(master)
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
    owner = Owner(master)
    owner.make(on_disk(16, None, "one"))
    offer = owner.director.offer(lambda offer: bool(volumes(offer)))
    grown: Record = {"volume": on_disk(16, None, "one"), "addition": on_disk(1)}
    reserve = operation("RESERVE", on_disk(1))
    grow = {"type": "GROW_VOLUME", "grow_volume": grown, "id": {"value": "grow"}}
    owner.director.accept(offer, reserve, grow)
    told = owner.director.wait(lambda: owner.director.operations.get("grow"), "word of it")
    assert told[-1]["state"] == "OPERATION_ERROR"
    assert "RESIZE_VOLUME" in told[-1]["message"]
