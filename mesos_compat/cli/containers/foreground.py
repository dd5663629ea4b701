# SPDX-License-Identifier: Apache-2.0
"""Signals that reach a command are meant for the container that it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator

from mesos_compat.base.errors import ContainerError
from mesos_compat.base.scope import Scope

_PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

Kill = Callable[[int], Awaitable[None]]


class Signals:
    """Passes signals on to ``kill``; before there is one a signal cancels the current task."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._task = asyncio.current_task()
        self._kill: Kill | None = None
        #: The signal that ended us before the container ran.
        self.ended_by: int | None = None

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals in the block."""
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._arrived, int(number))
        try:
            yield
        finally:
            for number in _PASSED_ON:
                loop.remove_signal_handler(number)

    def pass_to(self, kill: Kill) -> None:
        """From now on the container gets the signals."""
        self._kill = kill

    def code(self) -> int:
        """Return the exit code of a command that a signal ended early.

        To be called in an ``except CancelledError``, which it raises again if it was no signal.
        """
        if self.ended_by is None:
            raise asyncio.CancelledError
        return 128 + self.ended_by

    def _arrived(self, number: int) -> None:
        if self._kill is not None:
            self._scope.spawn(_sent(self._kill, number), f"signal {number}")
        elif self.ended_by is None and self._task is not None:
            self.ended_by = number
            self._task.cancel(f"signal {number}")


async def _sent(kill: Kill, number: int) -> None:
    # The container may have ended at this moment.
    with contextlib.suppress(ContainerError, ProcessLookupError):
        await kill(number)


def exit_code(wait_status: int) -> int:
    """Return what a shell makes of a wait status."""
    number = wait_status & 0x7F
    return 128 + number if number else (wait_status >> 8) & 0xFF
