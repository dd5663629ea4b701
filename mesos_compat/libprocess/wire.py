# SPDX-License-Identifier: Apache-2.0
"""libprocess messages as HTTP requests: bytes from values, values from bytes. Pure.

``encode`` makes the request of one message, ``RequestReader`` takes the bytes of a connection and
gives the messages in it. A reader stops at the first request that is no message, so that its
owner can hand the connection to an HTTP server from exactly there.

Source: spec ``agent-master`` 2.3, 2.4 and 2.6; RFC 9112.
"""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote_to_bytes

from mesos_compat.base.errors import WireError
from mesos_compat.libprocess.upid import UPID

#: Largest head (request line and headers) of a request; http-parser's limit in upstream.
MAX_HEAD_BYTES: Final = 80 * 1024

#: Largest body of a message unless configured otherwise, also after decompression. No master sends
#: anything near, and a hostile one can take thirty times its size of memory to parse.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024

_MAX_CHUNK_LINE: Final = 4096
#: Largest head whose meaning is kept.
_MAX_REMEMBERED_BYTES: Final = 1024
_AGENT: Final = "libprocess/"
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;.*)?", re.DOTALL)
_HEAD_END: Final = re.compile(rb"\r\n\r\n|\n\r?\n")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def encode(
    sender: UPID, target: UPID, name: str, body: bytes, *, host_header: bool = True
) -> bytes:
    """Return the request that carries one message.

    ``name`` is the full name of the protobuf message. Without ``host_header`` the ``Host`` header
    is present and empty, as masters up to 1.11 and their agents send it.
    """
    path = f"/{target.id}/{name}" if target.id else f"/{name}"
    host = f"{target.ip}:{target.port}" if host_header else ""
    head = (
        f"POST {path} HTTP/1.1\r\n"
        f"User-Agent: {_AGENT}{sender}\r\n"
        f"Libprocess-From: {sender}\r\n"
        "Connection: Keep-Alive\r\n"
        f"Host: {host}\r\n"
    ).encode()
    if not body:
        return head + b"\r\n"
    return b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and headers. Header names are lower case; repeated ones joined by a comma."""

    method: str
    target: str
    headers: Mapping[str, str]
    http_1_0: bool = False
    #: Whether the request carries a libprocess message.
    is_message: bool = False
    #: That of the message; ``None`` if there is no telling.
    address: tuple[UPID, str, str] | None = None


def is_message(method: str, headers: Mapping[str, str]) -> bool:
    """Tell a libprocess message from other requests; ``headers`` must ignore case or be lower."""
    return method == "POST" and (
        headers.get("user-agent", "").startswith(_AGENT) or "libprocess-from" in headers
    )


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in."""

    sender: UPID
    target_id: str
    name: str
    body: bytes


def address_of(target: str, headers: Mapping[str, str]) -> tuple[UPID, str, str]:
    """Return sender, target id and name of a message.

    Raises WireError if there is no telling (which is answered by 500).
    """
    stated = headers.get("libprocess-from")
    if stated is None:
        stated = headers.get("user-agent", "").removeprefix(_AGENT)
    sender = UPID.parse(stated.strip())
    if not sender:
        raise WireError(f"Failed to determine sender from '{printable(stated)}'")
    path = target.partition("?")[0]
    segment, _, name = path.removeprefix("/").partition("/")
    if _ESCAPE.search(segment):
        raise WireError(f"Failed to decode '{printable(segment)}': Malformed % escape")
    encoded = segment.replace("+", " ").encode("latin-1")
    return sender, unquote_to_bytes(encoded).decode("utf-8", "replace"), name


def printable(text: str) -> str:
    """Return ``text`` shortened and without control characters, for logs and replies."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def parse_head(data: bytes) -> RequestHead:
    """Parse a request's head, given without the empty line that ends it. Raises WireError."""
    # The messages of a kind from one peer have the same head, byte for byte.
    return _parse_head(data) if len(data) > _MAX_REMEMBERED_BYTES else _remembered_head(data)


def _parse_head(data: bytes) -> RequestHead:
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise WireError("Malformed request line")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or b"\0" in value or b"\r" in value:
            raise WireError("Malformed header")
        key = name.decode("ascii").lower()
        text = value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    method, target = match[1].decode(), match[2].decode("latin-1")
    carries = is_message(method, headers)
    address: tuple[UPID, str, str] | None = None
    if carries:
        with contextlib.suppress(WireError):
            address = address_of(target, headers)
    return RequestHead(method, target, headers, match[3] == b"0", carries, address)


_remembered_head = functools.lru_cache(maxsize=256)(_parse_head)


