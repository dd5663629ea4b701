# SPDX-License-Identifier: Apache-2.0
"""Outgoing messages: order, links and their ends, bounds."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesos_compat.base.scope import Scope
from mesos_compat.libprocess import wire
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.links import LinkLimits, Links
from mesos_compat.libprocess.upid import EMPTY, UPID, Address
from tests.libprocess.waiting import until

OWN = UPID("slave(1)", "10.0.0.1", 5051)


class Remote:
    """A peer that keeps what it gets, connection by connection."""

    def __init__(self) -> None:
        self.connections: list[list[str]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.answer = True
        self.pause = False
        self.ended = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names: list[str] = []
        self.connections.append(names)
        self.writers.append(writer)
        parser = wire.RequestReader()
        while not self.pause and (data := await reader.read(1 << 16)):
            for request in parser.feed(data):
                names.append(request.message().name)
                if self.answer:
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        if not self.pause:
            self.ended += 1
            writer.close()


class Bench:
    def __init__(self, scope: Scope, remote: Remote, port: int, limits: LinkLimits | None) -> None:
        self.remote = remote
        self.local: list[tuple[str, str]] = []
        self.exited: list[UPID] = []
        self.links = Links(scope, OWN.address, self._deliver, self.exited.append, limits=limits)
        self.master = UPID("master", "127.0.0.1", port)
        self.observer = UPID("slave-observer(1)", "127.0.0.1", port)

    def _deliver(self, sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        self.local.append((target_id, name))
        return True

    def send(self, name: str, target: UPID | None = None, body: bytes = b"x") -> None:
        self.links.send(OWN, target or self.master, name, body)


@asynccontextmanager
async def bench(limits: LinkLimits | None = None) -> AsyncIterator[Bench]:
    remote = Remote()
    server = await asyncio.start_server(remote, "127.0.0.1", 0)
    async with Scope("links") as scope:
        made = Bench(scope, remote, server.sockets[0].getsockname()[1], limits)
        try:
            yield made
        finally:
            await made.links.close()
            server.close()
            for writer in remote.writers:
                writer.close()
            await asyncio.sleep(0)


async def test_a_link_carries_all_messages_to_an_address_in_order() -> None:
    async with bench() as b:
        b.links.link(b.master)
        assert b.links.linked(b.master)
        for i in range(50):
            b.send(f"m{i}", b.observer if i % 2 else b.master)
        await until(lambda: b.remote.connections != [] and len(b.remote.connections[0]) == 50)
        for i in range(50, 100):
            b.send(f"m{i}")
        await until(lambda: len(b.remote.connections[0]) == 100)
        assert b.remote.connections == [[f"m{i}" for i in range(100)]]
        assert b.exited == []
        assert b.remote.ended == 0


async def test_without_a_link_the_connection_ends_after_the_messages() -> None:
    async with bench() as b:
        for i in range(20):
            b.send(f"m{i}", body=b"x" * 100_000)
        await until(lambda: b.remote.ended == 1)
        assert b.remote.connections == [[f"m{i}" for i in range(20)]]
        b.send("again")
        await until(lambda: b.remote.ended == 2)
        assert b.exited == []


async def test_linking_while_it_is_being_made_keeps_a_connection() -> None:
    async with bench() as b:
        b.send("one")
        b.links.link(b.master)
        b.send("two")
        await until(lambda: b.remote.connections == [["one", "two"]])
        assert b.remote.ended == 0
        assert b.links.linked(b.master)


async def test_the_end_of_a_link_is_one_event_per_upid() -> None:
    async with bench() as b:
        b.links.link(b.master)
        b.links.link(b.master)
        b.links.link(b.observer)
        b.send("m")
        await until(lambda: b.remote.connections == [["m"]])
        b.remote.writers[0].close()
        await until(lambda: len(b.exited) == 2)
        assert set(b.exited) == {b.master, b.observer}
        assert not b.links.linked(b.master)
        b.links.link(b.master)
        b.send("again")
        await until(lambda: b.remote.connections == [["m"], ["again"]])
        assert len(b.exited) == 2


async def test_a_link_that_cannot_be_made_is_exited(caplog: pytest.LogCaptureFixture) -> None:
    with bind(ListenOptions(ip="127.0.0.1")).socket as socket:
        nobody = UPID("master", "127.0.0.1", socket.getsockname()[1])
    async with bench() as b:
        b.links.link(nobody)
        b.send("m", nobody)
        await until(lambda: b.exited == [nobody])
        assert "dropping 1 message(s): " in caplog.text
        b.send("m", nobody)
        await until(lambda: not b.links._connections)
        assert b.exited == [nobody]


async def test_messages_to_ourselves_touch_no_socket() -> None:
    async with bench() as b:
        b.links.link(UPID("executor(1)", *OWN.address))
        b.send("m", UPID("executor(1)", *OWN.address))
        assert b.local == []
        await asyncio.sleep(0)
        assert b.local == [("executor(1)", "m")]
        assert b.links._connections == {}


async def test_nobody_is_not_dialled() -> None:
    async with bench() as b:
        b.send("m", UPID("x", "127.0.0.1", 0))
        b.links.send(OWN, EMPTY, "m", b"")
        b.links.link(EMPTY)
        assert b.links._connections == {}


async def test_a_peer_that_does_not_read_costs_bounded_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with bench(LinkLimits(queue_bytes=1_000_000)) as b:
        b.remote.pause = True
        b.links.link(b.master)
        for i in range(300):
            b.send(f"m{i}", body=b"x" * 100_000)
            await asyncio.sleep(0)
        (connection,) = b.links._connections.values()
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() <= 1_000_000
        assert caplog.text.count("bytes wait to be sent") == 1


async def test_connections_that_nobody_linked_are_limited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    # It takes every connection, and never reads nor closes one.
    with socket.create_server(("127.0.0.1", 0), backlog=64) as mute:
        port = mute.getsockname()[1]
        async with bench(LinkLimits(connections=2)) as b:
            b.links.link(b.master)
            b.send("first")
            await until(lambda: b.remote.connections == [["first"]])
            before = len(os.listdir("/proc/self/fd"))
            for number in range(20):
                # Where nobody is, that is known only after some turns of the loop.
                b.send("to nobody", UPID("x", f"127.0.1.{number + 1}", port))
            given_up = [r for r in caplog.records if r.getMessage().startswith("Too many")]
            assert len(given_up) == 18
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)
            b.send("second")
            await until(lambda: b.remote.connections == [["first", "second"]])
            assert b.exited == []
            b.links.link(UPID("x", "127.0.0.1", port))
            b.send("to the mute one", UPID("x", "127.0.0.1", port))
            for number in range(1, 20):
                b.send("to nobody", UPID("x", f"127.0.1.{number}", port))
            assert b.links.linked(UPID("x", "127.0.0.1", port))


async def test_what_waits_for_those_that_nobody_linked_is_limited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench(LinkLimits(spare_bytes=1_000_000)) as b:
        b.links.link(b.master)
        slow, slower = (UPID("x", f"127.0.1.{number}", b.master.port) for number in (1, 2))
        b.send("little", slow, body=b"x" * 1000)
        for _ in range(15):
            b.send("much", slower, body=b"x" * 100_000)
            assert b.links.waiting.used <= 1_000_000
        given_up = [r.getMessage() for r in caplog.records if "Too much waits" in r.getMessage()]
        assert len(given_up) == 1
        assert str(slower.address) in given_up[0]
        for _ in range(20):
            b.send("mine", body=b"x" * 100_000)
        await until(lambda: b.remote.connections == [["mine"] * 20])
        await until(lambda: b.links.waiting.used == 0)
        assert not b.links._closing


async def test_one_message_may_be_larger_than_the_queue() -> None:
    async with bench(LinkLimits(queue_bytes=1000)) as b:
        b.send("large", body=b"x" * 1_000_000)
        await until(lambda: b.remote.connections == [["large"]])


async def test_close_writes_what_is_queued() -> None:
    async with bench() as b:
        b.links.link(b.master)
        b.send("unregister")
        await b.links.close(grace_s=5)
        await until(lambda: b.remote.connections == [["unregister"]])
        b.send("late")
        b.links.link(b.master)
        await until(lambda: b.remote.ended == 1)
        assert b.remote.connections == [["unregister"]]
        assert b.exited == []


async def to_the_end(peer: socket.socket) -> None:
    """Read until the other side ends it."""
    while await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
        pass


@pytest.mark.parametrize("linked", [False, True])
async def test_what_has_not_arrived_at_the_end_never_does(linked: bool) -> None:
    """As with a process that is killed while its network is broken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        master = UPID("master", *server.getsockname())
        async with Scope("links") as scope:
            links = Links(scope, OWN.address, lambda *_: True, lambda _: None)
            if linked:
                links.link(master)
            links.send(OWN, master, "m", bytes(16 * 1024 * 1024))
            loop = asyncio.get_running_loop()
            peer, _ = await loop.sock_accept(server)
            with peer:
                await loop.sock_recv(peer, 1)
                await links.close(0.0)
                # An end in good order would come after all that the kernel has.
                with pytest.raises(ConnectionResetError):
                    await to_the_end(peer)


