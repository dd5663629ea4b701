# SPDX-License-Identifier: Apache-2.0
"""Task groups of frameworks that bring their own executor, and of those that do not."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.frameworks.conversation import EXIT_CODE
from integration.frameworks.director import Director, needs, scalar, shell
from integration.processes import environment, eventually, get_json
from integration.scene import Scene
from integration.subscription import Record
from integration.test_http_authentication import secured

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parent.parent
ISOLATION = (
    "docker/runtime,filesystem/linux,volume/sandbox_path,cgroups/cpu,cgroups/mem,namespaces/pid"
)
BUSYBOX: Record = {
    "type": "MESOS",
    "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
}
STARTED = ["TASK_STARTING", "TASK_RUNNING"]


def executor(role: str = "*") -> Record:
    """The default executor, as frameworks ask for it."""
    resources = [*needs(0.1, 32, role), scalar("disk", 32, allocation_info={"role": role})]
    return {"type": "DEFAULT", "executor_id": {"value": "pod"}, "resources": resources}


def play(module: str, *arguments: str) -> Record:
    """Run a framework to its end; return what it saw."""
    done = subprocess.run(
        [sys.executable, "-m", f"integration.frameworks.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=PROJECT,
        env=environment(),
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    report: Record = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, report
    return report


def wait_for_idle(agent: OurAgent) -> None:
    """Wait until no executor is left."""
    eventually(lambda: agent.state()["frameworks"] == [], 60, "the framework to be gone")


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_groups_on_an_executor_of_the_framework(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(master)
    report = play("group", "scheduler", master.address)
    assert report["states"] == {
        "one": [*STARTED, "TASK_KILLED"],
        "two": [*STARTED, "TASK_FAILED"],
        "three": [*STARTED, "TASK_FAILED"],
        "four": [*STARTED, "TASK_FAILED"],
    }
    assert report["lost"] == [["crowd", EXIT_CODE << 8]]
    told = agent.stdout("crowd").splitlines()
    assert told[1:] == ["group one two", "kill one", "group three four", "message exit"]
    wait_for_idle(agent)


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_pods_of_pymesos(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(master)
    report = play("pods", master.address)
    assert report["states"] == {
        "web": [*STARTED, "TASK_KILLED"],
        "log": [*STARTED, "TASK_KILLED"],
        "job": [*STARTED, "TASK_FINISHED"],
        "calm": [*STARTED, "TASK_KILLED"],
    }
    assert report["meanwhile"]["calm"] == "TASK_RUNNING"
    assert report["lost"] == [["pod", 0]]
    wait_for_idle(agent)


@pytest.mark.root
def test_what_tasks_of_a_group_find(scene: Scene, docker_images: str) -> None:
    """Environment, images, a volume that they share, sandboxes; by mesos-execute and a file."""
    master = scene.master()
    agent = scene.agent(
        master, isolation=ISOLATION, image_providers="docker", docker_registry=docker_images
    )
    shared: Record = {
        "mode": "RW",
        "container_path": "shared",
        "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "common"}},
    }
    within = {**BUSYBOX, "volumes": [shared]}
    tasks = [
        _task("host", "env | sort; echo from host > shared/file; while [ ! -e shared/end ]; do"
              " sleep 0.1; done", container={"type": "MESOS", "volumes": [shared]}),
        _task("image", "until [ -e shared/file ]; do sleep 0.1; done; cat shared/file; env | sort;"
              " ls /bin/busybox; touch shared/end", container=within),
    ]  # fmt: skip
    file = scene.path("group.json")
    Path(file).write_text(json.dumps({"tasks": tasks}))
    done = scene.execute(master, f"--task_group={file}", timeout_s=120)
    assert sorted(done.states) == sorted([*STARTED, "TASK_FINISHED"] * 2), str(done)
    assert done.exit_code == 0, str(done)
    sandbox = agent.sandbox("default-executor")
    links = Path(sandbox, "tasks")
    assert {link.name for link in links.iterdir()} == {"host", "image"}
    assert all(
        Path(os.readlink(link)).parent == Path(sandbox, "containers") for link in links.iterdir()
    )
    names = {"MESOS_ALLOCATION_ROLE", "MESOS_CONTAINER_IP", "MESOS_SANDBOX", "MINE", "PATH", "PWD"}
    told = dict(
        line.split("=", 1) for line in Path(links, "host", "stdout").read_text().splitlines()
    )
    assert told.keys() == names
    assert (told["MINE"], told["MESOS_ALLOCATION_ROLE"]) == ("1", "*")
    assert told["MESOS_CONTAINER_IP"] == agent.ip
    assert told["MESOS_SANDBOX"] == told["PWD"] == os.readlink(links / "host")
    lines = Path(links, "image", "stdout").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("from host", "/bin/busybox")
    seen = dict(line.split("=", 1) for line in lines[1:-1])
    assert seen["MESOS_SANDBOX"] == seen["PWD"] == "/mnt/mesos/sandbox"
    assert Path(sandbox, "common", "end").exists()


@pytest.mark.root
def test_a_persistent_volume_of_a_task(scene: Scene, docker_images: str) -> None:
    """It is seen by the task, in an image or not, and in the sandbox of its executor."""
    master = scene.master()
    agent = scene.agent(
        master, isolation=ISOLATION, image_providers="docker", docker_registry=docker_images
    )
    director = Director(master.address, roles=["db"]).start()
    try:
        offer = director.offer()
        volume = scalar(
            "disk",
            32,
            reservations=[{"type": "DYNAMIC", "role": "db"}],
            allocation_info={"role": "db"},
        )
        plain = dict(volume)
        volume["disk"] = {
            "persistence": {"id": "v1"},
            "volume": {"container_path": "data", "mode": "RW"},
        }
        own = needs(0.1, 32, "db")
        script = "echo kept > data/file; while [ ! -e data/end ]; do sleep 0.1; done"
        tasks = [
            shell("a", script, resources=[*own, volume], container=BUSYBOX),
            shell("b", "sleep 100000", resources=own),
        ]
        tasks = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        group = {
            "executor": {**executor("db"), "framework_id": offer["framework_id"]},
            "task_group": {"tasks": tasks},
        }
        director.accept(
            offer,
            {"type": "RESERVE", "reserve": {"resources": [plain]}},
            {"type": "CREATE", "create": {"volumes": [volume]}},
            {"type": "LAUNCH_GROUP", "launch_group": group},
        )
        for name in ("a", "b"):
            director.until(name, "TASK_RUNNING")
        seen = Path(agent.sandbox("pod"), "data", "file")
        eventually(lambda: seen.exists() and seen.read_text(), 60, "the file in the volume")
        kept = Path(agent.work_dir, "volumes", "roles", "db", "v1")
        assert (kept / "file").read_text() == "kept\n"
        inside = f"{agent.sandbox('pod')}/tasks/a/data"
        shown = get_json(agent.address, f"/files/browse?path={inside}")
        assert [entry["path"] for entry in shown] == [f"{inside}/file"]
        (kept / "end").touch()
        director.until("a", "TASK_FINISHED")
        director.kill("b")
        director.until("b", "TASK_KILLED")
        wait_for_idle(agent)
        assert (kept / "file").read_text() == "kept\n"
    finally:
        director.close()


@pytest.mark.root
def test_a_kill_at_the_moment_it_runs(scene: Scene, docker_images: str) -> None:
    """The signal is not lost, although the task has a pid namespace; nobody is killed harder."""
    master = scene.master()
    scene.agent(
        master, isolation=ISOLATION, image_providers="docker", docker_registry=docker_images
    )
    director = Director(master.address).start()
    try:
        names = [f"t{number}" for number in range(6)]
        tasks = [
            shell(name, "sleep 100000", **({"container": BUSYBOX} if number % 2 else {}))
            for number, name in enumerate(names)
        ]
        # Nothing but the signal would end them while this test lasts.
        patience = {"grace_period": {"nanoseconds": 3600 * 10**9}}
        for task in tasks:
            pod = {**executor(), "executor_id": {"value": f"pod-{task['name']}"}}
            director.launch_group(pod, task)
            name = task["name"]
            director.until(name, "TASK_RUNNING")
            director.kill(name, kill_policy=patience)
        for name in names:
            killed = director.until(name, "TASK_KILLED", 60)
            assert killed["message"] == "Command terminated with signal Terminated"
    finally:
        director.close()


@pytest.mark.root
def test_what_happens_while_an_image_is_pulled(scene: Scene) -> None:
    """A kill, and a restart of the agent: the others of the group go, too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = f"http://127.0.0.1:{silent.getsockname()[1]}"
        master = scene.master()
        agent = scene.agent(
            master, isolation=ISOLATION, image_providers="docker", docker_registry=registry
        )
        director = Director(master.address).start()
        try:
            with launch_while_pulling(director, silent, "a"):
                director.kill("pulls-a")
                for name in ("pulls-a", "waits-a"):
                    director.until(name, "TASK_KILLED", 60)
            assert director.states("pulls-a") == ["TASK_STARTING", "TASK_KILLING", "TASK_KILLED"]
            with launch_while_pulling(director, silent, "b"):
                agent.kill()
                agent.spawn().wait_until_registered()
                failed = director.until("pulls-b", "TASK_FAILED", 60)
                assert failed["message"].startswith("Failed to launch container: ")
            # It is killed, or was not launched any more either.
            ended = {"TASK_KILLED", "TASK_FAILED"}
            director.wait(lambda: director.states("waits-b")[-1] in ended, "the end of all", 60)
            eventually(lambda: agent.state()["frameworks"] == [], 60, "the executor to be gone")
        finally:
            director.close()


