# SPDX-License-Identifier: Apache-2.0
"""Paths inside a foreign root: whatever links it holds, nothing leads out.

Absolute links and ``..`` are taken relative to the root, as they will be once the root is
entered. Names are resolved to O_PATH descriptors, and it is those that get mounted on.

Source: openat2(2) RESOLVE_IN_ROOT; spec ``isolators-fs-net`` 5.3, 18.2.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from typing import Literal

from containerizer.linux.libc import SYS_OPENAT2, check, syscall, text

_NO_MAGICLINKS = 0x02
_BENEATH = 0x08
_IN_ROOT = 0x10
_PATH_FLAGS = os.O_PATH | os.O_CLOEXEC
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
#: As the kernel: more links than this are a loop.
_MAX_LINKS = 40
_OPEN_HOW = struct.Struct("=QQQ")


def open_root(path: str) -> int:
    """Open the directory ``path`` as a root to resolve beneath."""
    return os.open(path, _PATH_FLAGS | os.O_DIRECTORY)


def open_in_root(root_fd: int, path: str) -> int:
    """Return an O_PATH descriptor of what ``path`` is inside the root. Links are followed."""
    fd = _resolve(root_fd, path, _IN_ROOT)
    # Old kernels, and filters that deny what they do not know.
    return _walk(root_fd, path, None) if fd is None else fd


def open_beneath(directory_fd: int, path: str) -> int:
    """Return an O_PATH descriptor of what ``path`` is below a directory that is nobody's root.

    Links that lead out of it, absolute ones too, are an error: EXDEV.
    """
    fd = _resolve(directory_fd, path, _BENEATH)
    return _walk_without_links(directory_fd, path) if fd is None else fd


def _resolve(root_fd: int, path: str, how_far: int) -> int | None:
    """Let the kernel resolve; ``None`` if it cannot."""
    relative = path.lstrip("/") or "."
    how = _OPEN_HOW.pack(_PATH_FLAGS, 0, how_far | _NO_MAGICLINKS)
    for _ in range(8):
        result = syscall(
            SYS_OPENAT2,
            ctypes.c_int(root_fd),
            ctypes.c_char_p(text(relative)),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        number = ctypes.get_errno() if result < 0 else 0
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    if number in (errno.ENOSYS, errno.EPERM, errno.EAGAIN, errno.EINTR):
        return None
    return check(result, path)


def _walk_without_links(directory_fd: int, path: str) -> int:
    fd = os.dup(directory_fd)
    try:
        for name in reversed(_names(path)):
            if name == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            below = os.open(name, _PATH_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
            if stat.S_ISLNK(os.stat(fd).st_mode):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def make_directory_in_root(root_fd: int, path: str) -> int:
    """Create ``path`` and its parents (0755) inside the root where missing; a descriptor of it.

    A dangling link gets the target it names inside the root.
    """
    made = _make_last(root_fd, path, "directory")
    return _walk(root_fd, path, "directory") if made is None else made


def make_file_in_root(root_fd: int, path: str) -> int:
    """Create the parents of ``path`` and an empty file inside the root; a descriptor of it.

    What is there already is left alone.
    """
    made = _make_last(root_fd, path, "file")
    return _walk(root_fd, path, "file") if made is None else made


def make_parent_in_root(root_fd: int, path: str) -> tuple[int, str]:
    """Create the parents of ``path``; return a descriptor of its directory and its last name."""
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return make_directory_in_root(root_fd, directory), name


def _make_last(root_fd: int, path: str, kind: str) -> int | None:
    """Create ``path`` in a directory that is there; ``None`` if it takes more than that."""
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        return None
    try:
        parent = _resolve(root_fd, directory, _IN_ROOT)
        if parent is None:
            return None
        try:
            if kind == "file":
                return os.open(name, _NEW_FILE, 0o644, dir_fd=parent)
            os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, _PATH_FLAGS | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
        finally:
            os.close(parent)
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        return None


def _walk(root_fd: int, path: str, create: Literal["directory", "file"] | None) -> int:
    """Resolve one name at a time, never letting the kernel follow a link or a ``..``."""
    todo = _names(path)
    #: Descriptors from the root to where we are: ``..`` goes back here, never past the root.
    trail = [os.dup(root_fd)]
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            kind = "file" if create == "file" and not todo else "directory"
            fd = _step(trail[-1], name, kind if create else None)
            if not stat.S_ISLNK(os.stat(fd).st_mode):
                trail.append(fd)
                continue
            try:
                target = os.readlink("", dir_fd=fd)
            finally:
                os.close(fd)
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(trail) > 1:
                    os.close(trail.pop())
            todo += _names(target)
        return trail.pop()
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        for fd in trail:
            os.close(fd)


def _names(path: str) -> list[str]:
    """Return the names of a path, last first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _step(directory: int, name: str, create: str | None) -> int:
    flags = _PATH_FLAGS | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        if create is None:
            raise
    try:
        if create == "directory":
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            os.close(os.open(name, _NEW_FILE, 0o644, dir_fd=directory))
    except FileExistsError:
        pass
    return os.open(name, flags, dir_fd=directory)
