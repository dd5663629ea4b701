# SPDX-License-Identifier: Apache-2.0
"""The server with real pipes, terminals and sockets, the container played by the test."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.switchboard import records, server
from containerizer.switchboard.records import (
    RECORDIO,
    AttachTarget,
    Encoding,
    ProcessRecord,
    Stream,
    StreamData,
    StreamHeartbeat,
    WindowSize,
)
from mesos_compat.base import http1, recordio
from mesos_compat.base.http1 import LAST_CHUNK, MessageEnd, MessageHead, MessageReader

JSON = Encoding.JSON
CONTAINER = AttachTarget(("c",))


class Connection:
    """A client that speaks bytes."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(60)
        self._reader = MessageReader()
        self._parts: list[http1.Part] = []
        self._decoder = recordio.Decoder()
        self._records: list[bytes] = []

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def part(self) -> http1.Part:
        while not self._parts:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._parts = self._reader.feed(data)
        return self._parts.pop(0)

    def head(self) -> MessageHead:
        head = self.part()
        assert isinstance(head, MessageHead)
        return head

    def answer(self) -> tuple[int, str]:
        head = self.head()
        body = b""
        while not isinstance(part := self.part(), MessageEnd):
            assert isinstance(part, bytes)
            body += part
        return head.status, body.decode()

    def attach_output(self, encoding: Encoding = JSON, accept: str = RECORDIO) -> MessageHead:
        headers = {"Content-Type": encoding.value, "Accept": accept}
        headers["Message-Accept"] = encoding.value
        self.send(http1.request("/", headers, records.encode_attach_output(("c",), encoding)))
        return self.head()

    def record(self, encoding: Encoding = JSON) -> ProcessRecord | None:
        """Return the next record; ``None`` at the end of the stream."""
        while not self._records:
            part = self.part()
            if isinstance(part, MessageEnd):
                return None
            assert isinstance(part, bytes)
            self._records += self._decoder.feed(part)
        return records.decode(self._records.pop(0), encoding)

    def skip(self) -> None:
        """Read until the end of the connection, which is an error."""
        while True:
            self.part()

    def output(self) -> bytes:
        """Return everything up to the end."""
        found = []
        while (record := self.record()) is not None:
            if isinstance(record, StreamData):
                found.append(record.data)
        return b"".join(found)

    def attach_input(self, *given: ProcessRecord | AttachTarget) -> None:
        headers = {"Content-Type": RECORDIO, "Message-Content-Type": JSON.value}
        self.send(http1.request("/", headers, None))
        self.type(CONTAINER, *given)

    def type(self, *given: ProcessRecord | AttachTarget) -> None:
        for record in given:
            self.send(http1.chunk(recordio.encode(records.encode_input(record, JSON))))

    def finish(self) -> tuple[int, str]:
        self.send(LAST_CHUNK)
        return self.answer()


class Server:
    """A server process and the container's ends of its streams."""

    def __init__(
        self, folder: Path, *, tty: bool = False, wait: bool = False, heartbeat: str = "30secs"
    ) -> None:
        self.path = str(folder / "s")
        self.log = folder / "out"
        self.errors = folder / "err"
        self.status = folder / "status"
        if tty:
            master, self.terminal = os.openpty()
            self.stdin = self.stdout = self.stderr = self.terminal
            theirs = {3: master, 4: master, 5: master}
        else:
            self.stdin, stdin_to = os.pipe()
            stdout_from, self.stdout = os.pipe()
            stderr_from, self.stderr = os.pipe()
            theirs = {3: stdin_to, 4: stdout_from, 5: stderr_from}
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        log = os.open(self.log, flags), os.open(self.errors, flags)
        status = os.open(self.status, flags)
        arguments = [
            "mesos-io-switchboard",
            f"--tty={str(tty).lower()}",
            "--stdin_to_fd=3",
            "--stdout_from_fd=4",
            "--stderr_from_fd=5",
            "--stdout_to_fd=1",
            "--stderr_to_fd=2",
            f"--socket_address={self.path}",
            f"--wait_for_connection={str(wait).lower()}",
            f"--heartbeat_interval={heartbeat}",
            "--status_fd=7",
        ]
        self.pid = os.fork()
        if self.pid == 0:
            try:
                high = {
                    n: fcntl.fcntl(fd, fcntl.F_DUPFD, 100)
                    for n, fd in {1: log[0], 2: log[1], 7: status, **theirs}.items()
                }
                os.closerange(3, 100)
                for number, fd in high.items():
                    os.dup2(fd, number)
                os.closerange(8, 256)
                os._exit(server.main(arguments, {}))
            finally:
                os._exit(99)
        for fd in {*log, status, *theirs.values()}:
            os.close(fd)
        self._open = {self.stdin, self.stdout, self.stderr}
        self._clients: list[Connection] = []
        self.exit_code: int | None = None
        until = time.monotonic() + 60
        while not os.path.exists(self.path):
            assert time.monotonic() < until
            time.sleep(0.002)

    def connect(self) -> Connection:
        made = Connection(self.path)
        self._clients.append(made)
        return made

    def write(self, data: bytes, stderr: bool = False) -> None:
        fd = self.stderr if stderr else self.stdout
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def close(self, *fds: int) -> None:
        for fd in set(fds) & self._open:
            os.close(fd)
            self._open.discard(fd)

    def end(self) -> None:
        """The container ends."""
        self.close(*self._open)

    def ended(self, within_s: float = 60) -> int:
        """Return the exit code."""
        if self.exit_code is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                assert select.select([pidfd], [], [], within_s)[0], "the server goes on"
            finally:
                os.close(pidfd)
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.exit_code

    def kill(self) -> None:
        self.end()
        for client in self._clients:
            client.close()
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def memory_kb(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Server]]:
    """Servers to be killed in the end."""
    made: list[Server] = []
    yield made
    for each in made:
        each.kill()


