# SPDX-License-Identifier: Apache-2.0
"""What masters write into ZooKeeper, and what others do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.master.info import decode, leader
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: As a master of 1.11 writes it, with what a later one may add.
FULL = {
    "address": {"hostname": "one.example", "ip": "127.0.0.1", "port": 5050},
    "capabilities": [{"type": "AGENT_UPDATE"}, {"type": "TELEPATHY"}, {"type": "QUOTA_V2"}],
    "hostname": "one.example",
    "id": "f4b41d3f-e4f7-4c99-8f67-4b401badbfa9",
    "ip": 16777343,
    "pid": "master@127.0.0.1:5050",
    "port": 5050,
    "version": "1.11.0",
    "mood": {"good": True},
}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], None),
        (["log_replicas", "foo", "json.info_", "json.info_x", "x_-1"], None),
        (["json.info_0000000012", "json.info_0000000003"], "json.info_0000000003"),
        # the number counts, not its text, whatever stands before it
        (["json.info_0000000012", "info_0000000009", "0000000010"], "info_0000000009"),
        (["json.info_0000000012", "0000000011"], "0000000011"),
        (["a_b_5", "json.info_0000000007", "log_replicas"], "a_b_5"),
        (["json.info_9999999999", "json.info_2147483647"], "json.info_2147483647"),
        (["json.info_\u0663", "json.info_1"], "json.info_1"),
    ],
)
def test_the_smallest_sequence_leads(names: list[str], wanted: str | None) -> None:
    found = leader(names)
    assert (found.name if found is not None else None) == wanted


def test_json() -> None:
    found = decode("json.info", json.dumps(FULL).encode())
    assert (found.pid, found.id, found.version) == (FULL["pid"], FULL["id"], "1.11.0")
    kinds = [one.type for one in found.capabilities if one.HasField("type")]
    assert kinds == [pb.MasterInfo.Capability.AGENT_UPDATE, pb.MasterInfo.Capability.QUOTA_V2]


def test_binary_and_text() -> None:
    info = pb.MasterInfo(id="x", ip=16777343, port=5050, pid="master@127.0.0.1:5050")
    assert decode("info", info.SerializeToString()) == info
    assert decode("", b"master@127.0.0.1:5050\n").pid == "master@127.0.0.1:5050"


@pytest.mark.parametrize(
    ("label", "data", "error"),
    [
        ("log", b"", "Failed to parse data of unknown label 'log'"),
        ("json.info", b"{", "Failed to parse data into valid JSON: "),
        ("json.info", b"[]", "Failed to parse JSON into MasterInfo: "),
        ("json.info", b'{"pid": "master@1.2.3.4:5"}', "Missing required fields: id"),
        ("json.info", b'{"id": "x", "ip": 1, "port": 1}', "it has no pid"),
        ("info", b"\xff", "Failed to parse data into MasterInfo"),
        ("info", b"", "required fields are missing"),
        ("", b"\xff", "Failed to parse data into UPID"),
    ],
)
def test_unusable_data(label: str, data: bytes, error: str) -> None:
    with pytest.raises(WireError, match=error):
        decode(label, data)


@given(st.sampled_from(["", "info", "json.info"]), st.binary())
def test_no_data_breaks_it(label: str, data: bytes) -> None:
    try:
        decode(label, data)
    except WireError:
        pass


@given(st.lists(st.text(max_size=20)))
def test_no_name_breaks_it(names: list[str]) -> None:
    leader(names)
