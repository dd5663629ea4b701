# SPDX-License-Identifier: Apache-2.0
"""Connections between agent and master break, one by one, or the master falls silent."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.master import LATEST, RealMaster
from integration.processes import eventually
from integration.scene import Scene
from integration.test_recovery import executing

pytestmark = pytest.mark.integration


def pings(most: int) -> dict[str, object]:
    """Return flags of a master, of which an agent has lost sight after so many seconds."""
    return {"agent_ping_timeout": "1secs", "max_agent_ping_timeouts": most}


UNTIL_TOLD = "while [ ! -e end ]; do sleep 0.1; done"
_SOCKET = re.compile(r"\S+:(\d+)\s+\S+:\d+\s+users:.*pid=(\d+),", re.MULTILINE)


def can_cut() -> bool:
    """Whether this kernel destroys connections for root."""
    if shutil.which("ss") is None:
        return False
    # An expression without a match: only the permission is tried.
    done = subprocess.run(
        ["ss", "-K", "-t", "sport = :1"], capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and "not" not in done.stderr


cutting = pytest.mark.skipif(not can_cut(), reason="ss cannot destroy connections here")


def descendants(pid: int) -> set[int]:
    """A process and all below it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= descendants(int(child))
    return found


def cut(pid: int, port: int) -> None:
    """Destroy the connections that a process or one below it has opened to ``port``."""
    listed = subprocess.run(
        ["ss", "-tnpH", "state", "established", f"dport = :{port}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    owners = descendants(pid)
    own = [source for source, owner in _SOCKET.findall(listed) if int(owner) in owners]
    assert own, f"{owners}\n{listed}"
    for source in own:
        subprocess.run(
            ["ss", "-K", "-t", f"sport = :{source} and dport = :{port}"],
            stdout=subprocess.DEVNULL,
            check=True,
        )


def registrations(agent: OurAgent) -> int:
    return agent.log_text().count("egistered with master")


def end_of_task(agent: OurAgent, name: str) -> None:
    Path(agent.sandbox(name), "end").touch()


@pytest.mark.root
@cutting
def test_only_the_way_to_the_master_breaks(scene: Scene) -> None:
    """The agent opens another one when it has something to say, and does nothing else."""
    master = scene.master(LATEST, **pings(5))
    agent = scene.agent(master)
    with executing(scene, agent, "task", f"--command={UNTIL_TOLD}") as execution:
        execution.until("TASK_RUNNING")
        cut(agent.pid, master.port)
        agent.wait_for_log("Master disconnected!")
        time.sleep(6)
        assert registrations(agent) == 1
        end_of_task(agent, "task")
        execution.until("TASK_FINISHED")
        assert execution.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert registrations(agent) == 1


@pytest.mark.root
@cutting
def test_only_the_way_to_the_agent_breaks(scene: Scene) -> None:
    """The master pings on, and tells so that it has lost the agent."""
    master = scene.master(LATEST, **pings(30))
    agent = scene.agent(master)
    with executing(scene, agent, "task", "--checkpoint", f"--command={UNTIL_TOLD}") as execution:
        execution.until("TASK_RUNNING")
        cut(master.pid, agent.port)
        agent.wait_for_log("Master marked the agent as disconnected")
        eventually(lambda: registrations(agent) >= 2, 60, "the agent to be back")
        end_of_task(agent, "task")
        execution.until("TASK_FINISHED")
        assert execution.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_a_silent_master(scene: Scene) -> None:
    master = scene.master(LATEST, **pings(2))
    agent = scene.agent(master)
    with executing(scene, agent, "task", "--checkpoint", f"--command={UNTIL_TOLD}") as execution:
        execution.until("TASK_RUNNING")
        pids = descendants(master.pid)
        signal_all(pids, signal.SIGSTOP)
        try:
            agent.wait_for_log("No pings from master received within 2secs")
        finally:
            signal_all(pids, signal.SIGCONT)
        eventually(lambda: registrations(agent) >= 2, 60, "the agent to be back")
        end_of_task(agent, "task")
        execution.until("TASK_FINISHED")
        assert execution.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        subprocess.run(["kill", f"-{number.value}", str(pid)], check=True)


def check_unregistered(master: RealMaster) -> None:
    eventually(lambda: master.state()["slaves"] == [], 60, "the master to forget the agent")


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_unregistered_by_a_signal(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(master, executor_shutdown_grace_period="1secs")
    command = f"--command={UNTIL_TOLD}"
    with executing(scene, agent, "task", "--partition_aware=false", command) as execution:
        execution.until("TASK_RUNNING")
        assert agent.stop() == 0
        execution.until("TASK_LOST")
        assert "the agent unregistered" in execution.text
        assert "Received SIGUSR1 signal from user" in agent.log_text()
        check_unregistered(master)
