# SPDX-License-Identifier: Apache-2.0
"""Endpoints that ``--firewall_rules`` switches off. Pure.

Deviation: a rule names an endpoint with or without its actor (``/state``, ``/slave(1)/state``,
``/files/read``), in any spelling, and switches all of its names off. Upstream compares texts, so a
slash at the end evades a rule, and some endpoints can not be switched off.

Source: spec ``operator-api`` 1.4.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from mesos_compat.base.errors import ApiError
from mesos_compat.http.routes import Router

log = logging.getLogger(__name__)

#: How an older name of some endpoints ends.
_OLD: Final = ".json"


class Firewall:
    """The rules, for the routes of one agent."""

    def __init__(self, paths: Iterable[str], router: Router) -> None:
        self._router = router
        self._disabled: set[str] = set()
        for given in paths:
            path = router.full_path(given)
            route = router.find(path)
            if route is None:
                log.warning("There is no endpoint '%s' that --firewall_rules could disable", given)
            self._disabled.add(self._name(route or path))

    def check(self, path: str, route: str | None) -> None:
        """Raise ApiError 403 if a path, in full, or the route that it leads to is switched off."""
        if self._name(route or path) in self._disabled:
            raise ApiError(403, f"Endpoint '{path}' is disabled")

    def _name(self, route: str) -> str:
        new = route.removesuffix(_OLD)
        return new if self._router.find(new) == new else route
