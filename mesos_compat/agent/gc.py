# SPDX-License-Identifier: Apache-2.0
"""Removes old sandboxes after ``--gc_delay``, or sooner when the disk fills up.

Source: spec ``state-and-recovery`` 11.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from containerizer.linux import mount, mountinfo
from mesos_compat.base.beneath import Root, Stop
from mesos_compat.base.clock import Clock, PendingCall
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.base.threads import stoppable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiskWatch:
    """When a full disk shortens the delay: ``--gc_disk_headroom``, ``--disk_watch_interval``."""

    directory: str
    #: Share of the disk that shall stay free.
    headroom: float
    interval_s: float


@dataclass(frozen=True, slots=True)
class _Timer:
    """A path that waits for its end; ``due`` is on the clock's ``now``."""

    due: float
    call: PendingCall
    #: The folder below which no link is followed.
    root: str


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
        self._timers: dict[str, _Timer] = {}
        #: Set when the removal of the path is over.
        self._removing: dict[str, asyncio.Event] = {}
        #: Directory → removals below it.
        self._below: dict[str, set[asyncio.Event]] = {}
        self._succeeded = metrics.counter("gc/path_removals_succeeded")
        self._failed = metrics.counter("gc/path_removals_failed")
        metrics.gauge("gc/path_removals_pending", lambda: float(len(self._timers)))

    def watch(self, watch: DiskWatch, metrics: Metrics) -> None:
        """From now on shorten the delay as the disk fills; tell by how much in a metric."""
        age_s = _max_age_s(self._delay_s, watch.headroom, 0.0)

        async def check() -> None:
            nonlocal age_s
            while True:
                await self._clock.sleep(watch.interval_s)
                try:
                    usage = await asyncio.to_thread(disk_usage, watch.directory)
                except OSError as error:
                    log.error("Failed to get disk usage of '%s': %s", watch.directory, error)
                    continue
                age_s = _max_age_s(self._delay_s, watch.headroom, usage)
                log.debug("Current disk usage %.2f%%. Max allowed age: %gs", 100.0 * usage, age_s)
                self.prune(self._delay_s - age_s)

        metrics.gauge("slave/executor_directory_max_allowed_age_secs", lambda: age_s)
        self._scope.spawn(check(), "watch the disk")

    def prune(self, within_s: float) -> None:
        """Remove now what is due within so many seconds."""
        until = self._clock.now() + within_s
        for path in [path for path, timer in self._timers.items() if timer.due <= until]:
            self._timers[path].call.cancel()
            self._start(path)

    def schedule(self, path: str) -> None:
        """Remove ``path`` after the delay from now on, whenever it was scheduled before."""
        try:
            os.utime(path)
        except OSError as error:
            log.debug("Not scheduling '%s' for gc: %s", path, error)
            return
        self._schedule(path, self._delay_s, os.path.dirname(path))

    def schedule_aged(self, root: str, relative: str) -> None:
        """Remove what is below ``root`` after the delay from its last change on.

        What is in ``root`` may belong to a task: no link in it is followed, neither now nor then.
        """
        path = os.path.join(root, relative)
        try:
            with Root(root) as opened:
                changed = opened.lstat(relative).st_mtime
        except OSError as error:
            log.debug("Not scheduling '%s' for gc: %s", path, error)
            return
        age_s = max(0.0, self._clock.time() - changed)
        self._schedule(path, max(0.0, self._delay_s - age_s), root)

    def _schedule(self, path: str, delay_s: float, root: str) -> None:
        self.unschedule(path)
        log.debug("Scheduling '%s' for gc in %gs", path, delay_s)
        call = self._clock.call_later(delay_s, lambda: self._start(path))
        self._timers[path] = _Timer(self._clock.now() + delay_s, call, root)

    def unschedule(self, path: str) -> None:
        """Keep ``path`` after all, unless its removal has begun."""
        timer = self._timers.pop(path, None)
        if timer is not None:
            timer.call.cancel()

    def busy(self, path: str) -> bool:
        """Whether ``path`` is being removed now."""
        return path in self._removing

    async def settled(self, path: str) -> None:
        """Return when ``path`` is not being removed; waits as long as that takes."""
        while path in self._removing:
            await self._removing[path].wait()

    def _start(self, path: str) -> None:
        root = self._timers.pop(path).root
        if path not in self._removing:
            earlier = [*self._below.get(path, ())]
            over = self._removing[path] = asyncio.Event()
            for folder in _above(path):
                earlier += filter(None, [self._removing.get(folder)])
                self._below.setdefault(folder, set()).add(over)
            self._scope.spawn(self._remove(path, root, earlier), f"gc {path}")

    async def _remove(self, path: str, root: str, earlier: Sequence[asyncio.Event]) -> None:
        """Remove a path when the removals that overlap and began before are over."""
        try:
            for over in earlier:
                await over.wait()
            await stoppable(lambda stop: _remove_tree(path, root, stop))
        except OSError as error:
            self._failed.increment()
            log.warning("Failed to delete '%s': %s", path, error)
        else:
            self._succeeded.increment()
            log.info("Deleted '%s'", path)
            self._removed(path)
        finally:
            over = self._removing.pop(path)
            over.set()
            for folder in _above(path):
                self._below[folder].discard(over)
                if not self._below[folder]:
                    del self._below[folder]


def disk_usage(directory: str) -> float:
    """The used share of a file system; what is reserved for root counts as free."""
    found = os.statvfs(directory)
    return (found.f_blocks - found.f_bfree) / found.f_blocks if found.f_blocks else 0.0


def _above(path: str) -> Iterator[str]:
    """The directories that a path is in."""
    while (folder := os.path.dirname(path)) != path:
        yield (path := folder)


def _max_age_s(delay_s: float, headroom: float, usage: float) -> float:
    return delay_s * max(0.0, 1.0 - headroom - usage)


def _remove_tree(path: str, root: str, stop: Stop) -> None:
    """Remove ``path`` and all below it, never through a link, unless ``stop`` ends it.

    What is mounted there, volumes of a run that an earlier process did not clean up, is unmounted
    first: it is never emptied. Raises OSError if that is refused; nothing is removed then.
    """
    for entry in reversed(mountinfo.read_below(path)):
        log.info("Unmounting '%s', which is about to be removed", entry.target)
        mount.umount(entry.target)
    try:
        opened = Root(root)
    except FileNotFoundError:
        return
    with opened:
        opened.remove(os.path.relpath(path, root), stop)
