# SPDX-License-Identifier: Apache-2.0
"""A connection to the agent that never blocks, on an executor's loop."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.http1 import MessageReader, Part
from mesos_compat.executor.loop import READ, WRITE, Loop

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

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"unix:{self.address} {self.path}"
        return f"http://{self.host}{self.path}"

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
        unix = environ.get("MESOS_DOMAIN_SOCKET")
        if unix:
            return cls(socket.AF_UNIX, _socket_path(unix), host, "/slave(1)/api/v1/executor")
        ip = ip.strip("[]")
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        return cls(family, (ip, int(port)), host, path)


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
        self.is_open = False
        self._socket: socket.socket | None = socket.socket(endpoint.family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        if endpoint.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(endpoint.address)
        if code == errno.EAGAIN and endpoint.family == socket.AF_UNIX:
            # A Unix socket with a full backlog never becomes writable: this attempt is lost.
            loop.later(0, lambda: self._fail(os.strerror(code)))
        elif code in (0, errno.EINPROGRESS):
            loop.watch(self._socket.fileno(), WRITE, self._on_connect)
        else:
            loop.later(0, lambda: self._fail(os.strerror(code)))

    def send(self, data: bytes) -> None:
        """Send ``data`` after all that was sent before."""
        if self._socket is not None:
            self._out += data
            self._flush()

    def close(self) -> None:
        """Close; no callback is called any more."""
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self.is_open = False

    def _fail(self, why: str) -> None:
        if self._socket is not None:
            self.close()
            self._closed(why)

    def _on_connect(self, events: int) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != 0:
            self._fail(os.strerror(code))
            return
        self.is_open = True
        self._loop.watch(self._socket.fileno(), READ, self._on_ready)
        self._opened()

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & (READ | select.POLLHUP | select.POLLERR):
            self._read()

    def _flush(self) -> None:
        if self._socket is None or not self.is_open:
            return
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
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
            parts = self._reader.feed(data) if data else []
        except BlockingIOError:
            return
        except (OSError, WireError) as error:
            self._fail(str(error))
            return
        for part in parts:
            if self._socket is not None:
                self._received(part)
        if not data:
            self._fail("closed by the agent")
