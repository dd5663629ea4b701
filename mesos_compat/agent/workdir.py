# SPDX-License-Identifier: Apache-2.0
"""Work directory, runtime directory and cgroup belong to one agent at a time: what a second one
finds there it would take for leftovers, and destroy.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os

from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError, FlagError

log = logging.getLogger(__name__)

#: File of the runtime directory with ``[tls://]<ip>:<port>``; true as long as the lock is held.
_ADDRESS = "address"


class DirectoryLock:
    """Held from start to end of the process; the kernel lets go of it whatever happens."""

    def __init__(self, flag: str, directory: str) -> None:
        """Lock the ``directory`` of a flag, which is made if it is missing. Raises FlagError."""
        try:
            os.makedirs(directory, exist_ok=True)
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FlagError(
                f"Failed to make the directory '{directory}' of --{flag}: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise FlagError(
                f"Another agent is using '{directory}' (--{flag}): give each agent of a host its"
                " own --work_dir, --runtime_dir and --cgroups_root"
            ) from error

    def release(self) -> None:
        """Let another agent have the directory."""
        os.close(self._fd)


def publish(runtime_dir: str, address: str, *, only_tls: bool = False) -> None:
    """Write down where the agent listens that holds the lock of ``runtime_dir``.

    A full disk keeps nobody from running: then what an earlier agent wrote is at least not left.
    """
    path = os.path.join(runtime_dir, _ADDRESS)
    if only_tls:
        address = f"tls://{address}"
    try:
        if not os.path.exists(path) or checkpoint.read_text(path) != address:
            checkpoint.write_text(path, address)
    except CheckpointError as error:
        log.warning("Commands on this host will not find this agent: %s", error)
        with contextlib.suppress(OSError):
            os.unlink(path)


def listening(runtime_dir: str) -> str | None:
    """Return where the agent listens that uses ``runtime_dir``; ``None`` if none does now.

    It begins with ``tls://`` if nothing else is spoken there.
    """
    try:
        directory = os.open(runtime_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            return checkpoint.read_text(os.path.join(runtime_dir, _ADDRESS)) or None
        except CheckpointError:
            return None
    finally:
        os.close(directory)
    return None
