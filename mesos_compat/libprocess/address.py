# SPDX-License-Identifier: Apache-2.0
"""Where to listen, and which address goes into the UPIDs that we emit.

Source: spec ``agent-master`` 2.2.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mesos_compat.base.errors import FlagError
from mesos_compat.libprocess.upid import Address

_ANY: Final = "0.0.0.0"
_TRUE: Final = ("true", "1")

#: Connections that wait to be accepted; the kernel caps it.
_BACKLOG: Final = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """What to bind and what to advertise. Port 0 means any free one."""

    ip: str = _ANY
    port: int = 0
    advertise_ip: str | None = None
    advertise_port: int | None = None
    #: Refuse messages whose stated sender has another IP than the connection's peer.
    require_peer_address_ip_match: bool = False

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        *,
        ip: str | None = None,
        port: int | None = None,
        advertise_ip: str | None = None,
        advertise_port: str | None = None,
    ) -> ListenOptions:
        """Combine flags with the ``LIBPROCESS_*`` variables that they override.

        Raises FlagError, naming the variable, for an unusable value.
        """
        return cls(
            ip=_ipv4("LIBPROCESS_IP", ip or environ.get("LIBPROCESS_IP")) or _ANY,
            port=(
                port
                if port is not None
                else _port("LIBPROCESS_PORT", environ.get("LIBPROCESS_PORT"), 0) or 0
            ),
            advertise_ip=_ipv4(
                "LIBPROCESS_ADVERTISE_IP", advertise_ip or environ.get("LIBPROCESS_ADVERTISE_IP")
            ),
            advertise_port=_port(
                "LIBPROCESS_ADVERTISE_PORT",
                advertise_port or environ.get("LIBPROCESS_ADVERTISE_PORT"),
                1,
            ),
            require_peer_address_ip_match=(
                environ.get("LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH", "false") in _TRUE
            ),
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and the address that peers shall use for it."""

    socket: socket.socket
    address: Address
    require_peer_address_ip_match: bool = False


def bind(options: ListenOptions) -> Bound:
    """Bind and listen. The socket becomes the caller's.

    Raises FlagError if the address cannot be bound or our own cannot be determined.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.ip, options.port))
        listening.listen(_BACKLOG)
        ip, port = listening.getsockname()
        ip = options.advertise_ip or ip
        if ip == _ANY:
            ip = own_ip()
    except OSError as error:
        listening.close()
        where = f"{options.ip}:{options.port}"
        raise FlagError(f"Failed to listen on {where}: {error.strerror}") from error
    except FlagError:
        listening.close()
        raise
    address = Address(ip, options.advertise_port or port)
    return Bound(listening, address, options.require_peer_address_ip_match)


def own_ip() -> str:
    """Return the first IPv4 address of this host's name. Raises FlagError if it has none."""
    name = socket.gethostname()
    try:
        return resolve(name)
    except OSError as error:
        raise FlagError(
            f"Failed to obtain the IP address for '{name}'; the DNS service may not be able to "
            f"resolve it: {error.strerror}. Give the address with --ip or --advertise_ip."
        ) from error


def resolve(host: str) -> str:
    """Return the first IPv4 address of ``host``, which may be a literal. Raises OSError."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(None, f"'{host}' is no host name") from error
    return str(found[0][4][0])


def _ipv4(name: str, value: str | None) -> str | None:
    if not value:
        return None
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError as error:
        raise FlagError(f"Failed to parse {name}='{value}': it is no IPv4 address") from error


def _port(name: str, value: str | None, low: int) -> int | None:
    if not value:
        return None
    if not (value.isascii() and value.isdigit()) or not low <= int(value[:9]) <= 0xFFFF:
        raise FlagError(f"{name}={value} is not a valid port")
    return int(value)