@pytest.fixture
def pipes(tmp_path: Path, started: list[Server]) -> Server:
    started.append(Server(tmp_path))
    return started[0]


@pytest.fixture
def terminal(tmp_path: Path, started: list[Server]) -> Server:
    started.append(Server(tmp_path, tty=True))
    return started[0]


@pytest.fixture
def session(tmp_path: Path, started: list[Server]) -> Server:
    started.append(Server(tmp_path, wait=True))
    return started[0]


def until(condition: object, within_s: float = 60) -> None:
    """Wait for something to become true."""
    assert callable(condition)
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def typed(data: bytes) -> StreamData:
    return StreamData(Stream.STDIN, data)


def test_output_goes_to_all_clients_and_to_the_log(pipes: Server) -> None:
    pipes.write(b"before\n")
    until(lambda: pipes.log.read_bytes() == b"before\n")
    clients = [pipes.connect() for _ in range(3)]
    for client in clients:
        head = client.attach_output()
        assert head.status == 200
        assert head.headers["content-type"] == RECORDIO
        assert head.headers["message-content-type"] == JSON.value
    pipes.write(b"out")
    for client in clients:
        assert client.record() == StreamData(Stream.STDOUT, b"out")
    pipes.write(b"err", stderr=True)
    for client in clients:
        assert client.record() == StreamData(Stream.STDERR, b"err")
    pipes.end()
    for client in clients:
        assert client.record() is None
    assert pipes.ended() == 0
    assert pipes.log.read_bytes() == b"before\nout"
    assert pipes.errors.read_bytes() == b"err"
    assert pipes.status.read_text() == "0"


def test_protobuf_and_types_of_answers(pipes: Server) -> None:
    first, second, third = (pipes.connect() for _ in range(3))
    assert first.attach_output(Encoding.PROTOBUF).headers["message-content-type"] == (
        Encoding.PROTOBUF.value
    )
    head = second.attach_output(JSON, accept=JSON.value)
    assert head.headers["content-type"] == JSON.value
    assert "message-content-type" not in head.headers
    assert third.attach_output(JSON, accept="text/html").status == 406
    pipes.write(b"x")
    assert first.record(Encoding.PROTOBUF) == StreamData(Stream.STDOUT, b"x")
    assert second.record() == StreamData(Stream.STDOUT, b"x")


