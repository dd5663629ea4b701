# SPDX-License-Identifier: Apache-2.0
"""Who may use a store: one agent, or any number of commands at the same time.

An agent holds its store as long as it lives: nobody else may remove what its containers need, or
change the record of images behind its back. Commands (``mesos-compat run``, ``mesos-compat image``)
share a store; each holds it only while it takes something out of it or puts something into it, and
alone while it removes something. The kernel lets go of a lock whatever happens to its holder.

Deviation: upstream's agents share a store without knowing of each other; ours refuse to.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator

from mesos_compat.base.errors import FlagError, ProvisionError

#: How long a command waits for others to be done, and how often it looks.
PATIENCE_S = 10.0
_POLL_S = 0.05


class StoreLock:
    """The lock of the store in the directory ``root``, which exists. Used from one event loop."""

    def __init__(self, root: str, *, shared: bool, patience_s: float | None = None) -> None:
        """``shared`` is for commands; otherwise the store is ours until ``close``.

        Raises FlagError.
        """
        self._root = root
        self.shared = shared
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._users = 0
        self._turn = asyncio.Lock()
        try:
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FlagError(f"Failed to open the store '{root}': {error.strerror}") from error
        if not shared and not self._take(fcntl.LOCK_EX):
            busy = self._busy()
            self.close()
            raise FlagError(f"{busy}: give each agent of a host a store of its own")

    @contextlib.asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Have nothing removed from the store for the block. Raises ProvisionError."""
        if not self.shared:
            yield
            return
        async with self._turn:
            if not self._users:
                await self._wait(fcntl.LOCK_SH)
            self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._release()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Have the store to ourselves for the block, not inside of ``using``.

        Raises ProvisionError.
        """
        if not self.shared:
            yield
            return
        async with self._turn:
            await self._wait(fcntl.LOCK_EX, users=0)
            try:
                yield
            finally:
                self._release()

    @contextlib.contextmanager
    def if_alone(self) -> Iterator[bool]:
        """Have the store to ourselves for the block if nobody uses it: the value says so."""
        if not self.shared:
            yield True
            return
        mine = not self._users and not self._turn.locked() and self._take(fcntl.LOCK_EX)
        try:
            yield mine
        finally:
            if mine:
                self._release()

    def close(self) -> None:
        """Let others have the store; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _wait(self, kind: int, users: int | None = None) -> None:
        """Wait for others, and until ``users`` of this process are left.

        To those the kernel gives whatever they ask for: they have one lock together.
        """
        until = time.monotonic() + self._patience_s
        while users not in (None, self._users) or not self._take(kind):
            if time.monotonic() > until:
                raise ProvisionError(self._busy())
            await asyncio.sleep(_POLL_S)

    def _take(self, kind: int) -> bool:
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(self) -> None:
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _busy(self) -> str:
        return f"The store '{self._root}' is used by {holder(self._root) or 'another process'}"


def holder(root: str) -> str | None:
    """Name the process that uses the store in ``root``; ``None`` if none does or nobody knows."""
    try:
        inode = os.stat(root).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in lines:
        # "7: FLOCK  ADVISORY  WRITE 4711 fe:01:131090 0 EOF"; devices are not always stat's
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or words[5].rpartition(":")[2] != str(inode):
            continue
        if words[4].isdigit() and words[4] != "0":
            return f"process {words[4]}{_name(words[4])}"
    return None


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).split(b"\0")
    except OSError:
        return ""
    names = [os.path.basename(word).decode("utf-8", "replace") for word in words if word]
    shown = next((name for name in names if not name.startswith(("python", "-"))), "")
    return f" ({shown[:40]})" if shown.isprintable() and shown else ""
