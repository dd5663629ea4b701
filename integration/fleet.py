# SPDX-License-Identifier: Apache-2.0
"""Simulated agents in a thread of a test, which goes on meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mesos_compat.simulate.options import Options
from mesos_compat.simulate.simulation import Simulation

T = TypeVar("T")
_PATIENCE_S = 60.0


class Fleet:
    """A simulation, from another thread."""

    def __init__(self, master: str, options: Options) -> None:
        self._made: asyncio.Future[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.simulation: Simulation
        self._thread = threading.Thread(target=self._main, args=(master, options), daemon=True)

    def call(self, function: Callable[[Simulation], T]) -> T:
        """Run a function in the loop of the agents."""

        async def run() -> T:
            return function(self.simulation)

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of the agents."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_S)

    def _main(self, master: str, options: Options) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run(master, options))

    async def _run(self, master: str, options: Options) -> None:
        try:
            async with Simulation(master, options) as self.simulation:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.simulation.registered()
                self._ready.set()
                await self._end.wait()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    def start(self) -> None:
        """Wait until all are registered."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise AssertionError(str(self._error)) from self._error

    def stop(self) -> None:
        """End all agents."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive(), "the simulation does not end"
        assert self._error is None, self._error


@contextmanager
def fleet(master: str, options: Options) -> Iterator[Fleet]:
    """Run simulated agents until the block is left."""
    made = Fleet(master, options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
