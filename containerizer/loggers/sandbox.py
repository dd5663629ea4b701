# SPDX-License-Identifier: Apache-2.0
"""The default container logger: files ``stdout`` and ``stderr`` in the sandbox.

The sandbox may belong to somebody who wants us to open, or give away, another file: existing files
are taken only if they are plain files with one name.

Deviation: upstream leaves it to the fetcher to give the files to the user; here they belong to the
user from the start.

Source: spec ``containerizer`` 15.1.
"""

from __future__ import annotations

import errno
import os
import stat

from containerizer.linux import users
from containerizer.loggers.base import LoggerContext
from containerizer.sandbox import open_sandbox
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_MODE = 0o644
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


class SandboxLogger:
    """Opens two files per container and keeps nothing."""

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        """Open both files of the container's sandbox, owned by the container's user."""
        owner = _owner(config.user) if config.HasField("user") else None
        try:
            sandbox = open_sandbox(container_id, config.directory)
        except OSError as error:
            path = os.path.join(config.directory, "stdout")
            raise ContainerError(f"Failed to open '{path}': {error.strerror or error}") from error
        with sandbox:
            stdout = _open(sandbox, "stdout", owner)
            try:
                return stdout, _open(sandbox, "stderr", owner)
            except ContainerError:
                os.close(stdout)
                raise


def create(context: LoggerContext) -> SandboxLogger:
    """Make the logger; it has no parameters."""
    return SandboxLogger()


def _owner(user: str) -> tuple[int, int] | None:
    """Return uid and gid to give files to; ``None`` if they are ours already."""
    identity = users.identity_of(user)
    if identity is None:
        raise ContainerError(f"Failed to get the uid of user '{user}': not found")
    if identity.uid == os.geteuid():
        return None
    return identity.uid, identity.gid


def _open(sandbox: Root, name: str, owner: tuple[int, int] | None) -> int:
    try:
        try:
            descriptor = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=sandbox.fd)
        except FileExistsError:
            descriptor = _open_existing(sandbox, name)
        try:
            if owner is not None:
                os.fchown(descriptor, *owner)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        path = os.path.join(sandbox.path, name)
        raise ContainerError(f"Failed to open '{path}': {error.strerror or error}") from error
    return descriptor


def _open_existing(sandbox: Root, name: str) -> int:
    """Open a file that was there before: no link, device or FIFO, and of one name only."""
    descriptor = os.open(name, _FLAGS | os.O_NONBLOCK, dir_fd=sandbox.fd)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EPERM, "is not a plain file", name)
    os.set_blocking(descriptor, True)
    return descriptor
