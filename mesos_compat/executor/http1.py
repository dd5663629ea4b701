# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as an executor speaks it: a request to bytes, bytes to responses. Pure.

Source: RFC 9112; spec ``executors`` 1.4, 1.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mesos_compat.base.errors import WireError

_MAX_HEAD_BYTES = 64 << 10
_MAX_LINE_BYTES = 8 << 10


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a response; names of headers are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]


class End:
    """The end of a response."""


END = End()


class ResponseParser:
    """Turns any split of a connection's bytes into heads, pieces of bodies and ends.

    Pieces are as large as what is fed; whoever collects them sets the limit.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._step = self._head
        self._left = 0

    def feed(self, data: bytes) -> list[Head | bytes | End]:
        """Return what ``data`` completes. Raises WireError, after which all is lost."""
        self._buffer += data
        found: list[Head | bytes | End] = []
        while self._step(found):
            pass
        return found

    def _head(self, found: list[Head | bytes | End]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise WireError("the head of a response is too long")
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        head = _parse_head(lines)
        if head.status < 200:
            return True
        found.append(head)
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            self._step = self._chunk_size
        else:
            length = head.headers.get("content-length", "0")
            if not (length.isascii() and length.isdigit()):
                raise WireError(f"unusable Content-Length '{length}'")
            self._left = 0 if head.status in (204, 304) else int(length)
            self._step = self._plain
        return True

    def _plain(self, found: list[Head | bytes | End]) -> bool:
        return self._piece(found) and self._end(found)

    def _chunk_size(self, found: list[Head | bytes | End]) -> bool:
        line = self._line()
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        try:
            self._left = int(digits, 16)
        except ValueError:
            raise WireError(f"unusable chunk size {bytes(digits[:20])!r}") from None
        if self._left < 0:
            raise WireError("negative chunk size")
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self, found: list[Head | bytes | End]) -> bool:
        if not self._piece(found):
            return False
        self._step = self._chunk_end
        return True

    def _chunk_end(self, found: list[Head | bytes | End]) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            raise WireError("a chunk is longer than it says")
        self._step = self._chunk_size
        return True

    def _trailer(self, found: list[Head | bytes | End]) -> bool:
        line = self._line()
        if line is None:
            return False
        return True if line else self._end(found)

    def _piece(self, found: list[Head | bytes | End]) -> bool:
        """Take what there is of a body; True once nothing is left of it."""
        if self._left and self._buffer:
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            self._left -= len(piece)
            found.append(piece)
        return not self._left

    def _end(self, found: list[Head | bytes | End]) -> bool:
        found.append(END)
        self._step = self._head
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise WireError("a line of a response is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _parse_head(lines: list[str]) -> Head:
    version, _, rest = lines[0].partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise WireError(f"unusable status line '{lines[0][:100]}'")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise WireError(f"unusable header '{line[:100]}'")
        headers[name.lower()] = value.strip()
    return Head(int(status), reason, headers)
