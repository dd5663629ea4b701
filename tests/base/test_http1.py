# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 of executors and switchboards."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base import http1
from mesos_compat.base.errors import WireError
from mesos_compat.base.http1 import LAST_CHUNK, MessageEnd, MessageHead, MessageReader


def _read(
    stream: bytes, cuts: list[int], reader: MessageReader | None = None
) -> list[tuple[str, bytes]]:
    """Return start line and body of each message of a stream that comes in pieces."""
    reader = reader or MessageReader()
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


#: Answers of an agent, one of which is informational.
ANSWERS = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nwrong"
    b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n"
    b"HTTP/1.1 202 Accepted\r\n\r\n"
)


@given(st.lists(st.integers(0, len(ANSWERS))))
def test_any_split_gives_the_same_answers(cuts: list[int]) -> None:
    reader = MessageReader(responses=True)
    assert [(start[9:12], body) for start, body in _read(ANSWERS, cuts, reader)] == [
        ("202", b""),
        ("400", b"wrong"),
        ("204", b""),
        ("200", b"abc0123456789"),
        ("202", b""),
    ]


@pytest.mark.parametrize("start", [b"SSH-2.0-x", b"HTTP/1.1 2 OK", b"POST / HTTP/1.1"])
def test_what_is_no_answer_is_refused(start: bytes) -> None:
    with pytest.raises(WireError):
        MessageReader(responses=True).feed(start + b"\r\n\r\n")


def test_bytes_of_a_request() -> None:
    assert http1.request("/a(1)", {"Host": "h:1", "Accept": "x"}, b"body") == (
        b"POST /a(1) HTTP/1.1\r\nHost: h:1\r\nAccept: x\r\nContent-Length: 4\r\n\r\nbody"
    )


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


def test_a_reader_is_gone_with_its_connection() -> None:
    """In processes that look for no garbage, too."""
    reader = MessageReader(responses=True)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5")
    kept = weakref.ref(reader)
    gc.disable()
    try:
        del reader
        assert kept() is None
    finally:
        gc.enable()
