# SPDX-License-Identifier: Apache-2.0
"""Create, open and remove files below a root directory, never through a link.

For trees that somebody else shapes: sandboxes, root file systems of images, archives. A path is
relative to the root; ``..``, absolute paths and symbolic links on the way are refused with OSError
(``ELOOP`` for links, ``EXDEV`` or ``EINVAL`` for leaving the root), whatever is renamed meanwhile.

The kernel's ``openat2`` does the walk; where it is missing (before Linux 5.6, or filtered) each
component is opened by itself with ``O_NOFOLLOW``, which refuses the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
import struct
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

_SYS_OPENAT2: Final = 437
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08

#: linux/fs.h; the value is an int, whatever the numbers say.
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
#: FS_IMMUTABLE_FL, FS_APPEND_FL
_LOCKED: Final = 0x10 | 0x20

_MISSING: Final = (errno.ENOSYS, errno.EPERM)

#: Asked now and then while something long goes on: whether to leave off.
Stop: TypeAlias = Callable[[], bool]


class RemovalStopped(Exception):
    """A removal was left off, because somebody wanted that; what is left can be removed later."""


def never() -> bool:
    """Go on to the end."""
    return False


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


class Root:
    """An open directory below which all is done. Close it, or use it as a context manager."""

    def __init__(self, path: str | bytes) -> None:
        #: Only for messages; the directory itself is held by ``fd``.
        self.path = os.fsdecode(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @classmethod
    def of(cls, fd: int) -> Root:
        """Return an open directory as a root; ``fd`` stays the caller's."""
        made = object.__new__(cls)
        made.path = f"descriptor {fd}"
        made.fd = os.dup(fd)
        return made

    def below(self, path: str) -> Root:
        """Return the directory ``path`` as a root of its own, which the caller closes."""
        made = object.__new__(Root)
        made.path = os.path.join(self.path, path)
        made.fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        return made

    def __enter__(self) -> Root:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory; harmless when repeated."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        """Open ``path`` (``""`` or ``"."`` is the root) and return the descriptor."""
        parts = _parts(path)
        flags |= os.O_CLOEXEC
        if not parts:
            return os.open(".", flags, dir_fd=self.fd)
        if _openat2_works(self.fd):
            return _openat2(self.fd, "/".join(parts), flags, mode)
        parent = self._walk(parts[:-1])
        try:
            if flags & os.O_DIRECTORY:
                return _open_folder(parent, parts[-1])
            return os.open(parts[-1], flags | os.O_NOFOLLOW, mode, dir_fd=parent)
        finally:
            os.close(parent)

    def create(self, path: str, mode: int = 0o666) -> int:
        """Create a regular file that must not exist; return its descriptor, open for writing."""
        return self.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)

    def parent(self, path: str) -> tuple[int, str]:
        """Open the folder of ``path``; return its descriptor (the caller closes) and the name.

        For operations with ``dir_fd`` that do not follow the last component.
        """
        parts = _parts(path)
        if not parts:
            raise OSError(errno.EINVAL, "names the root itself", path)
        folder = self.open("/".join(parts[:-1]), os.O_RDONLY | os.O_DIRECTORY)
        return folder, parts[-1]

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        """Create one directory; an existing one (no link) is fine."""
        folder, name = self.parent(path)
        try:
            os.mkdir(name, mode, dir_fd=folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                raise
        finally:
            os.close(folder)

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Create a directory and those above it."""
        parts = _parts(path)
        for count in range(1, len(parts) + 1):
            self.mkdir("/".join(parts[:count]), mode)

    def symlink(self, target: str, path: str) -> None:
        """Create a symbolic link; its target is never looked at."""
        folder, name = self.parent(path)
        try:
            os.symlink(target, name, dir_fd=folder)
        finally:
            os.close(folder)

    def link(self, existing: str, path: str) -> None:
        """Create a hard link to what ``existing`` names, itself if that is a symbolic link."""
        source, source_name = self.parent(existing)
        try:
            folder, name = self.parent(path)
            try:
                os.link(
                    source_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False
                )
            finally:
                os.close(folder)
        finally:
            os.close(source)

    def lstat(self, path: str) -> os.stat_result:
        """Return the status of what ``path`` names, a link itself included."""
        if not _parts(path):
            return os.fstat(self.fd)
        folder, name = self.parent(path)
        try:
            return os.lstat(name, dir_fd=folder)
        finally:
            os.close(folder)

    def remove(self, path: str, stop: Stop = never) -> None:
        """Remove a file, link or whole directory tree; what is not there or goes meanwhile is fine.

        What cannot be removed is an OSError when all else is gone. That is so with a mount point:
        what is mounted is never emptied. ``stop`` ends it early, with RemovalStopped.
        """
        try:
            folder, name = self.parent(path)
        except FileNotFoundError:
            return
        try:
            _remove(folder, name, stop)
        finally:
            os.close(folder)

    def clear(self, stop: Stop = never) -> None:
        """Remove all that is in the root, but not the root; ``stop`` as for ``remove``.

        What cannot be removed is an OSError when all else is gone.
        """
        _empty(self.fd, stop)

    def _walk(self, parts: list[str]) -> int:
        """Open a folder component by component."""
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        for part in parts:
            try:
                below = _open_folder(here, part)
            finally:
                os.close(here)
            here = below
        return here


