# SPDX-License-Identifier: Apache-2.0
"""An init that a launcher watches, its own child or not, by a descriptor instead of a pid."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterable

from containerizer.launcher.base import ForkedInit
from containerizer.linux import proc
from containerizer.linux.proc import ProcessStat
from mesos_compat.base.errors import LaunchError

_LONGEST_DELAY_S = 0.1


class TrackedInit:
    """One init; ``pidfd`` is -1 if it was gone before we could look."""

    def __init__(self, pid: int, pidfd: int, forked: ForkedInit | None = None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._forked = forked
        self._exit: asyncio.Future[None] | None = None

    @classmethod
    def recovered(cls, pid: int) -> TrackedInit:
        """Track a process that somebody else started."""
        try:
            return cls(pid, os.pidfd_open(pid))
        except (OSError, OverflowError, ValueError):
            # Gone, or no number that an init of ours could have.
            return cls.gone(pid)

    @classmethod
    def gone(cls, pid: int) -> TrackedInit:
        """Stand for a process that ended earlier."""
        return cls(pid, -1)

    @property
    def exited(self) -> bool:
        """Whether the init has exited, reaped or not."""
        if self._pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def wait(self) -> None:
        """Return when the init has exited; any number of callers, each may be cancelled."""
        if self._pidfd < 0:
            return
        if self._exit is None:
            loop = asyncio.get_running_loop()
            self._exit = loop.create_future()
            loop.add_reader(self._pidfd, self._on_exit)
        await asyncio.shield(self._exit)

    def signal(self, number: int) -> None:
        """Send a signal to this very process. Raises OSError, also if it has exited."""
        if self._pidfd < 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        signal.pidfd_send_signal(self._pidfd, number)

    async def wait_gone(self, others: Iterable[ProcessStat], timeout_s: float) -> None:
        """Wait for the init and for ``others``, which need not be known to us otherwise.

        Raises LaunchError if any of them is still there after ``timeout_s``.
        """
        left = list(others)
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait()
                delay = 0.001
                while left := [entry for entry in left if _is_there(entry)]:
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, _LONGEST_DELAY_S)
        except TimeoutError:
            pids = ", ".join(str(entry.pid) for entry in left) or self.pid
            raise LaunchError(f"Failed to kill all processes: {pids} left") from None

    def close(self) -> None:
        """Stop watching; whoever still waits is cancelled, an unreleased init ends."""
        if self._forked is not None:
            self._forked.abort()
        if self._pidfd < 0:
            return
        if self._exit is not None and not self._exit.done():
            self._exit.get_loop().remove_reader(self._pidfd)
            self._exit.cancel()
        os.close(self._pidfd)
        self._pidfd = -1

    def _on_exit(self) -> None:
        assert self._exit is not None
        self._exit.get_loop().remove_reader(self._pidfd)
        if not self._exit.done():
            self._exit.set_result(None)


def _is_there(entry: ProcessStat) -> bool:
    with contextlib.suppress(ProcessLookupError):
        now = proc.stat(entry.pid)
        return now.start_ticks == entry.start_ticks and now.state not in "ZX"
    return False
