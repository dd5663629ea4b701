# SPDX-License-Identifier: Apache-2.0
"""Which master mesos-execute speaks to.

A detector finds it. A master that does not lead names the one that does, which is believed until it
fails or the detector knows better. While nobody knows of a master the subscription with the last
one goes on: to end it would be the end of the tasks.

Source: spec ``state-and-recovery`` 2.5, ``agent-master`` 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mesos_compat.base.errors import FlagError, MesosCompatError
from mesos_compat.base.scope import Scope
from mesos_compat.cli.connect import peer_of
from mesos_compat.libprocess.http_client import HttpPeer
from mesos_compat.master.detected import DetectedMaster, Detector


class LeadingMaster:
    """Follows a detector in ``scope``; calls ``changed`` when it finds another master."""

    def __init__(self, detector: Detector, scope: Scope, changed: Callable[[], None]) -> None:
        self._detector = detector
        self._changed = changed
        self._news = asyncio.Event()
        self._found: DetectedMaster | None = None
        self._named: HttpPeer | None = None
        self._error: MesosCompatError | None = None
        scope.spawn(self._follow(), "detect master")

    async def find(self) -> HttpPeer:
        """Return the leading master once there is one.

        Raises MesosCompatError if it cannot be found any more.
        """
        while self._found is None and self._error is None:
            self._news.clear()
            await self._news.wait()
        if self._error is not None:
            raise self._error
        assert self._found is not None
        if self._named is not None:
            return self._named
        return HttpPeer(self._found.upid.ip, self._found.upid.port, self._found.name)

    async def redirect(self, location: str) -> bool:
        """Believe a master that ``location`` (``host:port``) leads.

        ``False`` if that is of no use, or if another one was believed already.
        """
        found = self._found
        try:
            named = await asyncio.to_thread(peer_of, location)
        except FlagError:
            return False
        if self._named is not None or found is not self._found:
            self._named = None
            return False
        self._named = named
        return True

    def failed(self) -> None:
        """Believe only the detector."""
        self._named = None

    async def _follow(self) -> None:
        last: DetectedMaster | None = None
        while True:
            try:
                self._found = await self._detector.next(self._found)
            except MesosCompatError as error:
                self._error = error
                self._news.set()
                return
            self._named = None
            self._news.set()
            if self._found is not None and self._found != last:
                last = self._found
                self._changed()
