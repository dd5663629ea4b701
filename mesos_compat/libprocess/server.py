# SPDX-License-Identifier: Apache-2.0
"""The listening socket: libprocess messages go to the inbox, other requests to a handler.

A connection begins with our own reader, which takes messages and answers them in order and byte
for byte like upstream. At the first request that is no message the connection is handed to
aiohttp, from that request's first byte on; a message that comes later on such a connection is
recognised there, too. No connection is ever closed for being idle: the master takes a closed
connection for a lost agent.

Memory is bounded: a head, a body, and the bytes of all messages, and of all other bodies, that are
under way each have a limit; who exceeds one is answered if possible and disconnected. So is the
number of connections: a new one takes the place of one that never sent a whole request, or else of
the one that was not used for longest, so that idle ones can not lock the master out.

Source: spec ``agent-master`` 2.4 to 2.6 and pitfalls 2, 3, 6, 8 to 10.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from mesos_compat.base.budget import Budget
from mesos_compat.base.errors import InvariantError, WireError
from mesos_compat.base.log import Complaints
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess import wire
from mesos_compat.libprocess.address import Bound
from mesos_compat.libprocess.secure import Door
from mesos_compat.libprocess.slots import ConnectionSlots
from mesos_compat.libprocess.upid import UPID, Address

log = logging.getLogger(__name__)
#: What aiohttp has to say, which is a stack trace for each malformed request.
http_log = logging.getLogger(f"{__name__}.http")

#: Takes a message (sender, target id, name, body); says whether that process exists here.
Inbox = Callable[[UPID, str, str, bytes], bool]

#: One process: takes a message (sender, target id, name, body).
Process = Callable[[UPID, str, str, bytes], None]

#: Answers every request that is no message; cancelled when its client disconnects.
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: Seconds after which aiohttp closes an idle connection: never, in practice.
_NEVER_S: Final = 10 * 365 * 24 * 3600.0

#: What aiohttp raises for requests that are none.
_PEER_FAULTS: Final = (
    HttpProcessingError,
    PayloadEncodingError,
    web.RequestPayloadError,
    ConnectionError,
)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def dispatch(processes: Mapping[str, Process]) -> Inbox:
    """Make an inbox out of processes by id; the mapping may change while it is in use."""

    def deliver(sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        process = processes.get(target_id)
        if process is None:
            return False
        process(sender, target_id, name, body)
        return True

    return deliver


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds on what peers can make us keep in memory."""

    body_bytes: int = wire.MAX_BODY_BYTES
    #: All messages that are being received at the same time.
    inflight_bytes: int = 2 * wire.MAX_BODY_BYTES
    #: The body of a request that is no message.
    http_body_bytes: int = wire.MAX_BODY_BYTES
    #: All such bodies that are being received at the same time.
    http_inflight_bytes: int = 2 * wire.MAX_BODY_BYTES
    head_bytes: int = wire.MAX_HEAD_BYTES
    #: Connections at the same time; further ones take the place of those of least use.
    connections: int = field(default_factory=lambda: _connection_limit())


