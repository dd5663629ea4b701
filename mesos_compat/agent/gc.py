# SPDX-License-Identifier: Apache-2.0
"""Removes old sandboxes after ``--gc_delay``.

Source: spec ``state-and-recovery`` 11. Deviation: disk usage does not shorten the delay.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from mesos_compat.base.beneath import Root
from mesos_compat.base.clock import Clock, PendingCall
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope

log = logging.getLogger(__name__)


class GarbageCollector:
    """Paths that are to go, and those on their way.

    ``removed`` is called with each path that is gone.
    """

    def __init__(
        self,
        scope: Scope,
        clock: Clock,
        delay_s: float,
        metrics: Metrics,
        removed: Callable[[str], None],
    ) -> None:
        self._scope = scope
        self._clock = clock
        self._delay_s = delay_s
        self._removed = removed
        self._timers: dict[str, PendingCall] = {}
        #: Set when the removal of the path is over.
        self._removing: dict[str, asyncio.Event] = {}
        self._succeeded = metrics.counter("gc/path_removals_succeeded")
        self._failed = metrics.counter("gc/path_removals_failed")
        metrics.gauge("gc/path_removals_pending", lambda: float(len(self._timers)))

    def schedule(self, path: str) -> None:
        """Remove ``path`` after the delay from now on, whenever it was scheduled before."""
        try:
            os.utime(path)
        except OSError as error:
            log.debug("Not scheduling '%s' for gc: %s", path, error)
            return
        self.unschedule(path)
        log.debug("Scheduling '%s' for gc in %gs", path, self._delay_s)
        self._timers[path] = self._clock.call_later(self._delay_s, lambda: self._start(path))

    def schedule_below(self, directory: str) -> None:
        """Schedule all that is in ``directory``: what earlier agents left, when an agent starts."""
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return
        for name in names:
            self.schedule(os.path.join(directory, name))

    def unschedule(self, path: str) -> None:
        """Keep ``path`` after all, unless its removal has begun."""
        timer = self._timers.pop(path, None)
        if timer is not None:
            timer.cancel()

    def busy(self, path: str) -> bool:
        """Whether ``path`` is being removed now."""
        return path in self._removing

    async def settled(self, path: str) -> None:
        """Return when ``path`` is not being removed; waits as long as that takes."""
        while path in self._removing:
            await self._removing[path].wait()

    def _start(self, path: str) -> None:
        del self._timers[path]
        if path not in self._removing:
            self._removing[path] = asyncio.Event()
            self._scope.spawn(self._remove(path), f"gc {path}")

    async def _remove(self, path: str) -> None:
        try:
            await asyncio.to_thread(_remove_tree, path)
        except OSError as error:
            self._failed.increment()
            log.warning("Failed to delete '%s': %s", path, error)
        else:
            self._succeeded.increment()
            log.info("Deleted '%s'", path)
            self._removed(path)
        finally:
            self._removing.pop(path).set()


def _remove_tree(path: str) -> None:
    """Remove ``path`` and all below it, never through a link nor into another mount."""
    parent, name = os.path.split(path)
    try:
        with Root(parent) as root:
            root.remove(name)
    except FileNotFoundError:
        pass
