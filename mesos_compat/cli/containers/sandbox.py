# SPDX-License-Identifier: Apache-2.0
"""Output that a container left in a sandbox of this host, in files that it may have replaced.

A stream may be rotated: ``stdout.2``, ``stdout.1`` and ``stdout`` are one text, and what is read
stays open, so nothing is lost or shown twice while files are renamed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from mesos_compat.base.errors import ContainerError

#: Old files of one stream that are looked at.
_MAX_FILES = 1000
#: How often to look again if files are renamed while we look.
_LOOKS = 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class SandboxLogs:
    """Implements LogSource."""

    def __init__(self, sandbox: str, running: Callable[[], bool]) -> None:
        self._sandbox = sandbox
        self._running = running
        self._streams: dict[str, _RotatedStream] = {}

    async def size(self, stream: str) -> int:
        """Return how many bytes there are now."""
        return self._stream(stream).size()

    async def read(self, stream: str, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; none at the end."""
        return self._stream(stream).read(offset, length)

    async def running(self) -> bool:
        """Whether more may come: from the container, or from a logger that is not done yet."""
        return self._running() or any(each.is_written() for each in self._streams.values())

    def _stream(self, name: str) -> _RotatedStream:
        if name not in self._streams:
            self._streams[name] = _RotatedStream(os.path.join(self._sandbox, name))
        return self._streams[name]


@dataclass(slots=True)
class _OpenFile:
    """One file of a stream, and where in the stream it begins."""

    fd: int
    key: tuple[int, int]
    begin: int = 0

    @property
    def end(self) -> int:
        """Where the next one begins, once this one grows no more."""
        return self.begin + os.fstat(self.fd).st_size


class _RotatedStream:
    """A stream from the oldest file that there was at the first look."""

    def __init__(self, path: str) -> None:
        self._path = path
        #: The oldest first.
        self._files: list[_OpenFile] = []

    def size(self) -> int:
        """Return the offset of the end."""
        self._look()
        return self._files[-1].end if self._files else 0

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes, fewer only at the end."""
        found = bytearray()
        while len(found) < length:
            piece = self._piece(offset + len(found), length - len(found))
            if not piece and not self._goes_on(offset):
                break
            found += piece
        return bytes(found)

    def is_written(self) -> bool:
        """Whether some process has the newest file open for writing."""
        if not self._files:
            return False
        fd = self._files[-1].fd
        try:
            # Leases on what is only read are given only while nobody writes.
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    def _piece(self, offset: int, length: int) -> bytes:
        """Return what one open file has of it."""
        for file in reversed(self._files):
            if file.begin <= offset:
                return os.pread(file.fd, length, offset - file.begin)
        return b""

    def _goes_on(self, offset: int) -> bool:
        """Look for more files; those that end before ``offset`` are closed then."""
        last = self._files[-1] if self._files else None
        self._look()
        if not self._files or self._files[-1] is last:
            return False
        self._forget(offset)
        return True

    def _look(self) -> None:
        """Open what has come since the last look."""
        newest = self._open(self._path)
        if newest is None:
            return
        if self._files and newest.key == self._files[-1].key:
            os.close(newest.fd)
            return
        known = {file.key for file in self._files}
        for _ in range(_LOOKS):
            found = [newest, *self._older(known | {newest.key})]
            again = self._open(self._path)
            if again is None or again.key == newest.key:
                break
            # Renamed meanwhile: what was found may be in no order.
            for file in found:
                os.close(file.fd)
            newest = again
        if again is not None:
            os.close(again.fd)
        for file in reversed(found):
            file.begin = self._files[-1].end if self._files else 0
            self._files.append(file)

    def _older(self, known: set[tuple[int, int]]) -> list[_OpenFile]:
        """Open the files before the newest one, up to the first that is known; newest first."""
        found: list[_OpenFile] = []
        for number in range(1, _MAX_FILES + 1):
            file = self._open(f"{self._path}.{number}")
            if file is None:
                break
            if file.key in known:
                os.close(file.fd)
                break
            found.append(file)
        return found

    def _forget(self, offset: int) -> None:
        """Close what ends before ``offset``."""
        while len(self._files) > 1 and self._files[1].begin <= offset:
            os.close(self._files.pop(0).fd)

    def _open(self, path: str) -> _OpenFile | None:
        """Open a plain file; nothing is followed and nobody is waited for."""
        try:
            fd = os.open(path, _FLAGS)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                os.close(fd)
                raise OSError(errno.EINVAL, "is no plain file", path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ContainerError(f"Cannot read '{path}': {error.strerror}") from error
        return _OpenFile(fd, (status.st_dev, status.st_ino))
