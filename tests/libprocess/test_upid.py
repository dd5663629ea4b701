# SPDX-License-Identifier: Apache-2.0
"""UPIDs: their text form and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.libprocess.upid import EMPTY, UPID, Address, split_upid

IDS = st.text(st.characters(exclude_characters="@", exclude_categories=["Z", "C"]))
IPS = st.ip_addresses(v=4).map(str)


def test_text_form() -> None:
    upid = UPID.parse("  slave(1)@127.0.0.1:5051 trailing words")
    assert upid == UPID("slave(1)", "127.0.0.1", 5051)
    assert str(upid) == "slave(1)@127.0.0.1:5051"
    assert upid.address == Address("127.0.0.1", 5051)
    assert str(upid.address) == "127.0.0.1:5051"
    assert upid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "slave(1)",
        "slave(1)@127.0.0.1",
        "slave(1)@127.0.0.1:",
        "slave(1)@127.0.0.1:x",
        "slave(1)@127.0.0.1:65536",
        "slave(1)@127.0.0.1:-1",
        "slave(1)@127.0.0.1:٣",
        "slave(1)@host:5051",
        "slave(1)@127.1:5051",
        "slave(1)@::1:5051",
        "sla\0ve@127.0.0.1:5051",
        "@0.0.0.0:0",
    ],
)
def test_what_is_none_is_empty(text: str) -> None:
    assert UPID.parse(text) == EMPTY
    assert not UPID.parse(text)


def test_the_empty_one_prints_as_masters_do() -> None:
    assert str(EMPTY) == "@0.0.0.0:0"


def test_names_are_split_off_for_who_can_resolve_them() -> None:
    assert split_upid("master@host.example:5050") == ("master", "host.example", 5050)
    assert split_upid("a@b@c:1") == ("a", "b@c", 1)
    assert split_upid("master@:5050") is None


@given(IDS, IPS, st.integers(0, 65535))
def test_print_and_parse(ident: str, ip: str, port: int) -> None:
    upid = UPID(ident, ip, port)
    assert UPID.parse(str(upid)) == upid


@given(st.text())
def test_nothing_raises(text: str) -> None:
    UPID.parse(text)
