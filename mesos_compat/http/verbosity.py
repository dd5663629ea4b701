# SPDX-License-Identifier: Apache-2.0
"""The log verbosity that operators raise for a while.

Source: spec ``operator-api`` 3.4 (SET_LOGGING_LEVEL) and 5.7.
"""

from __future__ import annotations

from mesos_compat.base.clock import Clock, PendingCall
from mesos_compat.base.log import Logging


class Verbosity:
    """Changes the program's verbosity and takes it back when its time is over."""

    def __init__(self, logs: Logging, clock: Clock) -> None:
        self._logs = logs
        self._clock = clock
        self._timer: PendingCall | None = None

    @property
    def level(self) -> int:
        """The verbosity now."""
        return self._logs.verbosity

    @property
    def original(self) -> int:
        """The verbosity that the program was started with."""
        return self._logs.initial_verbosity

    def set(self, level: int, duration_s: float) -> None:
        """Set the verbosity for ``duration_s`` seconds; replaces an earlier change."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._logs.set_verbosity(level)
        if level != self.original:
            self._timer = self._clock.call_later(duration_s, self._revert)

    def _revert(self) -> None:
        self._timer = None
        self._logs.set_verbosity(self.original)
