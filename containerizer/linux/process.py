# SPDX-License-Identifier: Apache-2.0
"""fork(2) without what Python does around it."""

from __future__ import annotations

from containerizer.linux.libc import LIBC_LOCKED, check

_fork = LIBC_LOCKED.fork


def fork() -> int:
    """Fork a process of one thread; 0 in the child.

    ``os.fork`` makes new locks, seeds and loggers in the child: half a megabyte that each child
    would have to itself. Without other threads none of it is needed, except that the ``random``
    module of all children goes on with the same numbers.
    """
    return check(_fork())
