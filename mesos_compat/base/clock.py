# SPDX-License-Identifier: Apache-2.0
"""Time and timers, real and fake.

Code that waits takes a ``Clock``, so that its tests move time instead of sleeping.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class PendingCall(Protocol):
    """A pending call."""

    def cancel(self) -> None:
        """Prevent the call; harmless after it was made."""


class Clock(Protocol):
    """What the time is, and calls in the future."""

    def now(self) -> float:
        """Return monotonic seconds; only differences mean something."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> PendingCall:
        """Call ``callback`` once, ``delay_s`` seconds from now."""

    async def sleep(self, delay_s: float) -> None:
        """Return after ``delay_s`` seconds."""


class RealClock:
    """The clock of the machine and of the running event loop."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def time(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> PendingCall:
        """Call ``callback`` from the running event loop."""
        return asyncio.get_running_loop().call_later(max(0.0, delay_s), callback)

    async def sleep(self, delay_s: float) -> None:
        """Sleep in the running event loop."""
        await asyncio.sleep(max(0.0, delay_s))


class FakeCall:
    """A pending call of a ``FakeClock``."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Prevent the call."""
        self.callback = None


class FakeClock:
    """A clock that stands still until ``advance`` moves it."""

    def __init__(self, now: float = 0.0, epoch: float = 1_500_000_000.0) -> None:
        self._now = now
        self._offset = epoch - now
        self._queue: list[tuple[float, int, FakeCall]] = []
        self._count = itertools.count()

    def now(self) -> float:
        """Return the fake monotonic seconds."""
        return self._now

    def time(self) -> float:
        """Return the fake seconds since the epoch."""
        return self._now + self._offset

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeCall:
        """Remember ``callback`` until ``advance`` passes its time."""
        timer = FakeCall(self._now + max(0.0, delay_s), callback)
        heapq.heappush(self._queue, (timer.due, next(self._count), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Return once ``advance`` has passed the time; yields at least once."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_later(delay_s, wake)
        try:
            await done
        finally:
            timer.cancel()

    @property
    def pending(self) -> list[float]:
        """The times (``now`` scale) at which calls are due, sorted."""
        return sorted(due for due, _, timer in self._queue if timer.callback is not None)

    def advance(self, seconds: float) -> None:
        """Move the time forward, making due calls in the order of their times."""
        end = self._now + seconds
        while self._queue and self._queue[0][0] <= end:
            due, _, timer = heapq.heappop(self._queue)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._now = max(self._now, due)
                callback()
        self._now = end
