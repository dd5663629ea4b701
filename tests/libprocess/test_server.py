# SPDX-License-Identifier: Apache-2.0
"""The listening socket: messages, other requests, order, limits, hostile peers."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from mesos_compat.base.errors import InvariantError
from mesos_compat.http.body import read_body
from mesos_compat.libprocess import wire
from mesos_compat.libprocess.address import Bound, ListenOptions, bind
from mesos_compat.libprocess.server import Server, ServerLimits, dispatch
from mesos_compat.libprocess.upid import UPID
from tests.libprocess.waiting import until

GOLDEN = Path(__file__).parent.parent / "golden" / "libprocess"
MASTER = UPID("master", "127.0.0.1", 5050)


class Peer:
    """A raw connection to the server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def responses(self, count: int) -> list[bytes]:
        """Read ``count`` responses with Content-Length."""
        found = []
        async with asyncio.timeout(60):
            for _ in range(count):
                head = await self.reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                body = await self.reader.readexactly(int(length[1])) if length else b""
                found.append(head + body)
        return found

    async def closed(self) -> bytes:
        async with asyncio.timeout(60):
            return await self.reader.read()


class Bench:
    def __init__(self, bound: Bound, limits: ServerLimits | None) -> None:
        self.messages: list[wire.Received] = []
        self.requests: list[str] = []
        self.release = asyncio.Event()
        self.release.set()
        self.server = Server(bound, self._inbox, self._handle, limits)
        self.target = UPID("slave(1)", *self.server.address)
        self._peers: list[Peer] = []

    def _inbox(self, sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        self.messages.append(wire.Received(sender, target_id, name, body))
        return target_id == "slave(1)"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        body = await read_body(request)
        await self.release.wait()
        return web.Response(text=f"{len(body)} bytes")

    async def connect(self) -> Peer:
        port = self.server._bound.socket.getsockname()[1]
        peer = Peer(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))
        self._peers.append(peer)
        return peer

    def message(self, name: str, body: bytes = b"", *, host: bool = True) -> bytes:
        return wire.encode(MASTER, self.target, name, body, host_header=host)

    async def close(self) -> None:
        for peer in self._peers:
            peer.writer.close()
        await self.server.close(0.1)


@asynccontextmanager
async def serving(
    limits: ServerLimits | None = None, *, match: bool = False
) -> AsyncIterator[Bench]:
    options = ListenOptions(ip="127.0.0.1", require_peer_address_ip_match=match)
    bench = Bench(bind(options), limits)
    await bench.server.start()
    try:
        yield bench
    finally:
        await bench.close()


