# SPDX-License-Identifier: Apache-2.0
"""An operator drains an agent."""

import pytest

from integration.conformance.stage import Stage
from integration.processes import eventually


def drain(stage: Stage, agent_id: str, **fields: object) -> None:
    asked = {"agent_id": {"value": agent_id}, **fields}
    stage.post("DRAIN_AGENT", drain_agent=asked)


def drained(stage: Stage) -> bool:
    states = [a.get("drain_info", {}).get("state") for a in stage.master.state()["slaves"]]
    return states == ["DRAINED"]


def test_drain(stage: Stage) -> None:
    """Its tasks end, it is offered no more until it is activated again."""
    stage.needs(1, 9)
    stage.up()
    stage.needs_capability("AGENT_DRAINING")
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    drain(stage, agent_id)
    status = director.until("on", "TASK_KILLED")
    assert status["reason"] in ("REASON_SLAVE_DRAINING", "REASON_AGENT_DRAINING")
    eventually(lambda: drained(stage), 60, "the agent to be drained")
    stage.post("REACTIVATE_AGENT", reactivate_agent={"agent_id": {"value": agent_id}})
    stage.finish(stage.running(director, "again"), "again")


@pytest.mark.parametrize("restart", [False, True], ids=["on", "restart"])
def test_drain_and_gone(stage: Stage, restart: bool) -> None:
    """The agent leaves for good in the end; a restart meanwhile changes nothing.

    The executor's TASK_KILLING is told as the end already, its TASK_KILLED not at all.
    """
    stage.needs(1, 9)
    stage.up()
    stage.needs_capability("AGENT_DRAINING")
    director = stage.running(stage.framework())
    agent_id = stage.agent_id()
    if restart:
        stage.agent.kill()
    drain(stage, agent_id, mark_gone=True)
    if restart:
        stage.agent.spawn()
    director.until("on", "TASK_GONE_BY_OPERATOR")
    assert stage.agent.wait() == 0
