# SPDX-License-Identifier: Apache-2.0
"""Tasks live and end, as framework and master see it."""

import pytest

from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import OLD, shell
from integration.processes import eventually


def test_ends(stage: Stage) -> None:
    """Well, badly, by a signal: each with its counter, and all resources are free again."""
    stage.up()
    director = stage.framework()
    scripts = {"well": "true", "badly": "exit 3", "signal": "kill -KILL $$"}
    # A master does not count an end that it hears of with the update of an earlier state.
    director.launch(*(shell(name, f"{UNTIL_END}; {script}") for name, script in scripts.items()))
    for name in scripts:
        director.until(name, "TASK_RUNNING")
        stage.end(name)
    wanted = {"well": "TASK_FINISHED", "badly": "TASK_FAILED", "signal": "TASK_FAILED"}
    for name, state in wanted.items():
        status = director.until(name, state)
        assert status["source"] == "SOURCE_EXECUTOR"
        assert director.states(name) == ["TASK_STARTING", "TASK_RUNNING", state]
        eventually(lambda n=name, s=state: stage.observer.states(n)[-1:] == [s], 60, state)  # type: ignore[misc]
    assert "status 3" in director.statuses["badly"][-1]["message"]
    assert "signal" in director.statuses["signal"][-1]["message"].lower()
    counted = {"tasks_finished": 1.0, "tasks_failed": 2.0, "tasks_lost": 0.0}
    eventually(lambda: stage.observer.counters(*counted) == counted, 60, f"{counted}")


@pytest.mark.parametrize("killing", [True, False], ids=["killing", "plain"])
def test_kill(stage: Stage, killing: bool) -> None:
    """With TASK_KILLING for who asked for it."""
    stage.up()
    asked = ["TASK_KILLING_STATE"] if killing else []
    director = stage.running(stage.framework(capabilities=[*OLD, *asked]))
    director.kill("on")
    status = director.until("on", "TASK_KILLED")
    assert status["source"] == "SOURCE_EXECUTOR"
    between = ["TASK_KILLING"] if killing else []
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING", *between, "TASK_KILLED"]
    eventually(lambda: stage.observer.counters("tasks_killed")["tasks_killed"], 60, "its counter")


def test_kill_of_nobody(stage: Stage) -> None:
    """The master answers for tasks that were never launched."""
    stage.up()
    director = stage.framework()
    director.offer()
    director.call("KILL", kill={"task_id": {"value": "x"}, "agent_id": {"value": stage.agent_id()}})
    director.wait(lambda: director.states("x"), "an answer about nobody")
    assert director.statuses["x"][0]["source"] == "SOURCE_MASTER"


def test_executor_dies(stage: Stage) -> None:
    """Its task has failed."""
    stage.up()
    director = stage.running(stage.framework())
    stage.kill_executor()
    status = director.until("on", "TASK_FAILED")
    assert status["reason"] == "REASON_EXECUTOR_TERMINATED"
    assert status["source"] in ("SOURCE_SLAVE", "SOURCE_AGENT")


def test_reconciliation(stage: Stage) -> None:
    """By name, of all, and of a task that nobody knows."""
    stage.up()
    director = stage.running(stage.framework())
    count = len(director.statuses["on"])
    director.reconcile({})
    director.wait(lambda: len(director.statuses["on"]) > count, "an answer about all")
    status = director.statuses["on"][-1]
    assert status["state"] == "TASK_RUNNING"
    assert status["reason"] == "REASON_RECONCILIATION"
    assert "uuid" not in status
    director.reconcile({"on": stage.agent_id(), "never": stage.agent_id()})
    director.wait(lambda: len(director.statuses["on"]) > count + 1, "an answer by name")
    director.until("never", "TASK_GONE" if stage.release >= (1, 5) else "TASK_UNKNOWN")
    stage.finish(director)


def test_updates_wait_for_acknowledgement(stage: Stage) -> None:
    """The next one comes only after the one before; none is lost to a framework that is slow."""
    stage.up()
    director = stage.framework(acknowledging=False)
    director.launch(shell("slow", "true"))
    seen = []
    for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"):
        status = director.until("slow", state)
        seen.append(status["state"])
        assert director.states("slow") == seen
        # Until all is acknowledged the master keeps the task.
        assert [task["id"] for task in stage.master.state()["frameworks"][0]["tasks"]] == ["slow"]
        director.acknowledge(status)


def test_a_wrong_task_is_refused(stage: Stage) -> None:
    """By the master, before the agent hears of it."""
    stage.up()
    director = stage.framework(capabilities=OLD)
    director.launch(shell("bad/id", "true"))
    status = director.until("bad/id", "TASK_ERROR")
    assert status["source"] == "SOURCE_MASTER"
    director.launch(shell("good", "true"))
    director.until("good", "TASK_FINISHED")
