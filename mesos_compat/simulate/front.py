# SPDX-License-Identifier: Apache-2.0
"""Addresses of simulated agents, and who listens there.

To a master an agent is its UPID, to frameworks it is often its address: each agent gets one of its
own. Below 127.0.0.0/8 that is an IP of that network each, all on one port and one listening
socket, which takes nothing from other hosts; on any other IP it is a port and a socket each.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from mesos_compat.base.errors import FlagError
from mesos_compat.libprocess.address import Bound, ListenOptions, bind
from mesos_compat.libprocess.upid import Address

#: The network of the agents on this host; clear of the addresses that other programs use.
DEFAULT_IP: Final = "127.64.0.1"
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")
_ANY: Final = "0.0.0.0"

#: Takes a connection to one agent.
Accept = Callable[[asyncio.Transport], None]


@dataclass(frozen=True, slots=True)
class Front:
    """Listening sockets, and the address of each agent."""

    sockets: tuple[socket.socket, ...]
    bounds: tuple[Bound, ...]
    #: Whether agents have IPs of their own.
    own_ips: bool

    @classmethod
    def bind(cls, count: int, ip: str = DEFAULT_IP, port: int = 0) -> Front:
        """Listen for ``count`` agents from ``ip`` (if that is a loopback address) or ``port`` on; 0
        means any free ones. Raises FlagError.
        """
        try:
            first = ipaddress.IPv4Address(ip)
        except ValueError:
            raise FlagError(f"'{ip}' is no IPv4 address") from None
        return _on_loopback(count, first, port) if first in _LOOPBACK else _on_ip(count, ip, port)

    async def serve(self, accept: Sequence[Accept]) -> list[asyncio.Server]:
        """Hand connections over, each to whom it was made to: ``accept`` in the order of
        ``bounds``.
        """
        table = {bound.address: take for bound, take in zip(self.bounds, accept, strict=True)}
        loop = asyncio.get_running_loop()
        return [
            await loop.create_server(lambda: _Arrival(table), sock=each) for each in self.sockets
        ]

    def close(self) -> None:
        """Close the sockets."""
        for each in self.sockets:
            each.close()


def _on_loopback(count: int, first: ipaddress.IPv4Address, port: int) -> Front:
    try:
        last = first + (count - 1)
    except ipaddress.AddressValueError:
        last = first
    if last not in _LOOPBACK or last == _LOOPBACK.broadcast_address:
        raise FlagError(f"There are no {count} addresses from {first} on in {_LOOPBACK}")
    made = bind(ListenOptions(ip=_ANY, port=port, advertise_ip=str(first)))
    # Connections from outside end here; _Arrival looks again.
    made.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    bounds = tuple(
        Bound(made.socket, Address(str(first + number), made.address.port))
        for number in range(count)
    )
    return Front((made.socket,), bounds, own_ips=True)


def _on_ip(count: int, ip: str, port: int) -> Front:
    bounds: list[Bound] = []
    try:
        for number in range(count):
            bounds.append(bind(ListenOptions(ip=ip, port=port + number if port else 0)))
    except FlagError:
        for bound in bounds:
            bound.socket.close()
        raise
    return Front(tuple(bound.socket for bound in bounds), tuple(bounds), own_ips=False)


class _Arrival(asyncio.Protocol):
    """A connection until it is known whose it is."""

    def __init__(self, table: dict[Address, Accept]) -> None:
        self._table = table

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        take = self._table.get(Address(*made.get_extra_info("sockname")[:2]))
        if take is None:
            made.abort()
        else:
            take(made)
