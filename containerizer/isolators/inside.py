# SPDX-License-Identifier: Apache-2.0
"""Makes mount points inside a root file system that an untrusted image filled.

Links are followed as a process inside would. The result is the path on the host, whose components
are no links: it means the same to the kernel later, as long as nobody writes to the root file
system in between (its container has not started).

Source: spec ``isolators-fs-net`` 5.3, 18.2.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from containerizer.linux import beneath
from containerizer.linux.mount import fd_path


def make_directory(rootfs: str, path: str) -> str:
    """Make the directory ``path`` of ``rootfs`` and its parents; return where it is on the host.

    Raises OSError (ELOOP, ENOTDIR, EROFS, …).
    """
    with _root(rootfs) as root, _closing(beneath.make_directory_in_root(root, path)) as made:
        _expect(stat.S_ISDIR(os.stat(made).st_mode), errno.ENOTDIR, path)
        return os.readlink(fd_path(made))


def make_mount_point(rootfs: str, path: str, *, directory: bool) -> str:
    """Make ``path`` of ``rootfs`` as a directory or file; return where it is on the host.

    What is there already is left alone if it is of that kind. Raises OSError.
    """
    if directory:
        return make_directory(rootfs, path)
    with _root(rootfs) as root, _closing(beneath.make_file_in_root(root, path)) as made:
        _expect(not stat.S_ISDIR(os.stat(made).st_mode), errno.EISDIR, path)
        return os.readlink(fd_path(made))


def make_file(rootfs: str, path: str) -> str:
    """Make the file ``path`` of ``rootfs`` if it is missing; return where it is on the host.

    A link in its place is replaced by an empty file. Raises OSError.
    """
    with _root(rootfs) as root:
        directory, name = beneath.make_parent_in_root(root, path)
    with _closing(directory):
        mode = None
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if mode is not None and stat.S_ISLNK(mode):
            os.unlink(name, dir_fd=directory)
            mode = None
        if mode is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=directory))
        else:
            _expect(stat.S_ISREG(mode), errno.EINVAL, path)
        return os.path.join(os.readlink(fd_path(directory)), name)


def _expect(holds: bool, number: int, path: str) -> None:
    if not holds:
        raise OSError(number, os.strerror(number), path)


def _root(rootfs: str) -> contextlib.AbstractContextManager[int]:
    return _closing(beneath.open_root(rootfs))


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
