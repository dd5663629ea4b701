# SPDX-License-Identifier: Apache-2.0
"""Master or agent end at once and start again while tasks run."""

from typing import Any

import pytest

from integration import zookeeper
from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import shell
from integration.processes import eventually
from integration.zookeeper import ZooKeeper

#: An agent notices that its master is another one when no ping came for the product of these.
PINGS: dict[str, Any] = {"master_agent_ping_timeout": "1secs", "master_max_agent_ping_timeouts": 5}


def test_master(stage: Stage) -> None:
    """The agent keeps its id, its tasks run on, and what ended meanwhile is told."""
    stage.up(**PINGS)
    director = stage.framework()
    director.launch(shell("on", UNTIL_END), shell("ends", UNTIL_END))
    for task_id in ("on", "ends"):
        director.until(task_id, "TASK_RUNNING")
    agent_id = stage.agent_id()
    subscriptions = director.subscriptions
    stage.master.kill()
    stage.end("ends")
    stage.master.start()
    stage.agent.wait_until_registered(60.0)
    assert stage.agent_id() == agent_id
    director.wait(lambda: director.subscriptions > subscriptions, "the framework to be back", 60.0)
    director.until("ends", "TASK_FINISHED")
    assert stage.tasks("tasks", "TASK_RUNNING") >= {"on"}
    stage.finish(director)
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert stage.observer.counters("slave_reregistrations", "recovery_slave_removals") == {
        "slave_reregistrations": 1.0,
        "recovery_slave_removals": 0.0,
    }


@pytest.mark.skipif(bool(zookeeper.missing()), reason=f"needs {zookeeper.missing()}")
def test_another_master(stage: Stage) -> None:
    """ZooKeeper elects another one when the first ends; the agent and its tasks go there."""
    server = ZooKeeper(stage.scene.path("zookeeper")).start()
    try:
        stage.up(elect=server)
        director = stage.running(stage.framework())
        agent_id = stage.agent_id()
        director.close()
        stage.elect_another(server)
        assert stage.agent_id() == agent_id
        eventually(lambda: stage.tasks("tasks", "TASK_RUNNING") == {"on"}, 60, "its task")
        back = stage.framework(framework_id=director.framework_id)
        stage.finish(back)
        stage.agent.stop()
    finally:
        server.close()


@pytest.mark.skipif(bool(zookeeper.missing()), reason=f"needs {zookeeper.missing()}")
def test_a_larger_agent(stage: Stage) -> None:
    """The master offers more from then on; one that cannot take that is not bothered."""
    server = ZooKeeper(stage.scene.path("zookeeper")).start()
    try:
        stage.up(elect=server, resources="cpus:2;mem:512", reconfiguration_policy="additive")
        agent_id = stage.agent_id()
        stage.agent.kill()
        stage.agent.flags["resources"] = "cpus:3;mem:512"
        stage.agent.spawn()
        if stage.release < (1, 5):
            assert stage.agent.wait() == 1
            assert stage.agent.said("the detected master lacks the AGENT_UPDATE capability")
            return
        eventually(
            lambda: [each["resources"]["cpus"] for each in stage.master.agents()] == [3.0],
            60,
            "the master to know of more",
        )
        assert stage.agent_id() == agent_id
        stage.agent.stop()
    finally:
        server.close()


def test_agent(stage: Stage) -> None:
    """Its tasks run on, and what ended meanwhile is told."""
    stage.up()
    director = stage.framework()
    director.launch(shell("on", UNTIL_END), shell("ends", UNTIL_END))
    for task_id in ("on", "ends"):
        director.until(task_id, "TASK_RUNNING")
    agent_id = stage.agent_id()
    stage.agent.kill()
    stage.end("ends")
    stage.agent.spawn().wait_until_registered()
    assert stage.agent_id() == agent_id
    director.until("ends", "TASK_FINISHED")
    assert stage.tasks("tasks", "TASK_RUNNING") == {"on"}
    stage.finish(director)
    for task_id in ("on", "ends"):
        assert director.states(task_id) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert stage.observer.counters("slave_registrations", "slave_reregistrations") == {
        "slave_registrations": 1.0,
        # Counted for those only that the master had not, or had given up.
        "slave_reregistrations": 0.0,
    }
    assert len(stage.observer.of("AGENT_ADDED")) == 1
    assert not stage.observer.of("AGENT_REMOVED")


def test_agent_without_checkpoints(stage: Stage) -> None:
    """What a framework did not want to be kept is lost."""
    stage.up()
    director = stage.running(stage.framework(checkpoint=False))
    stage.agent.kill()
    status = director.until("on", "TASK_LOST")
    assert "disconnected" in status["message"]
    stage.agent.spawn().wait_until_registered()
    assert stage.agent.state()["frameworks"] == []
    assert stage.tasks("tasks") == set()


def test_both(stage: Stage) -> None:
    """Agent and master at once; unacknowledged updates are kept by the agent alone."""
    stage.up(**PINGS)
    director = stage.framework(acknowledging=False)
    director.launch(shell("on", UNTIL_END))
    director.acknowledge(director.until("on", "TASK_STARTING"))
    director.until("on", "TASK_RUNNING")
    subscriptions = director.subscriptions
    stage.master.kill()
    stage.agent.kill()
    stage.end()
    director.acknowledging = True
    stage.agent.spawn()
    stage.master.start()
    stage.agent.wait_until_registered(60.0)
    director.wait(lambda: director.subscriptions > subscriptions, "the framework to be back", 60.0)
    director.until("on", "TASK_FINISHED", 60.0)
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
