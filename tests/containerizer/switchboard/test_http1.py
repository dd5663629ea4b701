# SPDX-License-Identifier: Apache-2.0
"""HTTP of the switchboard's socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.switchboard import http1
from containerizer.switchboard.http1 import LAST_CHUNK, MessageEnd, MessageHead, MessageReader
from mesos_compat.base.errors import WireError


def _read(stream: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    """Return start line and body of each message of a stream that comes in pieces."""
    reader = MessageReader()
    found: list[tuple[str, bytes]] = []
    start = ""
    body = b""
    at = 0
    for cut in [*sorted(cuts), len(stream)]:
        for part in reader.feed(stream[at:cut]):
            match part:
                case MessageHead():
                    start = part.start
                case MessageEnd():
                    found.append((start, body))
                    body = b""
                case _:
                    body += part
        at = cut
    assert reader.between
    return found


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300)))
def test_any_split_gives_the_same(pieces: list[bytes], cuts: list[int]) -> None:
    stream = http1.request("/x", {"A": "b"}, None)
    stream += b"".join(http1.chunk(piece) for piece in pieces) + LAST_CHUNK
    stream += http1.response(404, b"gone")
    assert _read(stream, [min(cut, len(stream)) for cut in cuts]) == [
        ("POST /x HTTP/1.1", b"".join(pieces)),
        ("HTTP/1.1 404 Not Found", b"gone"),
    ]


@given(st.binary(max_size=300))
def test_anything_is_refused_or_read(data: bytes) -> None:
    reader = MessageReader()
    try:
        reader.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    except WireError:
        pass


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * 70000,
        b"POST / HTTP/1.1\r\nbad\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
    ],
)
def test_refusals(stream: bytes) -> None:
    with pytest.raises(WireError):
        MessageReader().feed(stream)


def test_parts_of_a_start_line() -> None:
    (head, *_) = MessageReader().feed(http1.response(409, b""))
    assert isinstance(head, MessageHead)
    assert head.status == 409
    with pytest.raises(WireError):
        _ = MessageHead("POST / HTTP/1.1", {}).status


@pytest.mark.parametrize(
    ("accept", "allowed"),
    [
        (None, True),
        ("application/json", True),
        ("Application/JSON;q=0.5", True),
        ("text/html, */*", True),
        ("application/*", True),
        ("application/json;q=0", False),
        ("application/json;q=0.0", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_accept(accept: str | None, allowed: bool) -> None:
    assert http1.accepts(accept, "application/json") is allowed
