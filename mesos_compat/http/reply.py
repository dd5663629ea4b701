# SPDX-License-Identifier: Apache-2.0
"""The one place that turns results into HTTP replies: headers, JSONP, gzip, default bodies.

Source: spec ``operator-api`` 1.3.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from mesos_compat.base.errors import ApiError
from mesos_compat.model.jsonpb import JsonValue, dumps
from mesos_compat.v1.codec import quality

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
JAVASCRIPT: Final = "text/javascript"

#: Smaller bodies are never compressed.
GZIP_MIN_BYTES: Final = 1024
#: Bodies from here on are compressed in a thread, to keep the loop responsive.
_GZIP_THREAD_BYTES: Final = 256 * 1024
#: Scripts of the web UI are generated names; anything else could be code.
_CALLBACK: Final = re.compile(r"[A-Za-z0-9_$.\[\]]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. ``content_type`` is ``None`` for an answer that says nothing."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def default_body(status: int) -> str:
    """Return the text of an error for which the handler has none."""
    return f"{status} {HTTPStatus(status).phrase}."


def text(body: str, status: int = 200) -> Reply:
    """Make a plain-text reply; every error is one."""
    return Reply(status, body.encode("utf-8", "surrogateescape"), TEXT)


def error(status: int) -> Reply:
    """Make an error reply with the default text of its status."""
    return text(default_body(status), status)


def failure(caught: ApiError) -> Reply:
    """Make the reply of an error; its text may be empty."""
    return text(caught.body, caught.status)


def method_not_allowed(method: str, allowed: Iterable[str]) -> Reply:
    """Make the 405 of a handler that insists on one of ``allowed``."""
    names = list(allowed)
    expecting = ", ".join(f"'{name}'" for name in names)
    body = f"{default_body(405)} Expecting one of {{ {expecting} }}, but received '{method}'."
    return Reply(405, body.encode(), TEXT, (("Allow", ", ".join(names)),))


def json(value: JsonValue, query: Mapping[str, str], *, sort_keys: bool = False) -> Reply:
    """Make a JSON reply, or a script that calls the function named by ``jsonp`` with it.

    Raises ApiError 400 if that is no name.
    """
    return encoded(dumps(value, sort_keys), query)


def encoded(body: bytes, query: Mapping[str, str]) -> Reply:
    """Make the reply of ``json`` from JSON that is written already."""
    callback = query.get("jsonp")
    if callback is None:
        return Reply(200, body, JSON)
    if not _CALLBACK.fullmatch(callback):
        raise ApiError(400, "Invalid 'jsonp' callback.\n")
    return Reply(200, b"%b(%b)" % (callback.encode(), body), JAVASCRIPT)


async def response(reply: Reply, request: web.BaseRequest) -> web.StreamResponse:
    """Turn a reply into what the server sends."""
    body = reply.body
    made = PlainResponse(status=reply.status)
    for name, value in reply.headers:
        made.headers[name] = value
    if len(body) >= GZIP_MIN_BYTES and accepts_gzip(request.headers.get("Accept-Encoding")):
        made.headers["Content-Encoding"] = "gzip"
        if len(body) < _GZIP_THREAD_BYTES:
            body = _gzip(body)
        else:
            body = await asyncio.to_thread(_gzip, body)
    if reply.content_type is not None:
        made.headers["Content-Type"] = reply.content_type
    if request.content.exception() is not None:
        # the rest of this connection cannot be understood
        made.force_close()
        made.announces_end = True
    made.body = body
    if not body:
        made.headers["Content-Length"] = "0"
    return made


def accepts_gzip(header: str | None) -> bool:
    """Say whether an ``Accept-Encoding`` header admits gzip; an explicit entry decides."""
    chosen = False
    for entry in (header or "").split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name not in ("gzip", "*"):
            continue
        admitted = True
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q" and value.strip().replace(".", "", 1).isdigit():
                admitted = quality(value) > 0
        if name == "gzip":
            return admitted
        chosen = admitted
    return chosen


def _gzip(body: bytes) -> bytes:
    """Compress quickly: bodies are machine made and shrink well at any level."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return compressor.compress(body) + compressor.flush()


class PlainResponse(web.Response):
    """A reply without the headers that no Mesos agent sends."""

    #: Whether the client must be told that the connection ends with this reply.
    announces_end = False

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
        if not self.announces_end:
            self.headers.popall("Connection", None)


class PlainStream(web.StreamResponse):
    """A reply in pieces without the headers that no Mesos agent sends."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
        self.headers.popall("Connection", None)
