# SPDX-License-Identifier: Apache-2.0
"""Frameworks come back, or leave, while their tasks run."""

import sys
from pathlib import Path

import pytest

from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import needs, shell
from integration.processes import eventually

PROJECT = Path(__file__).parent.parent.parent


def test_failover(stage: Stage) -> None:
    """The next process of a framework gets what the one before did not acknowledge."""
    stage.up()
    first = stage.framework(acknowledging=False)
    first.launch(shell("on", UNTIL_END))
    first.until("on", "TASK_STARTING")
    first.close()
    second = stage.framework(framework_id=first.framework_id)
    second.until("on", "TASK_RUNNING")
    assert second.states("on") == ["TASK_STARTING", "TASK_RUNNING"]
    stage.finish(second)
    assert stage.observer.metrics()["master/frameworks_active"] == 1.0


def test_a_second_scheduler_takes_over(stage: Stage) -> None:
    """While the first one is still there, which is told so."""
    stage.up()
    first = stage.running(stage.framework())
    second = stage.framework(framework_id=first.framework_id)
    first.close()
    second.reconcile({})
    second.until("on", "TASK_RUNNING")
    stage.finish(second)


@pytest.mark.parametrize("way", ["teardown", "silence"])
def test_the_end(stage: Stage, way: str) -> None:
    """Asked for, or because nobody comes back in time: all its tasks end."""
    stage.up()
    director = stage.framework(failover_timeout_s=1.0)
    director.launch(shell("a", UNTIL_END), shell("b", "sleep 1000"))
    for task_id in ("a", "b"):
        director.until(task_id, "TASK_RUNNING")
    if way == "teardown":
        director.teardown()
    director.close()
    eventually(lambda: not stage.master.state()["frameworks"], 60, "the framework to be gone")
    eventually(lambda: not stage.agent.state()["frameworks"], 60, "the agent to end its tasks")
    completed = stage.master.state()["completed_frameworks"]
    assert [each["id"] for each in completed] == [director.framework_id]
    assert {each["state"] for each in completed[0]["completed_tasks"]} <= {"TASK_KILLED"}
    archived = stage.agent.state()["completed_frameworks"]
    assert [each["id"] for each in archived] == [director.framework_id]


def test_executor_shutdown(stage: Stage) -> None:
    """A custom executor with two tasks is told to end; the framework hears of both and of it."""
    stage.up()
    director = stage.framework()
    program = f"exec {sys.executable} -m integration.frameworks.conversation executor"
    offer = director.offer()
    executor = {
        "type": "CUSTOM",
        "executor_id": {"value": "talker"},
        "framework_id": offer["framework_id"],
        "command": {
            "value": program,
            "environment": {"variables": [{"name": "PYTHONPATH", "value": str(PROJECT)}]},
        },
        "resources": needs(0.1, 64),
    }
    tasks = [
        {
            "name": name,
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "executor": executor,
            "resources": needs(),
        }
        for name in ("one", "two")
    ]
    director.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": tasks}})
    for name in ("one", "two"):
        director.until(name, "TASK_RUNNING")
    director.call(
        "SHUTDOWN",
        shutdown={"executor_id": executor["executor_id"], "agent_id": offer["agent_id"]},
    )
    for name in ("one", "two"):
        director.until(name, "TASK_FAILED")
    failures = [e["failure"] for e in director.events if e["type"] == "FAILURE"]
    director.wait(
        lambda: [e for e in director.events if e["type"] == "FAILURE"], "word of the executor"
    )
    failures = [e["failure"] for e in director.events if e["type"] == "FAILURE"]
    assert failures[0]["executor_id"]["value"] == "talker"