def launch_while_pulling(director: Director, registry: socket.socket, mark: str) -> socket.socket:
    """Launch a group of two; return the connection on which one's image is asked for."""
    pod = {**executor(), "executor_id": {"value": f"pod-{mark}"}}
    pulls = shell(f"pulls-{mark}", "true", container=BUSYBOX)
    director.launch_group(pod, pulls, shell(f"waits-{mark}", "sleep 100000"))
    for name in (f"pulls-{mark}", f"waits-{mark}"):
        director.until(name, "TASK_STARTING")
    registry.settimeout(60)
    return registry.accept()[0]


@pytest.mark.root
def test_what_ends_tasks_of_a_group(scene: Scene) -> None:
    """A command that is not there, a task that takes too long, one that takes too much."""
    master = scene.master()
    scene.agent(master, isolation=ISOLATION)
    director = Director(master.address).start()
    try:
        missing = shell("missing", "/no/such/program")
        missing["command"]["shell"] = False
        slow = shell("slow", "sleep 100000")
        slow["max_completion_time"] = {"nanoseconds": 10**9}
        big = shell("big", "head -c 200m /dev/zero | tail", resources=[*needs(0.1, 32)])
        big["container"] = {"type": "MESOS", "linux_info": {"share_cgroups": False}}
        for task in (missing, slow, big):
            pod = {**executor(), "executor_id": {"value": f"pod-{task['name']}"}}
            director.launch_group(pod, task)
        failed = director.until("missing", "TASK_FAILED")
        assert failed["message"] == "Command exited with status 1"
        failed = director.until("slow", "TASK_FAILED")
        assert failed["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED"
        assert "TASK_KILLING" not in director.states("slow")
        failed = director.until("big", "TASK_FAILED")
        assert failed["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY", failed
        assert failed["source"] == "SOURCE_EXECUTOR"
        assert re.match(r"Command .*: Memory limit exceeded: Requested: 32MB", failed["message"])
        [limited] = failed["limitation"]["resources"]
        assert limited["name"] == "mem"
    finally:
        director.close()


def test_groups_with_tokens(scene: Scene) -> None:
    """Of an agent that asks executors who they are, before and after its restart."""
    master = scene.master()
    agent = scene.agent(master, **secured(scene))
    director = Director(master.address).start()
    try:
        ends = "while [ ! -e end ]; do sleep 0.1; done"
        director.launch_group(executor(), shell("a", ends), shell("b", "sleep 100000"))
        for name in ("a", "b"):
            director.until(name, "TASK_RUNNING")
        agent.kill()
        Path(agent.sandbox("pod"), "tasks", "a", "end").touch()
        agent.spawn().wait_until_registered()
        director.until("a", "TASK_FINISHED")
        director.kill("b")
        killed = director.until("b", "TASK_KILLED")
        assert killed["message"] == "Command terminated with signal Terminated"
    finally:
        director.close()


def test_no_default_executor_no_group(scene: Scene) -> None:
    """Where its program is not installed; each task is told."""
    master = scene.master()
    empty = scene.path("empty")
    os.mkdir(empty)
    scene.agent(master, launcher_dir=empty)
    tasks = [_task(name, "true") for name in ("a", "b")]
    done = scene.execute(master, f"--task_group={json.dumps({'tasks': tasks})}")
    assert done.states == ["TASK_ERROR", "TASK_ERROR"], str(done)
    assert "This agent has no default executor: No such file or directory" in done.stdout
    assert "REASON_TASK_GROUP_INVALID" in done.stdout


def _task(name: str, script: str, **fields: object) -> Record:
    """A task as mesos-execute takes it."""
    resources = [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 32)]
    variables = {"variables": [{"name": "MINE", "value": "1"}]}
    command = {"value": script, "environment": variables}
    own = {"agent_id": {"value": ""}, "resources": resources, "command": command}
    return {**shell(name, script), **own, **fields}