class RefusedBody(WireError):
    """A body is larger than allowed (answered by 413 and the end of the connection)."""


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    FOREIGN = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A complete request that carries a message: what to deliver, or why it cannot be."""

    head: RequestHead
    body: bytes

    def message(self) -> Received:
        """Return the message. Raises WireError if its sender or target cannot be told."""
        address = self.head.address
        sender, target_id, name = address or address_of(self.head.target, self.head.headers)
        return Received(sender, target_id, name, self.body)


class RequestReader:
    """Take the bytes of a connection and give its messages.

    After ``feed`` says that a foreign request follows (``foreign``), ``rest`` holds all from its
    first byte on. Holds at most one head and one body; ``held`` is what it holds, in bytes.
    """

    def __init__(
        self, *, max_head_bytes: int = MAX_HEAD_BYTES, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._state = _State.HEAD
        self._buffer = bytearray()
        self._scanned = 0
        self._head: RequestHead | None = None
        self._body = bytearray()
        self._left = 0
        self._trailer = 0
        #: Whether the peer waits for ``100 Continue``; reset by the owner.
        self.expects_continue = False
        #: Why nothing more can be read.
        self.error: WireError | None = None

    @property
    def foreign(self) -> bool:
        """Whether a request that is no message follows."""
        return self._state is _State.FOREIGN

    @property
    def idle(self) -> bool:
        """Whether the connection is between two requests."""
        return self._state is _State.HEAD and not self._buffer

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._buffer) + len(self._body)

    @property
    def rest(self) -> bytes:
        """The bytes that were not consumed."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[MessageRequest]:
        """Return the messages that ``data`` completes.

        What is no HTTP, or a body over the limit (RefusedBody), ends the connection: ``error``
        says why, and further data is thrown away.
        """
        done: list[MessageRequest] = []
        if self.error is not None:
            return done
        self._buffer += data
        try:
            while self._step(done):
                pass
        except WireError as error:
            self.error = error
            self._state = _State.FAILED
            self._buffer.clear()
            self._body.clear()
        return done

    def _step(self, done: list[MessageRequest]) -> bool:
        """Advance; say whether there may be more to do with the bytes at hand."""
        match self._state:
            case _State.HEAD:
                return self._read_head(done)
            case _State.LENGTH:
                if not self._take():
                    return False
                return self._complete(done)
            case _State.CHUNK_SIZE:
                return self._read_chunk_size()
            case _State.CHUNK:
                if not self._take():
                    return False
                self._state = _State.CHUNK_END
                return True
            case _State.CHUNK_END:
                line = self._line(_MAX_CHUNK_LINE)
                if line is None:
                    return False
                if line:
                    raise WireError("Malformed chunk")
                self._state = _State.CHUNK_SIZE
                return True
            case _State.TRAILER:
                return self._read_trailer(done)
            case _State.FOREIGN | _State.FAILED:
                return False

    def _read_head(self, done: list[MessageRequest]) -> bool:
        while self._buffer.startswith((b"\r", b"\n")):
            del self._buffer[:1]
        if not b"POST ".startswith(bytes(self._buffer[:5])):
            self._state = _State.FOREIGN
            return False
        end = self._head_end()
        if end is None:
            if len(self._buffer) > self._max_head:
                raise WireError(f"The head of a request exceeds {self._max_head} bytes")
            return False
        start, after = end
        head = parse_head(bytes(self._buffer[:start]))
        if not head.is_message:
            self._state = _State.FOREIGN
            return False
        del self._buffer[:after]
        self._head = head
        return self._start_body(head, done)

    def _head_end(self) -> tuple[int, int] | None:
        """Find the empty line: the end of the head, and where the body starts."""
        start = max(0, self._scanned - 3)
        found = _HEAD_END.search(self._buffer, start, self._max_head + 4)
        self._scanned = 0 if found else len(self._buffer)
        return found.span() if found else None

    def _start_body(self, head: RequestHead, done: list[MessageRequest]) -> bool:
        coding = head.headers.get("transfer-encoding")
        length = head.headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise WireError("Unusable transfer encoding")
            self._state = _State.CHUNK_SIZE
        elif length is not None:
            if not re.fullmatch(r"[0-9]{1,18}", length, re.ASCII):
                raise WireError("Unusable content length")
            self._left = self._allowed(int(length))
            self._state = _State.LENGTH
        else:
            return self._complete(done)
        self.expects_continue = head.headers.get("expect", "").lower() == "100-continue"
        return True

    def _allowed(self, more: int) -> int:
        if len(self._body) + more > self._max_body:
            raise RefusedBody(f"The body of a message exceeds {self._max_body} bytes")
        return more

    def _take(self) -> bool:
        """Move bytes to the body; say whether it (or its chunk) is complete."""
        part = self._buffer[: self._left]
        self._body += part
        self._left -= len(part)
        del self._buffer[: len(part)]
        return self._left == 0

    def _read_chunk_size(self) -> bool:
        line = self._line(_MAX_CHUNK_LINE)
        if line is None:
            return False
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise WireError("Malformed chunk size")
        self._left = self._allowed(int(match[1], 16))
        self._trailer = 0
        self._state = _State.CHUNK if self._left else _State.TRAILER
        return True

    def _read_trailer(self, done: list[MessageRequest]) -> bool:
        line = self._line(self._max_head)
        if line is None:
            return False
        self._trailer += len(line)
        if self._trailer > self._max_head:
            raise WireError("Trailers are too long")
        return True if line else self._complete(done)

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\n", 0, limit + 2)
        if end < 0:
            if len(self._buffer) > limit + 2:
                raise WireError("A line is too long")
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    def _complete(self, done: list[MessageRequest]) -> bool:
        head, body = self._head, bytes(self._body)
        assert head is not None
        self._head, self._state = None, _State.HEAD
        self._body = bytearray()
        if head.headers.get("content-encoding", "").lower() == "gzip":
            body = gunzip(body, self._max_body)
        done.append(MessageRequest(head, body))
        return bool(self._buffer)


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress ``data``. Raises RefusedBody beyond ``limit``, WireError if it is no gzip."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise WireError(f"Failed to decode gzip body: {error}") from error
    if len(body) > limit:
        raise RefusedBody(f"The body of a message exceeds {limit} bytes")
    if not decoder.eof:
        raise WireError("Failed to decode gzip body: it is truncated")
    return body
