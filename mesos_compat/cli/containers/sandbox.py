# SPDX-License-Identifier: Apache-2.0
"""Output that a container left in a sandbox of this host, in files that it may have replaced."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from mesos_compat.base.errors import ContainerError


class SandboxLogs:
    """Implements LogSource."""

    def __init__(self, sandbox: str, running: Callable[[], bool]) -> None:
        self._sandbox = sandbox
        self._running = running

    async def size(self, stream: str) -> int:
        """Return how many bytes there are now."""
        fd = self._open(stream)
        if fd is None:
            return 0
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    async def read(self, stream: str, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; none at the end."""
        fd = self._open(stream)
        if fd is None:
            return b""
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    async def running(self) -> bool:
        """Whether more may come."""
        return self._running()

    def _open(self, stream: str) -> int | None:
        """Open a plain file; nothing is followed and nobody is waited for."""
        path = os.path.join(self._sandbox, stream)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            fd = os.open(path, flags)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(errno.EINVAL, "is no plain file", path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ContainerError(f"Cannot read '{path}': {error.strerror}") from error
        return fd
