# SPDX-License-Identifier: Apache-2.0
"""What a loop waits for: events of descriptors, and who handles them."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final, TypeAlias

READ: Final = select.POLLIN
WRITE: Final = select.POLLOUT
GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL

#: Takes the events that came.
Handler: TypeAlias = Callable[[int], None]


class Poller:
    """Descriptors and the events of them that are waited for."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._interests: dict[int, int] = {}
        self._handlers: dict[int, Handler] = {}

    def watch(self, fd: int, events: int | None, handler: Handler) -> None:
        """Wait for ``events`` of a descriptor (0: for its end only); ``None``: not at all."""
        if events is None:
            self.unwatch(fd)
        elif self._interests.get(fd) != events:
            self._poll.register(fd, events)
            self._interests[fd] = events
            self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Wait for nothing of a descriptor any more."""
        if self._interests.pop(fd, None) is not None:
            self._poll.unregister(fd)
            del self._handlers[fd]

    def wait(self, timeout_ms: int | None) -> None:
        """Wait for events and have them handled."""
        for fd, events in self._poll.poll(timeout_ms):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)


def ignore_events(events: int) -> None:
    """Handle events of what is not set up yet."""


def bound(function: Callable[..., None], subject: object) -> Handler:
    """Return a handler of events that passes on whose they are."""

    def handle(events: int) -> None:
        function(subject, events)

    return handle
