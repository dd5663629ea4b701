# SPDX-License-Identifier: Apache-2.0
"""Memory that many peers use at the same time: bounded for all of them together.

Who holds most has to go when the bound is exceeded, so that a few large and slow peers can not
shut out all others.
"""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """Bytes that may be held at the same time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._holdings: set[Holding] = set()

    def open(self, drop: Callable[[], None]) -> Holding:
        """Return a new holding of nothing. ``drop`` is called, once, if others need the bytes;
        by then they are given back.
        """
        return Holding(self, drop)

    def _set(self, holding: Holding, size: int) -> None:
        self.used += size - holding.size
        holding.size = size
        if size:
            self._holdings.add(holding)
        else:
            self._holdings.discard(holding)

    def _fit(self, asking: Holding) -> bool:
        while self.used > self.limit:
            largest = max(self._holdings, key=lambda holding: holding.size)
            if largest.size <= asking.size:
                return False
            self._set(largest, 0)
            largest.drop()
        return True


class Holding:
    """What one peer has of a budget."""

    __slots__ = ("_budget", "drop", "size")

    def __init__(self, budget: Budget, drop: Callable[[], None]) -> None:
        self._budget = budget
        self.drop = drop
        self.size = 0

    def resize(self, size: int) -> bool:
        """Hold ``size`` bytes; ``False`` if that is too much, and then nothing is held."""
        self._budget._set(self, size)
        if size == 0 or self._budget._fit(self):
            return True
        self._budget._set(self, 0)
        return False
