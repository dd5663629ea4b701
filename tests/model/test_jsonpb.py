# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.model import evolve, jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e21, "1e21"),
        (1e-7, "1e-7"),
        (1.5e300, "1.5e300"),
        (1e16, "10000000000000000.0"),
        (25276502016.0, "25276502016.0"),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (1795418738.57716, "1795418738.57716"),
    ],
)
def test_doubles_look_like_doubles(number: float, text: str) -> None:
    assert jsonpb.format_double(number) == text


@pytest.mark.parametrize(
    "text", ["1e-07,", "e+5}", "NaN", "-Infinity", "2e-7", '"\\', "\u2028\x7f"]
)
def test_texts_that_look_like_doubles(text: str) -> None:
    values: tuple[jsonpb.JsonValue, ...] = (text, [text], {"a": text, text: 1.5})
    for value in values:
        shown = jsonpb.dumps(value)
        assert jsonpb.loads(shown) == value
        # the same, whichever way it is written
        assert jsonpb.dumps([value, 1e-7]) == b"[%b,1e-7]" % shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back_equal(number: float) -> None:
    text = jsonpb.format_double(number)
    assert float(text) == number
    assert "." in text or "e" in text
    assert isinstance(json.loads(text), float)


def test_text_is_compact_and_escaped_as_upstream_does() -> None:
    value: jsonpb.JsonValue = {"b": 'a\x00b"/\\\n\t\x1fé', "a": [1, 1.0, True, None, {}, []]}
    assert jsonpb.dumps(value) == (
        '{"b":"a\\u0000b\\"/\\\\\\n\\t\\u001fé","a":[1,1.0,true,null,{},[]]}'.encode()
    )
    assert jsonpb.dumps(value, sort_keys=True).startswith(b'{"a":')


def test_bytes_that_are_no_utf8_are_copied() -> None:
    assert jsonpb.dumps({"data": b"b\xff\xc3\xa9"}) == b'{"data":"b\xff\xc3\xa9"}'
    foreign = pb.TaskID.FromString(b"\n\x02\xff\xfe")
    assert jsonpb.print_message(foreign) == b'{"value":"\xff\xfe"}'


def test_unset_fields_are_left_out_but_declared_defaults_are_printed() -> None:
    info = v1.FrameworkInfo(user="root", name="n")
    assert jsonpb.to_value(info) == {
        "user": "root",
        "name": "n",
        "failover_timeout": 0.0,
        "checkpoint": False,
    }
    command = v1.CommandInfo(value="x")
    assert jsonpb.to_value(command) == {"shell": True, "value": "x"}


def test_kinds_of_fields() -> None:
    status = pb.TaskStatus(
        task_id=pb.TaskID(value="t"),
        state=pb.TASK_RUNNING,
        uuid=b"\x00\xff",
        timestamp=1.0,
        source=pb.TaskStatus.SOURCE_SLAVE,
    )
    assert jsonpb.print_message(status) == (
        b'{"task_id":{"value":"t"},"state":"TASK_RUNNING","source":"SOURCE_SLAVE",'
        b'"timestamp":1.0,"uuid":"AP8="}'
    )
    task = pb.Task()
    task.limits["mem"].value = math.inf
    task.limits["cpus"].value = 1
    limits = jsonpb.to_value(task)["limits"]
    assert jsonpb.dumps(limits) == b'{"cpus":{"value":1.0},"mem":{"value":"Infinity"}}'


def test_empty_lists_are_shown_where_asked() -> None:
    response = agent_pb2.Response.GetFrameworks()
    assert jsonpb.to_value(response) == {}
    assert jsonpb.to_value(response, frozenset({response.DESCRIPTOR.full_name})) == {
        "frameworks": [],
        "completed_frameworks": [],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"x", "syntax error at line 1 near: x"),
        (b"", "syntax error at line 1 near: "),
        (b'{"a":1}\n  y', "Parsed JSON included non-whitespace trailing characters: \n  y"),
        (b'{"a":\n y', "syntax error at line 2 near: y"),
        (b'{"a":NaN}', "syntax error near: NaN"),
        (b'{"a":1e999}', "number out of range: 1e999"),
        (b"[" * 202 + b"]" * 202, "nesting is deeper than 200"),
        (b"[" * 100_000, "nesting is deeper than 200"),
        (b'{"a":' * 100_000, "nesting is deeper than 200"),
    ],
)
def test_bad_text(text: bytes, message: str) -> None:
    with pytest.raises(jsonpb.JsonError) as caught:
        jsonpb.loads(text)
    assert str(caught.value) == message


