# SPDX-License-Identifier: Apache-2.0
"""Whole directory trees: remove one, stack copies of several.

Whoever wrote them may have meant harm: no link is ever followed.

Source: spec ``images`` 4.3, 4.9.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from mesos_compat.base.beneath import Root

log = logging.getLogger(__name__)

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

#: ioctl that makes two files share their blocks (linux/fs.h).
_FICLONE = 0x40049409

_COPY = 4 << 20

_CANNOT_SHARE = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EBADF,
    errno.EPERM,
    errno.ETXTBSY,
)

#: Attributes that say how a layer is to be seen, not what is in it.
_OF_OVERLAYFS = "trusted.overlay."

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"


def remove_tree(path: str) -> None:
    """Remove ``path`` and all that is below it, never through a link; nothing there is fine.

    A mount point in it raises OSError and is not emptied.
    """
    try:
        parent = Root(os.path.dirname(os.path.abspath(path)))
    except FileNotFoundError:
        return
    with parent:
        parent.remove(os.path.basename(path))


def discard_tree(path: str) -> None:
    """Remove ``path`` and all below it; a failure is only logged."""
    try:
        remove_tree(path)
    except OSError as error:
        log.warning("Failed to remove '%s': %s", path, error)


def empty_directory(path: str) -> None:
    """Remove what is in the directory ``path``; failures are only logged."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(path):
            discard_tree(os.path.join(path, name))


def remove_entry(parent: int, name: bytes) -> None:
    """Remove the entry ``name`` of the open directory ``parent``, with all below it."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        with Root.of(parent) as root:
            root.remove(os.fsdecode(name))


def copy_layers(layers: Sequence[tuple[str, AbstractSet[bytes]]], rootfs: str) -> None:
    """Apply layers, bottom first, to the empty directory ``rootfs``. Raises OSError.

    Whiteouts of a layer take away what lower layers have, and are not copied. Each layer comes with
    the paths of the directories whose attributes it does not decide.
    """
    target = os.open(rootfs, _OPEN_DIRECTORY)
    try:
        for layer, implicit in layers:
            # The name of a layer may be a link (of an operator); what is in it is not followed.
            source = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _Copy(target, implicit).directory(source, target, b"", new=False)
            finally:
                os.close(source)
    finally:
        os.close(target)


class _Copy:
    """Copies one layer onto what lower layers left."""

    def __init__(self, target: int, implicit: AbstractSet[bytes]) -> None:
        self._target = target
        self._implicit = implicit
        #: Files of this layer with several names: where the first one was copied to.
        self._links: dict[tuple[int, int], bytes] = {}
        self._clones = True
        self._privileged = os.geteuid() == 0

    def directory(self, source: int, target: int, path: bytes, *, new: bool) -> None:
        """Copy the entries of a directory, then its attributes."""
        before = None if new or path not in self._implicit else os.fstat(target)
        with os.scandir(source) as entries:
            names = sorted(os.fsencode(entry.name) for entry in entries)
        found = {name: os.stat(name, dir_fd=source, follow_symlinks=False) for name in names}
        for name in names:
            if not name.startswith(_WHITEOUT) or not stat.S_ISREG(found[name].st_mode):
                continue
            del found[name]
            if name == _OPAQUE:
                _clear(target)
            elif not name.startswith(_WHITEOUT * 2):
                hidden = name[len(_WHITEOUT) :]
                if hidden not in (b"", b".", b".."):
                    remove_entry(target, hidden)
        for name, status in found.items():
            self._entry(source, target, name, status, os.path.join(path, name))
        if before is None:
            copy_attributes(source, target)
        else:
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _entry(
        self, source: int, target: int, name: bytes, status: os.stat_result, path: bytes
    ) -> None:
        if stat.S_ISDIR(status.st_mode):
            self._inner(source, target, name, path)
            return
        if stat.S_ISSOCK(status.st_mode):
            return
        try:
            self._create(source, target, name, status, path)
        except FileExistsError:
            remove_entry(target, name)
            self._create(source, target, name, status, path)

    def _create(
        self, source: int, target: int, name: bytes, status: os.stat_result, path: bytes
    ) -> None:
        """Copy what is no directory. Raises FileExistsError before anything was done."""
        if status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            first = self._links.get(key, path)
            if first != path:
                os.link(
                    first,
                    name,
                    src_dir_fd=self._target,
                    dst_dir_fd=target,
                    follow_symlinks=False,
                )
                return
            self._links[key] = path
        if stat.S_ISREG(status.st_mode):
            self._file(source, target, name, status)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
        if self._privileged:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)

    def _inner(self, source: int, target: int, name: bytes, path: bytes) -> None:
        try:
            there = os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and not stat.S_ISDIR(there.st_mode):
            os.unlink(name, dir_fd=target)
            there = None
        new = there is None
        if new:
            os.mkdir(name, 0o700, dir_fd=target)
        deeper_source = os.open(name, _OPEN_DIRECTORY, dir_fd=source)
        try:
            deeper_target = os.open(name, _OPEN_DIRECTORY, dir_fd=target)
            try:
                self.directory(deeper_source, deeper_target, path, new=new)
            finally:
                os.close(deeper_target)
        finally:
            os.close(deeper_source)

    def _file(self, source: int, target: int, name: bytes, status: os.stat_result) -> None:
        new = os.open(name, _CREATE, 0o600, dir_fd=target)
        try:
            old = os.open(name, _READ, dir_fd=source)
            try:
                self._content(old, new, status)
                copy_attributes(old, new, status)
            finally:
                os.close(old)
        finally:
            os.close(new)

    def _content(self, old: int, new: int, status: os.stat_result) -> None:
        if self._clones and status.st_size:
            try:
                fcntl.ioctl(new, _FICLONE, old)
                return
            except OSError as error:
                if error.errno not in _CANNOT_SHARE:
                    raise
                self._clones = False
        if status.st_blocks * 512 >= status.st_size:
            _copy_range(old, new, 0, status.st_size)
            return
        position = 0
        while position < status.st_size:
            try:
                position = os.lseek(old, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break
            end = os.lseek(old, position, os.SEEK_HOLE)
            _copy_range(old, new, position, end)
            position = end
        os.ftruncate(new, status.st_size)


def _copy_range(old: int, new: int, position: int, end: int) -> None:
    if end - position > 1 << 16:
        try:
            while position < end:
                count = os.copy_file_range(old, new, end - position, position, position)
                if not count:
                    return
                position += count
            return
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
    while position < end:
        data = os.pread(old, min(_COPY, end - position), position)
        if not data:
            return
        while data:
            count = os.pwrite(new, data, position)
            position += count
            data = data[count:]


def copy_attributes(old: int, new: int, status: os.stat_result | None = None) -> None:
    """Give ``new`` the owner, mode, extended attributes and times of ``old``."""
    if status is None:
        status = os.fstat(old)
    if os.geteuid() == 0:
        os.fchown(new, status.st_uid, status.st_gid)
    os.fchmod(new, stat.S_IMODE(status.st_mode))
    try:
        names = os.listxattr(old)
    except OSError:
        names = []
    for name in names:
        if name.startswith(_OF_OVERLAYFS):
            continue
        with contextlib.suppress(OSError):
            os.setxattr(new, name, os.getxattr(old, name))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


def _clear(fd: int) -> None:
    """Remove all entries of a directory."""
    with os.scandir(fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries]
    for name in names:
        remove_entry(fd, name)
