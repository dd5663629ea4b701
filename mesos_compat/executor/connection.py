# SPDX-License-Identifier: Apache-2.0
"""A connection to the agent that never blocks, on an executor's loop."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.http1 import MessageReader, Part
from mesos_compat.base.tls_options import AGENT_TLS, TlsOptions
from mesos_compat.base.variables import DOMAIN_SOCKET
from mesos_compat.executor.loop import READ, WRITE, Loop

if TYPE_CHECKING:
    from mesos_compat.base.tls import Tls

#: Longest path of a Unix socket, its final NUL not counted.
_MAX_SOCKET_PATH = 107
_READ_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the agent serves the executor API."""

    family: socket.AddressFamily
    address: tuple[str, int] | str
    host: str
    path: str
    #: How to speak TLS, if the agent does.
    tls: Tls | None = None

    @property
    def operator_path(self) -> str:
        """The path of the agent's operator API."""
        return self.path.removesuffix("/executor")

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"unix:{self.address} {self.path}"
        return f"http{'s' if self.tls is not None else ''}://{self.host}{self.path}"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Endpoint:
        """Read ``MESOS_SLAVE_PID`` and ``MESOS_DOMAIN_SOCKET``. Raises FlagError."""
        upid = environ.get("MESOS_SLAVE_PID")
        if not upid:
            raise FlagError("Expecting 'MESOS_SLAVE_PID' to be set in the environment")
        name, at, host = upid.rpartition("@")
        ip, colon, port = host.rpartition(":")
        if not at or not colon or not port.isdigit() or not name.isprintable() or " " in name:
            raise FlagError(f"Failed to parse MESOS_SLAVE_PID '{upid}'")
        path = f"/{name}/api/v1/executor"
        unix = environ.get(DOMAIN_SOCKET)
        if unix:
            return cls(socket.AF_UNIX, _socket_path(unix), host, "/slave(1)/api/v1/executor")
        ip = ip.strip("[]")
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        return cls(family, (ip, int(port)), host, path, _tls(environ))


def _tls(environ: Mapping[str, str]) -> Tls | None:
    """Only who needs OpenSSL loads it. Raises FlagError."""
    if environ.get(AGENT_TLS) == "1":
        environ = {**environ, "LIBPROCESS_SSL_ENABLED": "1"}
    options = TlsOptions.of(environ, need_key=False)
    if options is None:
        return None
    from mesos_compat.base.tls import Tls

    return Tls(options)


def _socket_path(path: str) -> str:
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        path = os.path.join(".", os.path.relpath(path))
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise FlagError(f"Domain socket path '{path}' must have less than 108 characters")
    return path


class Connection:
    """One connection; its owner is told of it through three callbacks.

    ``closed`` is called once, unless the owner closes the connection itself.
    """

    def __init__(
        self,
        loop: Loop,
        endpoint: Endpoint,
        *,
        opened: Callable[[], None],
        received: Callable[[Part], None],
        closed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._opened = opened
        self._received = received
        self._closed = closed
        self._out = bytearray()
        self._reader = MessageReader(responses=True)
        self._tls = endpoint.tls
        self._again: tuple[type[OSError], ...] = (BlockingIOError,)
        self._ip = str(endpoint.address[0])
        self.is_open = False
        #: Whether ``closed`` was called, or is not to be.
        self._over = False
        self._socket: socket.socket | None = None
        try:
            self._connect(endpoint)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            loop.later(0, lambda: self._fail(why))

    def _connect(self, endpoint: Endpoint) -> None:
        """Begin to connect. Raises OSError."""
        made = self._socket = socket.socket(endpoint.family, socket.SOCK_STREAM)
        made.setblocking(False)
        if endpoint.family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.connect_ex(endpoint.address)
        # A Unix socket with a full backlog never becomes writable: this attempt is lost.
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._loop.watch(made.fileno(), WRITE, self._on_connect)

    def send(self, data: bytes) -> None:
        """Send ``data`` after all that was sent before."""
        if self._socket is not None:
            self._out += data
            self._flush()

    def close(self) -> None:
        """Close; no callback is called any more."""
        self._over = True
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self.is_open = False

    def _fail(self, why: str) -> None:
        if not self._over:
            self.close()
            self._closed(why)

    def _on_connect(self, events: int) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != 0:
            self._fail(os.strerror(code))
        elif self._tls is None:
            self._open()
        else:
            self._begin_tls(self._tls)

    def _begin_tls(self, tls: Tls) -> None:
        import ssl

        assert self._socket is not None
        self._again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._loop.unwatch(self._socket.fileno())
        try:
            name = tls.server_name(self._ip, "")
            secure = tls.client.wrap_socket(
                self._socket, do_handshake_on_connect=False, server_hostname=name
            )
        except (OSError, WireError) as error:
            self._fail(str(error))
            return
        self._socket = secure
        want_read = ssl.SSLWantReadError

        def shake(events: int) -> None:
            try:
                secure.do_handshake()
                tls.check_server(secure, self._ip)
            except self._again as error:
                wanted = READ if isinstance(error, want_read) else WRITE
                self._loop.watch(secure.fileno(), wanted, shake)
            except (OSError, WireError) as error:
                self._fail(str(error))
            else:
                self._open()

        shake(WRITE)

    def _open(self) -> None:
        assert self._socket is not None
        self.is_open = True
        self._loop.watch(self._socket.fileno(), READ, self._on_ready)
        self._opened()

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & (READ | select.POLLHUP | select.POLLERR):
            self._read()

    def _pending(self) -> int:
        """Bytes that were decrypted and not read."""
        return 0 if self._tls is None else int(getattr(self._socket, "pending", int)())

    def _flush(self) -> None:
        if self._socket is None or not self.is_open:
            return
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except self._again:
            pass
        except OSError:
            # The reading side finds out, after what the peer still had to say.
            self._out.clear()
        self._loop.watch(self._socket.fileno(), READ | WRITE if self._out else READ, self._on_ready)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
            while pending := self._pending():
                # The kernel has none of it any more, so nothing else would tell of it.
                data += self._socket.recv(pending)
            parts = self._reader.feed(data) if data else []
        except self._again:
            return
        except (OSError, WireError) as error:
            self._fail(str(error))
            return
        for part in parts:
            if self._socket is not None:
                self._received(part)
        if not data:
            self._fail("closed by the agent")