@pytest.mark.parametrize(
    ("request_bytes", "status", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 405, "Expecting one of { 'POST' }, but received 'GET'"),
        (http1.request("/", {}, b""), 400, "Expecting 'Content-Type' to be present"),
        (http1.request("/", {"Content-Type": "text/x"}, b""), 415, "Expecting 'Content-Type' of"),
        (http1.request("/", {"Content-Type": JSON.value}, b"x"), 400, "Failed to parse body"),
        (http1.request("/", {"Content-Type": JSON.value}, b"{}"), 400, "Expecting 'type' to be"),
        (
            http1.request("/", {"Content-Type": RECORDIO}, None),
            400,
            "Expecting 'Message-Content-Type' to be set for streaming requests",
        ),
        (
            http1.request("/", {"Content-Type": RECORDIO, "Message-Content-Type": "x"}, None),
            415,
            "Expecting 'Message-Content-Type' of",
        ),
        (
            http1.request("/", {"Content-Type": RECORDIO, "Message-Content-Type": JSON.value}, b""),
            400,
            "IOSwitchboard received EOF while reading request body",
        ),
        (b"nonsense\r\n\r\n", 405, ""),
        (b"POST / HTTP/1.1\r\nbad\r\n\r\n", 400, "unusable header"),
        (
            http1.request("/", {"Content-Type": RECORDIO, "Message-Content-Type": JSON.value}, None)
            + http1.chunk(b"99999999999999999999\n"),
            400,
            "A record of 99999999999999999999 bytes",
        ),
    ],
)
def test_refused_requests(pipes: Server, request_bytes: bytes, status: int, text: str) -> None:
    client = pipes.connect()
    client.send(request_bytes)
    answered = client.answer()
    assert answered[0] == status
    assert answered[1].startswith(text)
    pipes.write(b"x")
    until(lambda: pipes.log.read_bytes() == b"x")


def test_input_in_turns(pipes: Server) -> None:
    first = pipes.connect()
    first.attach_input(typed(b"one "), StreamHeartbeat(), typed(b"two"))
    assert os.read(pipes.stdin, 4) == b"one "
    second = pipes.connect()
    second.attach_input(typed(b"no"))
    assert second.answer() == (409, "Multiple input connections are not allowed")
    assert first.finish() == (200, "")
    third = pipes.connect()
    third.attach_input(typed(b"three"))
    third.close()
    os.set_blocking(pipes.stdin, True)
    until(lambda: bool(select.select([pipes.stdin], [], [], 0)[0]))
    time.sleep(0.05)
    assert os.read(pipes.stdin, 100) == b"twothree"
    fourth = pipes.connect()
    fourth.attach_input(typed(b"four"), typed(b""))
    assert os.read(pipes.stdin, 100) == b"four"
    assert os.read(pipes.stdin, 100) == b""
    assert fourth.finish() == (200, "")
    fifth = pipes.connect()
    fifth.attach_input(typed(b"late"))
    assert fifth.answer() == (500, "Failed writing to stdin: Broken pipe")
    assert pipes.exit_code is None


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (CONTAINER, "Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of:"),
        (WindowSize(1, 1), "Unable to set the window size: Inappropriate ioctl for device"),
        (StreamData(Stream.STDOUT, b"x"), "Expecting 'process_io.data.type' to be 'STDIN'"),
    ],
)
def test_refused_records(pipes: Server, record: ProcessRecord, text: str) -> None:
    client = pipes.connect()
    client.attach_input(record)
    status, said = client.answer()
    assert status == 400
    assert said.startswith(text)
    again = pipes.connect()
    again.attach_input(typed(b"x"))
    assert os.read(pipes.stdin, 10) == b"x"


def test_the_first_record_names_the_container(pipes: Server) -> None:
    client = pipes.connect()
    headers = {"Content-Type": RECORDIO, "Message-Content-Type": JSON.value}
    client.send(http1.request("/", headers, None))
    client.type(typed(b"x"))
    text = "Expecting 'attach_container_input.type' to be CONTAINER_ID"
    assert client.answer() == (400, text)


def test_a_container_that_does_not_read(pipes: Server) -> None:
    """Input waits, output does not; a client that goes makes room for the next one."""
    client = pipes.connect()
    client.attach_input()
    client.socket.setblocking(False)
    sent = 0
    chunk = http1.chunk(recordio.encode(records.encode_input(typed(b"y" * 50000), JSON)))
    quiet = 0
    while quiet < 20:
        try:
            sent += client.socket.send(chunk[sent % len(chunk) :])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.005)
    assert sent < 2 << 20
    pipes.write(b"alive")
    until(lambda: pipes.log.read_bytes() == b"alive")
    client.close()
    time.sleep(0.05)
    other = pipes.connect()
    other.attach_input(typed(b"!"))
    other.send(LAST_CHUNK)
    while not os.read(pipes.stdin, 65536).endswith(b"!"):
        pass
    assert other.answer() == (200, "")


def test_many_small_records_at_once(pipes: Server) -> None:
    client = pipes.connect()
    call = http1.chunk(recordio.encode(records.encode_input(typed(b"z"), JSON)))
    client.attach_input()
    client.send(call * 5000)
    got = b""
    while len(got) < 5000:
        got += os.read(pipes.stdin, 65536)
    assert client.finish() == (200, "")


