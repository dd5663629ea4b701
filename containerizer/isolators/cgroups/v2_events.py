# SPDX-License-Identifier: Apache-2.0
"""Notices of the kernel about changed files of version 2 cgroups.

Source: spec ``isolators-resources`` 5.5; kernel ``cgroup-v2.rst``: such files are modified.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from containerizer.linux import inotify


class Modifications:
    """Calls back on the event loop when a watched file has changed."""

    def __init__(self) -> None:
        self._fd = -1
        self._numbers: dict[str, int] = {}
        self._notify: dict[int, Callable[[], None]] = {}

    def watch(self, path: str, notify: Callable[[], None]) -> None:
        """Call ``notify`` after each change of the file."""
        if self._fd < 0:
            self._fd = inotify.open_inotify()
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        number = inotify.watch(self._fd, path, inotify.IN_MODIFY)
        self._numbers[path] = number
        self._notify[number] = notify

    def forget(self, path: str) -> None:
        """Stop watching the file; harmless if it is gone."""
        number = self._numbers.pop(path, None)
        if number is not None and self._notify.pop(number, None) is not None:
            with contextlib.suppress(OSError):
                inotify.unwatch(self._fd, number)

    def close(self) -> None:
        """Stop watching everything."""
        self._numbers.clear()
        self._notify.clear()
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        for number, mask in inotify.read(self._fd):
            if mask & inotify.IN_Q_OVERFLOW:
                for notify in list(self._notify.values()):
                    notify()
            elif mask & inotify.IN_IGNORED:
                # Numbers are not used again, but the file is gone for good.
                self._notify.pop(number, None)
            elif number in self._notify:
                self._notify[number]()
