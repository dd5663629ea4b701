# SPDX-License-Identifier: Apache-2.0
"""``filesystem/posix``: the host's file system for everybody.

Source: spec ``isolators-fs-net`` 3.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from containerizer.isolators.base import Isolator
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import is_persistent_volume
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class PosixFilesystemIsolator(Isolator):
    """Refuses what needs another root file system or mounts."""

    def __init__(self) -> None:
        self._known: set[ContainerId] = set()

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remember the containers that go on."""
        self._known.update(ContainerId.of(state.container_id) for state in states)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Refuse images and volumes."""
        if container_id in self._known:
            raise IsolatorError("Container has already been prepared")
        container = config.executor_info.container
        if container.mesos.HasField("image"):
            raise IsolatorError("Container root filesystems not supported")
        if container.volumes:
            raise IsolatorError("Volumes in ContainerInfo is not supported")
        refuse_persistent_volumes(config.resources)
        self._known.add(container_id)
        return None

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Refuse persistent volumes."""
        refuse_persistent_volumes(requests)

    async def cleanup(self, container_id: ContainerId) -> None:
        """Forget the container."""
        self._known.discard(container_id)


def refuse_persistent_volumes(resources: Sequence[pb.Resource]) -> None:
    """Raise IsolatorError if there is a persistent volume: none can be attached yet."""
    for resource in resources:
        if is_persistent_volume(resource):
            raise IsolatorError(
                f"Persistent volume '{resource.disk.persistence.id}' cannot be attached:"
                " this agent does not support persistent volumes yet"
            )
