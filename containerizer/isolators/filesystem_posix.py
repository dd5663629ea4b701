# SPDX-License-Identifier: Apache-2.0
"""``filesystem/posix``: the host's file system for everybody; persistent volumes are links.

Source: spec ``isolators-fs-net`` 3.1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Collection, Mapping, Sequence

from containerizer.isolators.base import Isolator
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.persistent_volumes import (
    PersistentVolume,
    PersistentVolumes,
    add_groups,
    refuse_volumes,
)
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


class PosixFilesystemIsolator(Isolator):
    """Refuses what needs another root file system or mounts; knows the sandboxes."""

    def __init__(self, work_dir: str, gids: VolumeGids | None = None) -> None:
        self._sandboxes: dict[ContainerId, str] = {}
        self._volumes = PersistentVolumes(work_dir, _Links(), gids)

    @classmethod
    def create(cls, context: IsolatorContext) -> PosixFilesystemIsolator:
        """Make the isolator."""
        return cls(context.config.work_dir, context.gids)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remember the containers that go on."""
        for state in states:
            self._sandboxes[ContainerId.of(state.container_id)] = state.directory

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Refuse images and volumes; link the persistent ones."""
        if container_id in self._sandboxes:
            raise IsolatorError("Container has already been prepared")
        container = config.executor_info.container
        if container.mesos.HasField("image"):
            raise IsolatorError("Container root filesystems not supported")
        if container.volumes:
            raise IsolatorError("Volumes in ContainerInfo is not supported")
        if not config.HasField("executor_info"):
            refuse_volumes(config.resources, "standalone")
        self._sandboxes[container_id] = config.directory
        groups = await self._volumes.update(container_id, config.directory, config.resources)
        if not groups:
            return None
        info = slave.ContainerLaunchInfo()
        add_groups(info, config, groups)
        return info

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Link the persistent volumes that there are now."""
        if container_id not in self._sandboxes:
            raise IsolatorError("Unknown container")
        await self._volumes.update(container_id, self._sandboxes[container_id], requests)

    async def cleanup(self, container_id: ContainerId) -> None:
        """Forget the container; links vanish with its sandbox."""
        self._volumes.forget(container_id, self._sandboxes.pop(container_id, None))


class _Links:
    """Volumes as links in the sandbox, which belongs to a task."""

    def attach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        if volume.read_only:
            log.warning("Volume '%s' is read-only, but a link is not", volume.name)
        try:
            sandbox.symlink(volume.source, volume.name)
        except FileExistsError:
            if _target(sandbox, volume.name) != volume.source:
                raise IsolatorError(
                    f"The path '{volume.name}' in the sandbox is taken: no link to persistent"
                    f" volume '{volume.source}' can be there"
                ) from None

    def detach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(sandbox.lstat(volume.name).st_mode):
                os.unlink(volume.name, dir_fd=sandbox.fd)


def _target(sandbox: Root, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=sandbox.fd)
    except OSError:
        return ""
