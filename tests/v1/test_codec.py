# SPDX-License-Identifier: Apache-2.0
"""Bytes that look like a message and are none."""

from __future__ import annotations

import pytest

from mesos_compat.base.errors import ApiError
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2
from mesos_compat.v1 import codec
from mesos_compat.v1.executor_api import parse_call

CALL = executor_pb2.Call(type=executor_pb2.Call.HEARTBEAT)
CALL.framework_id.value = "framework"
CALL.executor_id.value = "executor"
FOREIGN = CALL.SerializeToString().replace(b"executor", b"\xffxecutor")


def test_text_that_is_no_utf8_is_no_message() -> None:
    assert codec.from_bytes(executor_pb2.Call, CALL.SerializeToString()) == CALL
    assert codec.from_bytes(executor_pb2.Call, FOREIGN) is None
    with pytest.raises(ApiError) as caught:
        parse_call(FOREIGN, codec.PROTOBUF)
    assert caught.value.status == 400


def test_the_operator_api_refuses_it_too() -> None:
    call = agent_pb2.Call(type=agent_pb2.Call.LIST_FILES)
    call.list_files.path = "/path"
    body = call.SerializeToString().replace(b"/path", b"\xff\xfe\xfd\xfc\xfb")
    with pytest.raises(ApiError) as caught:
        codec.parse(agent_pb2.Call, body, codec.PROTOBUF)
    assert caught.value.status == 400
