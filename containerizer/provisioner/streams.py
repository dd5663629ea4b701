# SPDX-License-Identifier: Apache-2.0
"""Bytes of layers and archives: read, decompressed, counted and hashed as they pass.

The compression is recognised by its first bytes; names and media types are not believed. Whatever
the input is, memory stays bounded and no more than a given number of bytes comes out.

Source: spec ``images`` 4.10.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import shutil
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from mesos_compat.base.errors import UnpackError

#: Bytes read from a file at once, and most bytes that one step of a decompressor gives.
CHUNK = 256 << 10

#: Memory in bytes that an xz stream may ask for; the strongest preset needs 65 MiB.
_XZ_MEMORY = 512 << 20

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class ByteStream(Protocol):
    """Bytes in order."""

    @property
    def position(self) -> int:
        """How many bytes were read or skipped."""

    def some(self, most: int) -> bytes:
        """Return at least one and at most ``most`` bytes; none only at the end."""

    def skip(self, count: int) -> None:
        """Leave out ``count`` bytes. Raises UnpackError if there are fewer."""


def exactly(stream: ByteStream, count: int) -> bytes:
    """Read ``count`` bytes; fewer raise UnpackError."""
    found = up_to(stream, count)
    if len(found) != count:
        raise UnpackError("truncated")
    return found


def up_to(stream: ByteStream, count: int) -> bytes:
    """Read ``count`` bytes, or all that there are."""
    first = stream.some(count)
    if len(first) == count:
        return first
    parts = [first]
    missing = count - len(first)
    while missing and parts[-1]:
        parts.append(stream.some(missing))
        missing -= len(parts[-1])
    return b"".join(parts)


class FileRegion:
    """A part of an open file, as a stream that can skip without reading."""

    def __init__(self, fd: int, offset: int = 0, size: int | None = None) -> None:
        self._fd = fd
        self._start = offset
        self._size = os.fstat(fd).st_size - offset if size is None else size
        self._position = 0

    @property
    def position(self) -> int:
        """How many bytes were read or skipped."""
        return self._position

    def some(self, most: int) -> bytes:
        """Return the next bytes."""
        count = min(most, self._size - self._position, CHUNK)
        if count <= 0:
            return b""
        found = os.pread(self._fd, count, self._start + self._position)
        if not found:
            raise UnpackError("truncated")
        self._position += len(found)
        return found

    def skip(self, count: int) -> None:
        """Leave out bytes."""
        if count > self._size - self._position:
            raise UnpackError("truncated")
        self._position += count

    def chunks(self) -> Iterator[bytes]:
        """Yield what is left."""
        while found := self.some(CHUNK):
            yield found


class BlobContent:
    """The content of a blob: decompressed, bounded, hashed."""

    def __init__(
        self,
        source: FileRegion,
        *,
        most: int,
        content_hash: str | None = None,
        blob_hash: str | None = None,
    ) -> None:
        """Read ``source``; more than ``most`` bytes of content raise UnpackError.

        ``content_hash`` and ``blob_hash`` name algorithms for the content and for the bytes
        as they are stored.
        """
        self._most = most
        self._position = 0
        self._rest = b""
        self._content_hash = None if content_hash is None else hashlib.new(content_hash)
        self._blob_hash = None if blob_hash is None else hashlib.new(blob_hash)
        self._chunks = _decompressed(self._stored(source))

    @property
    def position(self) -> int:
        """How many bytes were read or skipped."""
        return self._position

    def some(self, most: int) -> bytes:
        """Return the next bytes."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
            if self._content_hash is not None:
                self._content_hash.update(self._rest)
        found, self._rest = self._rest[:most], self._rest[most:]
        self._position += len(found)
        if self._position > self._most:
            raise UnpackError(f"larger than the limit of {self._most} bytes")
        return found

    def skip(self, count: int) -> None:
        """Leave out bytes."""
        while count:
            found = self.some(min(count, CHUNK))
            if not found:
                raise UnpackError("truncated")
            count -= len(found)

    def drain(self) -> None:
        """Read to the end, so that check sums are checked and hashes complete."""
        while self.some(CHUNK):
            pass

    def close(self) -> None:
        """End a decompressor that runs as a program."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def content_digest(self) -> str:
        """Return the hexadecimal digest of the content; only after ``drain``."""
        assert self._content_hash is not None
        return self._content_hash.hexdigest()

    def blob_digest(self) -> str:
        """Return the hexadecimal digest of the stored bytes; only after ``drain``."""
        assert self._blob_hash is not None
        return self._blob_hash.hexdigest()

    def _stored(self, source: FileRegion) -> Iterator[bytes]:
        for chunk in source.chunks():
            if self._blob_hash is not None:
                self._blob_hash.update(chunk)
            yield chunk


def compressed(head: bytes) -> bool:
    """Whether data that begins with ``head`` (6 bytes) is compressed in a way that we know."""
    return _method(head) is not None


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    while len(head) < 6:
        chunk = next(chunks, b"")
        if not chunk:
            break
        head += chunk
    method = _method(head)
    whole = _chain(head, chunks)
    return whole if method is None else method(whole)


def _chain(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks


def _method(head: bytes) -> Callable[[Iterator[bytes]], Iterator[bytes]] | None:
    if head.startswith(b"\x1f\x8b"):
        return _gunzip
    if head.startswith(b"BZh"):
        return _bunzip
    if head.startswith(b"\xfd7zXZ\0"):
        return _unxz
    if head.startswith(b"\x5d\0\0"):
        return _unlzma
    if head.startswith(b"LZIP"):
        raise UnpackError("lzip compression is not supported")
    if head.startswith(_ZSTD_MAGIC) or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return _unzstd
    return None


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip, several members in a row; zeros after the last one are padding."""
    inflater = zlib.decompressobj(31)
    for chunk in chunks:
        pending = chunk
        full = False
        while pending or full:
            if inflater.eof:
                pending = pending.lstrip(b"\0")
                if not pending:
                    break
                inflater = zlib.decompressobj(31)
            try:
                made = inflater.decompress(pending, CHUNK)
            except zlib.error as error:
                raise UnpackError(f"damaged gzip data: {error}") from error
            if made:
                yield made
            full = len(made) == CHUNK and not inflater.eof
            pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        raise UnpackError("truncated gzip data")


