# SPDX-License-Identifier: Apache-2.0
"""``volume/sandbox_path``: a part of the sandbox, or of the parent's, at another place.

Source: spec ``isolators-fs-net`` 6.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence

from containerizer.isolators import volumes
from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.linux import users
from containerizer.sandbox import open_sandbox
from containerizer.volume_gids import SANDBOX_PATH, VolumeGids
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_SandboxPath = pb.Volume.Source.SandboxPath


class SandboxPathVolumeIsolator(Isolator):
    """Knows the sandbox of each container."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, sandbox_directory: str, binds: bool, gids: VolumeGids | None = None) -> None:
        self._sandbox_directory = sandbox_directory
        self._binds = binds
        self._gids = gids
        self._sandboxes: dict[ContainerId, str] = {}

    @classmethod
    def create(cls, context: IsolatorContext) -> SandboxPathVolumeIsolator:
        """Make the isolator; without mount namespaces it makes links instead of mounts."""
        binds = context.config.launcher == "linux" and context.names("filesystem/linux")
        return cls(context.config.sandbox_directory, binds, context.gids)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remember the sandboxes of containers that go on."""
        for state in states:
            self._sandboxes[ContainerId.of(state.container_id)] = state.directory

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the mounts of all sandbox path volumes."""
        if container_id in self._sandboxes:
            raise IsolatorError("Container has already been prepared")
        self._sandboxes[container_id] = config.directory
        info = slave.ContainerLaunchInfo()
        for volume in config.container_info.volumes:
            volumes.check(volume, config)
            if volumes.isolator_of(volume) != "volume/sandbox_path":
                continue
            if is_debug(config):
                raise IsolatorError("SANDBOX_PATH volume is not supported for DEBUG containers")
            await self._add(info, container_id, config, volume)
        return info if info.mounts else None

    async def cleanup(self, container_id: ContainerId) -> None:
        """Forget the container."""
        self._sandboxes.pop(container_id, None)

    async def _add(
        self,
        info: slave.ContainerLaunchInfo,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        volume: pb.Volume,
    ) -> None:
        legacy = volume.HasField("host_path")
        kind = _SandboxPath.SELF if legacy else volume.source.sandbox_path.type
        path = volume.host_path if legacy else volume.source.sandbox_path.path
        absolute = os.path.isabs(volume.container_path)
        if config.HasField("rootfs") and not self._binds:
            raise IsolatorError(
                "The 'linux' launcher and 'filesystem/linux' isolator must be enabled to change"
                " the rootfs and bind mount"
            )
        if os.path.isabs(path):
            raise IsolatorError(f"Path '{path}' in SANDBOX_PATH volume is absolute")
        volumes.refuse_parents(path)
        if absolute and not self._binds:
            raise IsolatorError(
                "The 'linux' launcher and 'filesystem/linux' isolator must be enabled to support"
                " SANDBOX_PATH volume with absolute container path"
            )
        owner = self._owner_of_source(container_id, kind, absolute)
        source = os.path.join(self._sandboxes[owner], path)
        directory = volumes.make_source(owner, self._sandboxes[owner], path)
        if not self._binds:
            self._link(container_id, config.directory, volume, source)
            return
        target = volumes.mount_target(
            container_id,
            config,
            volume.container_path,
            self._sandbox_directory,
            directory=directory,
        )
        info.mounts.add(source=source, target=target, flags=volumes.flags_of(volume))
        if (
            self._gids is not None
            and kind == _SandboxPath.PARENT
            and _is_of_another(owner, self._sandboxes[owner], path, config)
        ):
            gid = await self._gids.allocate(source, SANDBOX_PATH)
            info.supplementary_groups.append(gid)

    def _owner_of_source(
        self, container_id: ContainerId, kind: _SandboxPath.Type, absolute: bool
    ) -> ContainerId:
        """Return the container in whose sandbox the volume is; it is a known one."""
        if kind == _SandboxPath.SELF:
            if not absolute:
                raise IsolatorError(
                    "'container_path' is relative for SANDBOX_PATH volume SELF type"
                )
            return container_id
        if kind != _SandboxPath.PARENT:
            raise IsolatorError("Unknown SANDBOX_PATH volume type")
        if container_id.parent is None:
            raise IsolatorError("SANDBOX_PATH volume PARENT type only works for nested container")
        if container_id.parent not in self._sandboxes:
            raise IsolatorError("Failed to locate the sandbox for the parent container")
        return container_id.parent

    def _link(
        self, container_id: ContainerId, sandbox: str, volume: pb.Volume, source: str
    ) -> None:
        if volume.mode == pb.Volume.RO:
            log.warning("Volume '%s' is read-only, but a link is not", volume.container_path)
        target = os.path.join(sandbox, volume.container_path)
        try:
            with open_sandbox(container_id, sandbox) as root:
                root.makedirs(os.path.dirname(volume.container_path), 0o755)
                root.symlink(source, volume.container_path)
        except OSError as error:
            raise IsolatorError(
                f"Failed to symlink '{source}' -> '{target}': {error.strerror}"
            ) from error


def _is_of_another(
    owner: ContainerId, sandbox: str, path: str, config: slave.ContainerConfig
) -> bool:
    """Whether a container runs as a user, but not root, who does not own the source."""
    if not config.HasField("user") or config.user == "root":
        return False
    user = users.identity_of(config.user)
    try:
        with open_sandbox(owner, sandbox) as root:
            return user is not None and root.lstat(path).st_uid != user.uid
    except OSError as error:
        raise IsolatorError(
            f"Failed to get the ownership of '{os.path.join(sandbox, path)}': {error.strerror}"
        ) from error
