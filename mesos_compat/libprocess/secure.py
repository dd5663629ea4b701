# SPDX-License-Identifier: Apache-2.0
"""TLS on libprocess connections: greeting those that come in, making those that go out.

A connection that comes in is looked at before anything is read from it: what begins like a TLS
handshake gets one, anything else is served in plain where downgrade is allowed, and closed where it
is not. No byte reaches the protocol above before the peer's certificate was checked.

Source: spec ``agent-master`` 2.8.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from mesos_compat.base.errors import WireError
from mesos_compat.base.log import Complaints
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls

log = logging.getLogger(__name__)

#: Seconds that a handshake may take.
HANDSHAKE_S: Final = 15.0
#: Seconds that the reverse lookup of a peer's name may take.
_LOOKUP_S: Final = 5.0
#: Bytes that tell TLS from anything else.
_GREETING_BYTES: Final = 6


def begins_tls(data: bytes) -> bool:
    """Whether the first bytes of a connection, one to six, are those of a TLS handshake."""
    if data[0] & 0x80:
        return data[2:3] in (b"", b"\x01")
    return data[0] == 0x16 and data[1:2] in (b"", b"\x03") and data[5:6] in (b"", b"\x01")


class Host(Protocol):
    """The server that connections are for."""

    complaints: Complaints

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count a connection; ``False`` if there is no place for it."""

    def lost(self, transport: asyncio.Transport) -> None:
        """Count it no longer."""

    def adopt(self, transport: asyncio.Transport, data: bytes = b"") -> None:
        """Serve a connection from which ``data`` was read."""


class Door:
    """Greets what comes in; ``greeter`` is a factory of protocols."""

    def __init__(self, tls: Tls, host: Host) -> None:
        self.tls = tls
        self.host = host
        self.scope = Scope("TLS handshakes")

    def greeter(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        return _Greeter(self)

    async def close(self) -> None:
        """End handshakes that are going on."""
        await self.scope.close()


class _Greeter(asyncio.Protocol):
    """Waits for the first bytes without reading them."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._peek: socket.socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._door.host.admit(self._transport):
            self._transport.abort()
            return
        self._transport.pause_reading()
        # A descriptor of its own: that of the transport may not be watched by others.
        self._peek = socket.fromfd(
            transport.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM
        )
        self._peek.setblocking(False)
        asyncio.get_running_loop().add_reader(self._peek.fileno(), self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget()
        if self._transport is not None:
            self._door.host.lost(self._transport)

    def _forget(self) -> None:
        if self._peek is not None:
            asyncio.get_running_loop().remove_reader(self._peek.fileno())
            self._peek.close()
            self._peek = None

    def _look(self) -> None:
        transport = self._transport
        assert transport is not None
        assert self._peek is not None
        try:
            data = self._peek.recv(_GREETING_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._forget()
        door = self._door
        if not data:
            transport.abort()
        elif begins_tls(data):
            door.scope.spawn(self._shake(transport), f"TLS with {_ip(transport)}")
        elif door.tls.options.support_downgrade:
            door.host.lost(transport)
            door.host.adopt(transport)
            transport.resume_reading()
        else:
            door.host.complaints.warn("Closing the connection of %s: it is no TLS", _ip(transport))
            transport.abort()

    async def _shake(self, transport: asyncio.Transport) -> None:
        door, ip = self._door, _ip(transport)
        held = Held()
        made: asyncio.Transport | None = None
        try:
            made = await asyncio.get_running_loop().start_tls(
                transport,
                held,
                door.tls.server,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
            if made is None:
                raise ConnectionAbortedError("it is closed")
            made.pause_reading()
            if door.tls.options.require_client_cert:
                await _check(door.tls, made, ip, door.tls.looks_up_clients)
            # As late as that, so that it counts while it shakes hands.
            door.host.lost(transport)
            held.release(made, lambda data: door.host.adopt(made, data))
        except (OSError, WireError) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            door.host.complaints.warn("Closing the connection of %s: TLS: %s", ip, reason)
            transport.abort()
            door.host.lost(transport)
        except BaseException:
            transport.abort()
            door.host.lost(transport)
            raise


class Held(asyncio.Protocol):
    """Keeps what comes until the peer was checked."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lost = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._data += data

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remember that there is nothing to release."""
        self._lost = True

    def release(self, transport: asyncio.Transport, take: Callable[[bytes], None]) -> None:
        """Let ``take`` set the protocol of ``transport`` and have what came. Raises OSError."""
        if self._lost or transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        take(bytes(self._data))
        if not transport.is_closing():
            transport.resume_reading()


async def connect(
    tls: Tls, ip: str, port: int, name: str, source: tuple[str, int] | None
) -> tuple[asyncio.Transport, Held]:
    """Connect and shake hands. Raises OSError, and WireError for the wrong peer.

    ``name`` is what was dialled, empty if that was the IP.
    """
    server_name = tls.server_name(ip, name)
    made, held = await asyncio.get_running_loop().create_connection(
        Held,
        ip,
        port,
        ssl=tls.client,
        family=socket.AF_INET,
        server_hostname=server_name,
        local_addr=source,
        ssl_handshake_timeout=HANDSHAKE_S,
    )
    made.pause_reading()
    try:
        if tls.options.verify_server_cert:
            await _check(tls, made, ip, tls.looks_up_servers)
    except BaseException:
        made.abort()
        raise
    return made, held


async def _check(tls: Tls, transport: asyncio.Transport, ip: str, look_up: bool) -> None:
    """Raises WireError."""
    connection = transport.get_extra_info("ssl_object")
    if look_up:
        tls.check(connection, ip, await name_of(ip))
    else:
        tls.check_depth(connection)


async def name_of(ip: str) -> str | None:
    """Return what reverse DNS calls an address; ``None`` if it has no name."""
    try:
        async with asyncio.timeout(_LOOKUP_S):
            name, _ = await asyncio.get_running_loop().getnameinfo((ip, 0), socket.NI_NAMEREQD)
            return name
    except OSError:  # TimeoutError is one
        return None


def _ip(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "a peer"
