# SPDX-License-Identifier: Apache-2.0
"""``network/cni``: the network of a container. So far the host's network only.

A container with an image on the host's network gets the host's name and resolver files. Named
networks are refused.

Deviation: upstream binds the files from a helper program before the container's own mounts; here
they are part of those mounts, which shows the same files without another process.

Source: spec ``isolators-fs-net`` 13.3, 13.4, 13.8, 13.9.
"""

from __future__ import annotations

import logging
import os

from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.inside import make_file
from containerizer.linux.mount import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY
from containerizer.linux.namespaces import CLONE_NEWNS
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Files of the host that a container with an image sees, in the order seen with upstream.
HOST_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


class CniIsolator(Isolator):
    """Gives containers the host's network; keeps no state."""

    supports_nesting = True

    @classmethod
    def create(cls, context: IsolatorContext) -> CniIsolator:
        """Make the isolator; half a CNI configuration is refused."""
        plugins = context.config.network_cni_plugins_dir
        configs = context.config.network_cni_config_dir
        if plugins is None and configs is None:
            return cls()
        if os.geteuid() != 0:
            raise IsolatorError("The 'network/cni' isolator requires root permissions")
        if not plugins:
            raise IsolatorError("Missing required '--network_cni_plugins_dir' flag")
        if not configs:
            raise IsolatorError("Missing required '--network_cni_config_dir' flag")
        if not os.path.exists(configs):
            raise IsolatorError(
                f"The CNI network configuration directory '{configs}' does not exist"
            )
        log.warning("CNI networks are not supported yet: tasks that name one will fail")
        return cls()

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Refuse named networks; bind the host's files into an image's root file system."""
        if not is_debug(config):
            for network in config.container_info.network_infos:
                if network.HasField("name"):
                    if config.container_info.type != pb.ContainerInfo.MESOS:
                        raise IsolatorError("Can only prepare CNI networks for a MESOS container")
                    raise IsolatorError(f"Unknown CNI network '{network.name}'")
        if not config.HasField("rootfs"):
            return None
        info = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWNS])
        flags = MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
        for path in HOST_FILES:
            if not os.path.exists(path):
                continue
            try:
                target = make_file(config.rootfs, path)
            except OSError as error:
                raise IsolatorError(
                    f"Failed to setup hostname and network files: {error}"
                ) from error
            info.mounts.add(source=os.path.realpath(path), target=target, flags=flags)
        return info
