# SPDX-License-Identifier: Apache-2.0
"""Read request bodies within bounds.

Source: spec ``operator-api`` 1.2 and 10.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientPayloadError, HttpVersion11, web

from mesos_compat.base.budget import Budget
from mesos_compat.base.errors import ApiError
from mesos_compat.libprocess.server import ServerRequest

#: Largest body after decompression.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
#: The same for JSON, which takes a second and some thirty times its size of memory to read.
MAX_JSON_BYTES: Final = 8 * 1024 * 1024
#: Seconds that a body may take to arrive.
BODY_TIMEOUT_S: Final = 300.0
#: Seconds between looks at a client that nobody reads from.
_LOOK_S: Final = 1.0
#: How often, and after how many seconds each, an answer to a probe is looked for.
_PROBES: Final = 5
_PROBE_S: Final = 0.1


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the whole body. Raises ApiError 413, 408, or 500 if it cannot be decoded.

    Bodies that are being read share the budget that the server gave their requests.
    """
    json = request.headers.get("Content-Type") == "application/json"
    limit = MAX_JSON_BYTES if json else MAX_BODY_BYTES
    pieces: list[bytes] = []
    size = 0
    budget = request.body_budget if isinstance(request, ServerRequest) else Budget(limit)
    held = budget.open(lambda: _abort(request))
    try:
        async for piece in pieces_of(request):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise ApiError(413, f"The body exceeds {limit} bytes.")
            if not held.resize(size):
                raise ApiError(413, "Too many bytes of requests are under way.")
    finally:
        held.resize(0)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def pieces_of(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Give the body as it arrives. Raises ApiError 408, or 500 if it cannot be decoded."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for piece in endless_pieces_of(request):
                yield piece
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time.") from None


async def endless_pieces_of(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Give a body that may take any time. Raises ApiError 500 if it cannot be decoded."""
    content = request.content
    if request.headers.get("Expect", "").lower() == "100-continue" and not content.at_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response proper has not begun
    try:
        while piece := await content.readany():
            yield piece
    except (ClientPayloadError, web.RequestPayloadError, ValueError) as error:
        raise ApiError(500, f"Failed to decode body: {error}") from None


async def until_gone(request: web.BaseRequest) -> None:
    """Return when the client of an unfinished request is gone, even if nobody reads from it.

    Who reads learns it by reading. Where somebody behind us does not take what came, we do not
    read, and a client that has left would hold its place for good.
    """
    while not request.content.is_eof():
        if _is_gone(request):
            return
        await asyncio.sleep(_LOOK_S)
    await asyncio.get_running_loop().create_future()


async def probe(request: web.BaseRequest) -> None:
    """Find out whether the client of a request that we do not read is still there; takes a moment.

    One that left with more to send than we take cannot even tell that. Told to go on, which any
    client has to bear, its host answers that there is nobody: ``until_gone`` returns.
    """
    transport = request.transport
    if transport is None or transport.is_closing() or request.version < HttpVersion11:
        return
    if not _unread_bytes(transport.get_extra_info("socket").fileno()):
        return
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    for _ in range(_PROBES):
        await asyncio.sleep(_PROBE_S)
        if _is_gone(request):
            await asyncio.sleep(_LOOK_S)
            return


def _unread_bytes(fd: int) -> int:
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _is_gone(request: web.BaseRequest) -> bool:
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