def test_deepest_allowed_nesting() -> None:
    jsonpb.loads(b"[" * 200 + b"]" * 200)


def test_a_number_of_ten_thousand_digits_is_an_error() -> None:
    with pytest.raises(jsonpb.JsonError):
        jsonpb.loads(b"1" * 10_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "Expecting a JSON object"),
        ('{"type":"SUBSCRIBE"}', "Missing required fields: executor_id, framework_id"),
        (
            '{"executor_id":{"value":"e"},"framework_id":{"value":"f"},'
            '"subscribe":{"unacknowledged_tasks":[{}]}}',
            "Missing required fields: subscribe.unacknowledged_tasks[0].name, "
            "subscribe.unacknowledged_tasks[0].task_id, subscribe.unacknowledged_tasks[0].agent_id",
        ),
        ('{"executor_id":"e"}', "Not expecting a JSON string for field 'executor_id'"),
        ('{"executor_id":[1]}', "Not expecting a JSON array for field 'executor_id'"),
        ('{"executor_id":{"value":{}}}', "Not expecting a JSON object for field 'value'"),
        ('{"executor_id":{"value":1}}', "Not expecting a JSON number for field 'value'"),
        ('{"executor_id":{"value":true}}', "Not expecting a JSON boolean for field 'value'"),
        ('{"type":1}', "Not expecting a JSON number for field 'type'"),
        ('{"update":{"status":{"state":"NOPE"}}}', "Failed to find enum for 'NOPE'"),
        ('{"executor_id":{"value":"\\ud800"}}', "Field 'value' is not valid UTF-8"),
    ],
)
def test_values_that_are_no_call(text: str, message: str) -> None:
    with pytest.raises(jsonpb.JsonError) as caught:
        jsonpb.parse_message(executor_pb2.Call, text)
    assert str(caught.value) == message


def test_bad_base64() -> None:
    with pytest.raises(jsonpb.JsonError, match=r"^Failed to base64 decode bytes field 'data': "):
        jsonpb.from_value(executor_pb2.Call.Message, {"data": "*"})


def test_lenient_input() -> None:
    call = jsonpb.parse_message(
        agent_pb2.Call,
        '{"type":"NOPE","nobody":1,"get_metrics":null,'
        '"set_logging_level":{"level":"3","duration":{"nanoseconds":5.0}},'
        '"get_containers":{"show_nested":"true"}}',
    )
    assert not call.HasField("type")
    assert not call.HasField("get_metrics")
    assert call.set_logging_level.level == 3
    assert call.set_logging_level.duration.nanoseconds == 5
    assert call.get_containers.show_nested
    command = jsonpb.from_value(v1.CommandInfo, {"arguments": "one", "shell": False})
    assert list(command.arguments) == ["one"]
    assert jsonpb.from_value(v1.Value.Scalar, {"value": "Infinity"}).value == math.inf
    data = jsonpb.from_value(executor_pb2.Call.Message, {"data": "Y\nQ="})
    assert data.data == b"a"


def test_an_empty_object_sets_the_field() -> None:
    call = jsonpb.parse_message(agent_pb2.Call, '{"type":"GET_METRICS","get_metrics":{}}')
    assert call.HasField("get_metrics")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "99999999999999999999"])