async def test_close_gives_up_after_its_grace() -> None:
    async with bench() as b:
        b.remote.pause = True
        b.links.link(b.master)
        for _ in range(100):
            b.send("m", body=b"x" * 1_000_000)
        await until(lambda: bool(b.remote.connections))
        await b.links.close(grace_s=0.01)
        await until(lambda: not b.links._connections)


async def test_cancelled_while_connecting() -> None:
    remote_exited: list[UPID] = []
    scope = Scope("links")
    links = Links(scope, OWN.address, lambda *_: True, remote_exited.append)
    unroutable = UPID("master", "192.0.2.1", 5050)
    links.link(unroutable)
    await asyncio.sleep(0)
    await links.close(grace_s=0.01)
    await scope.close()
    assert links._connections == {}
    assert remote_exited == []


async def test_own_address_is_an_address() -> None:
    assert Address("10.0.0.1", 5051) == OWN.address


async def test_a_broken_network_tells_nobody_until_it_is_back() -> None:
    async with bench() as b:
        b.links.link(b.master)
        b.send("one")
        await until(lambda: b.remote.connections == [["one"]])
        b.links.cut = True
        b.send("lost")
        b.links.link(b.observer)
        assert b.exited == []
        b.links.cut = False
        b.links.abort_connections()
        await until(lambda: b.exited == [b.master])
        b.send("two")
        await until(lambda: b.remote.connections == [["one"], ["two"]])


async def test_messages_of_one_turn_leave_in_their_order() -> None:
    async with bench() as b:
        b.links.link(b.master)
        for turn in range(3):
            for number in range(50):
                b.send(f"{turn}-{number}")
            await asyncio.sleep(0)
        expected = [f"{turn}-{number}" for turn in range(3) for number in range(50)]
        await until(lambda: b.remote.connections == [expected])
