# SPDX-License-Identifier: Apache-2.0
"""Exits and broken limits → destroy.

Source: spec ``containerizer`` 4.4, 17 (race), ``isolators-resources`` 1.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from containerizer.isolators.caller import IsolatorCaller
from containerizer.launcher.base import Launcher
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Called with the container and, for a broken limit, how it terminates.
Ended = Callable[[ContainerId, slave.ContainerTermination | None], None]

#: Turns of the event loop that a limitation gets to be seen before the exit that it caused: the
#: kernel signals an out-of-memory before it kills, so both are there when the exit is noticed.
_GRACE_TURNS = 3


class Watcher:
    """Watches containers in tasks of ``scope`` and says when one has to be destroyed.

    ``ended`` may be called several times for a container; the first call counts. ``settled`` is
    awaited after an exit, for what may have caused it and is about to be known.
    """

    def __init__(
        self,
        scope: Scope,
        launcher: Launcher,
        isolators: IsolatorCaller,
        ended: Ended,
        settled: Callable[[ContainerId], Awaitable[None]],
    ) -> None:
        self._settled = settled
        self._scope = scope
        self._launcher = launcher
        self._isolators = isolators
        self._ended = ended

    def start(self, container_id: ContainerId) -> Watch:
        """Watch a container whose process exists; before ``isolate``."""
        limits = [
            self._scope.spawn(self._limit(container_id, name, watch), f"{name} {container_id}")
            for name, watch in self._isolators.watches(container_id)
        ]
        exited = self._scope.spawn(self._exit(container_id), f"exit {container_id}")
        return Watch(limits, exited)

    async def _exit(self, container_id: ContainerId) -> None:
        try:
            await self._launcher.wait(container_id)
        except ContainerError as error:
            log.error("Container %s: cannot wait for its exit: %s", container_id, error)
        await self._settled(container_id)
        for _ in range(_GRACE_TURNS):
            await asyncio.sleep(0)
        log.info("Container %s has exited", container_id)
        self._ended(container_id, None)

    async def _limit(
        self,
        container_id: ContainerId,
        name: str,
        watch: Callable[[ContainerId], Awaitable[slave.ContainerLimitation]],
    ) -> None:
        try:
            limitation = await watch(container_id)
        except (ContainerError, OSError) as error:
            log.error("Container %s: %s cannot watch it: %s", container_id, name, error)
            self._ended(container_id, None)
            return
        log.info(
            "Container %s has reached its limit for resource %s and will be terminated",
            container_id,
            ", ".join(sorted({resource.name for resource in limitation.resources})) or "?",
        )
        self._ended(container_id, termination_of(limitation))


class Watch:
    """The tasks that watch one container."""

    def __init__(self, limits: list[asyncio.Task[None]], exited: asyncio.Task[None]) -> None:
        self._limits = limits
        self._exited = exited

    async def stop(self) -> None:
        """Stop watching; no isolator's ``watch`` runs when this returns."""
        tasks = [*self._limits, self._exited]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def termination_of(limitation: slave.ContainerLimitation) -> slave.ContainerTermination:
    """Return how a container ends that broke a limit."""
    made = slave.ContainerTermination(state=pb.TASK_FAILED, message=limitation.message)
    if limitation.HasField("reason"):
        made.reason = limitation.reason
    made.limited_resources.extend(limitation.resources)
    return made
