# SPDX-License-Identifier: Apache-2.0
"""An agent comes, stays and goes, as the master sees it."""

import signal

from integration.conformance.stage import Stage
from integration.processes import eventually

ATTRIBUTES = "rack:abc;zone:west;level:10;keys:[1000-1500]"
STATIC = "cpus:4;cpus(db):1.5;mem:2048;disk:4096;ports:[31000-31999];zones(db):{a,b}"


def test_registration(stage: Stage) -> None:
    """Every field of it arrives."""
    stage.up(attributes=ATTRIBUTES, resources=STATIC)
    agent, observer = stage.agent, stage.observer
    seen = observer.wait_for_agent(active=True, hostname=agent.ip, port=agent.port)
    assert seen["pid"] == f"slave(1)@{agent.address}"
    assert seen["id"] == agent.state()["id"]
    assert seen["id"].endswith("-S0")
    assert seen["version"] == agent.state()["version"]
    assert seen["attributes"] == {
        "rack": "abc",
        "zone": "west",
        "level": 10.0,
        "keys": "[1000-1500]",
    }
    assert seen["reserved_resources"] == {
        "db": {"cpus": 1.5, "gpus": 0.0, "mem": 0.0, "disk": 0.0, "zones": "{a, b}"}
    }
    totals = {"cpus": 4.0, "mem": 2048.0, "disk": 4096.0, "ports": "[31000-31999]"}
    unreserved = seen["unreserved_resources"]
    assert {name: unreserved[name] for name in totals} == totals
    assert seen["resources"] == agent.state()["resources"]
    # Old masters leave out what they do not know.
    assert set(seen["capabilities"]) <= set(agent.state()["capabilities"])
    assert {"MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"} <= set(
        seen["capabilities"]
    )
    assert "reregistered_time" not in seen
    added = observer.of("AGENT_ADDED")
    assert [each["agent"]["agent_info"]["id"]["value"] for each in added] == [seen["id"]]
    info = observer.agents()[0]["agent_info"]
    assert info["hostname"] == agent.ip
    assert info["port"] == agent.port
    assert observer.counters("slave_registrations", "slave_reregistrations", "slaves_active") == {
        "slave_registrations": 1.0,
        "slave_reregistrations": 0.0,
        "slaves_active": 1.0,
    }


def test_removal(stage: Stage) -> None:
    """SIGUSR1: the agent is gone at once, and what it ran is lost."""
    stage.up()
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    assert stage.agent.stop() == 0
    status = director.until("on", "TASK_LOST")
    assert status["reason"] in ("REASON_SLAVE_REMOVED", "REASON_AGENT_REMOVED")
    assert status["source"] == "SOURCE_MASTER"
    assert "the agent unregistered" in status["message"]
    eventually(lambda: stage.observer.of("AGENT_REMOVED"), 60, "the agent to be removed")
    removed = stage.observer.of("AGENT_REMOVED")
    assert [each["agent_id"]["value"] for each in removed] == [agent_id]
    assert stage.master.state()["slaves"] == []
    counters = stage.observer.counters("slave_removals", "slave_removals/reason_unregistered")
    assert set(counters.values()) == {1.0}


def test_marked_gone(stage: Stage) -> None:
    """The operator gives it up: it ends all that it runs, and itself."""
    stage.needs(1, 5)
    stage.up()
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    stage.post("MARK_AGENT_GONE", mark_agent_gone={"agent_id": {"value": agent_id}})
    director.until("on", "TASK_GONE_BY_OPERATOR")
    assert stage.agent.wait() == 0
    assert stage.observer.counters("slaves_active") == {"slaves_active": 0.0}


def test_machine_down(stage: Stage) -> None:
    """Maintenance begins: the agent ends all that it runs, and itself."""
    stage.up()
    director = stage.running(stage.framework())
    machine = {"hostname": stage.agent.ip, "ip": stage.agent.ip}
    window = {
        "machine_ids": [machine],
        "unavailability": {"start": {"nanoseconds": 0}},
    }
    stage.post(
        "UPDATE_MAINTENANCE_SCHEDULE",
        update_maintenance_schedule={"schedule": {"windows": [window]}},
    )
    stage.post("START_MAINTENANCE", start_maintenance={"machines": [machine]})
    assert stage.agent.wait() == 0
    director.until("on", "TASK_LOST")


def test_an_agent_that_dies_and_returns(stage: Stage) -> None:
    """Its tasks are unreachable, then run again: they never ended."""
    stage.up(master_agent_ping_timeout="1secs", master_max_agent_ping_timeouts=4)
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    stage.agent.kill()
    director.until("on", "TASK_UNREACHABLE")
    assert stage.observer.metrics()["master/slave_unreachable_completed"] == 1.0
    stage.agent.spawn().wait_until_registered()
    eventually(
        lambda: director.states("on")[-1] == "TASK_RUNNING" or reconcile(director),
        60,
        "the task to be back",
    )
    assert stage.agent_id() == agent_id
    stage.finish(director)


def reconcile(director: object) -> bool:
    director.reconcile({"on": None})  # type: ignore[attr-defined]
    return False


def test_sigterm_leaves_tasks_alone(stage: Stage) -> None:
    """An orderly end is no removal."""
    stage.up()
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    stage.agent.signal(signal.SIGTERM)
    stage.agent.wait()
    stage.agent.spawn().wait_until_registered()
    assert stage.agent_id() == agent_id
    assert director.states("on") == ["TASK_STARTING", "TASK_RUNNING"]
    stage.finish(director)
