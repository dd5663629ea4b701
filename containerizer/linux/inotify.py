# SPDX-License-Identifier: Apache-2.0
"""inotify(7): notices about files, one descriptor for any number of them.

Source: inotify(7).
"""

from __future__ import annotations

import os
import struct

from containerizer.linux.libc import LIBC, check, text

IN_MODIFY = 0x2
#: The watch is gone, with its file or by request.
IN_IGNORED = 0x8000
#: Notices were lost.
IN_Q_OVERFLOW = 0x4000

_EVENT = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024

_init = LIBC.inotify_init1
_add_watch = LIBC.inotify_add_watch
_rm_watch = LIBC.inotify_rm_watch


def open_inotify() -> int:
    """Return a descriptor that neither blocks nor is inherited."""
    return check(_init(os.O_NONBLOCK | os.O_CLOEXEC))


def watch(fd: int, path: str, mask: int) -> int:
    """Watch a file; returns the number of the watch, the same one for the same file."""
    return check(_add_watch(fd, text(path), mask), path)


def unwatch(fd: int, number: int) -> None:
    """End a watch; OSError if it is gone already."""
    check(_rm_watch(fd, number))


def read(fd: int) -> list[tuple[int, int]]:
    """Return what happened as pairs of watch and mask; nothing if nothing did."""
    try:
        data = os.read(fd, _BUFFER_BYTES)
    except BlockingIOError:
        return []
    events = []
    offset = 0
    while offset < len(data):
        number, mask, _, length = _EVENT.unpack_from(data, offset)
        events.append((number, mask))
        offset += _EVENT.size + length
    return events
