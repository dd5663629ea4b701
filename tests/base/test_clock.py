# SPDX-License-Identifier: Apache-2.0
"""The fake clock moves only by hand, and the real one agrees with the machine."""

from __future__ import annotations

import asyncio
import time

from mesos_compat.base.clock import FakeClock, RealClock


def test_calls_are_made_in_the_order_of_their_times() -> None:
    clock = FakeClock(now=100.0)
    made: list[tuple[str, float]] = []
    clock.call_later(2, lambda: made.append(("b", clock.now())))
    clock.call_later(1, lambda: made.append(("a", clock.now())))
    cancelled = clock.call_later(1, lambda: made.append(("never", 0)))
    cancelled.cancel()
    assert clock.pending == [101.0, 102.0]
    clock.advance(1.5)
    assert made == [("a", 101.0)]
    clock.advance(10)
    assert made == [("a", 101.0), ("b", 102.0)]
    assert clock.now() == 111.5


def test_a_call_made_while_time_moves_is_still_in_time() -> None:
    clock = FakeClock()
    made: list[float] = []

    def again() -> None:
        clock.call_later(1, lambda: made.append(clock.now()))

    clock.call_later(1, again)
    clock.advance(3)
    assert made == [2.0]


def test_the_epoch_moves_along() -> None:
    clock = FakeClock(epoch=1000.0)
    clock.advance(5)
    assert clock.time() == 1005.0


async def test_sleepers_wake() -> None:
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))
    await asyncio.sleep(0)
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(0.1)
    await sleeper


async def test_a_cancelled_sleeper_leaves_no_timer() -> None:
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.gather(sleeper, return_exceptions=True)
    assert clock.pending == []


async def test_the_real_clock() -> None:
    clock = RealClock()
    assert abs(clock.time() - time.time()) < 5
    assert abs(clock.now() - time.monotonic()) < 5
    called = asyncio.Event()
    clock.call_later(-1, called.set)
    await called.wait()
    await clock.sleep(0)
