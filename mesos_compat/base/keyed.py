# SPDX-License-Identifier: Apache-2.0
"""Locks per key, a fair read/write lock, and work that runs once per key.

For one event loop. All waiters are served in the order of their arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from mesos_compat.base.scope import Scope

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KeyedLock(Generic[K]):
    """One lock per key; keys that nobody holds or awaits take no memory."""

    def __init__(self) -> None:
        self._locks: dict[K, tuple[asyncio.Lock, int]] = {}

    def locked(self, key: K) -> bool:
        """Whether somebody holds or awaits the lock of ``key``."""
        return key in self._locks

    @asynccontextmanager
    async def hold(self, key: K) -> AsyncIterator[None]:
        """Hold the lock of ``key`` for the block."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)


class ReadWriteLock:
    """Many readers or one writer, first come first served: a waiting writer stops new readers."""

    def __init__(self) -> None:
        self._readers = 0
        self._writing = False
        self._waiters: deque[tuple[bool, asyncio.Future[None]]] = deque()

    def __repr__(self) -> str:
        held = "writing" if self._writing else f"{self._readers} reading"
        return f"<ReadWriteLock {held}, {len(self._waiters)} waiting>"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Share the lock with other readers for the block."""
        await self._acquire(write=False)
        try:
            yield
        finally:
            self._readers -= 1
            self._admit()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """Have the lock alone for the block."""
        await self._acquire(write=True)
        try:
            yield
        finally:
            self._writing = False
            self._admit()

    async def _acquire(self, *, write: bool) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (write, future)
        self._waiters.append(waiter)
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._waiters.remove(waiter)
            elif write:
                self._writing = False
            else:
                self._readers -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        """Let in whoever may enter, from the front of the queue."""
        while self._waiters:
            write, future = self._waiters[0]
            if future.cancelled():
                # its owner removes it when it wakes up
                if len(self._waiters) == 1:
                    return
                self._waiters.rotate(-1)
                if all(waiter.cancelled() for _, waiter in self._waiters):
                    return
                continue
            if self._writing or (write and self._readers):
                return
            self._waiters.popleft()
            if write:
                self._writing = True
            else:
                self._readers += 1
            future.set_result(None)


class SingleFlight(Generic[K, V]):
    """Run work once per key however many ask for it at the same time; all get its outcome.

    The work belongs to ``scope`` and is cancelled when the last caller has gone. Nothing is
    remembered once it ended.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._flights: dict[K, _Flight[V]] = {}

    def flying(self, key: K) -> bool:
        """Whether work for ``key`` is under way."""
        return key in self._flights

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]], name: str) -> V:
        """Return the result of ``work``, or of the equal work that is already under way.

        Raises what the work raises, to each caller.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.get_running_loop().create_future())
            self._flights[key] = flight
            flight.task = self._scope.spawn(self._fly(key, flight, work), name)
        flight.callers += 1
        try:
            return await asyncio.shield(flight.result)
        finally:
            flight.callers -= 1
            if flight.callers == 0 and not flight.result.done():
                self._forget(key, flight)
                assert flight.task is not None
                flight.task.cancel("nobody waits any more")

    async def _fly(
        self, key: K, flight: _Flight[V], work: Callable[[], Coroutine[Any, Any, V]]
    ) -> None:
        try:
            value = await work()
        except BaseException as error:
            self._forget(key, flight)
            if not flight.result.done():
                if isinstance(error, asyncio.CancelledError):
                    flight.result.cancel()
                else:
                    flight.result.set_exception(error)
                    flight.result.exception()
            if isinstance(error, asyncio.CancelledError) or not isinstance(error, Exception):
                raise
        else:
            self._forget(key, flight)
            if not flight.result.done():
                flight.result.set_result(value)

    def _forget(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[V]):
    def __init__(self, result: asyncio.Future[V]) -> None:
        self.result = result
        self.task: asyncio.Task[None] | None = None
        self.callers = 0
