# SPDX-License-Identifier: Apache-2.0
"""Reservations and persistent volumes with real masters, which have to survive all of it."""

import asyncio
import json
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.frameworks.volumes import Operation, VolumeFramework, scalar
from integration.frameworks.volumes import volume as attached
from integration.master import SUPPORTED, RealMaster
from integration.processes import eventually, post_json
from integration.reservations import operate, reserved, stacked, volume
from integration.scene import Scene
from mesos_compat.libprocess.http_client import HttpClient
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

pytestmark = pytest.mark.integration


def reserved_disk(agent: OurAgent, role: str = "db") -> float:
    return float(agent.state()["reserved_resources"].get(role, {}).get("disk", 0.0))


def until_reserved(agent: OurAgent, disk: float) -> None:
    eventually(lambda: reserved_disk(agent) == disk, 60, f"{disk} MB to be reserved")


def until_told(master: RealMaster, disk: float) -> None:
    """Wait until the master counts what the agent has reserved."""

    def probe() -> bool:
        (agent,) = master.agents()
        return bool(agent["reserved_resources"].get("db", {}).get("disk", 0.0) == disk)

    eventually(probe, 60, f"{master.name} to know of {disk} MB")


def restart(agent: OurAgent) -> None:
    agent.kill()
    agent.spawn()
    agent.wait_until_registered()


@pytest.mark.parametrize("version", SUPPORTED)
def test_operators(scene: Scene, version: str) -> None:
    master = scene.master(version)
    agent = scene.agent(master)
    directory = Path(agent.work_dir, "volumes", "roles", "db", "v1")
    meta = Path(agent.work_dir, "meta", "resources")

    operate(master, "reserve", reserved("disk", 64), reserved("cpus", 1))
    until_reserved(agent, 64)
    operate(master, "create-volumes", volume(32))
    eventually(directory.is_dir, 60, "the volume to be made")
    (directory / "file").write_text("kept")

    restart(agent)
    assert reserved_disk(agent) == 64
    until_told(master, 64)
    assert (directory / "file").read_text() == "kept"
    eventually(
        lambda: (
            sorted(path.name for path in meta.iterdir())
            == ["resources.info", "resources_and_operations.state"]
        ),
        60,
        "all changes to be complete",
    )

    operate(master, "destroy-volumes", volume(32))
    eventually(lambda: not directory.exists(), 60, "the volume to be removed")
    operate(master, "unreserve", reserved("disk", 64), reserved("cpus", 1))
    until_reserved(agent, 0)
    until_told(master, 0)
    restart(agent)
    until_told(master, 0)
    assert reserved_disk(agent) == 0
    operations = Path(agent.work_dir, "meta", "slaves", "latest", "operations")
    eventually(lambda: not operations.exists() or not any(operations.iterdir()), 60, "the end")
    assert master.running


@pytest.mark.parametrize("version", ["1.7.3", "1.11.0"])
def test_volumes_of_other_sizes_and_disks(scene: Scene, version: str) -> None:
    """On a PATH disk, by the v1 operator API."""
    master = scene.master(version)
    root = scene.path("disk")
    source = {"type": "PATH", "path": {"root": root}}
    disk = {"name": "disk", "type": "SCALAR", "scalar": {"value": 100}, "disk": {"source": source}}
    cpus = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}
    agent = scene.agent(master, resources=json.dumps([cpus, disk]))
    on_disk = stacked(reserved("disk", 64)) | {"disk": {"source": source}}
    made = stacked(volume(32, source=source))
    agent_id = {"value": master.agents()[0]["id"]}

    def call(kind: str, **fields: object) -> None:
        document = {"type": kind, kind.lower(): {"agent_id": agent_id, **fields}}
        post_json(master.address, "/api/v1", document)

    call("RESERVE_RESOURCES", resources=[on_disk])
    until_reserved(agent, 64)
    call("CREATE_VOLUMES", volumes=[made])
    directory = Path(root, "volumes", "roles", "db", "v1")
    eventually(directory.is_dir, 60, "the volume to be made")
    (directory / "file").write_text("kept")
    addition = on_disk | {"scalar": {"value": 16}}
    call("GROW_VOLUME", volume=made, addition=addition)
    eventually(lambda: volume_sizes(agent) == [48.0], 60, "the volume to grow")
    call("SHRINK_VOLUME", volume=made | {"scalar": {"value": 48}}, subtract={"value": 40})
    eventually(lambda: volume_sizes(agent) == [8.0], 60, "the volume to shrink")
    restart(agent)
    assert volume_sizes(agent) == [8.0]
    assert (directory / "file").read_text() == "kept"
    call("DESTROY_VOLUMES", volumes=[made | {"scalar": {"value": 8}}])
    eventually(lambda: not directory.exists(), 60, "the volume to be removed")
    assert master.running


def volume_sizes(agent: OurAgent) -> list[float]:
    found = agent.state()["reserved_resources_full"].get("db", ())
    return [each["scalar"]["value"] for each in found if "persistence" in each.get("disk", {})]


async def tell_a_story(agent: OurAgent, master: RealMaster, feedback: bool) -> VolumeFramework:
    """A volume is made, written to, read after a restart of the agent, and removed."""
    mounted = agent.flags["isolation"] == "filesystem/linux"
    async with HttpClient() as client:
        framework = VolumeFramework(client, master.address, feedback=feedback)
        await framework.subscribe()
        reserve = Operation(type=Operation.RESERVE)
        reserve.reserve.resources.append(scalar("disk", 32, reserved=True))
        await framework.operate(reserve, "reserve")
        create = Operation(type=Operation.CREATE)
        create.create.volumes.append(attached())
        await framework.operate(create, "create")
        assert await framework.run("write", "echo yes > data/kept", attached()) == "TASK_FINISHED"
        await asyncio.to_thread(restart, agent)
        read = "test $(cat data/kept) = yes"
        assert await framework.run("read", read, attached()) == "TASK_FINISHED"
        if mounted:
            try_to_write = "test $(cat data/kept) = yes && ! touch data/new && ! test -e data/new"
            state = await framework.run("ro", try_to_write, attached(v1.Volume.RO))
            assert state == "TASK_FINISHED"
        destroy = Operation(type=Operation.DESTROY)
        destroy.destroy.volumes.append(attached())
        await framework.operate(destroy, "destroy")
        unreserve = Operation(type=Operation.UNRESERVE)
        unreserve.unreserve.resources.append(scalar("disk", 32, reserved=True))
        await framework.operate(unreserve, "unreserve")
        await asyncio.to_thread(until_reserved, agent, 0)
        await framework.close()
        return framework


@pytest.mark.parametrize(
    ("version", "isolation"),
    [
        ("1.4.3", "filesystem/posix"),
        pytest.param("1.7.3", "filesystem/linux", marks=pytest.mark.root),
        ("1.10.0", "filesystem/posix"),
        pytest.param("1.11.0", "filesystem/linux", marks=pytest.mark.root),
    ],
)
async def test_a_framework_with_a_volume(scene: Scene, version: str, isolation: str) -> None:
    master = scene.master(version)
    agent = scene.agent(master, isolation=isolation)
    feedback = version in ("1.10.0", "1.11.0")
    framework = await tell_a_story(agent, master, feedback)
    if feedback:
        names = ("reserve", "create", "destroy", "unreserve")
        assert framework.operations == {name: ["OPERATION_FINISHED"] for name in names}
    assert not Path(agent.work_dir, "volumes", "roles", "db", "v1").exists()
    assert master.running
