# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

from mesos_compat.agent.machine.state import AgentPhase, Framework, Task, TaskPlace
from mesos_compat.http import state_view
from mesos_compat.http.state_view import Build
from mesos_compat.http.view import EVERYTHING
from mesos_compat.model import jsonpb
from mesos_compat.model.jsonpb import JsonObject
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.http.fakes import agent_state, golden, golden_state, small_state

BUILD = Build("1.12.0", "2026-11-23 06:31:05", 1795415465.0, "")


def ordered(value: Any) -> Any:
    """Make the order of keys count in comparisons."""
    if isinstance(value, dict):
        return [(key, ordered(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return (type(value).__name__, value)


def shown(state: Any, flags: dict[str, str]) -> Any:
    return json.loads(jsonpb.dumps(state_view.agent(state, BUILD, flags)))


def test_the_document_of_a_running_command_task_is_the_golden_one() -> None:
    expected = golden("get_state.json")
    assert ordered(shown(golden_state(), expected["flags"])) == ordered(expected)


def test_a_completed_framework_is_shown_as_the_golden_one() -> None:
    expected = golden("get_state_after.json")
    state = golden_state()
    framework = next(iter(state.frameworks.values()))
    state.frameworks.clear()
    state.completed_frameworks.append(framework)
    executor = next(iter(framework.executors.values()))
    framework.executors.clear()
    framework.completed_executors.append(executor)
    task = next(iter(executor.launched.values()))
    executor.launched.clear()
    executor.completed.append(task)
    task.place, task.state = TaskPlace.COMPLETED, pb.TASK_FINISHED
    last = expected["completed_frameworks"][0]["completed_executors"][0]["completed_tasks"][0]
    finished = pb.TaskStatus()
    finished.CopyFrom(task.statuses[-1])
    finished.state = pb.TASK_FINISHED
    finished.timestamp = last["statuses"][-1]["timestamp"]
    task.statuses.append(finished)
    assert ordered(shown(state, expected["flags"])) == ordered(expected)


def test_before_the_registration() -> None:
    state = agent_state(pb.SlaveInfo(hostname="h"), start_time=1.0, master_hostname="m")
    state.agent_id = None
    state.phase = AgentPhase.DISCONNECTED
    document = shown(state, {"log_dir": "/l", "external_log_file": "/e"})
    assert document["id"] == ""
    assert "master_hostname" not in document
    assert (document["log_dir"], document["external_log_file"]) == ("/l", "/e")
    assert document["frameworks"] == document["completed_frameworks"] == []


def test_summaries_have_all_kinds_and_revocable_ones_apart() -> None:
    resources = list(Resources.parse("cpus:1.5;cpus(r):0.5;ports:[5-6,1-2];disks:{b,a};mem:10"))
    revocable = pb.Resource(name="cpus", type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=2))
    revocable.revocable.SetInParent()
    assert state_view.summary([*resources, revocable]) == {
        "disk": 0.0,
        "mem": 10.0,
        "gpus": 0.0,
        "cpus": 2.0,
        "ports": "[1-2, 5-6]",
        "disks": "{a, b}",
        "cpus_revocable": 2.0,
    }


def test_reserved_resources_are_shown_in_both_formats() -> None:
    info = pb.SlaveInfo(hostname="h")
    info.resources.extend(Resources.parse("cpus:1;cpus(r):0.5"))
    dynamic = pb.Resource(name="mem", type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=4))
    dynamic.reservations.add(type=pb.Resource.ReservationInfo.DYNAMIC, role="d", principal="p")
    info.resources.append(dynamic)
    document = shown(agent_state(info, start_time=1.0), {})
    assert document["reserved_resources"]["r"]["cpus"] == 0.5
    assert document["unreserved_resources"]["cpus"] == 1.0
    full = document["reserved_resources_full"]
    assert full["r"][0]["role"] == "r"
    assert "reservation" not in full["r"][0]
    assert full["d"][0]["role"] == "d"
    assert full["d"][0]["reservation"] == {"principal": "p"}
    assert full["d"][0]["reservations"] == [{"type": "DYNAMIC", "role": "d", "principal": "p"}]
    assert document["unreserved_resources_full"][0]["role"] == "*"


def test_attributes() -> None:
    attributes = [
        pb.Attribute(name="a", type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=2)),
        pb.Attribute(name="t", type=pb.Value.TEXT, text=pb.Value.Text(value="x")),
        pb.Attribute(
            name="r",
            type=pb.Value.RANGES,
            ranges=pb.Value.Ranges(range=[pb.Value.Range(begin=1, end=2)]),
        ),
    ]
    assert state_view.attributes(attributes) == {"a": 2.0, "t": "x", "r": "[1-2]"}


def _framework() -> Framework:
    return next(iter(small_state().frameworks.values()))


def _shown(framework: Framework) -> JsonObject:
    (executor,) = framework.executors.values()
    return state_view.executor(framework, executor, EVERYTHING)


def test_queued_tasks_show_no_secrets() -> None:
    info = pb.TaskInfo(name="n", task_id=pb.TaskID(value="t"), slave_id=pb.SlaveID(value="S"))
    info.command.value = "x"
    info.command.arguments.append("a")
    info.command.uris.add(value="http://u", executable=True)
    secret = info.command.environment.variables.add(name="S", type=pb.Environment.Variable.SECRET)
    secret.secret.type = pb.Secret.VALUE
    secret.secret.value.data = b"hidden"
    value = state_view.queued_task(Task(info, TaskPlace.QUEUED, pb.TASK_STAGING))
    assert b"hidden" not in jsonpb.dumps(value)
    assert "aGlkZGVu" not in str(value)
    assert list(value) == ["id", "name", "slave_id", "resources", "command"]
    assert value["command"] == {
        "value": "x",
        "argv": ["a"],
        "environment": {
            "variables": [{"name": "S", "type": "SECRET", "secret": {"type": "VALUE"}}]
        },
        "uris": [{"value": "http://u", "executable": True}],
    }


def test_lists_are_there_when_empty() -> None:
    value = _shown(_framework())
    assert value["tasks"] == value["queued_tasks"] == value["completed_tasks"] == []
    assert value["name"] == value["source"] == ""


def test_texts_that_are_no_utf8_do_not_break_the_document() -> None:
    framework = _framework()
    (executor,) = framework.executors.values()
    executor.info.MergeFromString(b"\x4a\x02\xff\xfe")  # name
    assert b"\xff\xfe" in jsonpb.dumps(_shown(framework))
