# SPDX-License-Identifier: Apache-2.0
"""What runs for a container, beside the facts in the table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from containerizer.machine import Container, State
from containerizer.watch import Watch
from mesos_compat.base.errors import LaunchAborted
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

T = TypeVar("T")


class ContainerHandle:
    """What runs for a container, beside the facts in the table."""

    def __init__(self, container: Container) -> None:
        loop = asyncio.get_running_loop()
        self.container = container
        #: Done once no launch works on the container (any more).
        self.settled: asyncio.Future[None] = loop.create_future()
        #: How the container ended; an exception if it could not be destroyed.
        self.termination: asyncio.Future[slave.ContainerTermination] = loop.create_future()
        self.termination.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.watch: Watch | None = None
        self._step: asyncio.Task[object] | None = None
        self._interrupted = False

    async def interruptible(self, step: Awaitable[T]) -> T:
        """Await a step of the launch that a destroy may cut short, which is CancelledError here
        and for the step, and LaunchAborted for the launch."""
        task = asyncio.current_task()
        assert task is not None
        self._step = task
        during = self.container.state.name.lower()
        try:
            return await step
        except asyncio.CancelledError:
            if self._interrupted and task.uncancel() == 0:
                self.go_on(during)
            raise
        finally:
            self._step = None

    def interrupt(self) -> None:
        """Cut the current step short, if it allows that."""
        if self._step is not None:
            self._interrupted = True
            self._step.cancel(f"container {self.container.id} is being destroyed")

    def go_on(self, during: str) -> None:
        """Raise LaunchAborted if somebody destroys the container."""
        if self.container.state is State.DESTROYING:
            raise LaunchAborted(f"Container is being destroyed during {during}")
