# SPDX-License-Identifier: Apache-2.0
"""Text that is no text, and masses of fields."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.model.validate import MAX_FIELDS, text_error, wire_error
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from tests.agent.machine.driver import run


def full() -> pb.TaskInfo:
    """A task with text in singular, repeated and nested fields, and in a map."""
    made = pb.TaskInfo(name="MARK-name", data=b"\xff\xfe")
    made.task_id.value = "MARK-id"
    made.slave_id.value = "s"
    made.command.value = "x"
    made.command.arguments.extend(("a", "MARK-argument"))
    made.labels.labels.add(key="k", value="MARK-label")
    made.limits["MARK-key"].value = 1.0
    parent = made.container.docker
    parent.image = "MARK-image"
    return made


@pytest.mark.parametrize(
    ("mark", "field"),
    [
        (b"MARK-name", "mesos.TaskInfo.name"),
        (b"MARK-id", "mesos.TaskID.value"),
        (b"MARK-argument", "mesos.CommandInfo.arguments"),
        (b"MARK-label", "mesos.Label.value"),
        (b"MARK-key", "mesos.TaskInfo.limits"),
        (b"MARK-image", "mesos.ContainerInfo.DockerInfo.image"),
    ],
)
def test_every_kind_of_field_is_looked_at(mark: bytes, field: str) -> None:
    data = full().SerializePartialToString()
    broken = pb.TaskInfo.FromString(data.replace(mark, b"\xff" + mark[1:]))
    assert text_error(broken) == f"{field} is not valid UTF-8"


@pytest.mark.parametrize("message", [full(), run(), messages.PingSlaveMessage()])
def test_text_and_bytes_are_fine(message: Message) -> None:
    assert text_error(message) is None


def test_surrogates_are_no_text() -> None:
    data = pb.TaskID(value="abc").SerializeToString().replace(b"abc", b"\xed\xa0\x80")
    assert text_error(pb.TaskID.FromString(data)) == "mesos.TaskID.value is not valid UTF-8"


def test_it_goes_as_deep_as_messages_do() -> None:
    deep = pb.ContainerID(value="a")
    for _ in range(40):
        deep = pb.ContainerID(value="a", parent=deep)
    assert text_error(deep) is None


def empty_resources(count: int) -> bytes:
    (field,) = messages.CheckpointResourcesMessage.DESCRIPTOR.fields
    return bytes([field.number << 3 | 2, 0]) * count


def test_masses_of_fields_are_refused_before_they_are_read() -> None:
    kind = messages.CheckpointResourcesMessage
    assert wire_error(kind, empty_resources(MAX_FIELDS)) is None
    assert wire_error(kind, empty_resources(MAX_FIELDS + 1)) == f"more than {MAX_FIELDS} fields"
    task = messages.RunTaskMessage.DESCRIPTOR.fields_by_name["task"]
    inner = bytes([pb.TaskInfo.DESCRIPTOR.fields_by_name["resources"].number << 3 | 2, 0])
    inner *= MAX_FIELDS
    length = bytes([len(inner) & 127 | 128, len(inner) >> 7 & 127 | 128, len(inner) >> 14])
    body = bytes([task.number << 3 | 2]) + length + inner
    assert messages.RunTaskMessage.FromString(body).task.resources
    assert wire_error(messages.RunTaskMessage, body) == f"more than {MAX_FIELDS} fields"


def test_large_messages_of_few_fields_pass() -> None:
    message = messages.FrameworkToExecutorMessage(data=bytes(4 * MAX_FIELDS))
    for each in (message.slave_id, message.framework_id, message.executor_id):
        each.value = "x" * MAX_FIELDS
    assert wire_error(type(message), message.SerializeToString()) is None
    many = messages.CheckpointResourcesMessage()
    for number in range(MAX_FIELDS // 8):
        added = many.resources.add(name=f"cpus{number}", type=pb.Value.SCALAR)
        added.scalar.value = number
    body = many.SerializeToString()
    assert len(body) > 2 * MAX_FIELDS
    assert wire_error(type(many), body) is None


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_left_to_the_parser(start: bytes) -> None:
    wire_error(messages.RunTaskMessage, start + bytes([0xFF]) * (2 * MAX_FIELDS))
    wire_error(messages.RunTaskMessage, start * 3 + empty_resources(MAX_FIELDS)[:-1])
