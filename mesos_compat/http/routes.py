# SPDX-License-Identifier: Apache-2.0
"""From a request target to the name of a route. Pure.

The first component of a path names an actor; what no actor is called belongs to ``slave(1)``.

Source: spec ``operator-api`` 1.1, 1.2 and 2.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from mesos_compat.base.errors import ApiError

#: The actor that gets the paths of nobody else.
DELEGATE: Final = "slave(1)"

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A request target, taken apart."""

    #: As sent, without query.
    path: str
    #: Last value of each key, decoded once; bytes that are no UTF-8 are surrogates.
    query: dict[str, str]


def parse_target(raw: str) -> Target:
    """Take a request target apart. Raises ApiError 400 if it has no path or a bad escape."""
    raw = _ORIGIN.sub("", raw, count=1).partition("#")[0]
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        raise ApiError(400, "Request URL path must start with '/'")
    return Target(path, parse_query(query))


def parse_query(text: str) -> dict[str, str]:
    """Decode a query. Raises ApiError 400 for a bad escape."""
    found: dict[str, str] = {}
    for pair in re.split("[&;]", text):
        if pair:
            key, _, value = pair.partition("=")
            found[_decode(key)] = _decode(value)
    return found


def _decode(text: str) -> str:
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        escape = text[bad.start() : bad.start() + 3]
        raise ApiError(400, f"Failed to decode URL query: Malformed % escape: '{escape}'")
    plain = text.replace("+", " ").encode("utf-8", "surrogateescape")
    return unquote_to_bytes(plain).decode("utf-8", "surrogateescape")


class Router:
    """Finds the longest route that is a prefix of a path, by whole components.

    Routes are ``/actor/name`` or, for an actor's root, ``/actor``; roots match exactly only,
    except those in ``open_roots``.
    """

    def __init__(self, routes: Collection[str], open_roots: Collection[str] = ()) -> None:
        self._routes = frozenset(routes)
        self._open_roots = frozenset(open_roots)
        #: Components of the longest route: a path may have thousands.
        self._depth = max((route.count("/") for route in routes), default=0)
        self.actors = frozenset(route.split("/")[1] for route in routes)

    def full_path(self, path: str) -> str:
        """Return the path with its actor in front, without empty components."""
        parts = [part for part in path.split("/") if part]
        first = "" if not parts else _actor_name(parts[0])
        if first in self.actors:
            parts[0] = first
        else:
            parts.insert(0, DELEGATE)
        return "/" + "/".join(parts)

    def find(self, full_path: str) -> str | None:
        """Return the route that serves a path of ``full_path``, ``None`` if there is none."""
        parts = full_path.split("/")[1:]
        for count in range(min(len(parts), self._depth), 1, -1):
            route = "/" + "/".join(parts[:count])
            if route in self._routes:
                return route
        root = f"/{parts[0]}"
        if root in self._routes and (len(parts) == 1 or root in self._open_roots):
            return root
        return None


def _actor_name(component: str) -> str:
    if _BAD_ESCAPE.search(component):
        return component
    return unquote_to_bytes(component).decode("utf-8", "replace")
