# SPDX-License-Identifier: Apache-2.0
"""A detected master, what finds it, and the text form of its address.

Source: spec ``agent-master`` 3.1.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Final, Protocol

from mesos_compat.base.errors import FlagError, MesosCompatError
from mesos_compat.libprocess.address import resolve
from mesos_compat.libprocess.upid import UPID, split_upid

#: Seconds that the reverse lookup of the master's name may take.
_LOOKUP_TIMEOUT_S: Final = 5.0


class DetectionError(MesosCompatError):
    """The leading master can not be found any more: the agent ends."""


@dataclass(frozen=True, slots=True)
class DetectedMaster:
    """The leading master: its address, and its name for links."""

    upid: UPID
    hostname: str
    #: Another one with each start of a master; empty if not known.
    id: str = ""
    #: Its release; empty if not known.
    version: str = ""
    #: Its ``MasterInfo.Capability`` types; ``None`` if not known.
    capabilities: frozenset[int] | None = field(default=None, compare=False)
    #: The name that was given instead of an IP, for the check of its certificate; may be empty.
    name: str = field(default="", compare=False)

    @property
    def pid(self) -> str:
        """The UPID as text."""
        return str(self.upid)


class Detector(Protocol):
    """Finds the leading master."""

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        """Return the leading master (``None``: there is none) once it is not ``previous``.

        With ``None`` the current one is returned at once, if there is one. Endless otherwise.
        Raises MesosCompatError if there is no hope, which ends the agent.
        """


def parse_location(text: str) -> tuple[UPID, str]:
    """Read ``host:port`` or ``id@host:port``: the UPID, and the host if that is a name.

    A name is resolved (blocking). Raises FlagError.
    """
    stripped = text.strip()
    split = split_upid(stripped if "@" in stripped else f"master@{stripped}")
    if split is None or not split[0] or split[2] == 0 or stripped.split() != [stripped]:
        raise FlagError(f"Failed to parse '{stripped}'")
    ident, host, port = split
    try:
        return UPID(ident, resolve(host), port), "" if _literal(host) else host
    except OSError as error:
        raise FlagError(
            f"Failed to parse '{stripped}': cannot resolve '{host}': {error.strerror}"
        ) from error


async def hostname_of(ip: str) -> str:
    """Return the name of an address, or the address if it has none."""
    try:
        async with asyncio.timeout(_LOOKUP_TIMEOUT_S):
            name, _ = await asyncio.get_running_loop().getnameinfo((ip, 0), socket.NI_NAMEREQD)
            return name
    except OSError:  # TimeoutError is one
        return ip


def _literal(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
