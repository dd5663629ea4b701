# SPDX-License-Identifier: Apache-2.0
"""mesos-io-switchboard: stands between the stdio of one container and whoever attaches to it.

One process, one thread, one loop; it survives the agent. Output goes to all clients and then to
the log; a client that does not read costs neither the container nor the others anything: it is let
go when too much waits for it. Only the client for which a session's output was held back is waited
for, so that it loses nothing and the session is as fast as its reader.

Deviations: writing to a container that closed its stdin fails the client's request, not the
container; the end of a terminal (EIO) is no error; the end of the container answers an input
request at once; the wait for acknowledgements and for readers at the end has a limit.

Source: spec ``containerizer`` 14.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from containerizer.linux import signals
from containerizer.switchboard import records
from containerizer.switchboard.records import (
    RECORDIO,
    AttachTarget,
    Encoding,
    RecordError,
    Stream,
    StreamData,
    StreamHeartbeat,
    WindowSize,
)
from mesos_compat.base import http1, recordio, units
from mesos_compat.base.errors import WireError

#: Where the agent says that it has the answer to an input request.
ACKNOWLEDGE_PATH = "/acknowledge_container_input_response"
#: What follows the socket's path until the server listens.
PROVISIONAL = "_provisional"
BACKLOG = 64

_CHUNK_BYTES = 64 << 10
#: Writes of at most this size to a pipe that has room do not block.
_PIPE_BUF = 4096
_MAX_BODY_BYTES = 1 << 20
_MAX_RECORD_BYTES = 16 << 20
#: What may wait for a client before it is let go.
_MAX_BACKLOG_BYTES = 8 << 20
#: What may wait for a session's own client before its container has to wait, too.
_OWNER_BACKLOG_BYTES = 1 << 20
_MAX_CLIENTS = 256
#: How long the last bytes may take per step forward, once the container has ended.
_FLUSH_S = 30.0
#: How long the agent may take to acknowledge an answer, which it gets in any case.
_ACKNOWLEDGE_S = 1.0
#: How long a client whose request was refused may go on sending.
_DRAIN_S = 5.0
_DEFAULT_HEARTBEAT_S = 30.0
_READ = select.POLLIN
_WRITE = select.POLLOUT
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The command line. ``listen_fd`` and ``status_fd`` are our own agent's."""

    tty: bool
    stdin_to_fd: int
    stdout_from_fd: int
    stdout_to_fd: int
    stderr_from_fd: int
    stderr_to_fd: int
    socket_address: str
    wait_for_connection: bool
    heartbeat_interval_s: float
    #: A socket that listens already.
    listen_fd: int | None
    #: A file for the wait status, from which a later agent learns how we ended.
    status_fd: int | None


