# SPDX-License-Identifier: Apache-2.0
"""One step of the machine while it is being taken: the state, the time, what is to be done."""

from __future__ import annotations

import hashlib
import logging
import uuid

from mesos_compat.agent.machine.effects import Effect, Log
from mesos_compat.agent.machine.state import AgentState


class Turn:
    """Given to every handler of an event; lives as long as one call of ``step``.

    ``entropy`` are secret bytes that arrived with the event: UUIDs and random delays are drawn
    from them, so that the same event gives the same effects.
    """

    def __init__(self, state: AgentState, now: float, entropy: bytes) -> None:
        self.state = state
        self.now = now
        self.effects: list[Effect] = []
        self._entropy = entropy
        self._drawn = 0

    def do(self, *effects: Effect) -> None:
        """Ask for ``effects``, after all that was asked for before."""
        self.effects.extend(effects)

    def info(self, text: str) -> None:
        """Write a line about a step of some life cycle."""
        self.do(Log(logging.INFO, text))

    def warn(self, text: str) -> None:
        """Write a line about something that should not be."""
        self.do(Log(logging.WARNING, text))

    def count(self, name: str) -> None:
        """Add one to a counter."""
        counters = self.state.counters
        counters[name] = counters.get(name, 0) + 1

    def uuid(self) -> uuid.UUID:
        """Draw a random UUID."""
        return uuid.UUID(bytes=self._draw(), version=4)

    def random(self) -> float:
        """Draw a number from 0 up to but not including 1."""
        return int.from_bytes(self._draw()[:6], "big") / (1 << 48)

    def _draw(self) -> bytes:
        self._drawn += 1
        number = self._drawn.to_bytes(8, "big")
        return hashlib.blake2b(number, key=self._entropy, digest_size=16).digest()
