# SPDX-License-Identifier: Apache-2.0
"""Types of directory entries as the file system reports them.

Source: getdents64(2).
"""

from __future__ import annotations

import ctypes
import os
import struct

from containerizer.linux.libc import LIBC, check

_DT_UNKNOWN = 0
_HEAD = struct.Struct("=QqHB")

_getdents64 = LIBC.getdents64
_getdents64.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
_getdents64.restype = ctypes.c_ssize_t


def reports_types(directory: str) -> bool:
    """Whether every entry of ``directory`` comes with its type (``d_type``)."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        buffer = ctypes.create_string_buffer(1 << 15)
        while count := check(_getdents64(fd, buffer, len(buffer)), directory):
            position = 0
            while position < count:
                _, _, length, kind = _HEAD.unpack_from(buffer, position)
                if kind == _DT_UNKNOWN:
                    return False
                position += length
    finally:
        os.close(fd)
    return True