def test_a_container_without_stdin_lives_on(pipes: Server) -> None:
    pipes.close(pipes.stdin)
    client = pipes.connect()
    client.attach_input(typed(b"x"))
    assert client.answer() == (500, "Failed writing to stdin: Broken pipe")
    pipes.write(b"alive")
    until(lambda: pipes.log.read_bytes() == b"alive")
    pipes.end()
    assert pipes.ended() == 0


def test_the_end_answers_input(pipes: Server) -> None:
    client = pipes.connect()
    client.attach_input(typed(b"x"))
    os.read(pipes.stdin, 1)
    pipes.end()
    assert client.answer() == (200, "")
    acknowledged = pipes.connect()
    acknowledged.send(http1.request(server.ACKNOWLEDGE_PATH, {}, b""))
    assert acknowledged.answer() == (200, "")
    assert pipes.ended() == 0


def test_a_session_is_held_back_until_somebody_attaches(session: Server) -> None:
    session.write(b"early")
    session.end()
    time.sleep(0.1)
    assert session.log.read_bytes() == b""
    client = session.connect()
    client.attach_output()
    assert client.output() == b"early"
    assert session.ended() == 0
    assert session.log.read_bytes() == b"early"


def test_sigterm_lets_a_session_go(session: Server) -> None:
    session.write(b"early")
    session.end()
    os.kill(session.pid, signal.SIGTERM)
    assert session.ended() == 0
    assert session.log.read_bytes() == b"early"


def test_heartbeats(tmp_path: Path, started: list[Server]) -> None:
    started.append(Server(tmp_path, heartbeat="50ms"))
    client = started[0].connect()
    client.attach_output()
    assert [client.record() for _ in range(3)] == [StreamHeartbeat(50_000_000)] * 3