def _parts(path: str) -> list[str]:
    if path.startswith("/"):
        raise OSError(errno.EXDEV, "is absolute", path)
    if "\0" in path:
        raise OSError(errno.EINVAL, "holds a NUL", path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OSError(errno.EXDEV, "leaves the root", path)
    return parts


def _open_folder(folder: int, name: str) -> int:
    """Open a directory that is no link; a link is ELOOP."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except NotADirectoryError:
        # the kernel says ENOTDIR for a link, too
        if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


def _open_same_mount(folder: int, name: str) -> int:
    """Open a directory, but no mount point (EXDEV)."""
    if _openat2_works(folder):
        return _openat2(
            folder, name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_NO_XDEV
        )
    below = _open_folder(folder, name)
    if os.fstat(below).st_dev != os.fstat(folder).st_dev:
        os.close(below)
        raise OSError(errno.EXDEV, "is a mount point", name)
    return below


def _remove(folder: int, name: str, stop: Stop) -> None:
    """Remove a file or a tree, stopping at mount points."""
    if _remove_flat(folder, name):
        return
    with contextlib.suppress(FileNotFoundError):
        top = _insist(lambda: _open_same_mount(folder, name), folder, name)
        try:
            _empty(top, stop)
        finally:
            os.close(top)
        _insist(lambda: os.rmdir(name, dir_fd=folder), folder, name)


def _empty(top: int, stop: Stop) -> None:
    """Remove all below a directory; what resists does not keep the rest. Raises the first OSError.

    Depth is the attacker's choice: a folder that is not empty is moved up to ``top`` and emptied
    there later, so that neither the stack nor the number of descriptors grows with it.
    """
    failures: list[OSError] = []
    pending = _empty_folder(top, failures, stop)
    while pending:
        current = pending.pop()
        try:
            below = _insist(partial(_open_same_mount, top, current), top, current)
        except FileNotFoundError:
            continue
        except OSError as error:
            failures.append(error)
            continue
        try:
            for name in _empty_folder(below, failures, stop):
                moved = f".removing-{secrets.token_hex(8)}"
                with contextlib.suppress(FileNotFoundError):
                    _insist(partial(_move_up, below, name, top, moved), below, name)
                    pending.append(moved)
        except OSError as error:
            failures.append(error)
        finally:
            os.close(below)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(current, dir_fd=top)
        except OSError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _empty_folder(folder: int, failures: list[OSError], stop: Stop) -> list[str]:
    """Remove what can be removed at once; return the names of directories with content."""
    left = []
    for name in os.listdir(folder):
        if stop():
            raise RemovalStopped
        try:
            if not _remove_flat(folder, name):
                left.append(name)
        except OSError as error:
            failures.append(error)
    return left


def _move_up(folder: int, name: str, top: int, moved: str) -> None:
    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)


def _remove_flat(folder: int, name: str) -> bool:
    """Remove anything but a directory with content; say whether it is gone."""
    try:
        os.unlink(name, dir_fd=folder)
        return True
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        pass
    except PermissionError:
        _unlock(folder, name)
        if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            os.unlink(name, dir_fd=folder)
            return True
    try:
        _insist(lambda: os.rmdir(name, dir_fd=folder), folder, name)
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    return False


def _insist(action: Callable[[], T], folder: int, name: str) -> T:
    """Do ``action``, once more after taking away what its owner put in the way of it."""
    try:
        return action()
    except PermissionError:
        _unlock(folder, name)
        return action()


def _unlock(folder: int, name: str) -> None:
    """Take the permissions and attributes of a file and its folder that keep it from removal.

    Root is kept by chattr(1) only, so modes are left alone for it: those of kernel file systems
    would be changed for the whole host. Somebody else is kept by modes of directories, too.
    """
    _unlock_open(folder)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(fd)
        path = f"/proc/self/fd/{fd}"
        if stat.S_ISDIR(status.st_mode):
            if os.geteuid() != 0:
                with contextlib.suppress(OSError):
                    os.chmod(path, 0o700)
        # what has other names may be somebody else's
        elif not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return
        with contextlib.suppress(OSError):
            readable = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _unlock_open(readable)
            finally:
                os.close(readable)
    finally:
        os.close(fd)


def _unlock_open(fd: int) -> None:
    with contextlib.suppress(OSError):
        flags = bytearray(struct.calcsize("l"))
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, flags)
        (value,) = struct.unpack_from("i", flags)
        if value & _LOCKED:
            struct.pack_into("i", flags, 0, value & ~_LOCKED)
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, flags)
    if os.geteuid() == 0:
        return
    with contextlib.suppress(OSError):
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)


_openat2_usable: bool | None = None


def _openat2_works(folder: int) -> bool:
    """Try ``openat2`` once; a filter may refuse it although the kernel has it."""
    global _openat2_usable
    if _openat2_usable is None:
        try:
            os.close(_openat2(folder, ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0))
            _openat2_usable = True
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            _openat2_usable = False
    return _openat2_usable


def _openat2(folder: int, path: str, flags: int, mode: int, resolve: int = 0) -> int:
    how = _OpenHow(
        flags=flags,
        mode=mode if flags & os.O_CREAT else 0,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | resolve,
    )
    encoded = os.fsencode(path)
    while True:
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(encoded),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.EAGAIN):
            raise OSError(code, os.strerror(code), path)