def _connection_limit() -> int:
    """Leave a quarter of the file descriptors for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft * 3 // 4


class Server:
    """Serve a bound socket from ``start`` to ``close``."""

    def __init__(
        self,
        bound: Bound,
        inbox: Inbox,
        handler: Handler,
        limits: ServerLimits | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.limits = limits if limits is not None else ServerLimits()
        self._bound = bound
        self._inbox = inbox
        self._handler = handler
        #: One for each socket.
        self._listening: list[asyncio.Server] = []
        self._http: _HttpServer | None = None
        self._unix_http: _HttpServer | None = None
        self._connections: set[_Connection] = set()
        self._slots = ConnectionSlots()
        #: Bytes of messages, and of other bodies, that are being received.
        self.messages = Budget(self.limits.inflight_bytes)
        self.bodies = Budget(self.limits.http_inflight_bytes)
        #: Lines about peers that misbehave.
        self.complaints = Complaints(log)
        self._filter = _PeerFaults(self.complaints)
        self._door = Door(tls, self) if tls is not None else None

    @property
    def address(self) -> Address:
        """Our own address, as it stands in UPIDs."""
        return self._bound.address

    async def start(self) -> None:
        """Accept connections from now on."""
        self.open()
        listening = await asyncio.get_running_loop().create_server(
            self._protocol, sock=self._bound.socket
        )
        self._listening.append(listening)

    async def start_unix(self, sock: socket.socket, handler: Handler) -> None:
        """Answer requests on a Unix socket, too, which is ours from now on.

        There are no messages there: their senders could not be told from each other.
        """
        http = self._unix_http = self._make_http(handler)
        http.admit = self.admit
        listening = await asyncio.get_running_loop().create_unix_server(http, sock=sock)
        self._listening.append(listening)

    def open(self) -> None:
        """Serve those connections that are given to ``greet``; the socket stays the caller's."""
        http_log.addFilter(self._filter)
        self._http = self._make_http(self._answer)

    def _make_http(self, answer: Handler) -> _HttpServer:
        limits = self.limits
        return _HttpServer(
            self._slots,
            functools.partial(self._serve, answer),
            request_factory=self._make_request,
            # who waits for a container, or attached to one, must not do so for nobody
            handler_cancellation=True,
            keepalive_timeout=_NEVER_S,
            access_log=None,
            logger=http_log,
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
        )

    def _protocol(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        return _Connection(self) if self._door is None else self._door.greeter()

    def greet(self, transport: asyncio.Transport) -> None:
        """Serve a new connection, as if it was one to our own socket."""
        protocol = self._protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def adopt(self, transport: asyncio.Transport, data: bytes = b"") -> None:
        """Serve a connection from which nothing but ``data`` was read yet."""
        connection = _Connection(self)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if data:
            connection.data_received(data)

    def abort_connections(self) -> None:
        """Close all connections at once, whatever they carry."""
        for transport in self._slots.all():
            transport.abort()

    async def close(self, grace_s: float = 5.0) -> None:
        """Stop accepting, give running handlers ``grace_s`` seconds, close all connections."""
        http_log.removeFilter(self._filter)
        if self._http is None:
            self._bound.socket.close()
            return
        for listening in self._listening:
            listening.close()
        if self._door is not None:
            await self._door.close()
        for connection in list(self._connections):
            connection.close()
        open_https = [http for http in (self._http, self._unix_http) if http is not None]
        await asyncio.gather(*(http.shutdown(grace_s) for http in open_https))
        await asyncio.sleep(0)

    def deliver(self, message: wire.Received, peer_ip: str | None) -> tuple[HTTPStatus, str]:
        """Hand a message to the inbox; return status and text of the answer."""
        if (
            self._bound.require_peer_address_ip_match
            and peer_ip is not None
            and message.sender.ip != peer_ip
        ):
            return HTTPStatus.BAD_REQUEST, (
                f"UPID IP address validation failed: Message from {message.sender} "
                f"was sent from IP {peer_ip}"
            )
        if self._inbox(message.sender, message.target_id, message.name, message.body):
            return HTTPStatus.ACCEPTED, ""
        return HTTPStatus.NOT_FOUND, ""

    def add(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Remember a connection that reads messages; ``False`` if there is no place for it."""
        if not self.admit(transport):
            return False
        self._connections.add(connection)
        return True

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count a connection; ``False`` if there is no place for it."""
        if len(self._slots) >= self.limits.connections:
            idle = self._slots.least_used()
            if idle is None:
                return False
            peer = idle.get_extra_info("peername")
            self.complaints.warn(
                "Too many connections: closing an unused one of %s", peer[0] if peer else None
            )
            idle.abort()
        self._slots.add(transport)
        return True

    def used(self, transport: asyncio.Transport) -> None:
        """Note that a whole message came on a connection and was answered."""
        self._slots.idle(transport)

    def lost(self, transport: asyncio.Transport) -> None:
        """Forget a connection that is closed."""
        self._slots.remove(transport)

    def discard(self, connection: _Connection) -> None:
        """Forget a reader of messages whose connection was closed or handed over."""
        self._connections.discard(connection)

    def http_protocol(self) -> RequestHandler:
        """Make the protocol that serves a connection from its first foreign request on."""
        assert self._http is not None
        return self._http()

    async def _serve(self, answer: Handler, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await answer(request)
        except InvariantError as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{request.method} request broke", "exception": error}
            )
            raise
        finally:
            if request.transport is not None and request.content.is_eof():
                self._slots.idle(request.transport)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not wire.is_message(request.method, request.headers):
            return await self._handler(request)
        try:
            sender, target_id, name = wire.address_of(request.raw_path, request.headers)
        except WireError as error:
            return web.Response(status=500, text=str(error))
        expected = request.headers.get("Expect", "").lower()
        if expected == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0  # the response proper has not begun
        held = self.messages.open(lambda: _abort(request))
        try:
            body = bytearray()
            while piece := await request.content.readany():
                body += piece
                if len(body) > self.limits.body_bytes or not held.resize(len(body)):
                    return web.Response(status=413)
        finally:
            held.resize(0)
        message = wire.Received(sender, target_id, name, bytes(body))
        status, text = self.deliver(message, request.remote)
        return web.Response(status=status, text=text)

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        made = ServerRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self.limits.http_body_bytes,
        )
        made.body_budget = self.bodies
        transport = made.transport
        if transport is not None:
            payload.on_eof(lambda: self._slots.busy(transport))
        return made


class _HttpServer(web.Server):
    """Frees the place of connections that were handed to it."""

    #: Says whether there is a place for a connection that was not handed over.
    admit: Callable[[asyncio.Transport], bool] | None = None

    def __init__(self, slots: ConnectionSlots, handler: Handler, **options: Any) -> None:
        super().__init__(handler, **options)
        self._slots = slots

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if self.admit is not None and not self.admit(transport):
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        if handler.transport is not None:
            self._slots.remove(handler.transport)
        super().connection_lost(handler, exc)


class ServerRequest(web.BaseRequest):
    """A request that is no message, or does not come first on its connection.

    Its answers are without the header that tells what they were made with.
    """

    ATTRS = web.BaseRequest.ATTRS | frozenset(["body_budget"])

    #: What handlers share that keep bodies in memory.
    body_budget: Budget

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        response.headers.popall("Server", None)


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


class _Connection(asyncio.Protocol):
    """A connection as long as it carries messages only."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._peer_ip: str | None = None
        self._held = server.messages.open(self._drop)
        self._paused = False
        #: Answers to be written with one system call.
        self._answers: list[bytes] = []
        limits = server.limits
        self._reader = wire.RequestReader(
            max_head_bytes=limits.head_bytes, max_body_bytes=limits.body_bytes
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer_ip = peer[0] if peer else None
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._server.add(self, self._transport):
            server = self._server
            server.complaints.warn("Too many connections: closing that of %s", self._peer_ip)
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        for request in self._reader.feed(data):
            self._answer(request)
        self._flush()
        if self._reader.error is not None:
            self._refuse(self._reader.error)
        elif self._reader.foreign:
            if not self._paused:
                self._hand_over()
        elif not self._held.resize(self._reader.held):
            self._drop()
        elif self._reader.expects_continue:
            self._reader.expects_continue = False
            self._write(_CONTINUE)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._transport is not None:
            self._server.lost(self._transport)
        self._forget()

    def pause_writing(self) -> None:
        # a peer that does not read our answers is not read from either
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()
            if self._reader.foreign:
                self._hand_over()

    def close(self) -> None:
        """Close after the answers that were written."""
        if self._transport is not None:
            self._transport.close()

    def _answer(self, request: wire.MessageRequest) -> None:
        try:
            status, text = self._server.deliver(request.message(), self._peer_ip)
        except WireError as error:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
        if text:
            self._server.complaints.warn("Refused a message from %s: %s", self._peer_ip, text)
        self._answers.append(_response(status, text))
        if self._transport is not None:
            self._server.used(self._transport)

    def _drop(self) -> None:
        self._refuse(wire.RefusedBody("Too many bytes of messages are under way"))

    def _refuse(self, error: WireError) -> None:
        self._flush()
        self._server.complaints.warn("Dropping the connection of %s: %s", self._peer_ip, error)
        large = isinstance(error, wire.RefusedBody)
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if large else HTTPStatus.BAD_REQUEST
        self._write(_response(status, str(error), close=True))
        self.close()
        if self._transport is not None:
            self._server.lost(self._transport)
        self._forget()

    def _hand_over(self) -> None:
        """Let aiohttp go on; all answers to messages were written, so the order is kept."""
        transport = self._transport
        rest = self._reader.rest
        self._forget()
        if transport is None or transport.is_closing():
            return
        protocol = self._server.http_protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(rest)

    def _forget(self) -> None:
        self._held.resize(0)
        self._server.discard(self)
        self._transport = None

    def _flush(self) -> None:
        if self._answers:
            answers = b"".join(self._answers)
            self._answers.clear()
            self._write(answers)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class _PeerFaults(logging.Filter):
    """Makes one line of what aiohttp says about a malformed request; our own faults pass."""

    def __init__(self, complaints: Complaints) -> None:
        super().__init__()
        self._complaints = complaints

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _PEER_FAULTS):
            peer = record.args[0] if isinstance(record.args, tuple) and record.args else None
            self._complaints.warn(
                "Malformed HTTP request of %s: %s", peer or "a client", _reason(error)
            )
            return False
        return True


def _reason(error: BaseException) -> str:
    """The first line of what aiohttp says; the others repeat the bytes with a pointer."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@functools.lru_cache(maxsize=1)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)


def _response(status: HTTPStatus, text: str, *, close: bool = False) -> bytes:
    body = text.encode()
    lines: list[Any] = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {_date(int(time.time()))}",
    ]
    if body:
        lines.append("Content-Type: text/plain; charset=utf-8")
    if close:
        lines.append("Connection: close")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
