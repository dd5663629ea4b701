# SPDX-License-Identifier: Apache-2.0
"""The command lines of tutorials from 2016, verbatim but for addresses and folders."""

import os
import subprocess

import pytest

from integration.agent import OurAgent
from integration.processes import environment
from integration.scene import Scene, bin_folder

pytestmark = pytest.mark.root


def own_place(agent: OurAgent) -> list[str]:
    """The addresses and folders that keep one test's agent apart from all others."""
    return [
        f"--ip={agent.ip}",
        f"--port={agent.port}",
        f"--work_dir={agent.work_dir}",
        f"--runtime_dir={agent.runtime_dir}",
        f"--cgroups_root={agent.cgroups_root}",
    ]


def own_stores(agent: OurAgent) -> dict[str, str]:
    """What keeps its images apart: no flag tells where they are, so they are below this."""
    return {"TMPDIR": agent.folder}


def run(scene: Scene, arguments: list[str]) -> str:
    done = subprocess.run(
        [os.path.join(bin_folder(), arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
        cwd=scene.folder,
    )
    assert done.returncode == 0, done
    return done.stdout


def states(output: str) -> list[str]:
    prefix = "Received status update "
    lines = [line for line in output.splitlines() if line.startswith(prefix)]
    return [line.removeprefix(prefix).split()[0] for line in lines]


FINISHED = ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_docker_image(master_version: str, scene: Scene, docker_images: str) -> None:
    master = scene.master(master_version)
    agent = scene.prepare_agent(master)
    agent.launch(
        [
            os.path.join(bin_folder(), "mesos-slave"),
            f"--master={master.address}",
            "--isolation=docker/runtime,filesystem/linux",
            "--image_providers=docker",
            "--launcher=linux",
            "--executor_environment_variables={}",
            f"--docker_registry={docker_images}",
            *own_place(agent),
        ],
        {"GLOG_v": "1", **own_stores(agent)},
        agent.folder,
    )
    agent.wait_until_registered()
    output = run(
        scene,
        [
            "mesos-execute",
            f"--master={master.address}",
            "--name=test_mesos",
            "--docker_image=busybox:latest",
            "--containerizer=mesos",
            "--command=sleep 10",
        ],
    )
    assert states(output) == FINISHED
    assert "Submitted task 'test_mesos' to agent '" in output
    # Users of GLOG_v=1 look for these words.
    log = agent.log_text().lower()
    assert all(word in log for word in ("provisioning", "preparing", "launched"))


def test_appc_image(master_version: str, scene: Scene, appc_images: str) -> None:
    master = scene.master(master_version)
    agent = scene.prepare_agent(master)
    agent.launch(
        [
            os.path.join(bin_folder(), "mesos-slave"),
            f"--master={master.address}",
            "--executor_registration_timeout=5mins",
            "--containerizers=mesos",
            "--isolation=filesystem/linux",
            "--image_providers=APPC",
            f"--appc_simple_discovery_uri_prefix={appc_images}/",
            *own_place(agent),
        ],
        own_stores(agent),
        agent.folder,
    )
    agent.wait_until_registered()
    output = run(
        scene,
        [
            "mesos-execute",
            f"--master={master.address}",
            "--command=/bin/echo ello ubuntu;",
            "--name=test",
            "--appc_image=ubuntu",
        ],
    )
    assert states(output) == FINISHED
    assert "ello ubuntu\n" in agent.stdout("test")
