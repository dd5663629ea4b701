# SPDX-License-Identifier: Apache-2.0
"""Containers of tasks as a real master and an operator see them."""

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from integration.agent import OurAgent
from integration.api import Api, container_id
from integration.processes import eventually, get_json
from integration.scene import Execution, Scene

IMAGE_ISOLATION = "filesystem/linux,docker/runtime,namespaces/pid"


def task(name: str, command: dict[str, Any], container: dict[str, Any] | None = None) -> str:
    """Return a task for mesos-execute."""
    made: dict[str, Any] = {
        "name": name,
        "task_id": {"value": name},
        "agent_id": {"value": ""},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
        ],
        "command": command,
    }
    if container is not None:
        made["container"] = container
    return f"--task={json.dumps(made)}"


def metric(agent: OurAgent, name: str) -> float:
    return float(get_json(agent.address, "/metrics/snapshot")[name])


def runtime_directories(agent: OurAgent) -> list[str]:
    folder = Path(agent.runtime_dir, "containers")
    return os.listdir(folder) if folder.is_dir() else []


def said(agent: OurAgent, executor_id: str, text: str) -> bool:
    found = [Path(sandbox, "stdout") for sandbox in agent.sandboxes(executor_id)]
    return any(path.exists() and text in path.read_text() for path in found)


def test_a_launch_that_fails(scene: Scene) -> None:
    """In the middle of its preparation, by an isolator."""
    master = scene.master()
    agent = scene.agent(master)
    container = {
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
    }
    done = scene.execute(master, task("bad", {"value": "true"}, container))
    assert done.states == ["TASK_FAILED"], str(done)
    assert "reason: REASON_CONTAINER_LAUNCH_FAILED" in done.stdout, str(done)
    assert "Failed to launch container: " in done.stdout, str(done)
    assert metric(agent, "slave/container_launch_errors") == 1
    assert metric(agent, "containerizer/mesos/container_destroy_errors") == 0
    assert runtime_directories(agent) == []


def test_a_container_of_another_containerizer(scene: Scene) -> None:
    """With the flag as operators have it; there is no containerizer for Docker."""
    master = scene.master()
    agent = scene.agent(master, containerizers="docker,mesos")
    docker = {"type": "DOCKER", "docker": {"image": "busybox"}}
    done = scene.execute(master, task("docker", {"value": "true"}, docker))
    assert done.states == ["TASK_FAILED"], str(done)
    assert "Abnormal executor termination: unknown container" in done.stdout, str(done)
    assert "reason: REASON_EXECUTOR_TERMINATED" in done.stdout, str(done)
    assert metric(agent, "slave/container_launch_errors") == 1
    assert "There is no containerizer 'docker' here" in agent.log_text()
    done = scene.execute(master, "--name=ours", "--command=true")
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")


@pytest.mark.root
def test_the_executor_of_a_task_in_an_image_is_root_on_the_host(
    scene: Scene, docker_images: str
) -> None:
    """The task is its user, in the image."""
    master = scene.master()
    agent = scene.agent(
        master,
        isolation=IMAGE_ISOLATION,
        image_providers="docker",
        docker_registry=docker_images,
    )
    container = {
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
    }
    script = "id -u; ls /; touch mine; while test ! -e go; do sleep 0.05; done"
    finished: list[Execution] = []
    running = threading.Thread(
        target=lambda: finished.append(
            scene.execute(master, task("user", {"value": script, "user": "nobody"}, container))
        )
    )
    running.start()
    try:
        eventually(lambda: said(agent, "user", "var\n"), 60, "output")
        [found] = get_json(agent.address, "/containers")
        init = found["status"]["executor_pid"]
        assert "\nUid:\t0\t0\t0\t0\n" in Path(f"/proc/{init}/status").read_text()
    finally:
        for sandbox in agent.sandboxes("user"):
            Path(sandbox, "go").touch()
        running.join()
    finished[0].check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    lines = agent.stdout("user").splitlines()
    nobody = "65534"
    assert nobody in lines
    assert "etc" in lines
    for name, mode in (("mine", 0o644), ("stdout", 0o644), ("stderr", 0o644)):
        status = Path(agent.sandbox("user"), name).stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (int(nobody), mode)


def test_sandboxes_of_nested_containers_go_first(scene: Scene) -> None:
    agent = scene.agent(
        scene.master(),
        gc_delay="1secs",
        gc_non_executor_container_sandboxes=True,
        isolation="environment_secret",
        launcher="linux" if os.geteuid() == 0 else "posix",
    )
    api = Api(agent.address)
    launch = {"container_id": container_id("sa"), "command": {"value": "sleep 1000"}}
    assert api.call("LAUNCH_CONTAINER", **launch).status == 200
    nested = {"container_id": container_id("sa", "in"), "command": {"value": "exit 3"}}
    assert api.call("LAUNCH_CONTAINER", **nested).status == 200
    assert (
        '"exit_status":768'
        in api.call("WAIT_CONTAINER", container_id=container_id("sa", "in")).text
    )
    sandbox = Path(agent.work_dir, "containers", "sa")
    eventually(lambda: not (sandbox / "containers" / "in").exists(), 60, "the sandbox to go")
    assert sandbox.is_dir()
    assert api.call("KILL_CONTAINER", container_id=container_id("sa")).status == 200
    api.call("WAIT_CONTAINER", container_id=container_id("sa"))
