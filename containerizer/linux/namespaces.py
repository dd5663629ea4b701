# SPDX-License-Identifier: Apache-2.0
"""Namespaces: constants, unshare(2), setns(2).

All of this is for single-threaded processes. Source: namespaces(7), setns(2).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from containerizer.linux.libc import LIBC, check

CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

#: Flag to the name below ``/proc/<pid>/ns``, in the order in which they are to be entered.
NAMES: Mapping[int, str] = {
    CLONE_NEWUSER: "user",
    CLONE_NEWCGROUP: "cgroup",
    CLONE_NEWIPC: "ipc",
    CLONE_NEWUTS: "uts",
    CLONE_NEWNET: "net",
    CLONE_NEWPID: "pid",
    CLONE_NEWNS: "mnt",
}

ALL = 0
for _flag in NAMES:
    ALL |= _flag

_unshare = LIBC.unshare
_setns = LIBC.setns


def unshare(flags: int) -> None:
    """Give the caller (for CLONE_NEWPID: its future children) new namespaces."""
    check(_unshare(flags))


def setns(fd: int, flag: int) -> None:
    """Enter the namespace that ``fd`` refers to and that must be of the kind ``flag``."""
    check(_setns(fd, flag), NAMES.get(flag))


def open_namespaces(pid: int, flags: int) -> list[tuple[int, int]]:
    """Open the namespaces of a process; pairs of flag and descriptor in the order to enter."""
    opened: list[tuple[int, int]] = []
    try:
        for flag, name in NAMES.items():
            if flags & flag:
                fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                opened.append((flag, fd))
    except OSError:
        for _, fd in opened:
            os.close(fd)
        raise
    return opened


def identity(pid: int | str, flag: int) -> int:
    """Return the inode that tells the namespaces of one kind apart."""
    return os.stat(f"/proc/{pid}/ns/{NAMES[flag]}").st_ino