def without_date(response: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+", b"Date: X", response)


async def test_a_recorded_flow_gets_the_recorded_answers() -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write((GOLDEN / "06-executor-1-to-agent.requests.bin").read_bytes())
        recorded = (GOLDEN / "06-executor-1-to-agent.responses.bin").read_bytes()
        answers = b"".join(await peer.responses(4))
        assert without_date(answers) == without_date(recorded)
        assert [message.name.rpartition(".")[2] for message in bench.messages] == [
            "RegisterExecutorMessage",
            *["StatusUpdateMessage"] * 3,
        ]


@pytest.mark.parametrize("number", ["02", "05"])
async def test_recorded_flows_are_delivered_in_order(number: str) -> None:
    flow = next(GOLDEN.glob(f"{number}-*.requests.bin")).read_bytes()
    reader = wire.RequestReader()
    expected = [request.message() for request in reader.feed(flow)]
    async with serving() as bench:
        peer = await bench.connect()
        for start in range(0, len(flow), 1000):
            peer.write(flow[start : start + 1000])
        await peer.responses(len(expected))
        assert bench.messages == expected


async def test_every_form_of_a_message_is_taken() -> None:
    """Who sends it by either header, how long it is by length or chunks; all in one go."""
    heads = (
        b"User-Agent: libprocess/master@127.0.0.1:5050\r\n",
        b"Libprocess-From: master@127.0.0.1:5050\r\n",
        b"User-Agent: curl\r\nLibprocess-From: master@127.0.0.1:5050\r\n",
    )
    bodies = (
        (b"Content-Length: 4\r\n", b"body"),
        (b"Transfer-Encoding: chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n"),
        (b"", b""),
    )
    hosts = (b"", b"Host: \r\n", b"Host: 127.0.0.1:5051\r\n")
    forms = [(head, *body, host) for head in heads for body in bodies for host in hosts]
    sent = b"".join(
        b"POST /slave(1)/m%d HTTP/1.1\r\n%b%b%b\r\n%b" % (number, head, host, length, body)
        for number, (head, length, body, host) in enumerate(forms)
    )
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(sent)
        answers = await peer.responses(len(forms))
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 202 Accepted"}
        assert [(m.name, m.body, str(m.sender)) for m in bench.messages] == [
            (f"m{number}", b"body" if length else b"", str(MASTER))
            for number, (_, length, _, _) in enumerate(forms)
        ]


async def test_an_idle_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end would tell a master that the agent is gone."""
    loop = asyncio.get_running_loop()
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(bench.message("before"))
        await peer.responses(1)
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + 24 * 3600.0)
        for _ in range(100):
            await asyncio.sleep(0)
        peer.write(bench.message("after"))
        await peer.responses(1)
        assert [message.name for message in bench.messages] == ["before", "after"]


async def test_statuses() -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(bench.message("m", b"x", host=False))
        peer.write(wire.encode(MASTER, UPID("nobody", *bench.server.address), "m", b""))
        peer.write(b"POST /slave(1)/m HTTP/1.1\r\nLibprocess-From: x\r\n\r\n")
        peer.write(b"POST /%zz/m HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\n")
        peer.write(bench.message("m", b"x"))
        answers = await peer.responses(5)
        assert [answer.split(b"\r\n")[0] for answer in answers] == [
            b"HTTP/1.1 202 Accepted",
            b"HTTP/1.1 404 Not Found",
            b"HTTP/1.1 500 Internal Server Error",
            b"HTTP/1.1 500 Internal Server Error",
            b"HTTP/1.1 202 Accepted",
        ]


async def test_the_peer_must_be_the_sender_if_so_configured() -> None:
    async with serving(match=True) as bench:
        peer = await bench.connect()
        peer.write(bench.message("m"))
        peer.write(wire.encode(UPID("master", "10.9.8.7", 5050), bench.target, "m", b""))
        good, bad = await peer.responses(2)
        assert good.startswith(b"HTTP/1.1 202")
        assert bad.startswith(b"HTTP/1.1 400 Bad Request")
        assert bad.endswith(
            b"UPID IP address validation failed: "
            b"Message from master@10.9.8.7:5050 was sent from IP 127.0.0.1"
        )
        assert len(bench.messages) == 1


async def test_messages_and_requests_share_a_connection_in_order() -> None:
    async with serving() as bench:
        bench.release.clear()
        peer = await bench.connect()
        peer.write(bench.message("one", b"1"))
        peer.write(b"GET /state HTTP/1.1\r\nHost:\r\n\r\n")
        peer.write(bench.message("two", b"2"))
        assert (await peer.responses(1))[0].startswith(b"HTTP/1.1 202 Accepted")
        await until(lambda: bool(bench.requests))
        bench.release.set()
        http, second = await peer.responses(2)
        assert http.endswith(b"0 bytes")
        assert second.startswith(b"HTTP/1.1 202 Accepted")
        assert [message.name for message in bench.messages] == ["one", "two"]


async def test_a_message_after_a_request_is_refused_like_any() -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(b"GET /state HTTP/1.1\r\nHost: x\r\n\r\n")
        peer.write(b"POST /slave(1)/m HTTP/1.1\r\nHost:\r\nLibprocess-From: x\r\n\r\n")
        peer.write(wire.encode(MASTER, UPID("nobody", *bench.server.address), "m", b""))
        answers = await peer.responses(3)
        assert [answer[9:12] for answer in answers] == [b"200", b"500", b"404"]


async def test_a_slow_handler_holds_up_nobody_else() -> None:
    async with serving() as bench:
        bench.release.clear()
        slow, master = await bench.connect(), await bench.connect()
        slow.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        master.write(bench.message("m"))
        await master.responses(1)
        bench.release.set()
        await slow.responses(1)


async def test_an_ordinary_client_with_a_large_body() -> None:
    async with serving() as bench, ClientSession() as session:
        port = bench.target.port
        for size in (0, 5_000_000):
            async with session.post(
                f"http://127.0.0.1:{port}/x", data=io.BytesIO(b"x" * size)
            ) as response:
                assert await response.text() == f"{size} bytes"


async def test_a_large_message_in_one_chunk() -> None:
    body = bytes(20 * 1024 * 1024)
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(bench.message("m", body))
        await peer.responses(1)
        assert bench.messages[0].body == body
        assert bench.server.messages.used == 0


async def test_who_waits_for_100_continue_gets_it() -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(
            b"POST /slave(1)/m HTTP/1.1\r\nUser-Agent: libprocess/master@127.0.0.1:5050\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        )
        assert (await peer.responses(1))[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.write(b"x")
        await peer.responses(1)


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(
            b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        )
        assert (await peer.responses(1))[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.write(b"x")
        (answer,) = await peer.responses(1)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n1 bytes")


class TestHostile:
    async def test_a_body_over_the_limit(self) -> None:
        async with serving(ServerLimits(body_bytes=1000)) as bench:
            peer = await bench.connect()
            peer.write(bench.message("m", b"x" * 1001))
            answer = await peer.closed()
            assert answer.startswith(b"HTTP/1.1 413 Request Entity Too Large")
            assert bench.messages == []

    async def test_garbage_is_answered_and_others_live_on(self) -> None:
        async with serving() as bench:
            bad, good = await bench.connect(), await bench.connect()
            bad.write(b"POST \0\0\0\r\n\r\n")
            assert (await bad.closed()).startswith(b"HTTP/1.1 400 Bad Request")
            tls = await bench.connect()
            tls.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
            await tls.closed()
            good.write(bench.message("m"))
            await good.responses(1)

    async def test_an_endless_head(self) -> None:
        async with serving() as bench:
            peer = await bench.connect()
            peer.write(b"POST /x HTTP/1.1\r\nX: " + b"a" * 100_000)
            assert (await peer.closed()).startswith(b"HTTP/1.1 400")

    async def test_all_bodies_together_are_bounded(self) -> None:
        async with serving(ServerLimits(body_bytes=1000, inflight_bytes=1500)) as bench:
            part = bench.message("m", b"x" * 900)[:-100]
            one, two = await bench.connect(), await bench.connect()
            one.write(part)
            await until(lambda: bench.server.messages.used > 0)
            two.write(part)
            assert b" 413 " in await two.closed()
            one.write(bench.message("m", b"x" * 900)[-100:])
            await one.responses(1)
            assert bench.server.messages.used == 0

    async def test_a_large_slow_message_does_not_shut_out_a_small_one(self) -> None:
        async with serving(ServerLimits(body_bytes=1000, inflight_bytes=1000)) as bench:
            large, small = await bench.connect(), await bench.connect()
            large.write(bench.message("m", b"x" * 990)[:-20])
            await until(lambda: bench.server.messages.used > 900)
            message = bench.message("m", b"x" * 200)
            small.write(message[:-10])
            assert b" 413 " in await large.closed()
            small.write(message[-10:])
            await small.responses(1)
            assert len(bench.messages) == 1

    async def test_too_many_connections(self) -> None:
        async with serving(ServerLimits(connections=3)) as bench:
            slow, busy = await bench.connect(), await bench.connect()
            bench.release.clear()
            busy.write(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: bench.requests == ["GET /busy"])
            slow.write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            await until(lambda: len(bench.requests) == 2)
            master = await bench.connect()
            master.write(bench.message("m"))
            await master.responses(1)
            idle = await bench.connect()  # takes the place of ``slow``
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await slow.responses(1)
            idle.write(bench.message("m"))
            await idle.responses(1)
            master.write(bench.message("m"))
            await master.responses(1)
            other = (
                await bench.connect()
            )  # takes that of ``idle``, which was used before ``master``
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await idle.responses(1)
            other.write(bench.message("m"))
            master.write(bench.message("m"))
            await master.responses(1)
            bench.release.set()
            await busy.responses(1)
            await other.responses(1)

    async def test_no_place_when_all_are_busy(self) -> None:
        async with serving(ServerLimits(connections=1)) as bench:
            bench.release.clear()
            busy = await bench.connect()
            busy.write(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: bench.requests == ["GET /busy"])
            more = await bench.connect()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await more.responses(1)
            bench.release.set()
            await busy.responses(1)

    async def test_a_flood_of_silent_connections_locks_nobody_out(self) -> None:
        async with serving(ServerLimits(connections=10)) as bench:
            master = await bench.connect()
            for _ in range(100):
                await bench.connect()
                master.write(bench.message("m"))
                await master.responses(1)
            assert len(bench.server._slots) == 10
            new = await bench.connect()
            new.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await new.responses(1)

    async def test_places_are_given_back(self) -> None:
        async with serving(ServerLimits(connections=5)) as bench:
            for _ in range(3):
                message, request = await bench.connect(), await bench.connect()
                refused = await bench.connect()
                message.write(bench.message("m"))
                await message.responses(1)
                request.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await request.responses(1)
                refused.write(b"POST \0\0\0\r\n\r\n")
                await refused.closed()
                message.writer.close()
                request.writer.close()
                await until(lambda: len(bench.server._slots) == 0)

    async def test_a_message_after_a_request_has_the_limits_of_any(self) -> None:
        async with serving(ServerLimits(body_bytes=1000)) as bench:
            peer = await bench.connect()
            peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await peer.responses(1)
            peer.write(bench.message("m", b"x" * 1001))
            (answer,) = await peer.responses(1)
            assert b" 413 " in answer
            assert bench.messages == []

    async def test_other_bodies_together_are_bounded(self) -> None:
        async with serving(ServerLimits(http_inflight_bytes=1000)) as bench:
            large, small = await bench.connect(), await bench.connect()
            large.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n" + b"x" * 900)
            await until(lambda: bench.server.bodies.used == 900)
            small.write(b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n" + b"x" * 199)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await large.responses(1)
            small.write(b"x")
            await small.responses(1)
            assert bench.server.bodies.used == 0

    async def test_a_peer_that_vanishes_gives_its_bytes_back(self) -> None:
        async with serving() as bench:
            peer = await bench.connect()
            peer.write(bench.message("m", b"x" * 900)[:-100])
            await until(lambda: bench.server.messages.used > 0)
            peer.writer.transport.abort()
            await until(lambda: bench.server.messages.used == 0)

    async def test_a_peer_that_reads_no_answers_is_not_read_for_ever(self) -> None:
        async with serving() as bench:
            peer = await bench.connect()
            data = bench.message("m") * 1000
            sent = 0
            peer.writer.transport.set_write_buffer_limits(high=0)
            try:
                async with asyncio.timeout(60):
                    while True:
                        peer.write(data)
                        sent += 1000
                        async with asyncio.timeout(0.2):
                            await peer.writer.drain()
            except TimeoutError:
                pass
            assert len(bench.messages) < sent
            peer.writer.transport.abort()


async def test_close_ends_connections_and_handlers() -> None:
    async with serving() as bench:
        bench.release.clear()
        idle, busy = await bench.connect(), await bench.connect()
        idle.write(bench.message("m"))
        await idle.responses(1)
        busy.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: bool(bench.requests))
        await bench.server.close(0.01)
        assert await idle.closed() == b""
        await busy.closed()
        with pytest.raises(OSError):
            await bench.connect()


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"GET / HTTP/9.9", b"\x01 / HTTP/1.1"])
async def test_no_answer_tells_what_it_was_made_with(request_line: bytes) -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(request_line + b"\r\nHost: x\r\n\r\n")
        (answer,) = await peer.responses(1)
        assert b"\r\nDate: " in answer
        assert b"Server:" not in answer
        assert b"ython" not in answer


def test_dispatch_by_process_id() -> None:
    taken: list[str] = []
    processes = {"slave(1)": lambda sender, target_id, name, body: taken.append(name)}
    inbox = dispatch(processes)
    assert inbox(MASTER, "slave(1)", "one", b"")
    assert not inbox(MASTER, "slave(2)", "two", b"")
    del processes["slave(1)"]
    assert not inbox(MASTER, "slave(1)", "three", b"")
    assert taken == ["one"]


async def test_closing_before_the_start() -> None:
    server = Server(bind(ListenOptions(ip="127.0.0.1")), lambda *_: True, lambda _: None)  # type: ignore[arg-type,return-value]
    await server.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nBad Header: \x01\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
        b"GET /\x1b[2J\n HTTP/9.9\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_malformed_requests_are_one_line_each(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as bench:
        peer = await bench.connect()
        peer.write(request_bytes)
        peer.writer.write_eof()
        await peer.closed()
        assert all(record.exc_info is None for record in caplog.records)
        assert len(caplog.records) <= 2
        assert all("\n" not in message for message in caplog.messages)
        assert (await (await talk(bench)).responses(1))[0].startswith(b"HTTP/1.1 202")


async def test_a_malformed_body_that_nobody_reads_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401)

    server = Server(bind(ListenOptions(ip="127.0.0.1")), lambda *_: True, refuse)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nabcd"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
        writer.write(b"efghi")
        await reader.read()
        writer.close()
    finally:
        await server.close(0.1)
    assert caplog.records
    assert all(record.exc_info is None for record in caplog.records)


async def talk(bench: Bench) -> Peer:
    """Send a message that is in order."""
    peer = await bench.connect()
    peer.write(bench.message("m"))
    return peer


async def test_malformed_requests_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as bench:
        for _ in range(60):
            peer = await bench.connect()
            peer.write(b"GET / HTTP/1.1\r\nBad Header: \x01\r\n\r\n")
            await peer.closed()
            peer.writer.close()
        assert 0 < len(caplog.records) <= 25


async def test_a_broken_invariant_of_a_handler_is_reported() -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    error = InvariantError("broken")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        raise error

    server = Server(bind(ListenOptions(ip="127.0.0.1")), lambda *_: True, handle)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 500")
        writer.close()
    finally:
        await server.close(0.1)
        loop.set_exception_handler(None)
    assert reported == [error]
