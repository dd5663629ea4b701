# SPDX-License-Identifier: Apache-2.0
"""Records against the generated messages, and everything that is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.switchboard import records
from containerizer.switchboard.records import (
    AttachTarget,
    Encoding,
    ProcessRecord,
    RecordError,
    Stream,
    StreamData,
    StreamHeartbeat,
    WindowSize,
)
from mesos_compat.model import jsonpb
from mesos_compat.model.jsonpb import JsonValue
from mesos_compat.pb.mesos.agent import agent_pb2 as agent
from mesos_compat.pb.mesos.v1.agent import agent_pb2 as v1

JSON, PROTOBUF = Encoding.JSON, Encoding.PROTOBUF

_numbers = st.integers(0, (1 << 32) - 1)
_records: st.SearchStrategy[ProcessRecord] = st.one_of(
    st.builds(StreamData, st.sampled_from(Stream), st.binary(max_size=300)),
    st.builds(WindowSize, _numbers, _numbers),
    st.builds(StreamHeartbeat, st.integers(0, (1 << 62) - 1)),
)
_ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)


@given(_records, st.sampled_from(Encoding))
def test_what_is_written_is_read(record: ProcessRecord, encoding: Encoding) -> None:
    assert records.decode(records.encode(record, encoding), encoding) == record


@given(_records)
def test_both_forms_are_the_message(record: ProcessRecord) -> None:
    message = agent.ProcessIO()
    message.ParseFromString(records.encode(record, PROTOBUF))
    assert message.SerializeToString() == records.encode(record, PROTOBUF)
    assert jsonpb.from_value(agent.ProcessIO, json.loads(records.encode(record, JSON))) == message
    assert v1.ProcessIO.FromString(records.encode(record, PROTOBUF)).IsInitialized()


@given(_ids.map(tuple), st.sampled_from(Encoding))
def test_containers_of_any_depth(path: tuple[str, ...], encoding: Encoding) -> None:
    target = AttachTarget(path)
    payload = records.encode_input(target, encoding)
    assert records.decode_input(payload, encoding) == target
    if encoding is PROTOBUF:
        call = agent.Call.FromString(payload)
        assert call.attach_container_input.container_id.value == path[-1]
        output = agent.Call.FromString(records.encode_attach_output(path, encoding))
        assert output.attach_container_output.container_id == (
            call.attach_container_input.container_id
        )
    assert records.is_attach_output(records.encode_attach_output(path, encoding), encoding)
    assert not records.is_attach_output(payload, encoding)


@given(st.binary(max_size=200), st.sampled_from(Encoding))
def test_anything_else_is_refused_or_read(payload: bytes, encoding: Encoding) -> None:
    for read in (records.decode, records.decode_input, records.is_attach_output):
        try:
            read(payload, encoding)
        except RecordError:
            continue


def test_recorded_records() -> None:
    # as recorded from agents
    data = b'{"type":"DATA","data":{"type":"STDOUT","data":"YQo="}}'
    assert records.encode(StreamData(Stream.STDOUT, b"a\n"), JSON) == data
    data = (
        b'{"type":"CONTROL","control":{"type":"HEARTBEAT",'
        b'"heartbeat":{"interval":{"nanoseconds":2000000000}}}}'
    )
    assert records.encode(StreamHeartbeat(2000000000), JSON) == data
    data = b"\x08\x01\x12\x06\x08\x02\x12\x02a\n"
    assert records.encode(StreamData(Stream.STDOUT, b"a\n"), PROTOBUF) == data


@pytest.mark.parametrize(
    ("process_io", "refusal"),
    [
        ({}, "Expecting 'process_io.type' to be present"),
        ({"type": "UNKNOWN"}, "'process_io.type' is unknown"),
        ({"type": "WHATEVER"}, "'process_io.type' is unknown"),
        ({"type": "DATA"}, "Expecting 'process_io.data' to be present"),
        ({"type": "DATA", "data": {}}, "Expecting 'process_io.data.type' to be present"),
        (
            {"type": "DATA", "data": {"type": "STDOUT", "data": ""}},
            "Expecting 'process_io.data.type' to be 'STDIN'",
        ),
        (
            {"type": "DATA", "data": {"type": "STDIN"}},
            "Expecting 'process_io.data.data' to be present",
        ),
        ({"type": "CONTROL"}, "Expecting 'process_io.control' to be present"),
        ({"type": "CONTROL", "control": {}}, "Expecting 'process_io.control.type' to be present"),
        (
            {"type": "CONTROL", "control": {"type": "UNKNOWN"}},
            "'process_io.control.type' is unknown",
        ),
        (
            {"type": "CONTROL", "control": {"type": "TTY_INFO"}},
            "Expecting 'process_io.control.tty_info' to be present",
        ),
        (
            {"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": {}}},
            "Expecting 'tty_info.window_size' to be present",
        ),
        (
            {"type": "CONTROL", "control": {"type": "HEARTBEAT"}},
            "Expecting 'process_io.control.heartbeat' to be present",
        ),
    ],
)
def test_refusals_in_upstreams_words(process_io: JsonValue, refusal: str) -> None:
    call: JsonValue = {
        "type": "ATTACH_CONTAINER_INPUT",
        "attach_container_input": {"type": "PROCESS_IO", "process_io": process_io},
    }
    with pytest.raises(RecordError) as refused:
        records.decode_input(json.dumps(call).encode(), JSON)
    assert str(refused.value) == refusal
    message = jsonpb.from_value(v1.Call, call) if "WHATEVER" not in str(call) else None
    if message is not None:
        with pytest.raises(RecordError) as refused:
            records.decode_input(message.SerializeToString(), PROTOBUF)
        assert str(refused.value) == refusal


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'{"type":[]}',
        b"[" * 100000,
        b'{"type":"DATA","data":"x"}',
        b'{"type":"DATA","data":{"type":"STDOUT","data":"\\ud800"}}',
        b'{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{"window_size":{"rows":1e99,'
        b'"columns":1}}}}',
        b'{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{"window_size":{"rows":NaN,'
        b'"columns":1}}}}',
        b'{"type":' + b"1" * 5000 + b"}",
    ],
)
def test_hostile_json(payload: bytes) -> None:
    with pytest.raises(RecordError):
        records.decode(payload, JSON)


def test_pieces_of_a_message_are_joined() -> None:
    one = agent.ProcessIO(type=agent.ProcessIO.DATA).SerializeToString()
    first = agent.ProcessIO(data=agent.ProcessIO.Data(type=agent.ProcessIO.Data.STDIN))
    second = agent.ProcessIO(data=agent.ProcessIO.Data(data=b"x"))
    payload = one + first.SerializeToString() + second.SerializeToString()
    assert records.decode(payload, PROTOBUF) == StreamData(Stream.STDIN, b"x")
