# SPDX-License-Identifier: Apache-2.0
"""Task groups of frameworks that bring their own executor, and of those that do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.frameworks.conversation import EXIT_CODE
from integration.processes import environment, eventually
from integration.scene import Scene

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parent.parent


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_groups_on_an_executor_of_the_framework(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(master)
    done = subprocess.run(
        [sys.executable, "-m", "integration.frameworks.group", "scheduler", master.address],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=PROJECT,
        env=environment(),
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, report
    started = ["TASK_STARTING", "TASK_RUNNING"]
    assert report["states"] == {
        "one": [*started, "TASK_KILLED"],
        "two": [*started, "TASK_FAILED"],
        "three": [*started, "TASK_FAILED"],
        "four": [*started, "TASK_FAILED"],
    }
    assert report["lost"] == [["crowd", EXIT_CODE << 8]]
    told = agent.stdout("crowd").splitlines()
    assert told[1:] == ["group one two", "kill one", "group three four", "message exit"]
    eventually(lambda: agent.state()["frameworks"] == [], 60, "the framework to be gone")


def test_no_default_executor_no_group(scene: Scene) -> None:
    """Where its program is not installed; each task is told."""
    master = scene.master()
    empty = scene.path("empty")
    os.mkdir(empty)
    scene.agent(master, launcher_dir=empty)
    resources = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in (("cpus", 0.1), ("mem", 32), ("disk", 32))
    ]
    tasks = [
        {
            "name": name,
            "task_id": {"value": name},
            "agent_id": {"value": ""},
            "resources": resources,
            "command": {"value": "true"},
        }
        for name in ("a", "b")
    ]
    done = scene.execute(master, f"--task_group={json.dumps({'tasks': tasks})}")
    assert done.states == ["TASK_ERROR", "TASK_ERROR"], str(done)
    assert "This agent has no default executor: No such file or directory" in done.stdout
    assert "REASON_TASK_GROUP_INVALID" in done.stdout
