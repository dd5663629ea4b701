# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.provisioner.registry.challenge import parse_challenges
from mesos_compat.base.errors import WireError


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://a/t?x=1",service="s",scope="repository:a:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://a/t?x=1", "service": "s", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        ('BEARER Realm = "a" , service=b', [("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a\\"b"', [("bearer", {"realm": 'a"b'})]),
        (
            'Basic realm="x", Bearer realm="y",service="z"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        (' ,, \t, Basic , realm="x"', [("basic", {"realm": "x"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Negotiate abc==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
    ],
)
def test_headers(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    parsed = [(each.scheme, dict(each.parameters)) for each in parse_challenges([header])]
    assert parsed == found


@pytest.mark.parametrize(
    "header", ['"', "=", 'Bearer realm="', "\x01", "a" * 20_000, "\t" * 16_000 + "\x01"]
)
def test_damaged(header: str) -> None:
    with pytest.raises(WireError):
        parse_challenges([header])


@given(st.text(alphabet='aB =,"\\:/\t', max_size=60))
def test_any_text(text: str) -> None:
    try:
        parse_challenges([text])
    except WireError:
        pass
