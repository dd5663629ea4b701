# SPDX-License-Identifier: Apache-2.0
"""The principal of an HTTP request: put there by authentication, read by authorization."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from mesos_compat.model.principal import Principal

__all__ = ["Principal", "principal_of", "set_principal"]

#: Where a request keeps it.
_KEY: Final = "mesos_compat.principal"


def set_principal(request: web.BaseRequest, principal: Principal | None) -> None:
    """Say who sent a request; ``None`` if its realm has no authenticator."""
    request[_KEY] = principal


def principal_of(request: web.BaseRequest) -> Principal | None:
    """Return who sent a request, ``None`` without authentication."""
    found = request.get(_KEY)
    return found if isinstance(found, Principal) else None
