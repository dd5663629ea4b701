# SPDX-License-Identifier: Apache-2.0
"""Several containerizers as one, for ``--containerizers`` with more than one name.

A top-level container is offered to each until one takes it; all that is nested in it, and every
later call about it, goes to the same.

Source: spec ``containerizer`` 1.4.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass

from containerizer.api import Containerizer, InputAnswer, LaunchOutcome, OutputStream
from mesos_compat.base.errors import ContainerError, LaunchAborted
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class _Phase(enum.Enum):
    LAUNCHING = "launching"
    LAUNCHED = "launched"
    DESTROYING = "destroying"


@dataclass(slots=True, eq=False)
class _Entry:
    """A container and who has it."""

    containerizer: Containerizer
    phase: _Phase


class ComposingContainerizer:
    """Implements ``api.Containerizer`` by others, which are asked in the order given."""

    def __init__(self, containerizers: Sequence[Containerizer]) -> None:
        self._containerizers = tuple(containerizers)
        self._entries: dict[ContainerId, _Entry] = {}
        self._scope = Scope("composing containerizer")

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        """Recover all; what each then has is its."""
        outcomes = await asyncio.gather(
            *(each.recover(known) for each in self._containerizers), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for containerizer in self._containerizers:
            for container_id in containerizer.containers():
                entry = self._entries[container_id] = _Entry(containerizer, _Phase.LAUNCHED)
                self._forget_later(container_id, entry)

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        """Launch by whoever takes it, a nested one by the containerizer of its root."""
        if container_id in self._entries:
            return LaunchOutcome.ALREADY_LAUNCHED
        if container_id.parent is None:
            candidates = self._containerizers
        else:
            root = self._entries.get(container_id.root)
            if root is None:
                raise ContainerError(f"Root container {container_id.root} not found")
            candidates = (root.containerizer,)
        entry = self._entries[container_id] = _Entry(candidates[0], _Phase.LAUNCHING)
        outcome = LaunchOutcome.NOT_SUPPORTED
        for containerizer in candidates:
            if entry.phase is _Phase.DESTROYING:
                self._entries.pop(container_id, None)
                raise LaunchAborted("Container was destroyed while launching")
            entry.containerizer = containerizer
            # On a failure the entry stays: the caller destroys.
            outcome = await containerizer.launch(
                container_id, config, environment, pid_checkpoint_path
            )
            if outcome is LaunchOutcome.SUCCESS:
                if entry.phase is _Phase.LAUNCHING:
                    entry.phase = _Phase.LAUNCHED
                self._forget_later(container_id, entry)
                return outcome
        self._entries.pop(container_id, None)
        return outcome

    def _forget_later(self, container_id: ContainerId, entry: _Entry) -> None:
        """Forget a container that has ended by itself."""

        async def forget() -> None:
            try:
                await entry.containerizer.wait(container_id)
            except ContainerError:
                return  # it could not be destroyed, and stays
            self._forget(container_id, entry)

        self._scope.spawn(forget(), f"end of {container_id}")

    def _forget(self, container_id: ContainerId, entry: _Entry) -> None:
        if self._entries.get(container_id) is entry:
            del self._entries[container_id]

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Set the resources of a known container."""
        await self._known(container_id).update(container_id, requests, limits)

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        """Return what a known container uses now."""
        return await self._known(container_id).usage(container_id)

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        """Return id, pid, networks and cgroups of a known container."""
        return await self._known(container_id).status(container_id)

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        """Ask the containerizer of the root, which remembers nested ones that have ended."""
        root = self._entries.get(container_id.root)
        return None if root is None else await root.containerizer.wait(container_id)

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        """Destroy a container; unknown ones are no error."""
        entry = self._entries.get(container_id)
        if entry is None:
            return await self.wait(container_id)
        entry.phase = _Phase.DESTROYING
        made = await entry.containerizer.destroy(container_id, termination)
        self._forget(container_id, entry)
        return made

    async def kill(self, container_id: ContainerId, signal: int) -> bool:
        """Send a signal to a known container."""
        entry = self._entries.get(container_id)
        return entry is not None and await entry.containerizer.kill(container_id, signal)

    def containers(self) -> frozenset[ContainerId]:
        """Return the ids of all containers of all containerizers, and of failed launches.

        Whoever looks for something to destroy shall find those, too.
        """
        return frozenset(self._entries).union(*(c.containers() for c in self._containerizers))

    def pending(self) -> Sequence[tuple[str, ContainerId | None]]:
        """Return what is under way anywhere."""
        return [call for each in self._containerizers for call in each.pending()]

    def is_standalone(self, container_id: ContainerId) -> bool:
        """Whether a known container, or the one it is nested in, has no executor."""
        root = self._entries.get(container_id.root)
        return root is not None and root.containerizer.is_standalone(container_id)

    async def attach_output(self, container_id: ContainerId, media_type: str) -> OutputStream:
        """Attach to the output of a known container."""
        return await self._known(container_id).attach_output(container_id, media_type)

    async def attach_input(
        self, container_id: ContainerId, media_type: str, calls: AsyncIterable[bytes]
    ) -> InputAnswer:
        """Send input to a known container."""
        return await self._known(container_id).attach_input(container_id, media_type, calls)

    async def remove(self, container_id: ContainerId) -> None:
        """Remove what is left of a nested container that has ended."""
        root = self._entries.get(container_id.root)
        if root is None:
            raise ContainerError(f"Root container {container_id.root} not found")
        await root.containerizer.remove(container_id)

    async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
        """Remove unused images of all containerizers."""
        for each in self._containerizers:
            await each.prune_images(excluded)

    async def close(self) -> None:
        """Let go of all; containers go on running."""
        await self._scope.close()
        for each in self._containerizers:
            await each.close()

    def _known(self, container_id: ContainerId) -> Containerizer:
        entry = self._entries.get(container_id)
        if entry is None:
            raise ContainerError("Container not found")
        return entry.containerizer
