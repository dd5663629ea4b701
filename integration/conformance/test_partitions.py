# SPDX-License-Identifier: Apache-2.0
"""The link between master and agent is cut: no packet passes, nobody is told."""

import time
from pathlib import Path
from typing import Any

import pytest

from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import MODERN, OLD, shell
from integration.processes import eventually

pytestmark = pytest.mark.root

#: The master gives an agent up after the product of these.
SHORT: dict[str, Any] = {"master_agent_ping_timeout": "1secs", "master_max_agent_ping_timeouts": 3}
LONG: dict[str, Any] = {"master_agent_ping_timeout": "2secs", "master_max_agent_ping_timeouts": 30}


def test_shorter_than_the_limit(stage: Stage) -> None:
    """Nothing happens but that an update comes later."""
    stage.up(distant=True, **LONG)
    director = stage.running(stage.framework())
    assert stage.network is not None
    stage.network.cut()
    stage.end()
    time.sleep(3)
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING"]
    stage.network.heal()
    director.until("on", "TASK_FINISHED")
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert stage.observer.counters(
        "slave_registrations", "slave_reregistrations", "slave_unreachable_scheduled"
    ) == {
        "slave_registrations": 1.0,
        "slave_reregistrations": 0.0,
        "slave_unreachable_scheduled": 0.0,
    }


def test_longer_than_the_limit_partition_aware(stage: Stage) -> None:
    """Its tasks are unreachable, then run again."""
    stage.up(distant=True, **SHORT)
    director = stage.framework(capabilities=MODERN)
    director.launch(shell("on", UNTIL_END), shell("ends", UNTIL_END))
    for task_id in ("on", "ends"):
        director.until(task_id, "TASK_RUNNING")
    agent_id = stage.agent_id()
    assert stage.network is not None
    stage.network.cut()
    for task_id in ("on", "ends"):
        status = director.until(task_id, "TASK_UNREACHABLE")
        assert status["source"] == "SOURCE_MASTER"
    stage.end("ends")
    assert stage.observer.counters("slave_unreachable_completed") == {
        "slave_unreachable_completed": 1.0
    }
    stage.network.heal()
    stage.agent.wait_until_registered(60.0)
    assert stage.agent_id() == agent_id
    director.until("ends", "TASK_FINISHED", 60.0)
    back(stage, "on")
    stage.finish(director)
    assert stage.observer.counters("slave_reregistrations", "slave_registrations") == {
        "slave_reregistrations": 1.0,
        "slave_registrations": 1.0,
    }


def test_longer_than_the_limit_not_partition_aware(stage: Stage) -> None:
    """Its tasks are lost. Masters of today take them back, old ones have them ended."""
    stage.up(distant=True, **SHORT)
    director = stage.running(stage.framework(capabilities=OLD))
    sandbox = stage.agent.sandbox("on")
    assert stage.network is not None
    stage.network.cut()
    status = director.until("on", "TASK_LOST")
    assert status["source"] == "SOURCE_MASTER"
    stage.network.heal()
    stage.agent.wait_until_registered(60.0)
    if stage.release >= (1, 5):
        back(stage, "on")
        stage.finish(director)
    else:
        eventually(lambda: not stage.agent.state()["frameworks"], 60, "the agent to end the task")
        assert Path(sandbox).exists()


@pytest.mark.parametrize("way", ["in", "out"])
def test_one_way(stage: Stage, way: str) -> None:
    """Only packets to the agent, or from it, are lost: as bad as both."""
    stage.up(distant=True, **SHORT)
    director = stage.running(stage.framework())
    assert stage.network is not None
    stage.network.cut(way)
    director.until("on", "TASK_UNREACHABLE")
    stage.network.heal()
    stage.agent.wait_until_registered(60.0)
    back(stage, "on")
    stage.finish(director)


def test_the_agent_is_killed_meanwhile(stage: Stage) -> None:
    """A new process comes back for the old one, with what ended before it and after."""
    stage.up(distant=True, **SHORT)
    director = stage.framework()
    director.launch(shell("on", UNTIL_END), shell("before", UNTIL_END), shell("after", UNTIL_END))
    for task_id in ("on", "before", "after"):
        director.until(task_id, "TASK_RUNNING")
    assert stage.network is not None
    stage.network.cut()
    stage.end("before")
    director.until("on", "TASK_UNREACHABLE")
    stage.agent.kill()
    stage.end("after")
    stage.agent.spawn()
    time.sleep(1)
    stage.network.heal()
    stage.agent.wait_until_registered(60.0)
    for task_id in ("before", "after"):
        director.until(task_id, "TASK_FINISHED", 60.0)
    back(stage, "on")
    stage.finish(director)


def back(stage: Stage, task_id: str) -> None:
    """Wait until the master has a task again that it had given up."""
    eventually(lambda: task_id in stage.tasks("tasks", "TASK_RUNNING"), 60, f"{task_id} to be back")
