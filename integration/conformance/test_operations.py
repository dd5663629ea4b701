# SPDX-License-Identifier: Apache-2.0
"""Reservations and volumes, with and without feedback, and across restarts."""

import functools

import pytest

from integration.conformance.stage import Stage
from integration.frameworks.director import Director, needs, shell
from integration.frameworks.owner import ROLE, reserved
from integration.processes import eventually
from integration.subscription import Record


def volume(size: float = 64) -> Record:
    return reserved(
        "disk",
        size,
        disk={
            "persistence": {"id": "data"},
            "volume": {"container_path": "data", "mode": "RW"},
        },
    )


def operate(
    director: Director, offer: Record, kind: str, resources: list[Record], id_: str
) -> None:
    field = "volumes" if kind in ("CREATE", "DESTROY") else "resources"
    operation: Record = {"type": kind, kind.lower(): {field: resources}}
    if id_:
        operation["id"] = {"value": id_}
    director.accept(offer, operation)


def seen_reserved(stage: Stage) -> Record:
    found: Record = stage.observer.wait_for_agent(active=True)["reserved_resources"]
    return found


def has_reserved(offer: Record) -> bool:
    return any(resource.get("reservations") for resource in offer["resources"])


def has_nothing_reserved(offer: Record) -> bool:
    return not has_reserved(offer)


def has_volume(offer: Record) -> bool:
    return any("persistence" in resource.get("disk", {}) for resource in offer["resources"])


def test_a_reservation(stage: Stage) -> None:
    """It stays over restarts of the agent and can be used and given back."""
    stage.up()
    director = stage.framework(roles=[ROLE])
    operate(director, director.offer(), "RESERVE", [reserved("cpus", 1)], "")
    offer = director.offer(has_reserved)
    assert seen_reserved(stage)[ROLE]["cpus"] == 1.0
    task = shell("uses", "true", resources=[reserved("cpus", 1), *needs(0.1, 32, ROLE)[1:]])
    infos = [{**task, "agent_id": offer["agent_id"]}]
    director.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": infos}})
    director.until("uses", "TASK_FINISHED")
    stage.agent.kill()
    stage.agent.spawn().wait_until_registered()
    assert seen_reserved(stage)[ROLE]["cpus"] == 1.0
    operate(director, director.offer(has_reserved), "UNRESERVE", [reserved("cpus", 1)], "")
    eventually(lambda: ROLE not in seen_reserved(stage), 60, "the reservation to be gone")


def test_a_volume(stage: Stage) -> None:
    """What one task leaves there, the next one finds, after a restart of the agent, too."""
    stage.up()
    if "RESIZE_VOLUME" not in stage.agent.state()["capabilities"]:
        pytest.skip("the agent has no persistent volumes")
    director = stage.framework(roles=[ROLE])
    operate(director, director.offer(), "RESERVE", [reserved("disk", 64)], "")
    operate(director, director.offer(has_reserved), "CREATE", [volume()], "")
    for name, script in (("writes", "echo x > data/file"), ("reads", "grep x data/file")):
        offer = director.offer(has_volume)
        task = shell(name, script, resources=[*needs(0.1, 32, ROLE), volume()])
        infos = [{**task, "agent_id": offer["agent_id"]}]
        director.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": infos}})
        director.until(name, "TASK_FINISHED")
        stage.agent.kill()
        stage.agent.spawn().wait_until_registered()
    operate(director, director.offer(has_volume), "DESTROY", [volume()], "")
    operate(
        director,
        director.offer(lambda offer: has_reserved(offer) and not has_volume(offer)),
        "UNRESERVE",
        [reserved("disk", 64)],
        "",
    )
    eventually(lambda: ROLE not in seen_reserved(stage), 60, "all of it to be gone")


def test_feedback(stage: Stage) -> None:
    """An operation with an id is told of, until that is acknowledged."""
    stage.needs(1, 8)
    stage.up()
    stage.needs_capability("AGENT_OPERATION_FEEDBACK")
    director = stage.framework(roles=[ROLE])
    for kind, fits in (("RESERVE", has_nothing_reserved), ("UNRESERVE", has_reserved)):
        operate(director, director.offer(fits), kind, [reserved("cpus", 1)], kind)
        told = functools.partial(director.operations.get, kind)
        status = director.wait(told, f"word of {kind}")[-1]
        assert status["state"] == "OPERATION_FINISHED"
        director.call(
            "ACKNOWLEDGE_OPERATION_STATUS",
            acknowledge_operation_status={
                "agent_id": status["agent_id"],
                "uuid": status["uuid"]["value"],
                "operation_id": status["operation_id"],
            },
        )
    answer = stage.post("GET_OPERATIONS")
    assert answer is not None
    eventually(
        lambda: not (stage.post("GET_OPERATIONS") or {})["get_operations"].get("operations"),
        60,
        "no operation to be left",
    )


def test_an_operator_reserves(stage: Stage) -> None:
    """With no framework at all."""
    stage.up()
    resources = [reserved("cpus", 1)]
    del resources[0]["allocation_info"]
    agent_id = {"value": stage.agent_id()}
    stage.post(
        "RESERVE_RESOURCES", reserve_resources={"agent_id": agent_id, "resources": resources}
    )
    eventually(lambda: seen_reserved(stage).get(ROLE, {}).get("cpus") == 1.0, 60, "it")
    stage.post(
        "UNRESERVE_RESOURCES", unreserve_resources={"agent_id": agent_id, "resources": resources}
    )
    eventually(lambda: ROLE not in seen_reserved(stage), 60, "the reservation to be gone")
