# SPDX-License-Identifier: Apache-2.0
"""fork(2) and posix_spawn(3) without what Python does around them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from containerizer.linux.libc import LIBC_LOCKED, check

_SETSIGDEF = 0x04
_SETSIGMASK = 0x08
#: Three times what the C libraries have.
_ATTRIBUTES_SIZE = 1024
_SIGNAL_SET_SIZE = 128

_fork = LIBC_LOCKED.fork
_posix_spawn = LIBC_LOCKED.posix_spawn


def fork() -> int:
    """Fork a process of one thread; 0 in the child.

    ``os.fork`` makes new locks, seeds and loggers in the child: half a megabyte that each child
    would have to itself. Without other threads none of it is needed, except that the ``random``
    module of all children goes on with the same numbers.
    """
    return check(_fork())


def c_strings(texts: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """Return the array of C for arguments or an environment."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


def spawn(path: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> int:
    """Execute ``path`` in a child with default signal actions, none blocked; return its pid.

    Until it is executed the child runs in our memory, of which no copy is made. Raises OSError,
    also for what makes the execution fail.
    """
    pid = ctypes.c_int()
    number = _posix_spawn(
        ctypes.byref(pid),
        ctypes.c_char_p(path),
        None,
        _ATTRIBUTES,
        c_strings(argv),
        c_strings(envp),
    )
    if number:
        raise OSError(number, os.strerror(number), os.fsdecode(path))
    return pid.value


def _attributes() -> ctypes.Array[ctypes.c_char]:
    made = ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
    # Those that belong to the C library, too, which otherwise ignores them in the child.
    every = ctypes.create_string_buffer(b"\xff" * _SIGNAL_SET_SIZE, _SIGNAL_SET_SIZE)
    none = ctypes.create_string_buffer(_SIGNAL_SET_SIZE)
    libc = LIBC_LOCKED
    libc.posix_spawnattr_init(made)
    libc.posix_spawnattr_setsigdefault(made, every)
    libc.posix_spawnattr_setsigmask(made, none)
    libc.posix_spawnattr_setflags(made, ctypes.c_short(_SETSIGDEF | _SETSIGMASK))
    return made


_ATTRIBUTES = _attributes()
