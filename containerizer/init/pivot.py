# SPDX-License-Identifier: Apache-2.0
"""Entering the root file system of an image.

Source: spec ``containerizer`` 8.4.
Deviation: the old root is stacked on the new one instead of being moved below the image's /tmp,
so images without /proc or /tmp and read-only ones work; what the container sees is the same.
"""

from __future__ import annotations

import contextlib
import errno
import os

from containerizer.init.failure import LaunchFailure, failure, tell
from containerizer.linux import beneath, mount


def check(rootfs: str) -> None:
    """Refuse a root that is missing or that is not named by its canonical path."""
    tell(f"Preparing rootfs at '{rootfs}'")
    try:
        real = _real_path(rootfs)
    except OSError as error:
        raise failure(f"Failed to determine if rootfs '{rootfs}' exists", error) from error
    if real != rootfs:
        raise LaunchFailure(f"Rootfs path '{rootfs}' is not an absolute path")


def enter(rootfs: str) -> None:
    """Make ``rootfs``, a mount point, the root directory; the old root is unreachable then."""
    tell(f"Changing root to {rootfs}")
    what = f"Failed to enter chroot '{rootfs}'"
    try:
        _make_tmp(rootfs)
        try:
            mount.enter_root(rootfs)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Not a mount point: nobody bound it onto itself.
            mount.mount(rootfs, rootfs, None, mount.MS_BIND | mount.MS_REC)
            mount.enter_root(rootfs)
    except OSError as error:
        raise failure(what, error) from error


def _real_path(path: str) -> str:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.readlink(mount.fd_path(fd))
    finally:
        os.close(fd)


def _make_tmp(rootfs: str) -> None:
    """Create /tmp where an image has none and can be written to: upstream leaves one behind."""
    root = beneath.open_root(rootfs)
    try:
        with contextlib.suppress(OSError):
            os.close(beneath.make_directory_in_root(root, "tmp"))
    finally:
        os.close(root)
