# SPDX-License-Identifier: Apache-2.0
"""Text that is no text."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from mesos_compat.model.validate import text_error
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
