# SPDX-License-Identifier: Apache-2.0
"""Closing many descriptors at once; who has a file open."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable

from containerizer.linux.libc import SYS_CLOSE_RANGE, syscall

_LAST = 0xFFFFFFFF


def close_all_but(kept: Iterable[int] = ()) -> None:
    """Close every descriptor but 0, 1, 2 and ``kept``."""
    low = 3
    for fd in sorted(kept):
        _close_range(low, fd - 1)
        low = fd + 1
    _close_range(low, _LAST)


def has_open(pid: int, path: str) -> bool:
    """Whether a process has the file open, which need not exist nor be within reach.

    Raises ProcessLookupError if the process is gone, PermissionError if it is not ours to look at.
    """
    try:
        wanted = os.stat(path)
    except PermissionError:
        raise
    except OSError:
        return False
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, "No such process", error.filename) from error
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), wanted):
                return True
    return False


def _close_range(low: int, high: int) -> None:
    if low > high:
        return
    if syscall(SYS_CLOSE_RANGE, ctypes.c_uint(low), ctypes.c_uint(high), ctypes.c_uint(0)) == 0:
        return
    # Kernels before 5.9, and filters.
    for name in os.listdir("/proc/self/fd"):
        if low <= int(name) <= high:
            with contextlib.suppress(OSError):
                os.close(int(name))
