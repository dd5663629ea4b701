# SPDX-License-Identifier: Apache-2.0
"""Output of a container on its way to the log."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat

from containerizer.switchboard.poller import WRITE, Handler, ignore_events
from containerizer.switchboard.records import Stream

CHUNK_BYTES = 64 << 10
#: Writes of at most this size to a pipe that has room do not block.
_PIPE_BUF = 4096


class OutputCopy:
    """One stream of the container on its way to the log."""

    def __init__(self, source: int, log: int, stream: Stream, *, tty: bool) -> None:
        self.source = source
        self.log = log
        self.stream = stream
        self.name = stream.name.lower()
        #: What was read and the log did not take yet.
        self.unwritten = memoryview(b"")
        self.ended = False
        self.on_read: Handler = ignore_events
        self.on_log: Handler = ignore_events
        self._tty = tty
        #: The log may be a pipe shared with others, so it stays in blocking mode.
        self._log_blocks = not stat.S_ISREG(os.fstat(log).st_mode)

    def read(self) -> bytes:
        """Return what the container wrote, nothing at its end. Raises OSError."""
        return _read_terminal(self.source) if self._tty else os.read(self.source, CHUNK_BYTES)

    def write(self) -> None:
        """Write what the log takes, to a pipe only what cannot block. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            while self.unwritten:
                if self._log_blocks and not _writable(self.log):
                    return
                piece = self.unwritten[:_PIPE_BUF] if self._log_blocks else self.unwritten
                self.unwritten = self.unwritten[os.write(self.log, piece) :]


def _read_terminal(fd: int) -> bytes:
    """Return what comes from a terminal; nothing once its last process has closed it."""
    # The kernel looks for data first and then for the end, so what is written between the two
    # looks as if it were lost. Who asks again gets it.
    for _ in range(2):
        try:
            return os.read(fd, CHUNK_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
    return b""


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, WRITE)
    return bool(poll.poll(0))
