# SPDX-License-Identifier: Apache-2.0
"""The operations of prctl(2) that containers need, and the title that tools like ps show."""

from __future__ import annotations

import ctypes

from containerizer.linux.libc import LIBC, check

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_Name = ctypes.c_ubyte * 16
_prctl = LIBC.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def prctl(option: int, second: int = 0, third: int = 0) -> int:
    """Call prctl(2) with numbers."""
    return check(_prctl(option, second, third, 0, 0))


def set_keep_capabilities(on: bool) -> None:
    """Let permitted capabilities survive a change of the user id."""
    prctl(_PR_SET_KEEPCAPS, int(on))


def set_no_new_privileges(on: bool) -> None:
    """Forbid set-user-id programs and file capabilities from now on; the kernel refuses False."""
    prctl(_PR_SET_NO_NEW_PRIVS, int(on))


def set_dumpable(on: bool) -> None:
    """Say who owns this process's files in /proc: its user, or root."""
    prctl(_PR_SET_DUMPABLE, int(on))


def set_parent_death_signal(signal: int) -> None:
    """Get ``signal`` when the parent ends; 0 for none."""
    prctl(_PR_SET_PDEATHSIG, signal)


def set_child_subreaper(on: bool) -> None:
    """Become the parent of orphaned descendants."""
    prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def set_name(name: str) -> None:
    """Set the thread's name of at most 15 bytes."""
    buffer = _Name(*name.encode()[:15])
    prctl(_PR_SET_NAME, ctypes.addressof(buffer))


class ProcessTitle:
    """The command line of this process as others see it, to be overwritten in place.

    The space is that of the original arguments and of the environment behind them; a longer
    title is cut. Find the space before forking: children inherit the addresses.
    """

    def __init__(self) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # Fields 48 to 51 of proc(5), counted from 1; the first here is number 3.
        start, end, env_start, env_end = (int(field) for field in fields[45:49])
        self._start = start
        self._arguments = end - start
        self._size = (env_end if env_start == end else end) - start

    def set(self, title: str) -> None:
        """Show ``title``. A mark in the last byte says that this is no argument list."""
        if self._arguments < 2:
            return
        raw = title.encode("utf-8", "surrogateescape").replace(b"\0", b" ")[: self._size - 1]
        ctypes.memset(self._start, 0, self._size)
        ctypes.memmove(self._start, raw, len(raw))
        if len(raw) < self._arguments:
            ctypes.memset(self._start + self._arguments - 1, 1, 1)
