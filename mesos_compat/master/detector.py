# SPDX-License-Identifier: Apache-2.0
"""Where the leading master is: from ``--master`` or ``--master_detector`` to a detector.

A standalone master never changes. A file is read again while somebody waits, so that masters can
be moved without restarting agents (Deviation: upstream reads it once).

Source: spec ``agent-master`` 3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from mesos_compat.base.clock import Clock, RealClock
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group, Parameters
from mesos_compat.base.scope import Scope
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master.detected import (
    DetectedMaster,
    DetectionError,
    Detector,
    hostname_of,
    parse_location,
)
from mesos_compat.master.zookeeper import SCHEME, ZooKeeperDetector, ZooKeeperUrl, check_client

log = logging.getLogger(__name__)

GROUP = "mesos_compat.master_detectors"

_FAILED: Final = "Failed to create a master detector: "

#: Seconds between two looks at the file of a ``file://`` master.
FILE_INTERVAL_S: Final = 5.0

_FILE: Final = "file://"


def detect(
    spec: str,
    scope: Scope,
    clock: Clock | None = None,
    zk_session_timeout_s: float = 10.0,
) -> Detector:
    """Make the detector for the text of ``--master``; what it does meanwhile runs in ``scope``.

    Names are resolved now (blocking). Raises FlagError if the text is unusable.
    """
    text = spec.strip()
    makes = _Factory(scope, clock if clock is not None else RealClock(), zk_session_timeout_s)
    if text.startswith(_FILE):
        return FileDetector(text.removeprefix(_FILE), makes)
    return makes.detector(text)


def load_detector(name: str, parameters: Mapping[str, Parameters]) -> Detector:
    """Make the plug-in that ``--master_detector`` names. Raises FlagError."""
    try:
        found: Detector = Group(GROUP).make(
            name, lambda make: make(parameters.get(name, ())), ("next",)
        )
    except FlagError as error:
        raise FlagError(f"{_FAILED}{error}") from error
    return ForeignDetector(name, found)


class ForeignDetector:
    """A foreign detector: whatever it raises or returns is told to operators."""

    def __init__(self, name: str, detector: Detector) -> None:
        self.name = name
        self._detector = detector

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        """Ask the plug-in. Raises DetectionError."""
        try:
            found = await self._detector.next(previous)
        except Exception as error:
            raise DetectionError(f"{self.name}: {str(error) or type(error).__name__}") from error
        if found is not None and not isinstance(found, DetectedMaster):
            raise DetectionError(f"{self.name} returned {type(found).__name__}, no DetectedMaster")
        return found


class StandaloneDetector:
    """One master, for ever."""

    def __init__(self, upid: UPID, name: str = "") -> None:
        self.upid = upid
        self.name = name

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        """Return the master if it is not ``previous``, else wait for ever."""
        if previous is not None and previous.upid == self.upid:
            await asyncio.get_running_loop().create_future()
        return DetectedMaster(self.upid, await hostname_of(self.upid.ip), name=self.name)


class _Factory:
    """Makes detectors out of texts that are no files."""

    def __init__(self, scope: Scope, clock: Clock, zk_session_timeout_s: float) -> None:
        self.scope = scope
        self.clock = clock
        self._timeout_s = zk_session_timeout_s

    def detector(self, text: str) -> Detector:
        """Raises FlagError; blocks while a name is resolved."""
        stripped = text.strip()
        try:
            if stripped.startswith(_FILE):
                raise FlagError(f"'{stripped}' names a file within a file")
            if not stripped.startswith(SCHEME):
                return StandaloneDetector(*parse_location(stripped))
            url = ZooKeeperUrl.parse(stripped)
            check_client()
        except FlagError as error:
            raise FlagError(f"{_FAILED}{error}") from error
        return ZooKeeperDetector(url, self._timeout_s, self.scope, self.clock)


class FileDetector:
    """The master that a file names. An unusable file changes nothing, once it was usable."""

    def __init__(self, path: str, makes: _Factory) -> None:
        self.path = path
        self._makes = makes
        self._content = _read(path)
        self._detector = makes.detector(self._content)
        self._complaint = ""

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        """Return the master that the file leads to once it is not ``previous``."""
        while True:
            await self._look()
            asked = self._makes.scope.spawn(self._detector.next(previous), f"master of {self.path}")
            pause = self._makes.scope.spawn(
                self._makes.clock.sleep(FILE_INTERVAL_S), f"interval of {self.path}"
            )
            try:
                await asyncio.wait((asked, pause), return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                if not asked.done():
                    asked.cancel()
            if asked.done():
                return asked.result()

    async def _look(self) -> None:
        try:
            content = _read(self.path)
            if content != self._content:
                made = await asyncio.to_thread(self._makes.detector, content)
                if isinstance(self._detector, ZooKeeperDetector):
                    self._detector.stop()
                self._detector, self._content = made, content
                log.info("%s leads to another master now", self.path)
            self._complaint = ""
        except FlagError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("Staying with the master of before: %s", error)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(1 << 16)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise FlagError(f"Error reading file '{path}': {why}") from error
