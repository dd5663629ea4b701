# SPDX-License-Identifier: Apache-2.0
"""Wait for what another connection does."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds; give up after a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the other side is a real socket
            await asyncio.sleep(0.001)
