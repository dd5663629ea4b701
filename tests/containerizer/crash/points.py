# SPDX-License-Identifier: Apache-2.0
"""Fault points, found in the running code instead of being written into it.

A point is a moment before something that others can see: a file made, renamed or written, a
process forked, a message sent, a call of the C library. Between two of them nothing happens that
a crash could interrupt. After messages and forks comes another point, because then others act.

``install`` counts the points of this process, of threads that it starts from then on and of all
that it forks, and does something at one of them. Numbers of processes that run at the same time
mix: each point has one, but not always the same.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# fmt: off
_NAMES = frozenset(
    {
        "_exit", "chmod", "chown", "execve", "fchmod", "fchown", "fork", "fork_exec",
        "ftruncate", "kill", "lchown", "link", "mkdir", "mkfifo", "mknod", "pidfd_open",
        "pidfd_send_signal", "posix_spawn", "pwrite", "remove", "removexattr", "rename",
        "replace", "rmdir", "send", "sendmsg", "sendto", "setns", "setsid", "setxattr",
        "symlink", "truncate", "unlink", "unshare", "utime", "write", "writev",
    }
)
# fmt: on
#: After these somebody else goes on.
_HANDING_OVER = frozenset({"fork", "fork_exec", "send", "sendmsg"})
#: Calls of the C library that change nothing.
_LOOKING = frozenset({"_resolve", "open_signalfd"})
_MODULES = frozenset({"posix", "_posixsubprocess", "_signal", None})
_LIBC = "/containerizer/linux/libc.py"
#: What wakes up the event loop.
_LOOP = "/asyncio/selector_events.py"
#: What tests do is no step of the code.
_TESTS = "/tests/containerizer/crash/"

#: Number of the last point, at which to act, and what there was (for whoever reads a failure).
_NUMBERS = struct.Struct("=qq")
_SIZE = 256
#: Behind the number of a point: whose it is.
_OWN, _FORKED = "", "f"


class Points:
    """The counter, in a file that all the processes share."""

    def __init__(self, path: Path, act: Callable[[], None]) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._act = act
        self._lock = threading.Lock()
        self._installer = 0

    @staticmethod
    def prepare(path: Path, at: int) -> None:
        """Make the file; 0 counts only, and only from ``arm`` on."""
        path.write_bytes(_NUMBERS.pack(-1, at).ljust(_SIZE, b"\0"))

    @staticmethod
    def arm(path: Path) -> None:
        """Begin to count."""
        with path.open("r+b") as file:
            file.write(struct.pack("=q", 0))

    @staticmethod
    def disarm(path: Path) -> None:
        """Stop counting."""
        with path.open("r+b") as file:
            file.write(struct.pack("=q", -1))

    @staticmethod
    def reached(path: Path) -> str:
        """Return the point at which something was done; "" if there was none."""
        return path.read_bytes()[_NUMBERS.size :].rstrip(b"\0").decode()

    def install(self) -> None:
        """Watch this thread and those that it will start."""
        self._installer = os.getpid()
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    @staticmethod
    def uninstall() -> None:
        """Watch nothing, in a process that inherited it."""
        threading.setprofile(None)
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" or event == "c_return":
            name = argument.__name__
            if name not in _NAMES or not (event == "c_call" or name in _HANDING_OVER):
                return
            if argument.__module__ in _MODULES:
                self._pass(frame, event, name)
        elif event == "call" and frame.f_code.co_name == "check":
            caller = frame.f_back
            if caller is None or not frame.f_code.co_filename.endswith(_LIBC):
                return
            if caller.f_code.co_name not in _LOOKING:
                self._pass(caller, "libc", caller.f_code.co_name)

    def _pass(self, frame: FrameType, event: str, name: str) -> None:
        file = frame.f_code.co_filename
        if _TESTS in file or file.endswith(_LOOP):
            return
        with self._lock:
            count, at = _NUMBERS.unpack_from(self._map)
            if count < 0:
                return
            count += 1
            _NUMBERS.pack_into(self._map, 0, -1 if count == at else count, at)
            if count == at:
                whose = _OWN if os.getpid() == self._installer else _FORKED
                where = f"{file.rpartition('/')[2]}:{frame.f_lineno}"
                text = f"{count}{whose} {event} {name} {where}".encode()[: _SIZE - _NUMBERS.size]
                self._map[_NUMBERS.size : _NUMBERS.size + len(text)] = text
        if count == at:
            self._act()


def kill_self() -> None:
    """Die at once, whatever was going on."""
    os.kill(os.getpid(), signal.SIGKILL)


def is_forked(point: str) -> bool:
    """Whether a point was reached by a process that was forked by the watched one."""
    return point.partition(" ")[0].endswith(_FORKED)


def await_call(path: Path, function: str) -> None:
    """Watch this process from its first call of ``function`` on, to kill it at a point."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == function:
            Points(path, kill_self).install()

    sys.setprofile(profile)
