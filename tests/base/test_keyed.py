# SPDX-License-Identifier: Apache-2.0
"""Locks per key, read/write lock, single flight."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mesos_compat.base.keyed import KeyedLock, ReadWriteLock, SingleFlight
from mesos_compat.base.scope import Scope


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def start(coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(coro)


class Bench:
    """Tasks that enter a lock, note it, and stay until told to leave."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}

    async def hold(self, name: str, manager: Any) -> None:
        self.leave[name] = asyncio.Event()
        async with manager:
            self.inside.append(name)
            try:
                await self.leave[name].wait()
            finally:
                self.inside.remove(name)


async def test_one_at_a_time_per_key_and_no_memory_left() -> None:
    lock: KeyedLock[str] = KeyedLock()
    bench = Bench()
    tasks = [start(bench.hold(n, lock.hold(n[0]))) for n in ("a1", "a2", "b1")]
    await settle()
    assert bench.inside == ["a1", "b1"]
    assert lock.locked("a")
    tasks[1].cancel()
    tasks.append(start(bench.hold("a3", lock.hold("a"))))
    await settle()
    bench.leave["a1"].set()
    await settle()
    assert bench.inside == ["b1", "a3"]
    for event in bench.leave.values():
        event.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not lock.locked("a")
    assert not lock.locked("b")


async def test_readers_share_and_a_waiting_writer_stops_new_ones() -> None:
    lock = ReadWriteLock()
    bench = Bench()
    tasks = [
        start(bench.hold(name, lock.write() if name[0] == "w" else lock.read()))
        for name in ("r1", "r2", "w1", "r3", "w2")
    ]
    await settle()
    assert bench.inside == ["r1", "r2"]
    assert repr(lock) == "<ReadWriteLock 2 reading, 3 waiting>"
    for done, inside in [("r1", ["r2"]), ("r2", ["w1"]), ("w1", ["r3"]), ("r3", ["w2"])]:
        bench.leave[done].set()
        await settle()
        assert bench.inside == inside
    bench.leave["w2"].set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("victim", ["w1", "r3"])
async def test_a_cancelled_waiter_does_not_block_others(victim: str) -> None:
    lock = ReadWriteLock()
    bench = Bench()
    tasks = {
        name: start(bench.hold(name, lock.write() if name[0] == "w" else lock.read()))
        for name in ("r1", "w1", "r3", "w2")
    }
    await settle()
    tasks[victim].cancel()
    await settle()
    for event in list(bench.leave.values()):
        event.set()
        await settle()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert repr(lock) == "<ReadWriteLock 0 reading, 0 waiting>"


async def test_a_waiter_cancelled_while_being_admitted_gives_the_lock_back() -> None:
    lock = ReadWriteLock()
    bench = Bench()
    first = start(bench.hold("w0", lock.write()))
    second = start(bench.hold("w1", lock.write()))
    await settle()
    bench.leave["w0"].set()
    await first
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    async with asyncio.timeout(60), lock.write():
        pass


class TestSingleFlight:
    async def test_all_callers_get_the_one_result(self) -> None:
        started = []
        release = asyncio.Event()

        async def work() -> int:
            started.append(1)
            await release.wait()
            return 42

        async with Scope("s") as scope:
            flights: SingleFlight[str, int] = SingleFlight(scope)
            callers = [asyncio.ensure_future(flights.run("k", work, "work")) for _ in range(3)]
            await settle()
            assert flights.flying("k")
            release.set()
            assert await asyncio.gather(*callers) == [42, 42, 42]
            assert started == [1]
            assert not flights.flying("k")
            assert await flights.run("k", work, "work") == 42
            assert started == [1, 1]

    async def test_all_callers_get_the_error(self) -> None:
        async def work() -> int:
            await asyncio.sleep(0)
            raise ValueError("x")

        async with Scope("s") as scope:
            flights: SingleFlight[str, int] = SingleFlight(scope)
            calls = [flights.run("k", work, "work") for _ in range(2)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [str(result) for result in results] == ["x", "x"]

    async def test_work_goes_on_for_the_others_and_ends_with_the_last(self) -> None:
        ended = []

        async def work() -> int:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)
            return 0

        async with Scope("s") as scope:
            flights: SingleFlight[str, int] = SingleFlight(scope)
            one, two = (asyncio.ensure_future(flights.run("k", work, "work")) for _ in range(2))
            await settle()
            one.cancel()
            await settle()
            assert not ended
            two.cancel()
            await settle()
            assert ended
            assert not flights.flying("k")

    async def test_closing_the_scope_ends_the_callers(self) -> None:
        scope = Scope("s")
        flights: SingleFlight[str, None] = SingleFlight(scope)
        caller = asyncio.ensure_future(flights.run("k", asyncio.Event().wait, "w"))  # type: ignore[arg-type]
        await settle()
        await scope.close()
        with pytest.raises(asyncio.CancelledError):
            await caller