def test_numbers_out_of_range(value: int | str) -> None:
    with pytest.raises(jsonpb.JsonError):
        jsonpb.from_value(v1.DurationInfo, {"nanoseconds": value})


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_RESOURCE = st.builds(
    lambda name, value, ranges: v1.Resource(
        name=name,
        type=v1.Value.SCALAR,
        scalar=v1.Value.Scalar(value=value),
        ranges=v1.Value.Ranges(range=[v1.Value.Range(begin=b, end=e) for b, e in ranges]),
    ),
    _TEXT,
    st.floats(allow_nan=False),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=2),
)
_STATUS = st.builds(
    lambda task, state, data, healthy, stamp, key: v1.TaskStatus(
        task_id=v1.TaskID(value=task),
        state=state,
        data=data,
        healthy=healthy,
        timestamp=stamp,
        labels=v1.Labels(labels=[v1.Label(key=key)]),
    ),
    _TEXT,
    st.sampled_from([v1.TASK_RUNNING, v1.TASK_LOST]),
    st.binary(max_size=20),
    st.booleans(),
    st.floats(allow_nan=False),
    _TEXT,
)
_TASK = st.builds(
    lambda name, resources, limits: v1.TaskInfo(
        name=name,
        task_id=v1.TaskID(value=name),
        agent_id=v1.AgentID(value=name),
        resources=resources,
        limits={k: v1.Value.Scalar(value=v) for k, v in limits.items()},
    ),
    _TEXT,
    st.lists(_RESOURCE, max_size=3),
    st.dictionaries(_TEXT, st.floats(allow_nan=False), max_size=3),
)


@given(st.one_of(_STATUS, _TASK))
def test_messages_survive_the_round_trip(message: v1.TaskStatus | v1.TaskInfo) -> None:
    again = jsonpb.parse_message(type(message), jsonpb.print_message(message))
    _equal_but_for_defaults(again, message)


def _equal_but_for_defaults(
    again: v1.TaskStatus | v1.TaskInfo, message: v1.TaskStatus | v1.TaskInfo
) -> None:
    assert jsonpb.to_value(again) == jsonpb.to_value(message)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "update", "status", "executor_id", "value", "subscribe", "uuid"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_value_is_a_message_or_a_json_error(value: jsonpb.JsonValue) -> None:
    try:
        jsonpb.from_value(executor_pb2.Call, value)
    except jsonpb.JsonError as error:
        str(error).encode()


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_json_error(text: bytes) -> None:
    try:
        jsonpb.loads(text)
    except jsonpb.JsonError as error:
        str(error).encode()


def test_evolve_renames_and_drops_what_only_v0_has() -> None:
    status = pb.TaskStatus(
        task_id=pb.TaskID(value="t"),
        state=pb.TASK_LOST,
        slave_id=pb.SlaveID(value="S0"),
        reason=pb.TaskStatus.REASON_SLAVE_RESTARTED,
    )
    evolved = evolve.evolve(status, v1.TaskStatus)
    assert evolved.agent_id.value == "S0"
    assert evolved.reason == v1.TaskStatus.REASON_AGENT_RESTARTED
    assert evolve.devolve(evolved, pb.TaskStatus) == status
    info = evolve.evolve(pb.SlaveInfo(hostname="h", checkpoint=True), v1.AgentInfo)
    assert info.SerializeToString() == v1.AgentInfo(hostname="h").SerializeToString()


def test_evolve_keeps_partial_messages() -> None:
    assert evolve.evolve(pb.TaskStatus(), v1.TaskStatus) == v1.TaskStatus()


def test_field_numbers_of_both_dialects_agree() -> None:
    for name, old in pb.DESCRIPTOR.message_types_by_name.items():
        new = v1.DESCRIPTOR.message_types_by_name[name.replace("Slave", "Agent")]
        theirs = {field.number: field for field in new.fields}
        for field in old.fields:
            other = theirs.get(field.number)
            if other is None:
                assert (name, field.name) == ("SlaveInfo", "checkpoint")
                continue
            assert field.type == other.type
            assert field.name.replace("slave", "agent") == other.name


@pytest.mark.parametrize("text", [b'{"\xff": 1}', b'{"\\udc80": 1}', b'{"source": "\xff"}'])
def test_names_that_are_no_text_are_names_that_nobody_knows(text: bytes) -> None:
    with pytest.raises(jsonpb.JsonError, match="Missing required fields"):
        jsonpb.parse_message(pb.TaskStatus, text)
