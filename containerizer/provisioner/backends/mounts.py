# SPDX-License-Identifier: Apache-2.0
"""Root file systems that are mounts: what the bind and the overlay backend share. Blocking.

Source: spec ``images`` 4.4, 4.5.
"""

from __future__ import annotations

import os

from containerizer.linux import mount, mountinfo
from mesos_compat.base.errors import ProvisionError


def share(rootfs: str) -> None:
    """Let mounts below ``rootfs`` reach containers; none of theirs come back. Raises OSError."""
    mount.mount(None, rootfs, flags=mount.MS_SLAVE)
    mount.mount(None, rootfs, flags=mount.MS_SHARED)


def mounted(path: str) -> bool:
    """Whether ``path``, which must be canonical, is a mount point."""
    return any(entry.target == path for entry in mountinfo.read())


def detach(rootfs: str) -> None:
    """Unmount everything at ``rootfs``. Raises ProvisionError."""
    try:
        mount.umount(rootfs, mount.MNT_DETACH)
    except OSError as error:
        raise ProvisionError(f"Failed to unmount rootfs '{rootfs}': {error.strerror}") from error


def require_root(name: str) -> None:
    """Raise ProvisionError unless this process is root's."""
    if os.geteuid() != 0:
        raise ProvisionError(f"{name} requires root privileges")
