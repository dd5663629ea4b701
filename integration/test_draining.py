# SPDX-License-Identifier: Apache-2.0
"""Agents that are to get rid of their tasks, or of themselves: drained, deactivated, gone, down."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from integration.agent import OurAgent
from integration.master import RealMaster
from integration.processes import eventually, post_json
from integration.scene import Scene
from integration.test_recovery import Running, executing

pytestmark = pytest.mark.integration

#: A task that only SIGKILL ends.
STUBBORN = "trap '' TERM; echo up; while true; do sleep 0.1; done"


def operate(master: RealMaster, kind: str, **fields: Any) -> Any:
    """Make a call of the operator API."""
    return post_json(master.address, "/api/v1", {"type": kind, kind.lower(): fields})


def in_master(master: RealMaster) -> dict[str, Any]:
    """What the master says about its only agent."""
    [agent] = operate(master, "GET_AGENTS")["get_agents"]["agents"]
    return dict(agent)


def agent_id(agent: OurAgent) -> dict[str, str]:
    return {"value": agent.state()["id"]}


def drain_config(agent: OurAgent) -> list[Path]:
    return list(Path(agent.work_dir, "meta").rglob("drain.config"))


def running(scene: Scene, agent: OurAgent, name: str, *more: str) -> Any:
    return executing(scene, agent, name, "--checkpoint", f"--command={STUBBORN}", *more)


def killed_by_draining(execution: Running, state: str = "TASK_KILLED") -> None:
    execution.until(state)
    assert "REASON_AGENT_DRAINING" in execution.text


def test_drained_and_taken_back(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        eventually(lambda: "up\n" in agent.stdout("stubborn"), 60, "the trap to be set")
        me = agent_id(agent)
        # While it lasts, the agent is looked at.
        operate(
            master,
            "DRAIN_AGENT",
            agent_id=me,
            max_grace_period={"seconds": 5},
            mark_gone=False,
        )
        eventually(lambda: "drain_config" in agent.state(), 60, "the agent to drain")
        shown = post_json(agent.address, "/api/v1", {"type": "GET_AGENT"})["get_agent"]
        assert shown["drain_config"] == {
            "mark_gone": False,
            "max_grace_period": {"nanoseconds": 5_000_000_000},
        }
        assert shown["estimated_drain_start_time"]["nanoseconds"] <= time.time_ns()
        assert agent.state()["drain_config"] == shown["drain_config"]
        killed_by_draining(execution)
    eventually(lambda: not drain_config(agent), 60, "the end of draining")

    def drained() -> bool:
        return bool(in_master(master)["drain_info"]["state"] == "DRAINED")

    eventually(drained, 60, "the master to see it")
    assert "drain_config" not in agent.state()
    operate(master, "REACTIVATE_AGENT", agent_id=me)
    scene.execute(master, "--name=again", "--command=true").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )


def test_draining_goes_on_in_the_next_process(scene: Scene) -> None:
    """At its end the agent is gone for good, whatever it tries."""
    master = scene.master()
    agent = scene.agent(master)
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        operate(master, "DRAIN_AGENT", agent_id=agent_id(agent), mark_gone=True)
        eventually(lambda: drain_config(agent), 60, "the order to be kept")
        agent.kill()
        agent.spawn()
        agent.wait_for_log("Draining: killing all tasks")
        killed_by_draining(execution, "TASK_GONE_BY_OPERATOR")
        assert agent.wait() == 0
    assert "Agent has been marked gone" in agent.log_text()
    agent.spawn()
    assert agent.wait() == 0


def test_marked_gone(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, executor_shutdown_grace_period="500ms")
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        operate(master, "MARK_AGENT_GONE", agent_id=agent_id(agent))
        assert agent.wait() == 0
        assert agent.said("because 'Agent has been marked gone'")
    agent.spawn()
    assert agent.wait() == 0
    assert agent.said("because 'Agent has been marked gone'")


def test_deactivated(scene: Scene) -> None:
    """The agent knows nothing of it, and its tasks go on."""
    master = scene.master()
    agent = scene.agent(master, executor_shutdown_grace_period="500ms")
    me = agent_id(agent)
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        operate(master, "DEACTIVATE_AGENT", agent_id=me)
        assert in_master(master)["deactivated"]
        operate(master, "REACTIVATE_AGENT", agent_id=me)
        assert execution.states == ["TASK_STARTING", "TASK_RUNNING"]


def test_machine_down(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    machine = {"hostname": agent.ip, "ip": agent.ip}
    start = {"nanoseconds": time.time_ns()}
    window = {"machine_ids": [machine], "unavailability": {"start": start}}
    operate(master, "UPDATE_MAINTENANCE_SCHEDULE", schedule={"windows": [window]})
    operate(master, "START_MAINTENANCE", machines=[machine])
    assert agent.wait() == 0
    assert "Operator initiated 'Machine DOWN'" in agent.log_text()
    agent.spawn()
    assert agent.wait() == 0
    assert "Machine is `DOWN`" in agent.log_text()
    operate(master, "STOP_MAINTENANCE", machines=[machine])
    agent.start()


def test_sigterm_drains_if_asked(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, drain_on_sigterm="500ms")
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        agent.signal(signal.SIGTERM)
        killed_by_draining(execution)
        assert agent.wait() == 0
    assert not drain_config(agent)
    eventually(lambda: master.state()["slaves"] == [], 60, "the master to forget it")


def test_sigterm_twice_ends_at_once(scene: Scene) -> None:
    agent = scene.agent(
        scene.master(), drain_on_sigterm="1hrs", executor_shutdown_grace_period="500ms"
    )
    with running(scene, agent, "stubborn") as execution:
        execution.until("TASK_RUNNING")
        agent.signal(signal.SIGTERM)
        agent.wait_for_log("draining; the next one ends")
        agent.signal(signal.SIGTERM)
        assert agent.wait() == -signal.SIGTERM
        agent.start()
