# SPDX-License-Identifier: Apache-2.0
"""What the agent answers on its Unix socket: the calls of executors, and nothing else.

Source: spec ``operator-api`` 2; ``executors`` 1.10.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from mesos_compat.http import reply

_PATHS: Final = frozenset({"/slave(1)/api/v1", "/slave(1)/api/v1/executor"})


def only_for_executors(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Return the part of the agent's handler that executors may use: two paths, to the letter."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.partition("?")[0] not in _PATHS:
            return await reply.response(reply.error(403), request)
        return await handler(request)

    return handle
