# SPDX-License-Identifier: Apache-2.0
"""Executors that frameworks bring along."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.frameworks.conversation import EXIT_CODE
from integration.processes import environment, eventually
from integration.scene import Scene

PROJECT = Path(__file__).parent.parent
ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid"


def converse(master: str, *image: str) -> dict[str, object]:
    """Run the framework to its end; return what it saw."""
    program = [sys.executable, "-m", "integration.frameworks.conversation", "scheduler"]
    done = subprocess.run(
        [*program, master, *image],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=PROJECT,
        env=environment(),
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    report: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, report
    return report


def check(report: dict[str, object], agent: OurAgent) -> None:
    """What the framework saw, and what its executors were told."""
    started = ["TASK_STARTING", "TASK_RUNNING"]
    assert report["states"] == {
        "one": [*started, "TASK_KILLED"],
        "two": [*started, "TASK_FAILED"],
        "three": started,
    }
    messages = report["messages"]
    assert isinstance(messages, dict)
    assert messages["one"] == "as asked"
    assert messages["two"].split(" REASON_") == ["Executor terminated", "EXECUTOR_TERMINATED"]
    assert report["heard"] == ["you said hello"]
    assert report["lost"] == [["first", EXIT_CODE << 8]]
    lines = [line.split() for line in agent.stdout("first").splitlines()]
    assert [line[0] for line in lines] == [
        *("registered", "launch", "message", "kill", "launch", "message")
    ]
    eventually(lambda: "shutdown" in agent.stdout("second"), 60, "the shutdown of the executor")
    eventually(lambda: agent.state()["frameworks"] == [], 60, "the framework to be gone")
    [framework] = agent.state()["completed_frameworks"]
    assert sorted(each["id"] for each in framework["completed_executors"]) == ["first", "second"]
    second = next(e for e in framework["completed_executors"] if e["id"] == "second")
    assert second["name"] == "a talker"
    assert second["source"] == "conversation"
    # executors and their tasks
    assert agent.stdout("first").startswith("registered first ")


def test_a_custom_executor(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    agent = scene.agent(master)
    check(converse(master.address), agent)
    assert agent.stdout("first").splitlines()[0].split()[2] == agent.sandbox("first")


@pytest.mark.root
def test_a_custom_executor_in_an_image(scene: Scene, docker_images: str) -> None:
    agent = scene.agent(
        master := scene.master(),
        isolation=ISOLATION,
        image_providers="docker",
        docker_registry=docker_images,
    )
    check(converse(master.address, "busybox:latest"), agent)
    assert agent.stdout("first").splitlines()[0].split()[2] == "/mnt/mesos/sandbox"
