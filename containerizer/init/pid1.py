# SPDX-License-Identifier: Apache-2.0
"""What the init of a container does all its life: pass on signals, reap, tell how it ended.

All signals are blocked and read from a descriptor, so none is lost between two steps, and pid 1
of a namespace gets them although it has no handlers. A program of ours may be init and command in
one: it calls ``take_signals`` when the descriptor is readable and returns its exit code.

Source: spec ``containerizer`` 5.3, 8.2 (1, 2, 4), 8.5.
Deviations: the status of a command that could not be executed is written once (256, not 256256);
the status file is there before the pid is written, as init is known by it from its first moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Container
from typing import NoReturn

from containerizer.init.failure import LaunchFailure
from containerizer.init.seccomp import Filters
from containerizer.linux import signals

_MAX_TOLD = 64 * 1024
#: Raw wait status of a process that called exit(1).
EXIT_1 = 1 << 8
#: What does not end a process that has no handlers, or only stops it.
_HARMLESS = frozenset(
    {
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGPIPE,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGURG,
        signal.SIGWINCH,
    }
)
#: What a terminal sends to all that run in its foreground.
TERMINAL_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})


def await_release(control: int) -> None:
    """Read the byte that is the release. Raises LaunchFailure if the other side is gone."""
    try:
        released = os.read(control, 1)
    except OSError:
        released = b""
    os.close(control)
    if not released:
        raise LaunchFailure("Failed to synchronize with agent (it's probably exited)")


class StatusFile:
    """The file in which a restarted agent finds the raw wait status; empty until the end."""

    def __init__(self, runtime_directory: str) -> None:
        path = os.path.join(runtime_directory, "status")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def fd(self) -> int:
        """The descriptor, to be kept open in init only."""
        return self._fd

    def write(self, wait_status: int) -> None:
        """Record how the command ended."""
        with contextlib.suppress(OSError):
            os.write(self._fd, str(wait_status).encode())


class Init:
    """The signals and the status of this process, which is or becomes a container's init.

    ``inherited`` is a signalfd of the process that forked this one with all signals blocked.
    """

    def __init__(self, status: StatusFile | None, inherited: int | None = None) -> None:
        if inherited is None:
            signals.block_all()
            inherited = signals.open_signalfd()
        self._signals = inherited
        self._status = status
        self._pid = os.getpid()
        #: Whether the mount namespace is the container's own.
        self.own_mounts = False
        #: What a program that is init and command in one puts on its task and then on itself.
        self.filters: Filters | None = None

    @property
    def signals(self) -> int:
        """Descriptor that is readable while signals wait."""
        return self._signals

    @property
    def fds(self) -> set[int]:
        """Descriptors to keep open in init."""
        return {self._signals} | ({self._status.fd} if self._status else set())

    def await_release(self, control: int) -> None:
        """Wait for one byte on ``control``. Raises LaunchFailure if the other side is gone.

        A signal that comes before ends us as if it had killed the command.
        """
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            while (number := self._next()) is not None:
                if number != signal.SIGCHLD:
                    self.end(number)
            if control in ready:
                break
        await_release(control)

    def end(self, wait_status: int) -> NoReturn:
        """Record that there never was a command, and exit."""
        if self._status is not None:
            self._status.write(wait_status)
        os._exit(1)

    def finish(self, exit_code: int) -> NoReturn:
        """Record how a program that is init and command in one ended, and exit."""
        if self._status is not None:
            self._status.write((exit_code & 0xFF) << 8)
        os._exit(0)

    def take_signals(self, ignored: Container[int] = ()) -> list[tuple[int, int]]:
        """Take what waits; return pid and wait status of the children that have ended.

        For a program that is init and command in one: what ends a process without handlers ends
        this one, with the status of a command that was killed, unless it is ``ignored``.
        """
        ended: list[tuple[int, int]] = []
        while (number := self._next()) is not None:
            if number not in _HARMLESS and number not in ignored:
                self.end(number)
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0] != 0:
                ended.append(child)
        return ended

    def supervise(
        self, command: int, told: int | None, on_told: Callable[[bytes], None]
    ) -> NoReturn:
        """Pass signals on to ``command`` and reap orphans until it ends.

        ``told`` is a socket whose other end the command has: all that came through it goes to
        ``on_told`` once the command has shut it down; then ``told`` is closed.
        """
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if told is not None:
            poll.register(told, select.POLLIN)
        message = b""
        wait_status = _reap(command)
        while wait_status is None:
            ready = [fd for fd, _ in poll.poll()]
            if told is not None and told in ready:
                more = os.read(told, _MAX_TOLD)
                message += more
                if not more:
                    poll.unregister(told)
                    if message:
                        on_told(message)
                    os.close(told)
            if self._pass_on(command):
                wait_status = _reap(command)
        if self._status is not None:
            self._status.write(wait_status)
        os._exit(0)

    def _pass_on(self, command: int) -> bool:
        """Send what is pending to ``command``; say whether a child may have ended."""
        child_ended = False
        while (number := self._next()) is not None:
            if number == signal.SIGCHLD:
                child_ended = True
            else:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(command, number)
        return child_ended

    def _next(self) -> int | None:
        """Return the next signal that somebody else sent."""
        while (record := signals.read_signalfd(self._signals)) is not None:
            number, sender = record
            # Writing to a closed stderr is no message to the command.
            if number != signal.SIGPIPE or sender != self._pid:
                return number
        return None


def _reap(command: int) -> int | None:
    """Reap all that has ended; return the wait status of ``command`` once it has."""
    while True:
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            raise LaunchFailure("Failed to wait for the command: it is no child") from None
        if pid == 0:
            return None
        if pid == command:
            return wait_status
