# SPDX-License-Identifier: Apache-2.0
"""Notifications of the kernel about a version 1 cgroup.

Source: spec ``isolators-resources`` 4.6; kernel ``cgroup-v1/memory.rst``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from containerizer.linux import cgroup1


class Listener:
    """Calls ``notify(count)`` on the event loop for each wake-up until it is closed.

    The kernel wakes it up for the removal of the cgroup, too: close it before.
    """

    def __init__(
        self, cgroup: str, control: str, notify: Callable[[int], None], argument: str = ""
    ) -> None:
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            watched = os.open(os.path.join(cgroup, control), os.O_RDONLY | os.O_CLOEXEC)
            try:
                request = f"{self._event} {watched} {argument}".rstrip()
                cgroup1.write(cgroup, "cgroup.event_control", request)
            finally:
                os.close(watched)
        except OSError:
            os.close(self._event)
            raise
        self._loop.add_reader(self._event, self._read)

    def _read(self) -> None:
        try:
            count = os.eventfd_read(self._event)
        except BlockingIOError:
            return
        self._notify(count)

    def close(self) -> None:
        """Stop listening; harmless when repeated."""
        if self._event >= 0:
            self._loop.remove_reader(self._event)
            os.close(self._event)
            self._event = -1
