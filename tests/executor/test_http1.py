# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.executor.http1 import END, End, Head, ResponseParser, request

STREAM = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nwrong"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n"
    b"HTTP/1.1 202 Accepted\r\n\r\n"
)


def _shape(parts: list[Head | bytes | End]) -> list[object]:
    """Statuses, whole bodies and ends."""
    made: list[object] = []
    for part in parts:
        if isinstance(part, bytes) and made and isinstance(made[-1], bytes):
            made[-1] += part
        else:
            made.append(part.status if isinstance(part, Head) else part)
    return made


@given(st.lists(st.integers(0, len(STREAM))))
def test_any_split_gives_the_same_responses(cuts: list[int]) -> None:
    parser = ResponseParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    parts: list[Head | bytes | End] = []
    for begin, end in itertools.pairwise(edges):
        parts += parser.feed(STREAM[begin:end])
    expected = [202, END, 400, b"wrong", END, 200, b"abc0123456789", END, 202, END]
    assert _shape(parts) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 2 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 10_000,
        b"x" * 70_000,
    ],
)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        ResponseParser().feed(data)


def test_request_bytes() -> None:
    assert request("/a(1)", {"Host": "h:1", "Accept": "x"}, b"body") == (
        b"POST /a(1) HTTP/1.1\r\nHost: h:1\r\nAccept: x\r\nContent-Length: 4\r\n\r\nbody"
    )
