# SPDX-License-Identifier: Apache-2.0
"""Gives directory trees to a group, and takes them back, while tasks may be at work in them.

No link is followed and nothing that is mounted inside is touched. Hard links to files of others are
the kernel's business (``fs.protected_hardlinks``).

Source: spec ``isolators-fs-net`` 4.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Iterable
from functools import cache

from mesos_compat.base.beneath import RemovalStopped, Root, Stop, never

#: What a directory gets so that the whole group can work in it, and what is made there is its own.
_SHARED = stat.S_ISGID | stat.S_IWGRP
#: Bytes of a path that are walked at once; the kernel refuses more than 4095.
_MOST_BYTES = 2048

_Parts = tuple[str, ...]


def give(top: int, gid: int, mounted: Iterable[_Parts] = (), stop: Stop = never) -> None:
    """Let group ``gid`` own all below the open file or directory ``top``, and at last ``top``.

    ``mounted`` are paths below it that are left alone. Blocks. Raises OSError, RemovalStopped.
    """
    _walk(top, frozenset(mounted), lambda status: gid, lambda mode: mode | _SHARED, stop)


def is_given(top: int, gid: int) -> bool:
    """Whether ``give`` came to its end, as far as its last step tells. Raises OSError."""
    status = os.fstat(top)
    complete = not stat.S_ISDIR(status.st_mode) or bool(status.st_mode & stat.S_ISGID)
    return status.st_gid == gid and complete


def take_back(
    top: int, others_gid: int, mounted: Iterable[_Parts] = (), stop: Stop = never
) -> None:
    """Let each file be of its owner's primary group again, and directories of nobody else's.

    What belongs to no user of this host gets the group ``others_gid``. Blocks. Raises OSError,
    RemovalStopped.
    """

    @cache
    def primary(uid: int) -> int:
        try:
            return pwd.getpwuid(uid).pw_gid
        except KeyError:
            return others_gid

    _walk(
        top,
        frozenset(mounted),
        lambda status: primary(status.st_uid),
        lambda mode: mode & ~_SHARED,
        stop,
    )


def _walk(
    top: int,
    mounted: frozenset[_Parts],
    gid_of: Callable[[os.stat_result], int],
    mode_of: Callable[[int], int],
    stop: Stop,
) -> None:
    status = os.fstat(top)
    if not stat.S_ISDIR(status.st_mode):
        os.fchown(top, -1, gid_of(status))
        return
    pending: list[_Parts] = [()]
    while pending:
        parts = pending.pop()
        try:
            folder = _open(top, parts)
        except (FileNotFoundError, NotADirectoryError):
            continue  # a task was faster
        except OSError:
            if _is_directory(top, parts):
                raise
            continue
        try:
            if parts:
                _change(folder, gid_of, mode_of)
            for name in os.listdir(folder):
                if stop():
                    raise RemovalStopped
                below = (*parts, name)
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(name, dir_fd=folder)
                    if below in mounted:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(below)
                    else:
                        os.chown(name, -1, gid_of(status), dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)
    _change(top, gid_of, mode_of)


def _change(
    folder: int, gid_of: Callable[[os.stat_result], int], mode_of: Callable[[int], int]
) -> None:
    status = os.fstat(folder)
    os.fchown(folder, -1, gid_of(status))
    os.fchmod(folder, mode_of(stat.S_IMODE(status.st_mode)))


def _open(top: int, parts: _Parts) -> int:
    """Open a directory below ``top``, however deep it lies."""
    here = os.dup(top)
    at = 0
    while at < len(parts):
        end, size = at, 0
        while end < len(parts) and size < _MOST_BYTES:
            size += len(os.fsencode(parts[end])) + 1
            end += 1
        try:
            with Root.of(here) as root:
                below = root.open("/".join(parts[at:end]), os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(here)
        here, at = below, end
    return here


def _is_directory(top: int, parts: _Parts) -> bool:
    """Whether what could not be opened is a directory still, not a link that took its place."""
    try:
        above = _open(top, parts[:-1])
    except OSError:
        return False
    try:
        return stat.S_ISDIR(os.lstat(parts[-1], dir_fd=above).st_mode)
    except OSError:
        return False
    finally:
        os.close(above)
