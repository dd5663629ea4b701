# SPDX-License-Identifier: Apache-2.0
"""The work directory belongs to one agent at a time."""

from __future__ import annotations

import fcntl
import os

from mesos_compat.agent import paths
from mesos_compat.base.errors import FlagError


class WorkDirLock:
    """Held from start to end of the process; the kernel lets go of it whatever happens."""

    def __init__(self, work_dir: str) -> None:
        """Make ``work_dir`` if it is missing, and lock it. Raises FlagError."""
        try:
            os.makedirs(work_dir, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(paths.lock_file(work_dir), flags, 0o600)
        except OSError as error:
            raise FlagError(
                f"Failed to create agent work directory '{work_dir}': {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise FlagError(
                f"Another agent is running in the work directory '{work_dir}': give each agent its"
                " own --work_dir and --runtime_dir"
            ) from error

    def release(self) -> None:
        """Let another agent have the directory."""
        os.close(self._fd)
