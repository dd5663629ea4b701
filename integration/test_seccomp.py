# SPDX-License-Identifier: Apache-2.0
"""Tasks with system call filters under a real master."""

import json
import os
import shutil
from pathlib import Path

import pytest

import containerizer
from integration.agent import OurAgent
from integration.api import Api, container_id
from integration.scene import Execution, Scene
from integration.test_nested import IMAGE, RESOURCES, shell, task

pytestmark = pytest.mark.root

ISOLATION = "docker/runtime,filesystem/linux,namespaces/pid,linux/capabilities,linux/seccomp"
PROFILES = Path(containerizer.__file__).parent.parent / "docs" / "examples" / "seccomp"
STARTED = ["TASK_STARTING", "TASK_RUNNING"]
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [],
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
MOUNT = "mount -t tmpfs none /mnt 2>/dev/null"


@pytest.fixture
def agent(scene: Scene, docker_images: str) -> OurAgent:
    folder = scene.path("profiles")
    shutil.copytree(PROFILES, folder)
    with open(os.path.join(folder, "no-mkdir.json"), "w") as file:
        json.dump(NO_MKDIR, file)
    return scene.agent(
        scene.master(),
        isolation=ISOLATION,
        launcher="linux",
        image_providers="docker",
        docker_registry=docker_images,
        seccomp_config_dir=folder,
        seccomp_profile_name="careful.json",
        authenticate_http_readwrite=False,
    )


def run(
    scene: Scene, agent: OurAgent, command: str, *, image: bool, **seccomp: object
) -> Execution:
    """Run a task that says what it wants of seccomp."""
    name = f"t{len(os.listdir(scene.path('.')))}"
    info: dict[str, object] = {
        "name": name,
        "task_id": {"value": name},
        "agent_id": {"value": ""},
        "command": shell(command),
        "resources": RESOURCES,
        "container": {**IMAGE} if image else {"type": "MESOS"},
    }
    if seccomp:
        info["container"]["linux_info"] = {"seccomp": seccomp}  # type: ignore[index]
    return scene.execute(agent.master, f"--task={json.dumps(info)}")


@pytest.mark.parametrize("image", [False, True])
def test_profiles_of_tasks(scene: Scene, agent: OurAgent, image: bool) -> None:
    # In an image the executor mounts and pivots; its task may not.
    done = run(scene, agent, f"! {MOUNT} && mkdir new && rmdir new", image=image)
    assert done.states == [*STARTED, "TASK_FINISHED"], str(done)
    done = run(scene, agent, "! mkdir new", image=image, profile_name="no-mkdir.json")
    assert done.states == [*STARTED, "TASK_FINISHED"], str(done)
    free = "grep -q '^Seccomp:.*0$' /proc/self/status"
    done = run(scene, agent, free, image=image, unconfined=True)
    assert done.states == [*STARTED, "TASK_FINISHED"], str(done)
    done = run(scene, agent, "true", image=image, profile_name="none.json")
    assert done.states == ["TASK_FAILED"], str(done)
    assert "Failed to read Seccomp profile file" in done.stdout


def test_sessions_and_nested_containers(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    arguments = ("--docker_image=busybox:latest", "--command=sleep 9999")
    with task(scene, agent, "cmd", *arguments) as root:
        session = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION",
            container_id=container_id(root, "s"),
            command=shell(f"{MOUNT} || echo forbidden"),
        )
        assert session.output()["STDOUT"] == b"forbidden\n"
        session.close()
        for name, more, status in (
            ("n1", {}, 0),
            ("n2", {"profile_name": "no-mkdir.json"}, 256),
            ("n3", {"unconfined": True}, 256),
        ):
            inner = container_id(root, name)
            container: dict[str, object] = {**IMAGE}
            if more:
                container["linux_info"] = {"seccomp": more}
            answer = api.call(
                "LAUNCH_NESTED_CONTAINER",
                container_id=inner,
                container=container,
                command=shell(f"! {MOUNT}"),
            )
            assert answer.status == 200, answer.text
            ended = api.call("WAIT_NESTED_CONTAINER", container_id=inner)
            assert f'"exit_status":{status}}}' in ended.text, ended.text
