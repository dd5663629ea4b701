# SPDX-License-Identifier: Apache-2.0
"""The smallest loop that an executor needs: descriptors to watch and timers.

One thread, no tasks: a callback runs to its end before the next.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT


class Timer:
    """A callback in the future."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback does not run (any more)."""
        self.callback = None


class Loop:
    """Runs callbacks until one calls ``stop``."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._exit_code: int | None = None

    def now(self) -> float:
        """Return the time that timers go by, in seconds."""
        return time.monotonic()

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback`` with the events seen on ``fd``; replaces what was watched before."""
        self._watched[fd] = callback
        self._poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``. To be called before it is closed."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, ``seconds`` from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now() + seconds, next(self._order), timer))
        return timer

    def stop(self, exit_code: int) -> None:
        """Make ``run`` return ``exit_code``; the first call counts."""
        if self._exit_code is None:
            self._exit_code = exit_code

    def run(self) -> int:
        """Run until ``stop``; return its exit code."""
        while self._exit_code is None:
            for fd, events in self._poll.poll(self._timeout_ms()):
                callback = self._watched.get(fd)
                if callback is not None and self._exit_code is None:
                    callback(events)
            self._run_timers()
        return self._exit_code

    def _timeout_ms(self) -> int | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        # Rounded up: a timer never fires early and poll never spins.
        wait_ms = -int((self.now() - self._timers[0][0]) * 1000 // 1)
        return min(max(wait_ms, 0), 24 * 3600 * 1000)

    def _run_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now and self._exit_code is None:
            _, _, timer = heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
