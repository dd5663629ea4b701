# SPDX-License-Identifier: Apache-2.0
"""Blocked signals read from a descriptor, and a clean slate for programs to be executed."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Iterable

from containerizer.linux.libc import LIBC, check

_SFD_NONBLOCK = 0o4000
_SFD_CLOEXEC = 0o2000000
_RECORD_SIZE = 128
#: Number, errno, code and pid of the sender.
_RECORD_HEAD = struct.Struct("=IiiI")

#: Everything that can be blocked or caught. 32 and 33 belong to the C library.
CATCHABLE = frozenset(
    number
    for number in range(1, signal.NSIG)
    if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)
)

_signalfd = LIBC.signalfd


def block_all() -> None:
    """Block every signal that can be blocked in this thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, CATCHABLE)


def open_signalfd(numbers: Iterable[int] = CATCHABLE) -> int:
    """Return a non-blocking descriptor to read blocked signals from."""
    mask = bytearray(128)
    for number in numbers:
        mask[(number - 1) // 8] |= 1 << ((number - 1) % 8)
    buffer = (ctypes.c_char * len(mask)).from_buffer(mask)
    return check(_signalfd(-1, buffer, _SFD_NONBLOCK | _SFD_CLOEXEC))


def read_signalfd(fd: int) -> tuple[int, int] | None:
    """Return number and sender of the next pending signal; ``None`` if there is none."""
    try:
        record = os.read(fd, _RECORD_SIZE)
    except BlockingIOError:
        return None
    number, _, _, sender = _RECORD_HEAD.unpack_from(record)
    return int(number), int(sender)


def unblock_all() -> None:
    """Unblock every signal in this thread."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reset(ignored: Iterable[int] = CATCHABLE) -> None:
    """Give ``ignored`` back their default actions and unblock all, as before an exec.

    Caught signals are reset by the exec itself; ignored ones stay ignored.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    unblock_all()
