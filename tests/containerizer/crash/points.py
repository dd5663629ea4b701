# SPDX-License-Identifier: Apache-2.0
"""Fault points, found in the running code instead of being written into it.

A point is a moment before something that others can see: a file made, renamed or written, a
process forked, a message sent, a call of the C library. Between two of them nothing happens that
a crash could interrupt. After messages and forks comes another point, because then others act.

``install`` counts the points of this process, of its threads and of all that it forks, and does
something at one of them. As the program of a spawner (``arguments``) it does so in there.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
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
_MODULES = frozenset({"posix", "_posixsubprocess", "_signal", None})
_LIBC = "/containerizer/linux/libc.py"
#: What wakes up the event loop, and this module.
_ITSELF = ("/asyncio/selector_events.py", "/crash/points.py")

#: Number of the last point, at which to act, and what there was (for whoever reads a failure).
_NUMBERS = struct.Struct("=qq")
_SIZE = 256


class Points:
    """The counter, in a file that all the processes share."""

    def __init__(self, path: Path, act: Callable[[], None]) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._act = act
        self._lock = threading.Lock()

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
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename.endswith(_ITSELF):
            return
        if event == "c_call" or event == "c_return":
            name = argument.__name__
            then = event == "c_call" or name in _HANDING_OVER
            if then and name in _NAMES and argument.__module__ in _MODULES:
                self._pass(frame, event, name)
            return
        code, caller = frame.f_code, frame.f_back
        libc = code.co_name == "check" and code.co_filename.endswith(_LIBC)
        if event == "call" and libc and caller is not None:
            self._pass(caller, "libc", caller.f_code.co_name)

    def _pass(self, frame: FrameType, event: str, name: str) -> None:
        with self._lock:
            count, at = _NUMBERS.unpack_from(self._map)
            if count < 0:
                return
            count += 1
            _NUMBERS.pack_into(self._map, 0, -1 if count == at else count, at)
            if count == at:
                where = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
                text = f"{count} {event} {name} {where}".encode()[: _SIZE - _NUMBERS.size]
                self._map[_NUMBERS.size : _NUMBERS.size + len(text)] = text
        if count == at:
            self._act()


def kill_self() -> None:
    """Die at once, whatever was going on."""
    os.kill(os.getpid(), signal.SIGKILL)


def arguments(path: Path) -> Mapping[str, str]:
    """Return the programs with which a spawner has its points counted in ``path``."""
    return {str(path): "tests.containerizer.crash.points:program"}


def program(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Stand for a program that nobody runs."""
    return 1


def _in_spawner() -> None:
    """Begin with the loop of the spawner: while it loads, nothing can be written."""

    def await_loop(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == "serve":
            Points(Path(path), kill_self).install()

    for argument in sys.argv:
        path, _, reference = argument.removeprefix("--program=").partition("=")
        if reference == f"{__name__}:program":
            sys.setprofile(await_loop)
            return


_in_spawner()
