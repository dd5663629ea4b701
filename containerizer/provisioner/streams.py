# SPDX-License-Identifier: Apache-2.0
"""Bytes of layers and archives: read, decompressed, counted and hashed as they pass.

The compression is recognised by its first bytes; names and media types are not believed. Whatever
the input is, memory stays bounded and no more than a given number of bytes comes out.

Source: spec ``images`` 4.10.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import importlib
import lzma
import os
import queue
import select
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from mesos_compat.base.errors import UnpackError

# All of them here: a process that reads hostile data cannot load modules any more.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd
_igzip: Any = None
with contextlib.suppress(ImportError):  # no package for some kinds of processors
    _igzip = importlib.import_module("isal.igzip_lib")

#: Bytes read from a file at once, and most bytes that one step of a decompressor gives.
CHUNK = 512 << 10

#: Chunks that are decompressed before somebody asks for them.
_AHEAD = 8

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

    def view(self, most: int) -> memoryview:
        """Return what ``some`` does, without copying it."""

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


class ByteSource(Protocol):
    """Where the bytes of a blob come from."""

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes in order. Raises UnpackError if there are fewer than there should be."""

    def interrupt(self) -> None:
        """Let ``chunks``, in another thread, end soon."""


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

    def view(self, most: int) -> memoryview:
        """Return the next bytes."""
        return memoryview(self.some(most))

    def skip(self, count: int) -> None:
        """Leave out bytes."""
        if count > self._size - self._position:
            raise UnpackError("truncated")
        self._position += count

    def chunks(self) -> Iterator[bytes]:
        """Yield what is left."""
        while found := self.some(CHUNK):
            yield found

    def interrupt(self) -> None:
        """Do nothing: a file keeps nobody waiting."""


class PipeSource:
    """Bytes that somebody else writes to a pipe."""

    def __init__(self, fd: int, size: int | None = None) -> None:
        """``size`` bytes are expected, ``None`` for any number."""
        self._fd = fd
        self._size = size
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)

    def chunks(self) -> Iterator[bytes]:
        """Yield bytes as they come, until the pipe is closed at its other end."""
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        count = 0
        while True:
            if any(fd == self._wake for fd, _ in waiting.poll()):
                raise UnpackError("interrupted")
            found = os.read(self._fd, CHUNK)
            count += len(found)
            if self._size is not None and (
                count > self._size or (not found and count != self._size)
            ):
                more = "more than " if count > self._size else f"{count} bytes instead of "
                raise UnpackError(f"the blob has {more}{self._size}")
            if not found:
                return
            yield found

    def interrupt(self) -> None:
        """Let ``chunks`` raise UnpackError."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Free what waiting needs. The pipe stays the caller's."""
        os.close(self._wake)


class BlobContent:
    """The content of a blob: decompressed, bounded, hashed.

    A thread reads, hashes and decompresses ahead, a few chunks at most.
    """

    def __init__(
        self,
        source: ByteSource,
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
        self._chunk = b""
        self._at = 0
        #: Bytes before the chunk.
        self._before = 0
        self._content_hash = None if content_hash is None else hashlib.new(content_hash)
        self._blob_hash = None if blob_hash is None else hashlib.new(blob_hash)
        self._ahead = _Ahead(self._produce(source), source)

    @property
    def position(self) -> int:
        """How many bytes were read or skipped."""
        return self._before + self._at

    def some(self, most: int) -> bytes:
        """Return the next bytes."""
        if self._at >= len(self._chunk):
            self._advance()
        start = self._at
        found = self._chunk[start : start + most]
        self._at = start + len(found)
        return found

    def view(self, most: int) -> memoryview:
        """Return the next bytes, as ``some`` does, without copying them."""
        if self._at >= len(self._chunk):
            self._advance()
        start = self._at
        found = memoryview(self._chunk)[start : start + most]
        self._at = start + len(found)
        return found

    def skip(self, count: int) -> None:
        """Leave out bytes."""
        while count:
            if self._at >= len(self._chunk):
                self._advance()
                if not self._chunk:
                    raise UnpackError("truncated")
            step = min(count, len(self._chunk) - self._at)
            self._at += step
            count -= step

    def drain(self) -> None:
        """Read to the end, so that check sums are checked and hashes complete."""
        self._advance()
        while self._chunk:
            self._advance()

    def close(self) -> None:
        """End the thread."""
        self._ahead.close()

    def content_digest(self) -> str:
        """Return the hexadecimal digest of the content; only after ``drain``."""
        assert self._content_hash is not None
        return self._content_hash.hexdigest()

    def blob_digest(self) -> str:
        """Return the hexadecimal digest of the stored bytes; only after ``drain``."""
        assert self._blob_hash is not None
        return self._blob_hash.hexdigest()

    def _advance(self) -> None:
        self._before += len(self._chunk)
        self._at = 0
        self._chunk = self._ahead.next()

    def _produce(self, source: ByteSource) -> Iterator[bytes]:
        """Yield the content. Runs in the thread."""
        total = 0
        for chunk in _decompressed(self._stored(source)):
            total += len(chunk)
            if total > self._most:
                raise UnpackError(f"larger than the limit of {self._most} bytes")
            if self._content_hash is not None:
                self._content_hash.update(chunk)
            yield chunk

    def _stored(self, source: ByteSource) -> Iterator[bytes]:
        for chunk in source.chunks():
            if self._blob_hash is not None:
                self._blob_hash.update(chunk)
            yield chunk


class _Ahead:
    """Runs an iterator in a thread, at most ``_AHEAD`` items ahead of who reads them."""

    def __init__(self, chunks: Iterator[bytes], source: ByteSource) -> None:
        self._chunks = chunks
        self._source = source
        self._made: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._closing = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def next(self) -> bytes:
        """Return the next item; nothing at the end. Raises what the iterator raised."""
        if self._ended:
            return b""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
            self._thread.start()
        found = self._made.get()
        self._room.release()
        if isinstance(found, BaseException):
            self._ended = True
            raise found
        self._ended = not found
        return found

    def close(self) -> None:
        """End the thread."""
        self._ended = self._closing = True
        if self._thread is not None:
            self._room.release()
            self._source.interrupt()
            self._thread.join()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                self._room.acquire()
                if self._closing:
                    return
                if chunk:
                    self._made.put(chunk)
            self._made.put(b"")
        except BaseException as error:
            self._made.put(error)


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
    return _streams(chunks, _gzip_decompressor(), "gzip")


def _gzip_decompressor() -> Callable[[], Any]:
    """Return what makes decompressors: those of ISA-L take half the time of zlib's."""
    if _igzip is None:
        return _Zlib
    return lambda: _igzip.IgzipDecompressor(flag=_igzip.DECOMP_GZIP)


class _Zlib:
    """The gzip decompressor of zlib, with the methods that those of ``bz2`` have."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end of a member was reached."""
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        """What comes after it."""
        return self._inflater.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        """Decompress ``data`` and what was left over before."""
        made = self._inflater.decompress(self._inflater.unconsumed_tail + data, most)
        self.needs_input = len(made) < most and not self._inflater.eof
        return made


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
    return _streams(chunks, zstd.ZstdDecompressor, "zstd")


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
            except MemoryError as error:
                raise UnpackError(f"{name} data that needs too much memory") from error
            except Exception as error:  # each library has a class of its own
                raise UnpackError(f"damaged {name} data: {error}") from error
            fresh = False
            pending = decompressor.unused_data if decompressor.eof else b""
            if made:
                yield made
    if fresh or not decompressor.eof:
        raise UnpackError(f"truncated {name} data")
