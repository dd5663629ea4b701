# SPDX-License-Identifier: Apache-2.0
"""File system contexts: mounts whose options need not fit into one page.

Source: fsopen(2), fsconfig(2), fsmount(2), move_mount(2); Linux 5.2.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from containerizer.linux.libc import check, syscall, text

_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_SET_STRING = 1
_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100

#: Longest value of an option, the terminating zero included.
MAX_VALUE = 256


def mount(fstype: str, target: str, options: Sequence[tuple[str, str]]) -> None:
    """Mount a new file system at ``target``; ``options`` are set one by one, in order.

    Raises OSError: ENOSYS on kernels without contexts, EINVAL for an option that it does not know.
    """
    context = check(
        syscall(_SYS_FSOPEN, ctypes.c_char_p(text(fstype)), ctypes.c_uint(_FSOPEN_CLOEXEC)), fstype
    )
    try:
        for name, value in options:
            _configure(context, _SET_STRING, name, value, fstype)
        _configure(context, _CMD_CREATE, None, None, fstype)
        made = check(
            syscall(
                _SYS_FSMOUNT,
                ctypes.c_int(context),
                ctypes.c_uint(_FSMOUNT_CLOEXEC),
                ctypes.c_uint(0),
            ),
            fstype,
        )
    finally:
        os.close(context)
    try:
        check(
            syscall(
                _SYS_MOVE_MOUNT,
                ctypes.c_int(made),
                ctypes.c_char_p(b""),
                ctypes.c_int(_AT_FDCWD),
                ctypes.c_char_p(text(target)),
                ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
            ),
            target,
        )
    finally:
        os.close(made)


def _configure(context: int, command: int, name: str | None, value: str | None, what: str) -> None:
    check(
        syscall(
            _SYS_FSCONFIG,
            ctypes.c_int(context),
            ctypes.c_uint(command),
            ctypes.c_char_p(None if name is None else text(name)),
            ctypes.c_char_p(None if value is None else text(value)),
            ctypes.c_int(0),
        ),
        what,
    )
