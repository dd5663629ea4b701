# SPDX-License-Identifier: Apache-2.0
"""Long work in threads that leaves off when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def stoppable(function: Callable[[Callable[[], bool]], T]) -> T:
    """Call ``function`` in a thread; what it is given says whether it shall leave off.

    That is so from the moment on in which the caller is cancelled, and the cancellation takes
    effect when ``function`` has ended, however it does.
    """
    stopping = threading.Event()
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, function, stopping.is_set)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stopping.set()
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise
