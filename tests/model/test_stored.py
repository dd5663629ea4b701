# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.stored import parse_stored
from mesos_compat.pb.mesos import mesos_pb2 as pb


def test_what_was_written_is_read() -> None:
    made = pb.FrameworkInfo(user="ü", name="")
    assert parse_stored("/x", made.SerializeToString(), pb.FrameworkInfo) == made


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "is no FrameworkInfo: "),
        (pb.FrameworkInfo(user="u").SerializePartialToString(), "required fields are missing"),
        (b"\x0a\x01\xff\x12\x00", "mesos.FrameworkInfo.user is not valid UTF-8"),
    ],
)
def test_damages(content: bytes, why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        parse_stored("/x", content, pb.FrameworkInfo)
