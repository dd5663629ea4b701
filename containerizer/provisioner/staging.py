# SPDX-License-Identifier: Apache-2.0
"""The staging directory of a store: one directory for each pull, removed when it is done.

What a killed agent left is removed by whoever next has the store to itself (``stores.lock``).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator

from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.trees import discard_tree, empty_directory
from mesos_compat.base.errors import ProvisionError


class StagingArea:
    """A staging directory that exists. All methods but ``directory`` block."""

    def __init__(self, path: str) -> None:
        self._path = path

    def clear(self) -> None:
        """Remove what earlier agents left; failures are only logged."""
        empty_directory(self._path)

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
