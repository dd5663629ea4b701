# SPDX-License-Identifier: Apache-2.0
"""The agent as a service of a real systemd: what it runs outlives it."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import systemd
from integration.api import Api, container_id
from integration.processes import eventually
from integration.scene import Scene
from integration.systemd import BootedSystemd
from integration.test_recovery import executing, only_task
from mesos_compat.cli.systemd_unit import unit

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(systemd.unusable() is not None, reason=str(systemd.unusable())),
]

CAP_SYS_RESOURCE = 24

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

    eventually(probe, 60, f"the containers {names}")


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

    found: set[int] = set()

    def probe() -> bool:
        nonlocal found
        found = host.processes(cgroup)
        return len(found) == count

    eventually(probe, 60, f"{count} processes in {cgroup}")
    return found


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


@pytest.mark.integration
def test_our_unit(scene: Scene, host: BootedSystemd) -> None:
    """Start, restart, a loop that stands still, stop: the task of a real master goes on."""
    master = scene.master()
    agent = scene.prepare_agent(master.address)
    os.makedirs(agent.folder, exist_ok=True)
    given = dict(each[2:].partition("=")[::2] for each in agent.arguments() if each[:2] == "--")
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if name != "port"]
    config = Path(agent.folder, "agent.toml")
    config.write_text("\n".join([f"port = {agent.port}", *lines]))
    text = unit([*agent.arguments()[:3], f"--config={config}"])
    text = text.replace("WatchdogSec=60", "WatchdogSec=6").replace("RestartSec=5", "RestartSec=1")
    host.boot(agent=text)

    def shown(*names: str) -> list[str]:
        return [host.control("show", "--value", f"--property={n}", "agent.service") for n in names]

    def registered() -> bool:
        pid, status = shown("MainPID", "StatusText")
        return pid != "0" and f"registered with master@{master.address}" in status

    host.control("start", "agent.service")
    assert shown("ActiveState") == ["active"], Path(host.folder, "agent.log").read_text()
    eventually(registered, 60, "the agent to register")
    [first] = shown("MainPID")
    # Without that capability systemd cannot do it, and goes on.
    protected = "-500\n" if CAP_SYS_RESOURCE in effective() else "0\n"
    with executing(scene, agent, "on", "--checkpoint", "--command=exec sleep 1000") as running:
        running.until("TASK_RUNNING")
        task = started(host, agent.cgroups_root, 2)
        assert {Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in task} == {"0\n"}

        def goes_on() -> None:
            assert host.processes(agent.cgroups_root) == task
            assert running.states == ["TASK_STARTING", "TASK_RUNNING"]
            assert only_task(agent)["state"] == "TASK_RUNNING"

        host.control("restart", "agent.service")
        assert shown("ActiveState") == ["active"]
        eventually(registered, 60, "the agent to register again")
        goes_on()
        [second] = shown("MainPID")

        [main] = (each for each in host.processes("system.slice/agent.service") if is_agent(each))
        assert Path(f"/proc/{main}/oom_score_adj").read_text() == protected
        os.kill(main, signal.SIGSTOP)
        eventually(lambda: shown("NRestarts") == ["1"], 60, "systemd to replace the agent")
        eventually(registered, 60, "the new one to register")
        goes_on()
        assert len({first, second, *shown("MainPID")}) == 3

        host.control("stop", "agent.service")
        assert shown("ActiveState", "Result") == ["inactive", "success"]
        assert host.processes(agent.cgroups_root) == task
        host.control("start", "agent.service")
        eventually(registered, 60, "the last one to register")
        goes_on()
    started(host, agent.cgroups_root, 0)
    eventually(lambda: not agent.state()["frameworks"], 60, "the executor to be forgotten")
    host.control("stop", "agent.service")


def effective() -> set[int]:
    """The numbers of the capabilities that we have."""
    text = Path("/proc/self/status").read_text()
    bits = int(text.partition("CapEff:")[2].split()[0], 16)
    return {number for number in range(64) if bits >> number & 1}


def is_agent(pid: int) -> bool:
    return b"mesos_compat.cli.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
