# SPDX-License-Identifier: Apache-2.0
"""Where the leading master is.

``detect`` reads ``--master`` and makes a detector. A standalone master never changes. A file is
read again while somebody waits, so that a master can be moved without restarting agents
(Deviation: upstream reads it once).

Source: spec ``agent-master`` 3.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import Final, Protocol

from mesos_compat.base.clock import Clock, RealClock
from mesos_compat.base.errors import FlagError
from mesos_compat.libprocess.address import resolve
from mesos_compat.libprocess.upid import UPID, split_upid

log = logging.getLogger(__name__)

#: Seconds between two looks at the file of a ``file://`` master.
FILE_INTERVAL_S: Final = 5.0

#: Seconds that the reverse lookup of the master's name may take.
_LOOKUP_TIMEOUT_S: Final = 5.0

_FILE: Final = "file://"


@dataclass(frozen=True, slots=True)
class DetectedMaster:
    """The leading master: its address, and its name for links."""

    upid: UPID
    hostname: str

    @property
    def pid(self) -> str:
        """The UPID as text."""
        return str(self.upid)


class Detector(Protocol):
    """Finds the leading master."""

    async def next(self, previous: UPID | None) -> DetectedMaster | None:
        """Return the leading master (``None``: there is none) once it is not ``previous``.

        With ``None`` the current one is returned at once, if there is one. Endless otherwise.
        """


def detect(spec: str, clock: Clock | None = None) -> Detector:
    """Make the detector for the text of ``--master``.

    Names are resolved now (blocking). Raises FlagError if the text is unusable.
    """
    text = spec.strip()
    if text.startswith(_FILE):
        return FileDetector(text.removeprefix(_FILE), clock if clock is not None else RealClock())
    return StandaloneDetector(parse_master(text))


class StandaloneDetector:
    """One master, for ever."""

    def __init__(self, upid: UPID) -> None:
        self.upid = upid

    async def next(self, previous: UPID | None) -> DetectedMaster | None:
        """Return the master if it is not ``previous``, else wait for ever."""
        if previous == self.upid:
            await asyncio.get_running_loop().create_future()
        return DetectedMaster(self.upid, await _hostname(self.upid.ip))


class FileDetector:
    """The master that a file names. An unusable file changes nothing, once it was usable."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._content = _read(path)
        self._upid = parse_master(self._content)
        self._complaint = ""

    async def next(self, previous: UPID | None) -> DetectedMaster | None:
        """Return the master that the file names once it is not ``previous``."""
        while True:
            await self._look()
            if self._upid != previous:
                return DetectedMaster(self._upid, await _hostname(self._upid.ip))
            await self._clock.sleep(FILE_INTERVAL_S)

    async def _look(self) -> None:
        try:
            content = _read(self.path)
            if content != self._content:
                upid = await asyncio.to_thread(parse_master, content)
                log.info("%s names %s now", self.path, upid)
                self._content, self._upid = content, upid
            self._complaint = ""
        except FlagError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("Staying with %s: %s", self._upid, error)


def parse_master(text: str) -> UPID:
    """Read ``host:port`` or ``master@host:port``, resolving a name. Raises FlagError."""
    stripped = text.strip()
    failed = "Failed to create a master detector: "
    if stripped.startswith("zk://"):
        raise FlagError(f"{failed}masters in ZooKeeper (zk://) are not implemented yet")
    if stripped.startswith(_FILE):
        raise FlagError(f"{failed}'{stripped}' names a file within a file")
    split = split_upid(stripped if "@" in stripped else f"master@{stripped}")
    if split is None or not split[0] or split[2] == 0 or stripped.split() != [stripped]:
        raise FlagError(f"{failed}Failed to parse '{stripped}'")
    ident, host, port = split
    try:
        return UPID(ident, resolve(host), port)
    except OSError as error:
        raise FlagError(
            f"{failed}Failed to parse '{stripped}': cannot resolve '{host}': {error.strerror}"
        ) from error


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(1 << 16)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise FlagError(f"Error reading file '{path}': {why}") from error


async def _hostname(ip: str) -> str:
    """Return the name of an address, or the address if it has none."""
    try:
        async with asyncio.timeout(_LOOKUP_TIMEOUT_S):
            name, _ = await asyncio.get_running_loop().getnameinfo((ip, 0), socket.NI_NAMEREQD)
            return name
    except OSError:  # TimeoutError is one
        return ip
