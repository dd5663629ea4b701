# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from mesos_compat.executor.loop import READ, Loop


def test_timers_run_in_order_and_cancelled_ones_do_not() -> None:
    loop = Loop()
    seen: list[str] = []
    loop.later(0.002, lambda: seen.append("later"))
    loop.later(0, lambda: seen.append("first"))
    loop.later(0, lambda: seen.append("second"))
    loop.later(0.001, lambda: seen.append("never")).cancel()
    loop.later(0.003, lambda: loop.stop(5))
    assert loop.run() == 5
    assert seen == ["first", "second", "later"]


def test_descriptors_are_watched_until_told_otherwise() -> None:
    loop = Loop()
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        seen: list[int] = []

        def ready(events: int) -> None:
            seen.append(events)
            if len(seen) == 2:
                loop.unwatch(reader)
                loop.later(0.001, lambda: loop.stop(0))

        loop.watch(reader, READ, ready)
        assert loop.run() == 0
        assert seen == [READ, READ]
    finally:
        os.close(reader)
        os.close(writer)
