# SPDX-License-Identifier: Apache-2.0
"""Outgoing messages: one ordered connection per remote address, and word of its end.

Data flows one way: what peers send back (the 202 of each message) is read and thrown away, and
delivery is fire-and-forget. A connection that was linked stays open while idle; its end, or the
failure to make it, is one exited event per linked UPID. Other connections close when all was
written. There is a limit of those, and of what waits for them, since anybody can make us answer to
any address: the oldest, or the slowest, has to go.

What a process had not sent yet when it was killed is never sent: its connections are reset
(Deviation: upstream leaves that to the kernel, and a registration that waited for a network to be
whole again then undoes that of the next process).

With TLS every connection begins with a handshake. Where downgrade is allowed one that fails is
followed by a plain connection (Deviation: not if the certificate is wrong).

Source: spec ``agent-master`` 2.3, 2.5, 2.6 and 2.8.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import resource
import socket
import ssl
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from mesos_compat.base.budget import Budget
from mesos_compat.base.errors import WireError
from mesos_compat.base.log import Complaints
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess import secure, wire
from mesos_compat.libprocess.server import Inbox
from mesos_compat.libprocess.upid import UPID, Address

log = logging.getLogger(__name__)

#: Seconds that a peer gets to close a temporary connection after our last byte.
_LINGER_S: Final = 10.0
#: Seconds between two looks whether all has arrived that was sent.
_DRAIN_POLL_S: Final = 0.01
#: Values of SO_LINGER: a close drops what was not sent, or leaves it to the kernel.
_RESET: Final = struct.pack("ii", 1, 0)
_GRACEFUL: Final = struct.pack("ii", 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Bounds of what waits for one remote address, and of making a connection.

    A message that finds more than ``queue_bytes`` waiting is dropped with a warning, as lost
    messages are anyway repeated by the protocols above.
    """

    queue_bytes: int = 256 * 1024 * 1024
    connect_timeout_s: float = 30.0
    #: Connections that nobody linked, at the same time.
    connections: int = field(default_factory=lambda: _connection_limit())
    #: All that waits for them.
    spare_bytes: int = 2 * wire.MAX_BODY_BYTES


