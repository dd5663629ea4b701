# SPDX-License-Identifier: Apache-2.0
"""The controlling terminal of a session, on descriptor 0."""

from __future__ import annotations

import ctypes
import os
import signal

from containerizer.linux.libc import LIBC, check

_TIOCSCTTY = 0x540E


def take() -> None:
    """Make the terminal ours; for the leader of a session. Raises OSError."""
    check(LIBC.ioctl(0, ctypes.c_ulong(_TIOCSCTTY), 0))


def enter_foreground() -> None:
    """Become a process group of our own to which the terminal's keys are sent.

    So Ctrl-C reaches a command once, and never who watches it. Raises OSError.
    """
    os.setpgid(0, 0)
    # Whoever is not in the foreground yet would be stopped for this.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(0, os.getpgrp())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
