# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for what the containerizer is put together from.

Every step of a fake can be held (``steps.hold``), be waited for (``steps.reached``) and fail
(``steps.fail``), so a test can stop a container anywhere on its way.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from containerizer.isolators.base import Isolator
from containerizer.launcher.base import ForkRequest
from containerizer.provisioner.appc_details import AppcApp
from containerizer.provisioner.base import ProvisionInfo
from mesos_compat.base.errors import ContainerError, LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class Steps:
    """What the fakes did, in order, and where they stop or fail."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._failures: dict[str, ContainerError] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> None:
        """Let the step wait until it is released."""
        self._gates[name] = asyncio.Event()
        self._reached[name] = asyncio.Event()

    def release(self, name: str) -> None:
        """Let a held step go on."""
        self._gates.pop(name).set()

    def fail(self, name: str, error: ContainerError) -> None:
        """Let the step fail."""
        self._failures[name] = error

    async def reached(self, name: str) -> None:
        """Wait until the step has begun."""
        async with asyncio.timeout(60):
            await self._reached.setdefault(name, asyncio.Event()).wait()

    async def take(self, name: str) -> None:
        """Go through a step."""
        self.done.append(name)
        self._reached.setdefault(name, asyncio.Event()).set()
        if name in self._gates:
            try:
                await self._gates[name].wait()
            except asyncio.CancelledError:
                self.done.append(f"{name} cancelled")
                raise
        if name in self._failures:
            raise self._failures[name]


class FakeInit:
    """An init of nobody's process."""

    def __init__(self, pid: int, steps: Steps) -> None:
        self.pid = pid
        self.released = False
        self.aborted = False
        self._steps = steps

    def release(self) -> None:
        self._steps.done.append("release")
        self.released = True

    def abort(self) -> None:
        if not self.released:
            self.aborted = True


class FakeLauncher:
    """Hands out pids and lets containers exit when told."""

    def __init__(self, steps: Steps, first_pid: int = 1 << 22) -> None:
        self.steps = steps
        self.inits: dict[ContainerId, FakeInit] = {}
        self.requests: dict[ContainerId, ForkRequest] = {}
        self.orphans: frozenset[ContainerId] = frozenset()
        self.adopted: list[ContainerId] = []
        self.exited: frozenset[ContainerId] = frozenset()
        self._exits: dict[ContainerId, asyncio.Event] = {}
        self._next_pid = first_pid
        self.closed = False

    async def recover(
        self, states: Sequence[slave.ContainerState], exited: Collection[ContainerId] = ()
    ) -> frozenset[ContainerId]:
        self.exited = frozenset(exited)
        self.adopted = [ContainerId.of(state.container_id) for state in states]
        for container_id in set(self.adopted) - self.exited:
            self._exits[container_id] = asyncio.Event()
        return self.orphans

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> FakeInit:
        for descriptor in (request.stdio.stdin, request.stdio.stdout, request.stdio.stderr):
            os.fstat(descriptor)
        self.requests[container_id] = request
        await self.steps.take(f"fork {container_id}")
        self._next_pid += 1
        made = self.inits[container_id] = FakeInit(self._next_pid, self.steps)
        self._exits[container_id] = asyncio.Event()
        return made

    async def wait(self, container_id: ContainerId) -> None:
        if container_id in self._exits:
            await self._exits[container_id].wait()

    def exit(self, container_id: ContainerId, wait_status: int | None = 0) -> None:
        """Let init exit; without ``wait_status`` as if it was killed or had written itself."""
        if wait_status is not None:
            directory = self.requests[container_id].runtime_directory
            with open(os.path.join(directory, "status"), "w", encoding="ascii") as file:
                file.write(str(wait_status))
        self._exits[container_id].set()

    async def destroy(self, container_id: ContainerId) -> None:
        await self.steps.take(f"kill {container_id}")
        if container_id in self._exits:
            self._exits.pop(container_id).set()
        self.inits.pop(container_id, None)

    def pid(self, container_id: ContainerId) -> int | None:
        init = self.inits.get(container_id)
        return None if init is None else init.pid

    def signal(self, container_id: ContainerId, number: int) -> None:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    async def close(self) -> None:
        self.closed = True


class FakeProvisioner:
    """Says that every image is one and the same folder."""

    def __init__(self, steps: Steps, info: ProvisionInfo) -> None:
        self.steps = steps
        self.info = info
        self.pruned: list[pb.Image] = []
        self.recovered: frozenset[ContainerId] | None = None

    async def recover(self, known: Collection[ContainerId]) -> None:
        self.recovered = frozenset(known)

    async def provision(self, container_id: ContainerId, image: pb.Image) -> ProvisionInfo:
        await self.steps.take(f"provision {container_id}")
        return self.info

    def appc_app(self, container_id: ContainerId) -> AppcApp | None:
        return None

    async def destroy(self, container_id: ContainerId) -> bool:
        await self.steps.take(f"unprovision {container_id}")
        return True

    async def prune(self, excluded: Sequence[pb.Image]) -> None:
        self.pruned = list(excluded)


class FakeIsolator(Isolator):
    """Goes through a step per verb; ``info`` is what it prepares."""

    supports_nesting: ClassVar[bool] = True
    supports_standalone: ClassVar[bool] = True

    def __init__(
        self, name: str, steps: Steps, info: slave.ContainerLaunchInfo | None = None
    ) -> None:
        self.name = name
        self.steps = steps
        self.info = info
        self.limitations: dict[ContainerId, asyncio.Future[slave.ContainerLimitation]] = {}
        self.watching: set[ContainerId] = set()
        self.recovered: frozenset[ContainerId] | None = None
        self.states: list[slave.ContainerState] = []

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        self.states = list(states)
        self.recovered = frozenset(orphans)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        await self.steps.take(f"{self.name} prepare {container_id}")
        return self.info

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        await self.steps.take(f"{self.name} isolate {container_id}")

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        limitation: asyncio.Future[slave.ContainerLimitation] = (
            asyncio.get_running_loop().create_future()
        )
        self.limitations[container_id] = limitation
        self.watching.add(container_id)
        try:
            return await limitation
        finally:
            self.watching.discard(container_id)

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        await self.steps.take(f"{self.name} update {container_id}")

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        await self.steps.take(f"{self.name} usage {container_id}")
        return pb.ResourceStatistics(timestamp=1, mem_rss_bytes=7)

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus | None:
        await self.steps.take(f"{self.name} status {container_id}")
        return None

    async def cleanup(self, container_id: ContainerId) -> None:
        assert container_id not in self.watching
        await self.steps.take(f"{self.name} cleanup {container_id}")


class TopLevelOnlyIsolator(FakeIsolator):
    """Never sees nested or standalone containers."""

    supports_nesting = False
    supports_standalone = False


class NullLogger:
    """Throws output away."""

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        return os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)


def forking_fails(text: str) -> LaunchError:
    """Return what a launcher raises."""
    return LaunchError(text)
