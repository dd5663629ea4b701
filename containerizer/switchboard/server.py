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
import signal
import socket
import struct
import sys
import termios
import time

from containerizer.linux import signals
from containerizer.switchboard import records
from containerizer.switchboard.connection import AttachedClient, answer_types, encoding_of
from containerizer.switchboard.copying import CHUNK_BYTES, OutputCopy
from containerizer.switchboard.listener import open_listener
from containerizer.switchboard.options import ServerOptions, SwitchboardUsageError, parse_options
from containerizer.switchboard.poller import GONE, READ, WRITE, Poller, bound
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
from mesos_compat.base import http1, recordio
from mesos_compat.base.errors import WireError

#: Where the agent says that it has the answer to an input request.
ACKNOWLEDGE_PATH = "/acknowledge_container_input_response"

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


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Run the program; return its exit status."""
    try:
        options = parse_options(argv[1:])
    except SwitchboardUsageError as error:
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


class _EndError(Exception):
    """The server cannot go on."""


class SwitchboardServer:
    """The server of one container."""

    def __init__(self, options: ServerOptions) -> None:
        self._poller = Poller()
        self._signals = signals.open_signalfd((signal.SIGTERM,))
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._listener = open_listener(options)
        self._stdin: int | None = options.stdin_to_fd
        self._terminal = options.stdin_to_fd if options.tty else None
        #: What the container's stdin did not take yet.
        self._typed = memoryview(b"")
        self._copies = [
            OutputCopy(options.stdout_from_fd, options.stdout_to_fd, Stream.STDOUT, tty=options.tty)
        ]
        if not options.tty:
            self._copies.append(
                OutputCopy(options.stderr_from_fd, options.stderr_to_fd, Stream.STDERR, tty=False)
            )
        for copy in self._copies:
            copy.on_read = bound(self._read_copy, copy)
            copy.on_log = bound(self._write_log, copy)
        for fd in (options.stdin_to_fd, options.stdout_from_fd, options.stderr_from_fd):
            os.set_blocking(fd, False)
        self._started = not options.wait_for_connection
        self._clients: set[AttachedClient] = set()
        #: Who gets output, in order of arrival.
        self._readers: list[AttachedClient] = []
        #: The client that a held-back container waited for.
        self._owner: AttachedClient | None = None
        self._input: AttachedClient | None = None
        #: Answers to input requests that the agent has not acknowledged.
        self._unacknowledged = 0
        self._heartbeat_s = options.heartbeat_interval_s
        self._next_heartbeat = time.monotonic()
        self._finished_at: float | None = None

    def run(self) -> None:
        """Serve until the container's output has ended and everybody has it.

        Raises OSError, _EndError.
        """
        self._poller.watch(self._signals, READ, self._on_signal)
        self._poller.watch(self._listener.fileno(), READ, self._on_connection)
        while not self._done():
            self._update()
            self._poller.wait(self._timeout_ms())
            self._tick()

    # The loop.

    def _update(self) -> None:
        """Say what we wait for now."""
        for copy in self._copies:
            if self._terminal is None:
                wanted = READ if self._may_read(copy) else None
                self._poller.watch(copy.source, wanted, copy.on_read)
            self._poller.watch(copy.log, WRITE if copy.unwritten else None, copy.on_log)
        if self._terminal is not None:
            events = READ if self._may_read(self._copies[0]) else 0
            events |= WRITE if self._typed else 0
            # not for its end only: that would be reported again and again
            self._poller.watch(self._terminal, events or None, self._on_terminal)
        elif self._stdin is not None:
            self._poller.watch(self._stdin, WRITE if self._typed else None, self._on_stdin)
        for client in self._clients:
            self._poller.watch(client.fd, self._client_events(client), client.on_events)

    def _may_read(self, copy: OutputCopy) -> bool:
        """Whether the container may go on with a stream."""
        if copy.ended or copy.unwritten or not self._started:
            return False
        return self._owner is None or self._owner.backlog <= _OWNER_BACKLOG_BYTES

    def _client_events(self, client: AttachedClient) -> int:
        events = WRITE if client.backlog else 0
        if not client.half_closed and not (client is self._input and self._typed):
            events |= READ
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

    def _read_copy(self, copy: OutputCopy, events: int) -> None:
        try:
            data = copy.read()
        except BlockingIOError:
            return
        except OSError as error:
            raise _EndError(f"Failed redirecting {copy.name}: {error.strerror}") from error
        if not data:
            copy.ended = True
            self._poller.unwatch(copy.source)
            return
        self._broadcast(StreamData(copy.stream, data))
        copy.unwritten = memoryview(data)
        self._write_log(copy, 0)

    def _write_log(self, copy: OutputCopy, events: int) -> None:
        try:
            copy.write()
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
        if events & (READ | GONE) and self._may_read(self._copies[0]):
            self._read_copy(self._copies[0], events)
        if events & GONE:
            self._typed = memoryview(b"")
        elif events & WRITE:
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
            self._poller.unwatch(self._stdin)
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

    def _serve_input(self, client: AttachedClient) -> None:
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

    def _do(self, client: AttachedClient, record: records.ProcessRecord | AttachTarget) -> None:
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
        client = AttachedClient(connection)
        client.on_events = bound(self._on_client, client)
        self._clients.add(client)

    def _on_client(self, client: AttachedClient, events: int) -> None:
        if client not in self._clients:
            return
        if events & WRITE:
            self._flush(client)
        if events & READ:
            self._receive(client)
        elif events & GONE:
            self._drop(client)

    def _receive(self, client: AttachedClient) -> None:
        try:
            data = client.connection.recv(CHUNK_BYTES)
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

    def _on_end_of_requests(self, client: AttachedClient) -> None:
        """The client sends no more, or is gone."""
        client.half_closed = True
        if client is self._input and not client.ended:
            # the request broke off: somebody else may come
            self._input = None
        if client not in self._readers and not client.backlog:
            self._drop(client)
        elif client not in self._readers:
            client.closing = True

    def _on_part(self, client: AttachedClient, part: http1.Part) -> None:
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

    def _on_request(self, client: AttachedClient, head: http1.MessageHead) -> None:
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
            encoding = encoding_of(content)
            if encoding is None:
                types = f"{Encoding.JSON.value} or {Encoding.PROTOBUF.value} or {RECORDIO}"
                self._refuse(client, 415, f"Expecting 'Content-Type' of {types}")
                return
            client.encoding = encoding
            client.head = head

    def _on_input_request(self, client: AttachedClient, head: http1.MessageHead) -> None:
        client.acknowledges = True
        kind = head.headers.get("message-content-type")
        if kind is None:
            text = "Expecting 'Message-Content-Type' to be set for streaming requests"
            self._refuse(client, 400, text)
            return
        encoding = encoding_of(kind)
        if encoding is None:
            types = f"{Encoding.JSON.value} or {Encoding.PROTOBUF.value}"
            self._refuse(client, 415, f"Expecting 'Message-Content-Type' of {types}")
        elif self._input is not None:
            self._refuse(client, 409, "Multiple input connections are not allowed")
        else:
            client.encoding = encoding
            client.decoder = recordio.Decoder(_MAX_RECORD_BYTES)
            self._input = client

    def _on_body(self, client: AttachedClient, data: bytes) -> None:
        if client.decoder is not None:
            client.records.extend(client.decoder.feed(data))
            if client is self._input:
                self._serve_input(client)
        else:
            client.body += data
            if len(client.body) > _MAX_BODY_BYTES:
                self._refuse(client, 400, "The request's body is too long")

    def _on_output_request(self, client: AttachedClient, head: http1.MessageHead) -> None:
        try:
            if not records.is_attach_output(bytes(client.body), client.encoding):
                raise RecordError("Expecting 'type' to be ATTACH_CONTAINER_OUTPUT")
        except RecordError as error:
            self._refuse(client, 400, str(error))
            return
        client.body.clear()
        types = answer_types(head)
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

    def _answer(self, client: AttachedClient, status: int, text: str) -> None:
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

    def _refuse(self, client: AttachedClient, status: int, text: str) -> None:
        """Answer a request that is over, whatever of it is still to come."""
        if client is self._input:
            self._input = None
        self._answer(client, status, text)

    def _send(self, client: AttachedClient, data: bytes) -> None:
        client.queue.append(data)
        client.backlog += len(data)
        if len(client.queue) == 1:
            self._flush(client)

    def _flush(self, client: AttachedClient) -> None:
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

    def _close_when_flushed(self, client: AttachedClient) -> None:
        if client.closing and not client.queue:
            self._drop(client)

    def _end_output(self, client: AttachedClient) -> None:
        client.closing = True
        client.deadline = time.monotonic() + _FLUSH_S
        self._send(client, http1.LAST_CHUNK)
        self._close_when_flushed(client)

    def _drop(self, client: AttachedClient) -> None:
        """Forget a client, wherever it is."""
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._poller.unwatch(client.fd)
        client.connection.close()
        client.queue.clear()
        client.backlog = 0
        if client in self._readers:
            self._readers.remove(client)
        if client is self._owner:
            self._owner = None
        if client is self._input:
            self._input = None

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


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
