# SPDX-License-Identifier: Apache-2.0
"""Persistent volumes as mounts in sandboxes on the host, from where they spread to containers.

A running container sees a mount at once and with the options that it has then. So a read-only one
is made somewhere else first.

Source: spec ``isolators-fs-net`` 3.3.4, 3.3.5.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from containerizer.isolators.persistent_volumes import PersistentVolume
from containerizer.isolators.volumes import make_in_sandbox
from containerizer.linux import mount, mountinfo
from containerizer.linux.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    UMOUNT_NOFOLLOW,
)
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId

#: Options of the host's mount that stay, by their flags in statvfs.
_KEPT = {
    os.ST_NOSUID: MS_NOSUID,
    os.ST_NODEV: MS_NODEV,
    os.ST_NOEXEC: MS_NOEXEC,
}


class VolumeMounts:
    """Mounts volumes; ``directory_of`` returns the runtime directory of a container."""

    def __init__(self, directory_of: Callable[[ContainerId], str]) -> None:
        self._directory_of = directory_of

    def attach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        """Mount a volume into a sandbox, whose owner may be at work there."""
        target = os.path.join(sandbox.path, volume.name)
        try:
            if _is_mounted(target):
                return
            make_in_sandbox(sandbox, volume.name, directory=True)
            point = sandbox.open(volume.name, os.O_PATH | os.O_DIRECTORY)
            try:
                if volume.read_only:
                    self._mount_read_only(container_id, volume.source, point)
                else:
                    mount.mount_on(volume.source, point, None, MS_BIND)
            finally:
                os.close(point)
        except OSError as error:
            raise IsolatorError(
                f"Failed to mount persistent volume from '{volume.source}' to '{target}':"
                f" {error.strerror or error}"
            ) from error

    def detach(self, container_id: ContainerId, sandbox: Root, volume: PersistentVolume) -> None:
        """Unmount a volume; refused while somebody uses it."""
        target = os.path.join(sandbox.path, volume.name)
        try:
            mount.umount(target, UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EINVAL:  # not mounted (any more)
                raise IsolatorError(
                    f"Failed to unmount unneeded persistent volume at '{target}': {error.strerror}"
                ) from error
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(volume.name, dir_fd=sandbox.fd)
        except OSError as error:
            raise IsolatorError(
                f"Failed to remove persistent volume mount point at '{target}': {error.strerror}"
            ) from error

    def _mount_read_only(self, container_id: ContainerId, source: str, point: int) -> None:
        staging = os.path.join(self._directory_of(container_id), "persistent-volume")
        os.makedirs(staging, 0o700, exist_ok=True)
        options = os.statvfs(source).f_flag
        kept = sum(flag for told, flag in _KEPT.items() if options & told)
        mount.mount(source, staging, None, MS_BIND)
        try:
            mount.mount(None, staging, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
            mount.mount_on(staging, point, None, MS_BIND)
        finally:
            mount.umount(staging, MNT_DETACH | UMOUNT_NOFOLLOW)
            os.rmdir(staging)


def _is_mounted(target: str) -> bool:
    return any(entry.target == target for entry in mountinfo.read_below(target))
