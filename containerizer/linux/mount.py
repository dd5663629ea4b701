# SPDX-License-Identifier: Apache-2.0
"""mount(2), mount_setattr(2), umount2(2) and pivot_root(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

from containerizer.linux import mountinfo
from containerizer.linux.libc import LIBC, SYS_MOUNT_SETATTR, check, syscall, text

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
#: To be set, to be cleared, propagation, user namespace.
_MOUNT_ATTR = struct.Struct("=QQQQ")

_mount = LIBC.mount
_mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]
_umount2 = LIBC.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_pivot_root = LIBC.pivot_root
_pivot_root.argtypes = [ctypes.c_char_p, ctypes.c_char_p]


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None = None,
    flags: int = 0,
    options: str | None = None,
) -> None:
    """Mount ``source`` on ``target``; both may be ``/proc/self/fd/N`` of an O_PATH descriptor."""
    check(
        _mount(text(source), text(target), text(fstype), flags, text(options)),
        target,
    )


def mount_on(
    source: str | bytes | None,
    target_fd: int,
    fstype: str | None = None,
    flags: int = 0,
    options: str | None = None,
) -> None:
    """Mount on what the descriptor ``target_fd`` stands for, whatever its name is by now."""
    mount(source, fd_path(target_fd), fstype, flags, options)


def make_tree_read_only(path: str) -> None:
    """Make the mount at ``path`` and all below it read-only; the file systems stay as they are."""
    attributes = _MOUNT_ATTR.pack(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = syscall(
        SYS_MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(text(path)),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.c_char_p(attributes),
        ctypes.c_size_t(len(attributes)),
    )
    if result >= 0:
        return
    # Kernels before 5.12, and filters.
    for entry in mountinfo.read():
        if mountinfo.is_below(entry.target, path):
            # One that is covered by another cannot be named, nor used.
            with contextlib.suppress(OSError):
                mount(None, entry.target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def fd_path(fd: int) -> str:
    """Return a path that leads to an open descriptor of this process."""
    return f"/proc/self/fd/{fd}"


def umount(target: str | bytes, flags: int = UMOUNT_NOFOLLOW) -> None:
    """Unmount the topmost mount at ``target``."""
    check(_umount2(text(target), flags), target)


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """Make ``new_root`` the root of the mount namespace and move the old one to ``put_old``."""
    check(_pivot_root(text(new_root), text(put_old)), new_root, put_old)


def enter_root(root: str) -> None:
    """Make the mount point ``root`` the root directory and let go of the old one.

    The old root is stacked on the new one and detached: neither a directory inside the new root
    nor /proc is needed, and a read-only root is fine.
    """
    new = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(new)
    finally:
        os.close(new)
    pivot_root(".", ".")
    # The working directory now lies below the old root, which covers the new one.
    umount(".", MNT_DETACH)
    os.chroot(".")
    os.chdir("/")
