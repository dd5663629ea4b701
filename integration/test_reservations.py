# SPDX-License-Identifier: Apache-2.0
"""Reservations and persistent volumes with real masters, which have to survive all of it."""

from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.master import SUPPORTED, RealMaster
from integration.processes import eventually
from integration.reservations import operate, reserved, volume
from integration.scene import Scene

pytestmark = pytest.mark.integration


def reserved_disk(agent: OurAgent, role: str = "db") -> float:
    return float(agent.state()["reserved_resources"].get(role, {}).get("disk", 0.0))


def until_reserved(agent: OurAgent, disk: float) -> None:
    eventually(lambda: reserved_disk(agent) == disk, 10.0, f"{disk} MB to be reserved")


def until_told(master: RealMaster, disk: float) -> None:
    """Wait until the master counts what the agent has reserved."""

    def probe() -> bool:
        (agent,) = master.agents()
        return bool(agent["reserved_resources"].get("db", {}).get("disk", 0.0) == disk)

    eventually(probe, 20.0, f"{master.name} to know of {disk} MB")


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
    eventually(directory.is_dir, 10.0, "the volume to be made")
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
        5.0,
        "all changes to be complete",
    )

    operate(master, "destroy-volumes", volume(32))
    eventually(lambda: not directory.exists(), 10.0, "the volume to be removed")
    operate(master, "unreserve", reserved("disk", 64), reserved("cpus", 1))
    until_reserved(agent, 0)
    until_told(master, 0)
    restart(agent)
    until_told(master, 0)
    assert reserved_disk(agent) == 0
    operations = Path(agent.work_dir, "meta", "slaves", "latest", "operations")
    eventually(lambda: not operations.exists() or not any(operations.iterdir()), 10.0, "the end")
    assert master.running