def _bunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _streams(chunks, bz2.BZ2Decompressor, "bzip2")


def _unxz(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _streams(
        chunks, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), "xz"
    )


def _unlzma(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _streams(
        chunks, lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_XZ_MEMORY), "lzma"
    )


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    make = _zstd_decompressor()
    if make is not None:
        return _streams(chunks, make, "zstd")
    program = shutil.which("zstd")
    if program is None:
        raise UnpackError(
            "zstd compression needs Python 3.14, the package backports.zstd or the program zstd"
        )
    return _piped(chunks, [program, "-dcq"], "zstd")


def _zstd_decompressor() -> Callable[[], Any] | None:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = __import__(name, fromlist=["ZstdDecompressor"])
        except ImportError:
            continue
        make: Callable[[], Any] = module.ZstdDecompressor
        return make
    return None


def _streams(chunks: Iterator[bytes], make: Callable[[], Any], name: str) -> Iterator[bytes]:
    """Decompress with an object as ``bz2`` has it, several streams in a row."""
    decompressor = make()
    fresh = False
    for chunk in chunks:
        pending = chunk
        while pending or not decompressor.needs_input:
            if decompressor.eof:
                pending = pending.lstrip(b"\0")
                if not pending:
                    break
                decompressor = make()
                fresh = True
            try:
                made = decompressor.decompress(pending, CHUNK)
            except (OSError, ValueError, EOFError, lzma.LZMAError, MemoryError) as error:
                raise UnpackError(f"damaged {name} data: {error}") from error
            except Exception as error:  # ZstdError derives from Exception alone
                if type(error).__name__ != "ZstdError":
                    raise
                raise UnpackError(f"damaged {name} data: {error}") from error
            fresh = False
            pending = decompressor.unused_data if decompressor.eof else b""
            if made:
                yield made
    if fresh or not decompressor.eof:
        raise UnpackError(f"truncated {name} data")


def _piped(chunks: Iterator[bytes], argv: list[str], name: str) -> Iterator[bytes]:
    """Decompress with a program."""
    program = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert program.stdin is not None
    assert program.stdout is not None
    sink = program.stdin
    failures: list[BaseException] = []

    def feed() -> None:
        try:
            with sink:
                for chunk in chunks:
                    sink.write(chunk)
        except (OSError, UnpackError) as error:
            failures.append(error)

    feeder = threading.Thread(target=feed, name=f"feed {name}", daemon=True)
    feeder.start()
    try:
        while made := program.stdout.read1(CHUNK):  # type: ignore[attr-defined]  # a buffered pipe
            yield made
        feeder.join()
        for failure in failures:
            if isinstance(failure, UnpackError):
                raise failure
        if program.wait() != 0:
            raise UnpackError(f"damaged or truncated {name} data")
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
        feeder.join()
