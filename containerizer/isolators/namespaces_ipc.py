# SPDX-License-Identifier: Apache-2.0
"""``namespaces/ipc``: an IPC namespace and the ``/dev/shm`` that belongs to it.

The two go together: whoever shares the one sees the other. Memory that containers inside may share
is a mount of the host in the runtime directory, because another one could not be reached.

Source: spec ``isolators-resources`` 9.

Deviation: a size of ``/dev/shm`` is exact at any size.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.inside import make_directory
from containerizer.linux import mount
from containerizer.linux.mount import MS_BIND, MS_NODEV, MS_NOSUID, MS_STRICTATIME
from containerizer.linux.namespaces import CLONE_NEWIPC
from mesos_compat.base.errors import CheckpointError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_HOST_SHM = "/dev/shm"
_FLAGS = MS_NOSUID | MS_NODEV | MS_STRICTATIME
_MODE = "mode=1777"
_MB = 1 << 20


class IpcNamespaceIsolator(Isolator):
    """Says which IPC namespaces to enter and to clone; private memory is a mount on the host."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self,
        container_directory: Callable[[ContainerId], str],
        container_config: Callable[[ContainerId], slave.ContainerConfig | None],
        disallow_sharing_agents: bool,
        default_size_bytes: int | None,
    ) -> None:
        self._container_directory = container_directory
        self._container_config = container_config
        self._disallow_sharing_agents = disallow_sharing_agents
        self._default_size_bytes = default_size_bytes

    @classmethod
    def create(cls, context: IsolatorContext) -> IpcNamespaceIsolator:
        """Make the isolator; needs root, kernel support, launcher and file system isolator."""
        if os.geteuid() != 0:
            raise IsolatorError("The IPC namespace isolator requires root permissions")
        if not os.path.exists("/proc/self/ns/ipc"):
            raise IsolatorError("IPC namespaces are not supported by this kernel")
        if context.config.launcher != "linux":
            raise IsolatorError("The 'linux' launcher must be used to enable the IPC namespace")
        if not context.names("filesystem/linux"):
            raise IsolatorError("'filesystem/linux' must be used to enable IPC namespace")
        return cls(
            context.container_directory,
            context.container_config,
            context.config.disallow_sharing_agent_ipc_namespace,
            context.config.default_container_shm_size_bytes,
        )

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return namespaces and the mount at ``/dev/shm``."""
        linux = config.container_info.linux_info
        mode = linux.ipc_mode if linux.HasField("ipc_mode") else None
        if mode == pb.LinuxInfo.UNKNOWN:
            raise IsolatorError("Unknown IPC mode")
        if linux.HasField("shm_size") and mode != pb.LinuxInfo.PRIVATE:
            raise IsolatorError(
                "Only support specifying the size of /dev/shm when the IPC mode is `PRIVATE`"
            )
        if container_id.parent is not None and is_debug(config):
            if mode == pb.LinuxInfo.PRIVATE:
                raise IsolatorError("Private IPC mode is not supported for DEBUG containers")
            return slave.ContainerLaunchInfo(enter_namespaces=[CLONE_NEWIPC])
        if mode == pb.LinuxInfo.PRIVATE:
            size = linux.shm_size * _MB if linux.HasField("shm_size") else None
            return self._private(container_id, config, size)
        if mode == pb.LinuxInfo.SHARE_PARENT:
            return self._shared(container_id, config)
        info = slave.ContainerLaunchInfo()
        if container_id.parent is None:
            info.clone_namespaces.append(CLONE_NEWIPC)
        else:
            info.enter_namespaces.append(CLONE_NEWIPC)
        if config.HasField("rootfs"):
            target = _target(config)
            info.mounts.add(
                source="tmpfs", target=target, type="tmpfs", flags=_FLAGS, options=_MODE
            )
        return info

    async def cleanup(self, container_id: ContainerId) -> None:
        """Give private memory back."""
        directory = self._own(container_id)
        try:
            mount.umount(directory)
            os.rmdir(directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return
            raise IsolatorError(
                f"Failed to unmount '{directory}': {error.strerror or error}"
            ) from error

    def _private(
        self, container_id: ContainerId, config: slave.ContainerConfig, size: int | None
    ) -> slave.ContainerLaunchInfo:
        if size is None:
            size = self._default_size_bytes
        directory = self._own(container_id)
        options = _MODE if size is None else f"{_MODE},size={size}"
        try:
            os.mkdir(directory, 0o700)
            mount.mount("tmpfs", directory, "tmpfs", _FLAGS, options)
        except OSError as error:
            raise IsolatorError(
                f"Failed to mount shared memory at '{directory}': {error.strerror or error}"
            ) from error
        info = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWIPC])
        info.mounts.add(source=directory, target=_target(config), flags=MS_BIND)
        return info

    def _shared(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        info = slave.ContainerLaunchInfo()
        memory = _HOST_SHM
        if container_id.parent is not None:
            info.enter_namespaces.append(CLONE_NEWIPC)
            memory = self._memory(container_id.parent)
        elif self._disallow_sharing_agents:
            raise IsolatorError(
                "Sharing agent IPC namespace with top-level container is not allowed"
            )
        if memory != _HOST_SHM or config.HasField("rootfs"):
            info.mounts.add(source=memory, target=_target(config), flags=MS_BIND)
        return info

    def _memory(self, container_id: ContainerId) -> str:
        """Return where on the host the memory of a container is that others may share."""
        failed = "Failed to get parent shared memory path: "
        try:
            config = self._container_config(container_id)
        except CheckpointError as error:
            raise IsolatorError(f"{failed}{error}") from error
        if config is None:
            raise IsolatorError(f"{failed}Failed to find config for container {container_id}")
        linux = config.container_info.linux_info
        mode = linux.ipc_mode if linux.HasField("ipc_mode") else None
        if mode == pb.LinuxInfo.PRIVATE:
            directory = self._own(container_id)
            if not os.path.isdir(directory):
                raise IsolatorError(f"{failed}'{directory}' does not exist")
            return directory
        if mode == pb.LinuxInfo.SHARE_PARENT:
            return _HOST_SHM if container_id.parent is None else self._memory(container_id.parent)
        if config.HasField("rootfs"):
            raise IsolatorError(
                f"{failed}The shared memory of container {container_id} cannot be shared with any"
                " other containers because it is only in the container's own mount namespace"
            )
        return _HOST_SHM

    def _own(self, container_id: ContainerId) -> str:
        return os.path.join(self._container_directory(container_id), "shm")


def _target(config: slave.ContainerConfig) -> str:
    """Return where the container's ``/dev/shm`` is before anybody pivots."""
    if not config.HasField("rootfs"):
        return _HOST_SHM
    try:
        return os.path.join(make_directory(config.rootfs, "/dev"), "shm")
    except OSError as error:
        raise IsolatorError(
            f"Failed to create mount point at '{config.rootfs}/dev': {error.strerror or error}"
        ) from error