class _UsageError(Exception):
    """The command line is unusable."""


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Run the program; return its exit status."""
    try:
        options = _options(argv[1:])
    except _UsageError as error:
        _say(str(error))
        return 1
    if options is None:
        _say(f"Usage: {argv[0] if argv else 'mesos-io-switchboard'} --name=value...")
        return 0
    code = 1
    try:
        os.chdir("/")
        SwitchboardServer(options).run()
        code = 0
    except (OSError, _EndError) as error:
        _say(f"The io switchboard server failed: {error}")
    finally:
        if options.status_fd is not None:
            with contextlib.suppress(OSError):
                os.write(options.status_fd, str(code << 8).encode())
    return code


def run() -> int:
    """Run the program as it is executed by foreign agents."""
    return main(sys.argv, dict(os.environ))


def _options(arguments: Sequence[str]) -> ServerOptions | None:
    """Read the command line; ``None`` if help is wanted. Raises _UsageError."""
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise _UsageError(f"Failed to load unknown argument '{argument}'")
        if not equals and name.startswith("no-"):
            name, value = name.removeprefix("no-"), "false"
        given[name] = value if equals or value else "true"
    known = {*ServerOptions.__dataclass_fields__, "help"}
    known = {name.removesuffix("_s") for name in known}
    for name in given:
        if name not in known:
            raise _UsageError(f"Failed to load unknown flag '{name}'")
    if _truth(given, "help", False):
        return None
    if "socket_address" not in given:
        raise _UsageError("'--socket_address' is missing")
    try:
        text = given.get("heartbeat_interval")
        heartbeat_s = _DEFAULT_HEARTBEAT_S if text is None else units.parse_duration(text) / 1e9
    except ValueError as error:
        raise _UsageError(f"Failed to load value of flag 'heartbeat_interval': {error}") from None
    return ServerOptions(
        tty=_truth(given, "tty", None),
        stdin_to_fd=_number(given, "stdin_to_fd"),
        stdout_from_fd=_number(given, "stdout_from_fd"),
        stdout_to_fd=_number(given, "stdout_to_fd"),
        stderr_from_fd=_number(given, "stderr_from_fd"),
        stderr_to_fd=_number(given, "stderr_to_fd"),
        socket_address=given["socket_address"],
        wait_for_connection=_truth(given, "wait_for_connection", False),
        heartbeat_interval_s=heartbeat_s,
        listen_fd=_number(given, "listen_fd") if "listen_fd" in given else None,
        status_fd=_number(given, "status_fd") if "status_fd" in given else None,
    )


def _truth(given: dict[str, str], name: str, default: bool | None) -> bool:
    value = given.get(name)
    if value is None:
        if default is None:
            raise _UsageError(f"'--{name}' is missing")
        return default
    if value not in ("true", "1", "false", "0"):
        raise _UsageError(f"Failed to load value '{value}' of flag '{name}'")
    return value in ("true", "1")


def _number(given: dict[str, str], name: str) -> int:
    value = given.get(name)
    if value is None:
        raise _UsageError(f"'--{name}' is missing")
    if not (value.isascii() and value.isdigit()):
        raise _UsageError(f"Failed to load value '{value}' of flag '{name}'")
    return int(value)


class _EndError(Exception):
    """The server cannot go on."""


class SwitchboardServer:
    """The server of one container."""

    def __init__(self, options: ServerOptions) -> None:
        self._tty = options.tty
        self._poll = select.poll()
        self._interests: dict[int, int] = {}
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._signals = signals.open_signalfd((signal.SIGTERM,))
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._listener = _listen(options)
        self._stdin: int | None = options.stdin_to_fd
        self._terminal = options.stdin_to_fd if options.tty else None
        #: What the container's stdin did not take yet.
        self._typed = memoryview(b"")
        self._copies = [_Copy(options.stdout_from_fd, options.stdout_to_fd, Stream.STDOUT)]
        if not options.tty:
            self._copies.append(_Copy(options.stderr_from_fd, options.stderr_to_fd, Stream.STDERR))
        for copy in self._copies:
            copy.on_read = _bound(self._read_copy, copy)
            copy.on_log = _bound(self._write_log, copy)
        for fd in (options.stdin_to_fd, options.stdout_from_fd, options.stderr_from_fd):
            os.set_blocking(fd, False)
        self._started = not options.wait_for_connection
        self._clients: set[_Client] = set()
        #: Who gets output, in order of arrival.
        self._readers: list[_Client] = []
        #: The client that a held-back container waited for.
        self._owner: _Client | None = None
        self._input: _Client | None = None
        #: Answers to input requests that the agent has not acknowledged.
        self._unacknowledged = 0
        self._heartbeat_s = options.heartbeat_interval_s
        self._next_heartbeat = time.monotonic()
        self._finished_at: float | None = None

    def run(self) -> None:
        """Serve until the container's output has ended and everybody has it.

        Raises OSError, _EndError.
        """
        self._watch(self._signals, _READ, self._on_signal)
        self._watch(self._listener.fileno(), _READ, self._on_connection)
        while not self._done():
            self._update()
            for fd, events in self._poll.poll(self._timeout_ms()):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            self._tick()

    # The loop.

    def _watch(self, fd: int, events: int | None, handler: Callable[[int], None]) -> None:
        """Wait for ``events`` of a descriptor (0: for its end only); ``None``: not at all."""
        if events is None:
            if self._interests.pop(fd, None) is not None:
                self._poll.unregister(fd)
                del self._handlers[fd]
        elif self._interests.get(fd) != events:
            self._poll.register(fd, events)
            self._interests[fd] = events
            self._handlers[fd] = handler

    def _update(self) -> None:
        """Say what we wait for now."""
        for copy in self._copies:
            if self._terminal is None:
                wanted = _READ if self._may_read(copy) else None
                self._watch(copy.source, wanted, copy.on_read)
            self._watch(copy.log, _WRITE if copy.unwritten else None, copy.on_log)
        if self._terminal is not None:
            events = _READ if self._may_read(self._copies[0]) else 0
            events |= _WRITE if self._typed else 0
            # not for its end only: that would be reported again and again
            self._watch(self._terminal, events or None, self._on_terminal)
        elif self._stdin is not None:
            self._watch(self._stdin, _WRITE if self._typed else None, self._on_stdin)
        for client in self._clients:
            self._watch(client.fd, self._client_events(client), client.on_events)

    def _may_read(self, copy: _Copy) -> bool:
        """Whether the container may go on with a stream."""
        if copy.ended or copy.unwritten or not self._started:
            return False
        return self._owner is None or self._owner.backlog <= _OWNER_BACKLOG_BYTES

    def _client_events(self, client: _Client) -> int:
        events = _WRITE if client.backlog else 0
        if not client.half_closed and not (client is self._input and self._typed):
            events |= _READ
        return events

    def _timeout_ms(self) -> int | None:
        at = [client.deadline for client in self._clients if client.deadline is not None]
        if self._finished_at is None:
            at.append(self._next_heartbeat)
        elif self._unacknowledged:
            at.append(self._finished_at + _ACKNOWLEDGE_S)
        return max(0, int((min(at) - time.monotonic()) * 1000) + 1) if at else None

    def _tick(self) -> None:
        now = time.monotonic()
        if self._finished_at is None and now >= self._next_heartbeat:
            self._next_heartbeat = now + self._heartbeat_s
            self._broadcast(StreamHeartbeat(round(self._heartbeat_s * 1e9)))
        for client in list(self._clients):
            if client.deadline is not None and now >= client.deadline:
                self._drop(client)
        if self._finished_at is None and all(copy.ended for copy in self._copies):
            self._finish(now)

    def _on_signal(self, events: int) -> None:
        while signals.read_signalfd(self._signals) is not None:
            self._started = True

    # Output.

    def _read_copy(self, copy: _Copy, events: int) -> None:
        try:
            data = _read_terminal(copy.source) if self._tty else _read(copy.source)
        except BlockingIOError:
            return
        except OSError as error:
            raise _EndError(f"Failed redirecting {copy.name}: {error.strerror}") from error
        if not data:
            copy.ended = True
            self._unwatch(copy.source)
            return
        self._broadcast(StreamData(copy.stream, data))
        copy.unwritten = memoryview(data)
        self._write_log(copy, 0)

    def _write_log(self, copy: _Copy, events: int) -> None:
        """Write to the log as much as it takes; to a pipe only what cannot block."""
        try:
            while copy.unwritten:
                if copy.log_blocks and not _writable(copy.log):
                    return
                piece = copy.unwritten[:_PIPE_BUF] if copy.log_blocks else copy.unwritten
                copy.unwritten = copy.unwritten[os.write(copy.log, piece) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise _EndError(f"Failed redirecting {copy.name}: {error.strerror}") from error

    def _broadcast(self, record: StreamData | StreamHeartbeat) -> None:
        encoded: dict[Encoding, bytes] = {}
        for client in list(self._readers):
            if client.encoding not in encoded:
                payload = records.encode(record, client.encoding)
                encoded[client.encoding] = http1.chunk(recordio.encode(payload))
            self._send(client, encoded[client.encoding])
            if client.backlog > _MAX_BACKLOG_BYTES and client is not self._owner:
                self._drop(client)

    # Input.

    def _on_terminal(self, events: int) -> None:
        if events & (_READ | _GONE) and self._may_read(self._copies[0]):
            self._read_copy(self._copies[0], events)
        if events & _GONE:
            self._typed = memoryview(b"")
        elif events & _WRITE:
            self._on_stdin(events)

    def _on_stdin(self, events: int) -> None:
        """Write what was typed; then go on with the client's records."""
        self._write_stdin()
        if self._input is not None:
            self._serve_input(self._input)

    def _write_stdin(self) -> None:
        if self._stdin is None:
            error = OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        else:
            try:
                self._typed = self._typed[os.write(self._stdin, self._typed) :]
                return
            except BlockingIOError:
                return
            except OSError as failed:
                error = failed
        self._typed = memoryview(b"")
        self._shut_stdin()
        self._answer_input(500, f"Failed writing to stdin: {error.strerror}")

    def _shut_stdin(self) -> None:
        """Close the container's stdin; a terminal stays open."""
        if self._stdin is not None and self._terminal is None:
            self._unwatch(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _resize(self, size: WindowSize) -> None:
        window = struct.pack("4H", min(size.rows, 0xFFFF), min(size.columns, 0xFFFF), 0, 0)
        try:
            if self._terminal is None:
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, window)
        except OSError as error:
            self._answer_input(400, f"Unable to set the window size: {error.strerror}")

    def _serve_input(self, client: _Client) -> None:
        """Do what the client's records say, until there are no more or stdin is full."""
        while client is self._input and client.records and not self._typed:
            try:
                record = records.decode_input(client.records.popleft(), client.encoding)
            except RecordError as error:
                self._answer_input(400, str(error))
                return
            self._do(client, record)
        if client is self._input and client.ended and not client.records and not self._typed:
            if client.named:
                self._answer_input(200, "")
            else:
                text = "IOSwitchboard received EOF while reading request body"
                self._answer_input(400, text)

    def _do(self, client: _Client, record: records.ProcessRecord | AttachTarget) -> None:
        if not client.named:
            if not isinstance(record, AttachTarget):
                text = "Expecting 'attach_container_input.type' to be CONTAINER_ID"
                self._answer_input(400, text)
            client.named = True
            return
        match record:
            case AttachTarget():
                self._answer_input(400, records.unexpected_input("CONTAINER_ID"))
            case StreamData(_, data):
                if data:
                    self._typed = memoryview(data)
                    self._write_stdin()
                else:
                    self._shut_stdin()
            case WindowSize():
                self._resize(record)

    def _answer_input(self, status: int, text: str) -> None:
        client, self._input = self._input, None
        if client is not None:
            client.records.clear()
            self._answer(client, status, text)

    # Clients.

    def _on_connection(self, events: int) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if len(self._clients) < _MAX_CLIENTS:
                self._welcome(connection)
            else:
                connection.close()

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        client = _Client(connection)
        client.on_events = _bound(self._on_client, client)
        self._clients.add(client)

    def _on_client(self, client: _Client, events: int) -> None:
        if client not in self._clients:
            return
        if events & _WRITE:
            self._flush(client)
        if events & _READ:
            self._receive(client)
        elif events & _GONE:
            self._drop(client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if not data:
            self._on_end_of_requests(client)
            return
        if client.deaf:
            return
        try:
            for part in client.reader.feed(data):
                self._on_part(client, part)
        except WireError as error:
            self._refuse(client, 400, str(error))

    def _on_end_of_requests(self, client: _Client) -> None:
        """The client sends no more, or is gone."""
        client.half_closed = True
        if client is self._input and not client.ended:
            # the request broke off: somebody else may come
            self._input = None
        if client not in self._readers and not client.backlog:
            self._drop(client)
        elif client not in self._readers:
            client.closing = True

    def _on_part(self, client: _Client, part: http1.Part) -> None:
        if client.deaf:
            return
        if isinstance(part, http1.MessageHead):
            self._on_request(client, part)
        elif isinstance(part, bytes):
            self._on_body(client, part)
        elif client.decoder is not None:
            client.ended = True
            if client is self._input:
                self._serve_input(client)
        elif client.head is not None:
            self._on_output_request(client, client.head)

    def _on_request(self, client: _Client, head: http1.MessageHead) -> None:
        method, path, _ = head.words
        if client.busy:
            self._refuse(client, 400, "One request at a time")
            return
        if method != "POST":
            text = f"Expecting one of {{ 'POST' }}, but received '{method[:20]}'"
            self._refuse(client, 405, text)
            return
        if path.partition("?")[0] == ACKNOWLEDGE_PATH:
            self._unacknowledged = max(0, self._unacknowledged - 1)
            self._refuse(client, 200, "")
            return
        content = head.headers.get("content-type")
        client.busy = True
        if content == RECORDIO:
            self._on_input_request(client, head)
        elif content is None:
            self._refuse(client, 400, "Expecting 'Content-Type' to be present")
        else:
            encoding = _encoding(content)
            if encoding is None:
                types = f"{Encoding.JSON.value} or {Encoding.PROTOBUF.value} or {RECORDIO}"
                self._refuse(client, 415, f"Expecting 'Content-Type' of {types}")
                return
            client.encoding = encoding
            client.head = head

    def _on_input_request(self, client: _Client, head: http1.MessageHead) -> None:
        client.acknowledges = True
        kind = head.headers.get("message-content-type")
        if kind is None:
            text = "Expecting 'Message-Content-Type' to be set for streaming requests"
            self._refuse(client, 400, text)
            return
        encoding = _encoding(kind)
        if encoding is None:
            types = f"{Encoding.JSON.value} or {Encoding.PROTOBUF.value}"
            self._refuse(client, 415, f"Expecting 'Message-Content-Type' of {types}")
        elif self._input is not None:
            self._refuse(client, 409, "Multiple input connections are not allowed")
        else:
            client.encoding = encoding
            client.decoder = recordio.Decoder(_MAX_RECORD_BYTES)
            self._input = client

    def _on_body(self, client: _Client, data: bytes) -> None:
        if client.decoder is not None:
            client.records.extend(client.decoder.feed(data))
            if client is self._input:
                self._serve_input(client)
        else:
            client.body += data
            if len(client.body) > _MAX_BODY_BYTES:
                self._refuse(client, 400, "The request's body is too long")

    def _on_output_request(self, client: _Client, head: http1.MessageHead) -> None:
        try:
            if not records.is_attach_output(bytes(client.body), client.encoding):
                raise RecordError("Expecting 'type' to be ATTACH_CONTAINER_OUTPUT")
        except RecordError as error:
            self._refuse(client, 400, str(error))
            return
        client.body.clear()
        types = _answer_types(head)
        if types is None:
            text = f"Expecting 'Accept' to allow {Encoding.JSON.value}, "
            text += f"{Encoding.PROTOBUF.value} or {RECORDIO}"
            self._refuse(client, 406, text)
            return
        client.encoding, headers = types
        self._send(client, http1.response(200, None, headers))
        if self._finished_at is not None:
            self._end_output(client)
            return
        self._readers.append(client)
        if not self._started:
            self._started = True
            self._owner = client

    def _answer(self, client: _Client, status: int, text: str) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"} if text else {}
        self._send(client, http1.response(status, text.encode(), headers))
        client.deaf = True
        client.busy = True
        self._unacknowledged += client.acknowledges
        if client.ended or client.half_closed:
            client.closing = True
            self._close_when_flushed(client)
        else:
            client.deadline = time.monotonic() + _DRAIN_S

    def _refuse(self, client: _Client, status: int, text: str) -> None:
        """Answer a request that is over, whatever of it is still to come."""
        if client is self._input:
            self._input = None
        self._answer(client, status, text)

    def _send(self, client: _Client, data: bytes) -> None:
        client.queue.append(data)
        client.backlog += len(data)
        if len(client.queue) == 1:
            self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            while client.queue:
                data = client.queue.popleft()
                sent = client.connection.send(data)
                client.backlog -= sent
                if client.deadline is not None and client.closing:
                    client.deadline = time.monotonic() + _FLUSH_S
                if sent < len(data):
                    client.queue.appendleft(data[sent:])
                    return
        except BlockingIOError:
            client.queue.appendleft(data)
            return
        except OSError:
            self._drop(client)
            return
        self._close_when_flushed(client)

    def _close_when_flushed(self, client: _Client) -> None:
        if client.closing and not client.queue:
            self._drop(client)

    def _end_output(self, client: _Client) -> None:
        client.closing = True
        client.deadline = time.monotonic() + _FLUSH_S
        self._send(client, http1.LAST_CHUNK)
        self._close_when_flushed(client)

    def _drop(self, client: _Client) -> None:
        """Forget a client, wherever it is."""
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._unwatch(client.fd)
        client.connection.close()
        client.queue.clear()
        client.backlog = 0
        if client in self._readers:
            self._readers.remove(client)
        if client is self._owner:
            self._owner = None
        if client is self._input:
            self._input = None

    def _unwatch(self, fd: int) -> None:
        self._watch(fd, None, self._on_signal)

    # The end.

    def _finish(self, now: float) -> None:
        """The container's output is over: tell everybody."""
        self._finished_at = now
        if self._input is not None:
            self._answer_input(200, "")
        for client in list(self._readers):
            self._readers.remove(client)
            self._end_output(client)

    def _done(self) -> bool:
        if self._finished_at is None:
            return False
        if any(copy.unwritten for copy in self._copies):
            return False
        if any(client.backlog for client in self._clients):
            return False
        if self._unacknowledged and time.monotonic() >= self._finished_at + _ACKNOWLEDGE_S:
            self._unacknowledged = 0
        return not self._unacknowledged


def _ignore(events: int) -> None:
    """Handle events of what is not set up yet."""


def _bound(function: Callable[..., None], subject: object) -> Callable[[int], None]:
    """Return a handler of events that passes on whose they are."""

    def handle(events: int) -> None:
        function(subject, events)

    return handle


class _Copy:
    """One stream of the container on its way to the log."""

    def __init__(self, source: int, log: int, stream: Stream) -> None:
        self.source = source
        self.log = log
        self.stream = stream
        self.name = stream.name.lower()
        self.unwritten = memoryview(b"")
        self.ended = False
        self.on_read: Callable[[int], None] = _ignore
        self.on_log: Callable[[int], None] = _ignore
        #: The log may be a pipe shared with others, so it stays in blocking mode.
        self.log_blocks = not stat.S_ISREG(os.fstat(log).st_mode)


class _Client:
    """One connection: its request, and what waits to be sent."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.on_events: Callable[[int], None] = _ignore
        self.reader = http1.MessageReader()
        #: Whether a request has begun.
        self.busy = False
        self.head: http1.MessageHead | None = None
        self.body = bytearray()
        self.encoding = Encoding.JSON
        # of an input request
        #: Whether somebody is going to say that the answer has arrived.
        self.acknowledges = False
        self.decoder: recordio.Decoder | None = None
        self.records: deque[bytes] = deque()
        #: Whether the first record has come.
        self.named = False
        #: Whether the request's body is complete.
        self.ended = False
        self.queue: deque[bytes] = deque()
        self.backlog = 0
        #: Whatever comes is not for us any more.
        self.deaf = False
        self.half_closed = False
        #: To be closed once everything is sent.
        self.closing = False
        self.deadline: float | None = None


def _listen(options: ServerOptions) -> socket.socket:
    """Return the socket; its file has its final name only once it listens."""
    if options.listen_fd is not None:
        listener = socket.socket(fileno=options.listen_fd)
    else:
        listener = bind_socket(options.socket_address)
    listener.setblocking(False)
    return listener


def bind_socket(address: str) -> socket.socket:
    """Make a socket for us alone that listens at ``address``. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    provisional = f"{address}{PROVISIONAL}"
    try:
        # as if made with this mode: nobody can connect before it listens
        listener.bind(provisional)
        os.chmod(provisional, 0o600)
        listener.listen(BACKLOG)
        os.rename(provisional, address)
    except OSError:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(provisional)
        raise
    return listener


def _encoding(media_type: str) -> Encoding | None:
    return next((each for each in Encoding if each.value == media_type), None)


def _answer_types(head: http1.MessageHead) -> tuple[Encoding, dict[str, str]] | None:
    """Return how to write records, and the headers that say so; ``None`` if nothing suits."""
    accept = head.headers.get("accept")
    for encoding in Encoding:
        if http1.accepts(accept, encoding.value):
            return encoding, {"Content-Type": encoding.value}
    if not http1.accepts(accept, RECORDIO):
        return None
    wanted = head.headers.get("message-accept")
    for encoding in Encoding:
        if http1.accepts(wanted, encoding.value):
            headers = {"Content-Type": RECORDIO, "Message-Content-Type": encoding.value}
            return encoding, headers
    return None


def _read(fd: int) -> bytes:
    return os.read(fd, _CHUNK_BYTES)


def _read_terminal(fd: int) -> bytes:
    """Return what comes from a terminal; nothing once its last process has closed it."""
    # The kernel looks for data first and then for the end, so what is written between the two
    # looks as if it were lost. Who asks again gets it.
    for _ in range(2):
        try:
            return _read(fd)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
    return b""


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, _WRITE)
    return bool(poll.poll(0))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
