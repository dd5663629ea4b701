# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as executors and IO switchboards speak it, for loops of any kind. Pure.

Source: RFC 9112; spec ``executors`` 1.4, 1.8; spec ``containerizer`` 14.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mesos_compat.base.errors import WireError

_MAX_HEAD_BYTES = 64 << 10
_MAX_LINE_BYTES = 8 << 10
#: Hexadecimal digits of a chunk's size.
_MAX_DIGITS = 15

#: Answers that have no body whatever their headers say.
_WITHOUT_BODY = (204, 304)

#: What ends a chunked body.
LAST_CHUNK = b"0\r\n\r\n"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
}


@dataclass(frozen=True, slots=True)
class MessageHead:
    """Start line and headers of a message; names of headers are in lower case."""

    start: str
    headers: Mapping[str, str]

    @property
    def words(self) -> tuple[str, str, str]:
        """The three parts of the start line, the last of which may have spaces."""
        first, _, rest = self.start.partition(" ")
        second, _, third = rest.partition(" ")
        return first, second, third

    @property
    def status(self) -> int:
        """The status code of a response. Raises WireError if this is none."""
        version, code, _ = self.words
        valid = len(code) == 3 and code.isascii() and code.isdigit()
        if not version.startswith("HTTP/1.") or not valid:
            raise WireError(f"unusable status line '{self.start[:100]}'")
        return int(code)

    @property
    def reason(self) -> str:
        """What a response says about its status code."""
        return self.words[2]


class MessageEnd:
    """The end of a message."""


END = MessageEnd()

#: What a reader finds.
Part = MessageHead | bytes | MessageEnd


def request(path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Return a POST request; without a body, the start of one whose body comes in chunks.

    ``Host`` is empty unless it is one of ``headers``.
    """
    return _head([f"POST {path} HTTP/1.1"], {"Host": "", **headers}, body)


def response(status: int, body: bytes | None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a response; without a body, the start of one whose body comes in chunks."""
    return _head([f"HTTP/1.1 {status} {_REASONS.get(status, '')}"], headers or {}, body)


def _head(lines: list[str], headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("Transfer-Encoding: chunked" if body is None else f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunk(data: bytes) -> bytes:
    """Return a chunk of a body; ``data`` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def accepts(wanted: str | None, media_type: str) -> bool:
    """Whether the header Accept (or one like it) allows a media type."""
    if wanted is None:
        return True
    kind = media_type.partition("/")[0]
    for one in wanted.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        if name in (media_type, f"{kind}/*", "*/*") and not _refuses(parameters):
            return True
    return False


def _refuses(parameters: list[str]) -> bool:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q" and not value.strip().strip("0."):
            return True
    return False


class MessageReader:
    """Turns any split of a connection's bytes into heads, pieces of bodies and ends.

    Pieces are as large as what is fed; whoever collects them sets the limit. With ``responses``
    all that comes are answers: informational ones are left out.
    """

    def __init__(self, *, responses: bool = False) -> None:
        self._responses = responses
        self._buffer = bytearray()
        #: A plain function: a method would be a cycle, and executors do not look for those.
        self._step = MessageReader._start
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether no message has begun that has not ended."""
        return self._step is MessageReader._start and not self._buffer

    def feed(self, data: bytes) -> list[Part]:
        """Return what ``data`` completes. Raises WireError, after which all is lost."""
        self._buffer += data
        found: list[Part] = []
        while self._step(self, found):
            pass
        return found

    def _start(self, found: list[Part]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > _MAX_HEAD_BYTES:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise WireError("the head of a message is too long")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        head = MessageHead(lines[0], _headers(lines[1:]))
        if self._responses and head.status < 200:
            return True
        found.append(head)
        self._left = 0
        if self._responses and head.status in _WITHOUT_BODY:
            self._step = MessageReader._plain
            return True
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            self._step = MessageReader._chunk_size
            return True
        length = head.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > _MAX_DIGITS:
            raise WireError(f"unusable Content-Length '{length[:100]}'")
        self._left = int(length)
        self._step = MessageReader._plain
        return True

    def _plain(self, found: list[Part]) -> bool:
        return self._piece(found) and self._end(found)

    def _chunk_size(self, found: list[Part]) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > _MAX_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
            raise WireError(f"unusable chunk size {digits[:20]!r}")
        self._left = int(digits, 16)
        self._step = MessageReader._chunk if self._left else MessageReader._trailer
        return True

    def _chunk(self, found: list[Part]) -> bool:
        if not self._piece(found):
            return False
        self._step = MessageReader._chunk_end
        return True

    def _chunk_end(self, found: list[Part]) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            raise WireError("a chunk is longer than it says")
        self._step = MessageReader._chunk_size
        return True

    def _trailer(self, found: list[Part]) -> bool:
        line = self._line()
        if line is None:
            return False
        return True if line else self._end(found)

    def _piece(self, found: list[Part]) -> bool:
        """Take what there is of a body; True once nothing is left of it."""
        if self._left and self._buffer:
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            self._left -= len(piece)
            found.append(piece)
        return not self._left

    def _end(self, found: list[Part]) -> bool:
        found.append(END)
        self._step = MessageReader._start
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise WireError("a line of a message is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError(f"unusable header '{line[:100]}'")
        headers[name.lower()] = value.strip()
    return headers
