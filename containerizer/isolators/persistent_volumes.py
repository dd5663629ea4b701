# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes of top-level containers: which there are, whose they are, and since when.

How one gets into the sandbox is told by the file system isolator in use.

Deviations: two volumes at the same path are refused; upstream mounts only one of them. A path that
is no name of a directory is refused, but for one with a slash, which is passed over as upstream
does. A volume is read-only from the moment on in which a running container sees it.

Source: spec ``isolators-fs-net`` 3.1, 3.3.4, 3.3.5.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from containerizer.isolators.base import is_command_task
from containerizer.sandbox import open_sandbox
from containerizer.volume_gids import PERSISTENT, VolumeGids
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import IsolatorError, WireError
from mesos_compat.model.ids import ContainerId, id_error
from mesos_compat.model.resources import is_persistent_volume, upgrade
from mesos_compat.model.volumes import home
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """A volume as a container gets it."""

    #: Below the sandbox; no slash in it.
    name: str
    #: Absolute path on the host.
    source: str
    read_only: bool
    #: Several containers may have it at once.
    shared: bool


class VolumeAttachment(Protocol):
    """How volumes get into sandboxes. Both verbs raise OSError or IsolatorError."""

    def attach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        """Make a volume appear in a sandbox, which may be done already."""

    def detach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        """Make it disappear; its content stays."""


class PersistentVolumes:
    """Knows which container has which volumes."""

    def __init__(
        self, work_dir: str, attachment: VolumeAttachment, gids: VolumeGids | None
    ) -> None:
        self._work_dir = work_dir
        self._attachment = attachment
        self._gids = gids
        self._attached: dict[ContainerId, dict[str, PersistentVolume]] = {}

    async def update(
        self, container_id: ContainerId, directory: str, resources: Iterable[pb.Resource]
    ) -> tuple[int, ...]:
        """Let a container have the volumes among ``resources`` and no others.

        ``directory`` is its sandbox. Returns the groups of new ones that its processes need. Raises
        IsolatorError.
        """
        wanted = volumes_of(self._work_dir, resources)
        attached = self._attached.setdefault(container_id, {})
        if wanted == attached:
            return ()
        new = [volume for volume in wanted.values() if attached.get(volume.name) != volume]
        groups = await self._groups(directory, new)
        if self._attached.get(container_id) is not attached:
            raise IsolatorError("The container was destroyed while it was given its volumes")
        try:
            with open_sandbox(container_id, directory) as sandbox:
                for volume in [v for v in attached.values() if wanted.get(v.name) != v]:
                    self._attachment.detach(container_id, sandbox, volume)
                    del attached[volume.name]
                    if self._gids is not None:
                        self._gids.unmounted(os.path.join(directory, volume.name))
                for volume in [v for v in wanted.values() if v.name not in attached]:
                    if volume.source not in groups:
                        self._give(container_id, sandbox, volume)
                    self._attachment.attach(container_id, sandbox, volume)
                    attached[volume.name] = volume
                    if self._gids is not None:
                        self._gids.mounted(os.path.join(directory, volume.name), volume.source)
        except OSError as error:
            raise IsolatorError(
                f"Failed to set the persistent volumes of '{directory}': {error}"
            ) from error
        return tuple(groups.values())

    def forget(self, container_id: ContainerId, directory: str | None) -> None:
        """The container is gone."""
        for name in self._attached.pop(container_id, ()):
            if self._gids is not None and directory is not None:
                self._gids.unmounted(os.path.join(directory, name))

    async def _groups(self, directory: str, new: Iterable[PersistentVolume]) -> dict[str, int]:
        """Return the group of each new volume by its path; none for those of root's containers."""
        if self._gids is None:
            return {}
        try:
            if os.stat(directory).st_uid == 0:
                return {}
        except OSError as error:
            raise IsolatorError(
                f"Failed to get the ownership of '{directory}': {error.strerror}"
            ) from error
        return {each.source: await self._gids.allocate(each.source, PERSISTENT) for each in new}

    def _give(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        """Let the sandbox's owner own a volume, unless another container has it."""
        owner = os.fstat(sandbox.fd)
        if owner.st_uid == 0 or (volume.shared and self._is_used(container_id, volume)):
            return
        try:
            os.chown(volume.source, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise IsolatorError(
                f"Failed to change the ownership of the persistent volume at '{volume.source}' with"
                f" uid {owner.st_uid} and gid {owner.st_gid}: {error.strerror}"
            ) from error

    def _is_used(self, container_id: ContainerId, volume: PersistentVolume) -> bool:
        return any(
            used.source == volume.source
            for other, attached in self._attached.items()
            if other != container_id
            for used in attached.values()
        )


def volumes_of(work_dir: str, resources: Iterable[pb.Resource]) -> Mapping[str, PersistentVolume]:
    """Return the persistent volumes among ``resources`` by their names. Raises IsolatorError."""
    found: dict[str, PersistentVolume] = {}
    for given in resources:
        if not is_persistent_volume(given):
            continue
        resource = pb.Resource()
        resource.CopyFrom(given)
        upgrade(resource)
        name = resource.disk.volume.container_path
        if "/" in name:
            log.warning("Passing over the persistent volume at '%s': the path has a slash", name)
            continue
        try:
            why = id_error(name)
            if why is not None:
                raise WireError(f"Invalid path of persistent volume '{name}': {why}")
            source = home(work_dir, resource).path
        except WireError as error:
            raise IsolatorError(str(error)) from error
        read_only = resource.disk.volume.mode == pb.Volume.RO
        volume = PersistentVolume(name, source, read_only, resource.HasField("shared"))
        if found.setdefault(name, volume).source != source:
            raise IsolatorError(f"There are two persistent volumes at '{name}'")
    return found


def add_groups(
    info: slave.ContainerLaunchInfo, config: slave.ContainerConfig, groups: Iterable[int]
) -> None:
    """Let the processes of a container have the groups of its volumes."""
    if is_command_task(config) and config.HasField("rootfs"):
        info.task_supplementary_groups.extend(groups)
    else:
        info.supplementary_groups.extend(groups)


def refuse_volumes(resources: Iterable[pb.Resource], why: str) -> None:
    """Raise IsolatorError if there is a persistent volume."""
    if any(is_persistent_volume(resource) for resource in resources):
        raise IsolatorError(f"Persistent volumes are not supported for {why} containers")
