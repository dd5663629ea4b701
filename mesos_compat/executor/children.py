# SPDX-License-Identifier: Apache-2.0
"""Children of an executor and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Container

from containerizer.init.pid1 import Init
from mesos_compat.executor.loop import READ, Loop

Ended = Callable[[int], None]


class Children:
    """Tells of each child once, with its wait status."""

    def __init__(self, loop: Loop, init: Init | None) -> None:
        self._loop = loop
        self._init = init
        self._ended: dict[int, Ended] = {}
        self._pipe: int | None = None
        #: Signals that do not end an executor that is the container's init.
        self.ignored: Container[int] = ()
        if init is not None:
            loop.watch(init.signals, READ, self._on_signals)

    def watch(self, pid: int, ended: Ended) -> None:
        """Have ``ended`` called when a child that was just made has ended, and is reaped."""
        self._ended[pid] = ended
        if self._init is not None:
            return  # ``_on_signals`` reaps all children
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            self._watch_signals()
            return
        self._loop.watch(fd, READ, lambda events: self._on_pidfd(fd, pid))

    def _on_signals(self, events: int) -> None:
        assert self._init is not None
        for pid, wait_status in self._init.take_signals(self.ignored):
            self._tell(pid, wait_status)

    def _on_pidfd(self, fd: int, pid: int) -> None:
        self._loop.unwatch(fd)
        os.close(fd)
        self._reap(pid)

    def _watch_signals(self) -> None:
        """Linux before 5.3. The handler does nothing, but without one nothing is written."""
        if self._pipe is None:
            self._pipe, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.signal(signal.SIGCHLD, lambda number, frame: None)
            signal.set_wakeup_fd(writer)
            self._loop.watch(self._pipe, READ, lambda events: self._on_wakeup())
        self._loop.later(0, self._reap_all)

    def _on_wakeup(self) -> None:
        assert self._pipe is not None
        with contextlib.suppress(OSError):
            os.read(self._pipe, 64)
        self._reap_all()

    def _reap_all(self) -> None:
        for pid in list(self._ended):
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        try:
            reaped, wait_status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return
        if reaped == pid:
            self._tell(pid, wait_status)

    def _tell(self, pid: int, wait_status: int) -> None:
        ended = self._ended.pop(pid, None)
        if ended is not None:
            ended(wait_status)
