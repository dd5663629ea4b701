# SPDX-License-Identifier: Apache-2.0
"""Plumbing between Python and the C library: the only place that loads it.

Every wrapper of this package raises OSError with the errno of the call and the file it was about.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

#: Symbols are looked up once, at import: after a pivot no library can be loaded any more.
LIBC = ctypes.CDLL(None, use_errno=True)
#: The same for calls during which the interpreter's own lock is kept.
LIBC_LOCKED = ctypes.PyDLL(None, use_errno=True)

#: System calls from 424 on have one number on every architecture.
SYS_CLOSE_RANGE = 436
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442

_syscall = LIBC.syscall
_syscall.restype = ctypes.c_long


def check(result: int, *files: str | bytes | None) -> int:
    """Return ``result`` of a C call, or raise OSError for ``files`` if it is negative."""
    if result >= 0:
        return result
    number = ctypes.get_errno()
    named = [os.fsdecode(f) for f in files if f is not None]
    if not named:
        raise OSError(number, os.strerror(number))
    if len(named) == 1:
        raise OSError(number, os.strerror(number), named[0])
    raise OSError(number, os.strerror(number), named[0], None, named[1])


def syscall(number: int, *arguments: Any) -> int:
    """Make a system call that the C library does not wrap; the raw result, errno kept."""
    return int(_syscall(ctypes.c_long(number), *arguments))


def text(value: str | bytes | None) -> bytes | None:
    """Return ``value`` as the kernel wants it; embedded zero bytes are refused."""
    if value is None:
        return None
    raw = os.fsencode(value)
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    return raw
