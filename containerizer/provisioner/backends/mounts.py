# SPDX-License-Identifier: Apache-2.0
"""Root file systems that are mounts: what the bind and the overlay backend share. Blocking.

Source: spec ``images`` 4.4, 4.5.
"""

from __future__ import annotations

import errno
import os

from containerizer.linux import mount
from mesos_compat.base.errors import ProvisionError


def share(rootfs: str) -> None:
    """Let mounts below ``rootfs`` reach containers; none of theirs come back. Raises OSError."""
    mount.mount(None, rootfs, flags=mount.MS_SLAVE)
    mount.mount(None, rootfs, flags=mount.MS_SHARED)


def detach(rootfs: str) -> bool:
    """Unmount everything at ``rootfs``; ``False`` if it is no mount point. Raises ProvisionError.

    The mount table is not asked: it is long where there are many containers.
    """
    try:
        mount.umount(rootfs, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
        return True
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise ProvisionError(f"Failed to unmount rootfs '{rootfs}': {error.strerror}") from error


def require_root(name: str) -> None:
    """Raise ProvisionError unless this process is root's."""
    if os.geteuid() != 0:
        raise ProvisionError(f"{name} requires root privileges")
