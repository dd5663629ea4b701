# SPDX-License-Identifier: Apache-2.0
"""Long work leaves off when nobody waits for it, and not before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from mesos_compat.base.threads import stoppable


async def test_it_returns_and_raises() -> None:
    assert await stoppable(lambda stop: stop()) is False

    def fail(stop: Callable[[], bool]) -> None:
        raise OSError("why")

    with pytest.raises(OSError, match="why"):
        await stoppable(fail)


async def test_it_is_told_to_stop_and_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: Callable[[], bool]) -> None:
        begun.set()
        while not stop():
            pass
        ended.set()
        raise OSError("nobody hears that")

    task = asyncio.ensure_future(stoppable(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
