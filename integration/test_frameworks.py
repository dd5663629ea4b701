# SPDX-License-Identifier: Apache-2.0
"""Real frameworks on our agent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.agent import OurAgent
from integration.frameworks import fifty
from integration.processes import environment, eventually
from integration.scene import FAST_PINGS, Scene

PROJECT = Path(__file__).parent.parent
RESOURCES = "cpus:4;mem:2048;disk:4096;ports:[31000-31999]"


@contextmanager
def framework(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "integration.frameworks.fifty", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: "subprocess.Popen[str]") -> dict[str, object]:
    stdout, stderr = process.communicate(timeout=140)
    lines = stdout.splitlines()
    assert lines, stderr[-4000:]
    report: dict[str, object] = json.loads(lines[-1])
    assert report["errors"] == [], stderr[-4000:]
    assert report["problems"] == {}
    assert process.returncode == 0, stderr[-4000:]
    return report


def acknowledged_tasks(agent: OurAgent) -> int:
    """An executor of one task is complete once its last update was acknowledged."""
    return sum(len(each["completed_executors"]) for each in agent.state()["frameworks"])


def test_fifty_tasks_end_as_they_should(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    scene.agent(master, resources=RESOURCES)
    with framework(master.address) as process:
        report = finish(process)
    assert report["registrations"] == 1
    expected = {kind: [] for kind in fifty.KINDS}  # type: dict[str, list[str]]
    states = report["states"]
    assert isinstance(states, dict)
    for number, history in enumerate(states.values()):
        expected[list(fifty.KINDS)[number % 5]].append(history[-1])
    assert expected == {kind: [fifty.EXPECTED[kind]] * 10 for kind in fifty.KINDS}


def test_a_crash_of_the_master_loses_and_doubles_nothing(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version, **FAST_PINGS)
    agent = scene.agent(master, resources=RESOURCES)
    agent_id = master.wait_for_agents(1)[0]["id"]
    with framework(master.address, "--pause=15") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and line != "running\n":
            line = process.stdout.readline()
        assert line == "running\n"
        # Ten tasks run, forty have ended. An acknowledgement on its way through the master would
        # be lost with it, and the update rightly come again: wait until the agent has them all.
        eventually(lambda: acknowledged_tasks(agent) == 40, 60, "all acknowledgements")
        master.restart()
        assert master.wait_for_agents(1)[0]["id"] == agent_id
        report = finish(process)
    registrations = report["registrations"]
    assert isinstance(registrations, int)
    assert registrations >= 2
