# SPDX-License-Identifier: Apache-2.0
"""``volume/image``: the file system of an image as a volume of a container.

What the image says of how to be run counts for nothing. Its root file system lives and dies with
those of the container.

Source: spec ``images`` 13, ``isolators-fs-net`` 8.
"""

from __future__ import annotations

import asyncio

from containerizer.isolators import volumes
from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext, Provision
from mesos_compat.base.errors import ContainerError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class ImageVolumeIsolator(Isolator):
    """Binds root file systems of images; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, sandbox_directory: str, provision: Provision) -> None:
        self._sandbox_directory = sandbox_directory
        self._provision = provision

    @classmethod
    def create(cls, context: IsolatorContext) -> ImageVolumeIsolator:
        """Make the isolator; needs mount namespaces."""
        if not context.names("filesystem/linux"):
            raise IsolatorError(
                "'filesystem/linux' must be enabled to create the volume image isolator"
            )
        return cls(context.config.sandbox_directory, context.provision)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Provision the images of all volumes at the same time; return their mounts."""
        found = [
            volume
            for volume in config.container_info.volumes
            if volumes.isolator_of(volume) == "volume/image"
        ]
        if not found:
            return None
        if is_debug(config):
            raise IsolatorError("Image volume is not supported for DEBUG containers")
        targets = [self._target(container_id, config, volume) for volume in found]
        made = await asyncio.gather(
            *(self._provision(container_id, volume.image) for volume in found),
            return_exceptions=True,
        )
        info = slave.ContainerLaunchInfo()
        failures = []
        for volume, target, result in zip(found, targets, made, strict=True):
            if isinstance(result, ContainerError):
                failures.append(str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                info.mounts.add(source=result.rootfs, target=target, flags=volumes.flags_of(volume))
        if failures:
            raise IsolatorError("\n".join(failures))
        return info

    def _target(
        self, container_id: ContainerId, config: slave.ContainerConfig, volume: pb.Volume
    ) -> str:
        volumes.check(volume, config)
        return volumes.mount_target(
            container_id,
            config,
            volume.container_path,
            self._sandbox_directory,
            directory=True,
            missing="Absolute container path '{}' does not exist",
        )
