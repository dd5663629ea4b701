# SPDX-License-Identifier: Apache-2.0
"""The staging directory of a store: one directory for each pull, removed when it is done.

Agents on one host may share a store. Each holds a shared lock on the staging directory as long as
it lives; what a killed agent left is removed by the first one that is alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator

from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.trees import discard_tree, empty_directory
from mesos_compat.base.errors import ProvisionError


class StagingArea:
    """A staging directory that exists. All methods but ``directory`` block."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def claim(self) -> None:
        """Remove what is left of earlier agents, unless another one uses the store now.

        Raises ProvisionError.
        """
        try:
            self._claim()
        except OSError as error:
            raise ProvisionError(f"Failed to use '{self._path}': {error.strerror}") from error

    def _claim(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            empty_directory(self._path)
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    @contextlib.asynccontextmanager
    async def directory(self) -> AsyncIterator[str]:
        """Make a directory and remove it at the end, whenever that comes.

        Raises ProvisionError.
        """
        made: list[str] = []
        try:
            # cancelled, ``in_thread`` returns nothing but the directory is there
            await in_thread(lambda: made.append(self.make()))
            yield made[0]
        finally:
            for path in made:
                await in_thread(self.remove, path)

    def make(self) -> str:
        """Return a new directory. Raises ProvisionError."""
        try:
            return tempfile.mkdtemp(prefix="", dir=self._path)
        except OSError as error:
            raise ProvisionError(f"Failed to create a staging directory: {error}") from error

    def remove(self, path: str) -> None:
        """Remove a directory that ``make`` returned; a failure is only logged."""
        discard_tree(path)

    def close(self) -> None:
        """Give up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
