# SPDX-License-Identifier: Apache-2.0
"""The principal of an HTTP request: put there by authentication, read by authorization."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from mesos_compat.model.principal import Principal

__all__ = ["Principal", "principal_of", "set_principal"]

_KEY: Final = web.RequestKey("principal", Principal)


def set_principal(request: web.BaseRequest, principal: Principal | None) -> None:
    """Say who sent a request; ``None`` if its realm has no authenticator."""
    if principal is not None:
        request[_KEY] = principal
    elif _KEY in request:
        del request[_KEY]


def principal_of(request: web.BaseRequest) -> Principal | None:
    """Return who sent a request, ``None`` without authentication."""
    return request.get(_KEY)
