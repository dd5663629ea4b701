# SPDX-License-Identifier: Apache-2.0
"""Connections, and which of them is needed least when there is no place for a new one."""

from __future__ import annotations

import asyncio


class ConnectionSlots:
    """Which connections there are, and which of them can be spared."""

    def __init__(self) -> None:
        self._all: set[asyncio.Transport] = set()
        #: Those that never sent a whole request, oldest first.
        self._fresh: dict[asyncio.Transport, None] = {}
        #: Those that wait for the next request, least recently used first.
        self._idle: dict[asyncio.Transport, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> list[asyncio.Transport]:
        """Return the connections that there are."""
        return list(self._all)

    def add(self, transport: asyncio.Transport) -> None:
        """Remember a connection that is new."""
        self._all.add(transport)
        self._fresh[transport] = None

    def busy(self, transport: asyncio.Transport) -> None:
        """A whole request is there: the connection is needed until it is answered."""
        self._fresh.pop(transport, None)
        self._idle.pop(transport, None)

    def idle(self, transport: asyncio.Transport) -> None:
        """A request was answered."""
        self.busy(transport)
        if transport in self._all:
            self._idle[transport] = None

    def remove(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self.busy(transport)
        self._all.discard(transport)

    def least_used(self) -> asyncio.Transport | None:
        """Remove and return the connection that is needed least; ``None`` if all are busy."""
        found = next(iter(self._fresh), None) or next(iter(self._idle), None)
        if found is not None:
            self.remove(found)
        return found
