# SPDX-License-Identifier: Apache-2.0
"""RecordIO framing: ``<decimal length>\\n<bytes>``, again and again. Pure.

Source: spec ``executors`` and ``operator-api`` on streams; Mesos v1 HTTP API.
"""

from __future__ import annotations

from mesos_compat.base.errors import WireError

#: Largest record that a decoder accepts unless told otherwise.
MAX_RECORD_BYTES = 512 * 1024 * 1024

#: Digits of the largest length (2**64 - 1).
_MAX_DIGITS = 20


def encode(record: bytes) -> bytes:
    """Return ``record`` with its frame."""
    return b"%d\n%b" % (len(record), record)


class Decoder:
    """Turn any split of a stream into its records.

    Holds at most one incomplete record, hence at most ``limit`` bytes and a length line. After a
    WireError the decoder is unusable and says so again.
    """

    def __init__(self, limit: int = MAX_RECORD_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._want: int | None = None
        self._failed: str | None = None

    @property
    def partial(self) -> bool:
        """Whether the bytes so far end within a record."""
        return self._want is not None or bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that ``data`` completes.

        Raises WireError if a length is no number or larger than the limit; records completed by
        the same data before it are lost.
        """
        if self._failed is not None:
            raise WireError(self._failed)
        self._buffer += data
        records: list[bytes] = []
        start = 0
        while True:
            if self._want is None:
                end = self._buffer.find(b"\n", start, start + _MAX_DIGITS + 1)
                if end < 0:
                    if len(self._buffer) - start > _MAX_DIGITS:
                        self._fail("Failed to decode length: no newline after the length")
                    break
                self._want = self._length(bytes(self._buffer[start:end]))
                start = end + 1
            if len(self._buffer) - start < self._want:
                break
            records.append(bytes(self._buffer[start : start + self._want]))
            start += self._want
            self._want = None
        del self._buffer[:start]
        return records

    def _length(self, digits: bytes) -> int:
        if not digits.isdigit():
            self._fail(f"Failed to decode length '{digits.decode('latin-1')}'")
        length = int(digits)
        if length > self._limit:
            self._fail(f"A record of {length} bytes exceeds the limit of {self._limit}")
        return length

    def _fail(self, reason: str) -> None:
        self._failed = reason
        self._buffer.clear()
        raise WireError(reason)