@pytest.mark.parametrize("readers", ["nobody", "a reader", "one that does not read"])
def test_a_flood(pipes: Server, readers: str) -> None:
    """100 MB pass at once, whoever reads; what is kept for a client is bounded."""
    size = 100 << 20
    if readers != "nobody":
        client = pipes.connect()
        client.attach_output(Encoding.PROTOBUF)
    block = bytes(range(256)) * 4096
    before_kb = pipes.memory_kb()
    got = 0
    for _ in range(size // len(block)):
        pipes.write(block)
        # never so far behind that it is let go, however busy the machine is
        written = got + len(block)
        while readers == "a reader" and got < written:
            record = client.record(Encoding.PROTOBUF)
            assert isinstance(record, StreamData)
            got += len(record.data)
    pipes.close(pipes.stdout, pipes.stderr)
    if readers == "a reader":
        assert got == size
        assert client.record(Encoding.PROTOBUF) is None
    until(lambda: pipes.log.stat().st_size == size, 60)
    if pipes.exit_code is None and readers == "one that does not read":
        with pytest.raises((EOFError, ConnectionError)):
            client.skip()
    assert pipes.ended() == 0
    assert before_kb > 0


def test_a_slow_client_is_let_go_and_disturbs_nobody(pipes: Server) -> None:
    slow, good = pipes.connect(), pipes.connect()
    slow.attach_output()
    good.attach_output()
    before_kb = pipes.memory_kb()
    data = b"x" * 60000
    for _ in range(500):
        pipes.write(data)
        got = 0
        while got < len(data):
            record = good.record()
            assert isinstance(record, StreamData)
            got += len(record.data)
    assert pipes.memory_kb() < before_kb + (40 << 10)
    with pytest.raises((EOFError, ConnectionError)):
        slow.skip()


def test_a_session_is_as_fast_as_its_reader(session: Server) -> None:
    size = 30 << 20
    client = session.connect()
    client.attach_output()
    writer = os.fork()
    if writer == 0:
        try:
            session.write(b"q" * size)
        finally:
            os._exit(0)
    session.close(session.stdout, session.stderr)
    time.sleep(0.5)
    assert session.log.stat().st_size < size / 2
    assert len(client.output()) == size
    os.waitpid(writer, 0)
    assert session.ended() == 0


def test_clients_that_vanish_at_any_point(pipes: Server) -> None:
    output = http1.request(
        "/",
        {"Content-Type": JSON.value, "Accept": RECORDIO},
        records.encode_attach_output(("c",), JSON),
    )
    headers = {"Content-Type": RECORDIO, "Message-Content-Type": JSON.value}
    given = http1.request("/", headers, None)
    given += http1.chunk(recordio.encode(records.encode_input(CONTAINER, JSON)))
    given += http1.chunk(recordio.encode(records.encode_input(typed(b"t"), JSON)))
    for request in (output, given):
        for cut in range(0, len(request) + 1, 7):
            client = pipes.connect()
            client.send(request[:cut])
            client.close()
        pipes.write(b".")
    time.sleep(0.05)
    last = pipes.connect()
    last.attach_input(typed(b"!"), typed(b""))
    assert last.finish() == (200, "")
    got = b""
    while data := os.read(pipes.stdin, 1000):
        got += data
    assert got.strip(b"t") == b"!"
    assert len(os.listdir(f"/proc/{pipes.pid}/fd")) < 20
    pipes.end()
    assert pipes.ended() == 0


def test_nobody_acknowledges(pipes: Server) -> None:
    client = pipes.connect()
    client.attach_input()
    assert client.finish() == (200, "")
    pipes.end()
    assert pipes.ended() == 0


def test_a_terminal(terminal: Server) -> None:
    client = terminal.connect()
    client.attach_output()
    given = terminal.connect()
    given.attach_input(WindowSize(33, 99999), typed(b""), typed(b"hi\n"))
    assert os.read(terminal.terminal, 100) == b"hi\n"
    size = struct.unpack("4H", fcntl.ioctl(terminal.terminal, termios.TIOCGWINSZ, bytes(8)))
    assert size[:2] == (33, 65535)
    terminal.write(b"out\n")
    terminal.end()
    assert given.answer() == (200, "")
    assert client.output() == b"hi\r\nout\r\n"
    assert terminal.ended() == 0
    assert terminal.status.read_text() == "0"


def test_the_end_of_a_terminal_does_not_overtake_its_output(
    tmp_path: Path, started: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may say EIO although what was written before the end is still to be read."""
    parent, read = os.getpid(), os.read
    hidden = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def read_late(fd: int, size: int) -> bytes:
        if os.getpid() != parent and os.isatty(fd) and hidden:
            raise hidden.pop()
        return read(fd, size)

    monkeypatch.setattr(os, "read", read_late)
    started.append(Server(tmp_path, tty=True))
    started[0].write(b"out\n")
    started[0].end()
    assert started[0].ended() == 0
    assert started[0].log.read_bytes() == b"out\r\n"


def test_a_terminal_session_nobody_attaches_to(tmp_path: Path, started: list[Server]) -> None:
    started.append(Server(tmp_path, tty=True, wait=True))
    held = started[0]
    held.write(b"x\n")
    held.end()
    time.sleep(0.1)
    spent = Path(f"/proc/{held.pid}/stat").read_text().rpartition(")")[2].split()[11]
    time.sleep(0.2)
    assert Path(f"/proc/{held.pid}/stat").read_text().rpartition(")")[2].split()[11] == spent
    os.kill(held.pid, signal.SIGTERM)
    assert held.ended() == 0
    assert held.log.read_bytes() == b"x\r\n"


def test_the_log_is_full(tmp_path: Path, started: list[Server]) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    started.append(Server(tmp_path))
    started[0].write(b"x")
    assert started[0].ended() == 1
    assert started[0].status.read_text() == "256"
    text = started[0].errors.read_text()
    assert text == (
        "The io switchboard server failed: Failed redirecting stdout: No space left on device\n"
    )


def test_a_log_that_is_a_slow_pipe(tmp_path: Path, started: list[Server]) -> None:
    """The container waits for its log, clients and input do not."""
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    started.append(Server(tmp_path))
    piped = started[0]
    os.set_blocking(piped.stdout, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(piped.stdout, b"w" * 4096)
            time.sleep(0.0005)
    client = piped.connect()
    client.attach_input(typed(b"x"))
    assert os.read(piped.stdin, 1) == b"x"
    os.set_blocking(reader, True)
    got = 0
    while got < written:
        got += len(os.read(reader, 65536))
    os.close(reader)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "'--socket_address' is missing"),
        (["--socket_address=/x"], "'--tty' is missing"),
        (["--socket_address=/x", "--tty"], "'--stdin_to_fd' is missing"),
        (["--what=1"], "Failed to load unknown flag 'what'"),
        (["x"], "Failed to load unknown argument 'x'"),
        (["--socket_address=/x", "--tty=maybe"], "Failed to load value 'maybe' of flag 'tty'"),
    ],
)
def test_command_lines(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert server.main(["mesos-io-switchboard", *arguments], {}) == 1
    assert capfd.readouterr().err == f"{text}\n"


def test_json_of_a_heartbeat_is_compact() -> None:
    payload = records.encode(StreamHeartbeat(1), JSON)
    assert json.loads(payload)["type"] == "CONTROL"
    assert b" " not in payload
