# SPDX-License-Identifier: Apache-2.0
"""Addresses of libprocess actors. Pure.

Source: spec ``agent-master`` 2.1.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

#: Characters of a text whose meaning is kept.
_MAX_REMEMBERED = 256
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Address(NamedTuple):
    """An IPv4 literal and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class UPID:
    """An actor: its id within a program, and where that program listens.

    Equality is that of id, IP and port. False if empty.
    """

    id: str
    ip: str
    port: int

    @classmethod
    def parse(cls, text: str) -> UPID:
        """Read ``id@ip:port``; anything else, host names included, gives the empty UPID."""
        # The same few are read again and again; a long one is somebody's mischief.
        return _parse(text) if len(text) > _MAX_REMEMBERED else _remembered(text)

    @property
    def address(self) -> Address:
        """Where the actor's program listens."""
        return Address(self.ip, self.port)

    def __bool__(self) -> bool:
        return self != EMPTY

    def __str__(self) -> str:
        return f"{self.id}@{self.ip}:{self.port}"


def _parse(text: str) -> UPID:
    split = split_upid(text)
    if split is None:
        return EMPTY
    ident, host, port = split
    try:
        return UPID(ident, str(ipaddress.IPv4Address(host)), port)
    except ValueError:
        return EMPTY


_remembered = functools.lru_cache(maxsize=1024)(_parse)

#: What unparseable text means; masters print it for frameworks that use HTTP.
EMPTY = UPID("", "0.0.0.0", 0)


def split_upid(text: str) -> tuple[str, str, int] | None:
    """Split ``id@host:port``, whose host may be a name, into its parts; ``None`` if it is none.

    Leading white space is skipped, and the text ends at white space.
    """
    words = text.split(None, 1)
    if not words:
        return None
    ident, at, rest = words[0].partition("@")
    host, colon, port = rest.partition(":")
    if not at or not colon or not host or not _PORT.fullmatch(port) or int(port) > 0xFFFF:
        return None
    return None if _CONTROL.search(ident) else (ident, host, int(port))
