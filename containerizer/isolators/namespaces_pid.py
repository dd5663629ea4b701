# SPDX-License-Identifier: Apache-2.0
"""``namespaces/pid``: a pid namespace per container.

Source: spec ``isolators-resources`` 8.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.linux.mount import MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID
from containerizer.linux.namespaces import CLONE_NEWPID
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class PidNamespaceIsolator(Isolator):
    """Says which pid namespaces to enter and to clone; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self, container_directory: Callable[[ContainerId], str], disallow_sharing_agents: bool
    ) -> None:
        self._container_directory = container_directory
        self._disallow_sharing_agents = disallow_sharing_agents

    @classmethod
    def create(cls, context: IsolatorContext) -> PidNamespaceIsolator:
        """Make the isolator; needs root, kernel support, launcher and file system isolator."""
        if os.geteuid() != 0:
            raise IsolatorError("The pid namespace isolator requires root permissions")
        if not os.path.exists("/proc/self/ns/pid"):
            raise IsolatorError("Pid namespaces are not supported by this kernel")
        if context.config.launcher != "linux":
            raise IsolatorError("'linux' launcher must be used to enable pid namespace")
        if not context.names("filesystem/linux"):
            raise IsolatorError("'filesystem/linux' must be used to enable pid namespace")
        return cls(context.container_directory, context.config.disallow_sharing_agent_pid_namespace)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return namespaces and the mount of the /proc that shows them."""
        share = config.container_info.linux_info.share_pid_namespace
        info = slave.ContainerLaunchInfo()
        if container_id.parent is not None:
            info.enter_namespaces.append(CLONE_NEWPID)
            if is_debug(config):
                return info
            if share:
                # the namespace may be the agent's, whose /proc cannot be mounted twice
                saved = os.path.join(self._container_directory(container_id), "mnt", "host_proc")
                os.makedirs(saved, 0o755, exist_ok=True)
                info.mounts.add(source="/proc", target=saved, flags=MS_MOVE)
        elif share:
            if self._disallow_sharing_agents:
                raise IsolatorError(
                    "Sharing agent pid namespace with top-level container is not allowed"
                )
            return None
        if not share:
            info.clone_namespaces.append(CLONE_NEWPID)
        info.mounts.add(
            source="proc", target="/proc", type="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC
        )
        return info
