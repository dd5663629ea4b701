# SPDX-License-Identifier: Apache-2.0
"""The agent as a service of a real systemd: what it runs outlives it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import systemd
from integration.api import Api, container_id
from integration.processes import eventually
from integration.scene import Scene
from integration.systemd import BootedSystemd

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(systemd.unusable() is not None, reason=str(systemd.unusable())),
]

SLICE = "mesos_executors.slice"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[BootedSystemd]:
    made = BootedSystemd(os.path.realpath(tmp_path))
    yield made
    made.close()


def running(api: Api, *names: str) -> None:
    """Wait until the agent answers and knows these containers."""

    def probe() -> bool:
        try:
            answer = api.call("GET_CONTAINERS", show_standalone=True)
        except OSError:
            return False
        if answer.status != 200:
            return False
        found = json.loads(answer.text).get("get_containers", {}).get("containers", ())
        return {each["container_id"]["value"] for each in found} >= set(names)

    eventually(probe, 30, f"the containers {names}")


def launch(api: Api, name: str, command: str, **more: object) -> None:
    resources = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
    ]
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id(name),
        command={"value": command},
        resources=resources,
        **more,
    )
    assert answer.shown == (200, "")


def started(host: BootedSystemd, cgroup: str, count: int) -> set[int]:
    """Return the processes in a cgroup of systemd's, once there are so many."""

    def probe() -> set[int] | None:
        found = host.processes(cgroup)
        return found if len(found) == count else None

    eventually(lambda: probe() is not None, 10, f"{count} processes in {cgroup}")
    return host.processes(cgroup)


def test_containers_outlive_the_agents_service(scene: Scene, host: BootedSystemd) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", isolation="posix/cpu,posix/mem")
    os.makedirs(agent.folder, exist_ok=True)
    api = Api(agent.address)
    host.boot(agent=agent.arguments())

    host.control("start", "agent.service")
    running(api)
    assert host.read(f"/run/systemd/system/{SLICE}") == (
        "[Unit]\nDescription=Mesos Executors Slice\n"
    )
    assert host.control("is-active", SLICE) == "active"
    launch(api, "plain", "exec sleep 1000")
    launch(
        api,
        "terminal",
        "exec sleep 1000",
        container={"type": "MESOS", "mesos": {}, "tty_info": {}},
    )
    plain = started(host, f"{agent.cgroups_root}/plain", 2)
    terminal = started(host, f"{agent.cgroups_root}/terminal", 2)
    switchboard = started(host, SLICE, 1)

    host.control("stop", "agent.service")
    assert not host.processes("system.slice/agent.service")
    host.control("start", "agent.service")
    running(api, "plain", "terminal")
    assert host.processes(f"{agent.cgroups_root}/plain") == plain
    assert host.processes(f"{agent.cgroups_root}/terminal") == terminal
    assert host.processes(SLICE) == switchboard

    for name in ("plain", "terminal"):
        api.call("KILL_CONTAINER", container_id=container_id(name))
        api.call("WAIT_CONTAINER", container_id=container_id(name))
    started(host, SLICE, 0)
    started(host, agent.cgroups_root, 0)
    host.control("stop", "agent.service")


def test_containers_of_the_posix_launcher_are_in_the_slice(
    scene: Scene, host: BootedSystemd
) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", launcher="posix", isolation="environment_secret")
    os.makedirs(agent.folder, exist_ok=True)
    api = Api(agent.address)
    host.boot(agent=agent.arguments())

    host.control("start", "agent.service")
    running(api)
    launch(api, "plain", "exec sleep 1000")
    started(host, SLICE, 2)
    api.call("KILL_CONTAINER", container_id=container_id("plain"))
    api.call("WAIT_CONTAINER", container_id=container_id("plain"))
    started(host, SLICE, 0)
    host.control("stop", "agent.service")


def test_without_support_they_end_with_it(scene: Scene, host: BootedSystemd) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", systemd_enable_support=False)
    os.makedirs(agent.folder, exist_ok=True)
    api = Api(agent.address)
    host.boot(agent=agent.arguments())

    host.control("start", "agent.service")
    running(api)
    launch(api, "plain", "exec sleep 1000")
    started(host, "system.slice/agent.service", 4)
    host.control("stop", "agent.service")
    assert not host.processes("system.slice")
    host.control("start", "agent.service")  # the next one clears away
    running(api)
    host.control("stop", "agent.service")
