# SPDX-License-Identifier: Apache-2.0
"""``volume/host_path``: a file or directory of the host in a container.

Deviation: below the directories of ``--host_path_volume_force_creation`` nothing is created through
a link, which a container could have made.

Source: spec ``isolators-fs-net`` 7.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from containerizer.isolators import volumes
from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.linux import mountinfo
from containerizer.linux.mount import MS_SHARED
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_BIDIRECTIONAL = pb.MountPropagation.BIDIRECTIONAL


class HostPathVolumeIsolator(Isolator):
    """Binds host paths; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, sandbox_directory: str, creatable: Sequence[str]) -> None:
        self._sandbox_directory = sandbox_directory
        self._creatable = tuple(os.path.normpath(path) for path in creatable)

    @classmethod
    def create(cls, context: IsolatorContext) -> HostPathVolumeIsolator:
        """Make the isolator; needs mount namespaces."""
        if context.config.launcher != "linux":
            raise IsolatorError("'linux' launcher must be used")
        if not context.names("filesystem/linux"):
            raise IsolatorError("'filesystem/linux' isolator must be used")
        return cls(context.config.sandbox_directory, context.config.host_path_volume_force_creation)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the mounts of all host path volumes."""
        info = slave.ContainerLaunchInfo()
        for volume in config.container_info.volumes:
            volumes.check(volume, config)
            if volumes.isolator_of(volume) != "volume/host_path":
                continue
            if is_debug(config):
                raise IsolatorError("HOST_PATH volume is not supported for DEBUG containers")
            self._add(info, container_id, config, volume)
        return info if info.mounts else None

    def _add(
        self,
        info: slave.ContainerLaunchInfo,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        volume: pb.Volume,
    ) -> None:
        propagation = volume.source.host_path.mount_propagation.mode
        source = volume.host_path if volume.HasField("host_path") else volume.source.host_path.path
        if not os.path.isabs(source):
            raise IsolatorError(f"Path '{source}' in HOST_PATH volume is not absolute")
        if not os.path.lexists(source):
            self._create(source)
        target = volumes.mount_target(
            container_id,
            config,
            volume.container_path,
            self._sandbox_directory,
            directory=os.path.isdir(source),
        )
        if propagation == _BIDIRECTIONAL:
            info.mounts.add(target=_shared_mount(source), flags=MS_SHARED)
        if source != target:
            info.mounts.add(source=source, target=target, flags=volumes.flags_of(volume))

    def _create(self, source: str) -> None:
        missing = f"Path '{source}' in HOST_PATH volume does not exist"
        if not self._creatable:
            raise IsolatorError(missing)
        path = os.path.normpath(source)
        allowed = next((each for each in self._creatable if mountinfo.is_below(path, each)), None)
        if allowed is None:
            raise IsolatorError(
                f"{missing} and is not whitelisted for creation: Path '{path}' is not whitelisted"
            )
        try:
            os.makedirs(allowed, 0o755, exist_ok=True)
            # Containers may write there: no link of theirs decides where we make something.
            with Root(allowed) as root:
                root.makedirs(os.path.relpath(path, allowed), 0o755)
        except OSError as error:
            raise IsolatorError(
                f"Failed to create the host path at '{path}': {error.strerror}"
            ) from error


def _shared_mount(source: str) -> str:
    """Return the mount point through which mounts below ``source`` reach the host."""
    entries = mountinfo.breadth_first(mountinfo.read())
    holding = mountinfo.containing(entries, os.path.realpath(source))
    if holding is None or not holding.shared:
        raise IsolatorError(
            f"Cannot setup bidirectional mount propagation for host path '{source}' because it is"
            " not under a shared mount"
        )
    return holding.target