def _connection_limit() -> int:
    """Leave most of the file descriptors for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if soft == resource.RLIM_INFINITY else min(4096, soft // 8)


class Links:
    """All outgoing connections of this program.

    ``deliver`` takes messages to our own address, ``exited`` gets each linked UPID whose
    connection ended. Both are called from the event loop, never from within ``send`` or ``link``.
    Connecting happens in tasks of ``scope``.
    """

    def __init__(
        self,
        scope: Scope,
        own: Address,
        deliver: Inbox,
        exited: Callable[[UPID], None],
        *,
        host_header: bool = True,
        source_ip: str | None = None,
        tls: Tls | None = None,
        limits: LinkLimits | None = None,
    ) -> None:
        self.own = own
        self.limits = limits if limits is not None else LinkLimits()
        self.source_ip = source_ip
        self.tls = tls
        #: Names that addresses were given by, for the check of certificates.
        self.names: dict[Address, str] = {}
        self._scope = scope
        self._deliver = deliver
        self._exited = exited
        self._host_header = host_header
        self._connections: dict[Address, _Outgoing] = {}
        self._closing: set[_Outgoing] = set()
        #: Those that nobody linked, oldest first.
        self._spare: dict[_Outgoing, None] = {}
        #: What waits for those.
        self.waiting = Budget(self.limits.spare_bytes)
        self._complaints = Complaints(log)
        self._closed = False
        #: While set, nothing is sent and no connection is made: a network that is broken.
        self.cut = False

    def send(self, sender: UPID, target: UPID, name: str, body: bytes) -> None:
        """Queue one message; never blocks, never fails.

        Messages to the same address arrive in the order of the calls as long as one connection
        lives. The empty UPID and messages after ``close`` are dropped.
        """
        if self._closed or self.cut or not target or target.port == 0:
            log.debug("Dropping %s to %s: nobody is there", name, target)
            return
        if target.address == self.own:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._deliver, sender, target.id, name, body)
            return
        data = wire.encode(sender, target, name, body, host_header=self._host_header)
        self._connection(target.address).send(data, name)

    def link(self, target: UPID) -> None:
        """Keep a connection to the address of ``target`` open, and tell when it ends.

        No effect if ``target`` is already linked, empty, or one of our own processes.
        """
        if self._closed or self.cut or not target or target.port == 0 or target.address == self.own:
            return
        connection = self._connection(target.address)
        connection.linked.add(target)
        connection.held.resize(0)
        self._spare.pop(connection, None)

    def linked(self, target: UPID) -> bool:
        """Whether ``target`` is linked and its connection has not ended."""
        connection = self._connections.get(target.address)
        return connection is not None and target in connection.linked

    def abort_connections(self) -> None:
        """Close all connections at once, as if the network had."""
        for connection in [*self._connections.values(), *self._closing]:
            connection.abort()

    async def close(self, grace_s: float = 1.0) -> None:
        """Give what is queued ``grace_s`` seconds to arrive, then close all connections.

        No exited events are made any more.
        """
        self._closed = True
        outgoing = [*self._connections.values(), *self._closing]
        for connection in outgoing:
            connection.finish()
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.gather(*(connection.leave() for connection in outgoing))
        except TimeoutError:
            for connection in outgoing:
                connection.abort()

    def _connection(self, address: Address) -> _Outgoing:
        connection = self._connections.get(address)
        if connection is None:
            if len(self._spare) >= self.limits.connections:
                self.give_up(next(iter(self._spare)), "Too many connections")
            connection = _Outgoing(self, address)
            self._connections[address] = connection
            self._spare[connection] = None
            connection.task = self._scope.spawn(connection.connect(), f"connect {address}")
        return connection

    def give_up(self, connection: _Outgoing, why: str) -> None:
        """Close a connection that nobody linked, whatever it carries."""
        self._complaints.warn("%s: giving up that to %s", why, connection.address)
        self.retire(connection)
        self._spare.pop(connection, None)
        connection.abort()

    def retire(self, connection: _Outgoing) -> None:
        """Use no connection any more that is being closed on our side."""
        if self._connections.get(connection.address) is connection:
            del self._connections[connection.address]
            self._closing.add(connection)

    def ended(self, connection: _Outgoing) -> None:
        """Forget a connection and report its end to those who linked it."""
        if self._connections.get(connection.address) is connection:
            del self._connections[connection.address]
        self._closing.discard(connection)
        self._spare.pop(connection, None)
        if not self._closed:
            for upid in connection.linked:
                asyncio.get_running_loop().call_soon(self._exited, upid)


class _Outgoing(asyncio.Protocol):
    """One connection: waits for it, writes in order, throws away what comes back."""

    def __init__(self, links: Links, address: Address) -> None:
        self.address = address
        #: UPIDs whose exited events depend on this connection; none: temporary.
        self.linked: set[UPID] = set()
        self.lost = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        #: What waits, as long as nobody linked the connection.
        self.held = links.waiting.open(self._too_slow)
        self._links = links
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._flush_due = False
        self._finishing = False
        self._dropped = 0
        self._linger: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """Make the connection; the outcome is told by ``connection_made`` or the end."""
        tls = self._links.tls
        try:
            try:
                await self._connect(tls)
            except OSError as error:
                if tls is None or not tls.options.support_downgrade or _distrusted(error):
                    raise
                log.info("No TLS with %s (%s), going on in plain", self.address, _reason(error))
                await self._connect(None)
        except (OSError, WireError) as error:
            log.warning(
                "Failed to connect to %s, dropping %d message(s): %s",
                self.address,
                len(self._queue),
                _reason(error),
            )
        finally:
            if self._transport is None:
                self._end()

    async def _connect(self, tls: Tls | None) -> None:
        """Raises OSError, of which TimeoutError is one, and WireError for the wrong peer."""
        links, address = self._links, self.address
        source = None if links.source_ip is None else (links.source_ip, 0)
        async with asyncio.timeout(links.limits.connect_timeout_s):
            if tls is None:
                await asyncio.get_running_loop().create_connection(
                    lambda: self,
                    address.ip,
                    address.port,
                    family=socket.AF_INET,
                    local_addr=source,
                )
                return
            name = links.names.get(address, "")
            transport, held = await secure.connect(tls, address.ip, address.port, name, source)
        held.release(transport, lambda _: self._begin(transport))

    def _begin(self, transport: asyncio.Transport) -> None:
        transport.set_protocol(self)
        self.connection_made(transport)

    def send(self, data: bytes, name: str) -> None:
        """Write or queue a message, or drop it if too much waits."""
        waiting = self._queued_bytes
        if self._transport is not None:
            waiting += self._transport.get_write_buffer_size()
        if waiting and waiting + len(data) > self._links.limits.queue_bytes:
            self._dropped += 1
            if self._dropped == 1:
                log.warning(
                    "Dropping %s to %s: %d bytes wait to be sent", name, self.address, waiting
                )
            return
        if not self.linked and not self.held.resize(waiting + len(data)):
            self._too_slow()
            return
        if self._dropped:
            log.warning("Sending to %s again, %d message(s) dropped", self.address, self._dropped)
            self._dropped = 0
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._transport is not None and not self._flush_due:
            # One system call for all that is sent in this turn of the event loop.
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def finish(self) -> None:
        """Take no more."""
        self._finishing = True
        if self._transport is not None:
            self._flush()

    async def leave(self) -> None:
        """Close when all has arrived; returns when that is done."""
        # The kernel tells nobody.
        while not (self.lost.is_set() or self._arrived()):  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)
        if self._transport is not None:
            self._linger_on_close(_GRACEFUL)
            self._transport.close()
        await self.lost.wait()

    def _arrived(self) -> bool:
        """Whether the peer's kernel has all that was sent."""
        transport = self._transport
        if transport is None or self._queue or transport.get_write_buffer_size():
            return False
        sock = transport.get_extra_info("socket")
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(waiting, sys.byteorder) == 0

    def _linger_on_close(self, how: bytes) -> None:
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        elif self.task is not None:
            self.task.cancel()
            # which a task that has not begun does not notice
            self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.lost.is_set():
            self._transport.abort()
            return
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._linger_on_close(_RESET)
        # resume_writing shall mean: all is written
        self._transport.set_write_buffer_limits(high=0)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Throw away the answers."""

    def resume_writing(self) -> None:
        self._written()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.linked and not self._finishing:
            log.info("The connection to %s ended%s", self.address, f": {exc}" if exc else "")
        self._end()

    def _flush(self) -> None:
        """Write what waits; a temporary connection that has written all ends."""
        self._flush_due = False
        if self._transport is None:
            return
        if self._queue:
            self._transport.write(b"".join(self._queue))
            self._queue.clear()
            self._queued_bytes = 0
        if self._transport.get_write_buffer_size() == 0:
            self._written()

    def _written(self) -> None:
        """End a temporary connection once all was written.

        Our side only: closing while the peer's answers are on their way would reset the
        connection, maybe before the peer has read everything.
        """
        if self.linked or self._finishing or self._transport is None or self._queue:
            return
        self.held.resize(0)
        self._finishing = True
        self._linger_on_close(_GRACEFUL)
        self._links.retire(self)
        if self._transport.can_write_eof():  # not with TLS
            self._transport.write_eof()
        self._linger = asyncio.get_running_loop().call_later(_LINGER_S, self.abort)

    def _too_slow(self) -> None:
        self._links.give_up(self, "Too much waits for connections")

    def _end(self) -> None:
        if not self.lost.is_set():
            self.held.resize(0)
            self._transport = None
            if self._linger is not None:
                self._linger.cancel()
            self._queue.clear()
            self._queued_bytes = 0
            self.lost.set()
            self._links.ended(self)


def _distrusted(error: OSError) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or error.reason or error)
    if isinstance(error, TimeoutError):
        return "timed out"
    told = error.strerror if isinstance(error, OSError) else ""
    return told or str(error) or type(error).__name__
