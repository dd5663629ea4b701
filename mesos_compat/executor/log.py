# SPDX-License-Identifier: Apache-2.0
"""Lines that operators look for in a sandbox's ``stderr``, in glog's form.

The logging package is not used here: each task pays for every page that its executor touches.

Source: spec ``executors`` 5.7.
"""

from __future__ import annotations

import os
import sys
import time

#: Levels that ``--logging_level`` knows, by the letter of their lines.
LEVELS = {"INFO": "IWE", "WARNING": "WE", "ERROR": "E"}


class SandboxLog:
    """Writes to descriptor 2."""

    def __init__(self, level: str = "INFO", quiet: bool = False) -> None:
        self._shown = "E" if quiet else LEVELS[level]

    def info(self, text: str) -> None:
        """One step done."""
        self._write("I", text)

    def warning(self, text: str) -> None:
        """Something is odd; we go on."""
        self._write("W", text)

    def error(self, text: str) -> None:
        """Something went wrong for good."""
        self._write("E", text)

    def _write(self, letter: str, text: str) -> None:
        if letter not in self._shown:
            return
        now = time.time()
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
        caller = sys._getframe(2)
        file = os.path.basename(caller.f_code.co_filename)
        line = (
            f"{letter}{stamp}.{int(now % 1 * 1_000_000):06d} {os.getpid():5d} "
            f"{file}:{caller.f_lineno}] {text}\n"
        )
        write_all(2, line.encode("utf-8", "surrogateescape"))


def write_all(fd: int, data: bytes) -> None:
    """Write ``data`` if anybody takes it; a full or closed sandbox stops no task."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass
