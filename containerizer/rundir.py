# SPDX-License-Identifier: Apache-2.0
"""The runtime directory: what is kept of each container until it ends or the host reboots.

::

    <runtime_dir>/containers/<id>/
        config                      ContainerConfig
        launch_info                 ContainerLaunchInfo
        pid                         decimal, init's pid
        status                      decimal wait status, written by init; empty while it runs
        standalone.marker           empty: no executor
        force_destroy_on_recovery   empty: a DEBUG container
        termination                 ContainerTermination; nested containers only, once they ended
        devices/, io_switchboard/, shm/     isolators' business
        containers/<child id>/      the same again

Messages have a 4-byte length in front, resources are written in the old form of reservations. All
failures are CheckpointErrors.

Source: spec ``containerizer`` 9.1.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import Message

from mesos_compat.base import checkpoint
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import CheckpointError, WireError
from mesos_compat.model import resources
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.stored import parse_stored
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_CONTAINERS = "containers"
_CONFIG = "config"
_LAUNCH_INFO = "launch_info"
_PID = "pid"
_STATUS = "status"
_STANDALONE = "standalone.marker"
_FORCE_DESTROY = "force_destroy_on_recovery"
_TERMINATION = "termination"

#: How the names of directories begin that are being removed; no id begins like this.
_REMOVED = ".removed-"

#: Wait status of a container whose init was killed before it could write one.
KILLED_WAIT_STATUS = 9


class RuntimeDirectory:
    """The runtime directories of all containers below ``--runtime_dir``."""

    def __init__(self, runtime_dir: str) -> None:
        self.root = os.path.join(runtime_dir, _CONTAINERS)

    def path(self, container_id: ContainerId) -> str:
        """Return the directory of a container."""
        return os.path.join(self.root, f"/{_CONTAINERS}/".join(container_id.path))

    def make(self, container_id: ContainerId) -> None:
        """Create the directory of a new container; what an older one left is removed."""
        path = self.path(container_id)
        try:
            if os.path.lexists(path):
                self.remove(container_id)
            os.makedirs(path, 0o755)
        except OSError as error:
            raise CheckpointError(path, error.strerror or str(error)) from error

    def exists(self, container_id: ContainerId) -> bool:
        """Whether the container has a directory."""
        return os.path.isdir(self.path(container_id))

    def remove(self, container_id: ContainerId) -> None:
        """Remove the directory with those of all nested containers; nothing there is fine.

        It goes at once, by another name: half a directory would tell of another end.
        """
        path = self.path(container_id)
        gone = os.path.join(os.path.dirname(path), _REMOVED + os.urandom(8).hex())
        try:
            os.rename(path, gone)
            self._remove(gone)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckpointError(path, error.strerror or str(error)) from error

    def sweep(self) -> None:
        """Remove what an interrupted ``remove`` left."""
        for path in [self.root, *(os.path.join(self.path(c), _CONTAINERS) for c in self.ids())]:
            try:
                for name in os.listdir(path):
                    if name.startswith(_REMOVED):
                        self._remove(os.path.join(path, name))
            except OSError as error:
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    log.warning("Failed to remove what is left in '%s': %s", path, error)

    def _remove(self, path: str) -> None:
        with Root(self.root) as root:
            root.remove(os.path.relpath(path, self.root))

    def ids(self) -> Iterator[ContainerId]:
        """Return the containers that have a directory, parents before children.

        Names that are no ids are skipped: they are not ours.
        """
        yield from self._ids_below(self.root, None)

    def _ids_below(self, path: str, parent: ContainerId | None) -> Iterator[ContainerId]:
        try:
            if parent is not None and os.path.islink(path):
                raise OSError(errno.ELOOP, "Symbolic links lead nowhere here")
            with os.scandir(path) as entries:
                names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return
        except OSError as error:
            if parent is None:
                raise CheckpointError(path, error.strerror or str(error)) from error
            # All in it dies with its parent, which is known.
            log.warning("Container %s: those nested in it are lost: %s", parent, error)
            return
        for name in names:
            try:
                found = ContainerId.of(ContainerId(name, parent).message())
            except WireError:
                continue
            yield found
            yield from self._ids_below(os.path.join(path, name, _CONTAINERS), found)

    def mark_standalone(self, container_id: ContainerId) -> None:
        """Remember that the container has no executor."""
        checkpoint.touch(self._file(container_id, _STANDALONE))

    def is_standalone(self, container_id: ContainerId) -> bool:
        """Whether this very container was marked as having no executor."""
        return os.path.lexists(self._file(container_id, _STANDALONE))

    def is_force_destroy(self, container_id: ContainerId) -> bool:
        """Whether the container must not survive the agent."""
        return os.path.lexists(self._file(container_id, _FORCE_DESTROY))

    def mark_force_destroy(self, container_id: ContainerId) -> None:
        """Remember that the container must not survive the agent."""
        checkpoint.touch(self._file(container_id, _FORCE_DESTROY))

    def write_config(self, container_id: ContainerId, config: slave.ContainerConfig) -> None:
        """Keep the configuration."""
        self._write(container_id, _CONFIG, config)

    def read_config(self, container_id: ContainerId) -> slave.ContainerConfig | None:
        """Return the configuration; ``None`` if it was not kept."""
        return self._read(container_id, _CONFIG, slave.ContainerConfig)

    def write_launch_info(self, container_id: ContainerId, info: slave.ContainerLaunchInfo) -> None:
        """Keep what init was told to do."""
        self._write(container_id, _LAUNCH_INFO, info)

    def read_launch_info(self, container_id: ContainerId) -> slave.ContainerLaunchInfo | None:
        """Return what init was told to do; ``None`` if it was not kept."""
        return self._read(container_id, _LAUNCH_INFO, slave.ContainerLaunchInfo)

    def write_termination(
        self, container_id: ContainerId, termination: slave.ContainerTermination
    ) -> None:
        """Keep how a nested container ended."""
        self._write(container_id, _TERMINATION, termination)

    def read_termination(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        """Return how a nested container ended; ``None`` if it has not or was never there."""
        return self._read(container_id, _TERMINATION, slave.ContainerTermination)

    def write_pid(self, container_id: ContainerId, pid: int) -> None:
        """Keep init's pid."""
        checkpoint.write_text(self._file(container_id, _PID), str(pid))

    def read_pid(self, container_id: ContainerId) -> int | None:
        """Return init's pid; ``None`` if it was not kept."""
        pid = self._read_number(container_id, _PID)
        if pid is not None and not 0 < pid < 1 << 31:
            raise CheckpointError(self._file(container_id, _PID), f"is no pid: {pid}")
        return pid

    def pid_written_at(self, container_id: ContainerId) -> float | None:
        """Return the time of day at which init's pid was kept; ``None`` if it was not."""
        try:
            return os.stat(self._file(container_id, _PID)).st_mtime
        except OSError:
            return None

    def status_path(self, container_id: ContainerId) -> str:
        """Return the file that init keeps open, and in which it writes its command's status."""
        return self._file(container_id, _STATUS)

    def read_wait_status(self, container_id: ContainerId) -> int | None:
        """Return the wait status of a container whose init is gone.

        ``None`` if it has no directory, as those of other versions: only its parent knew.
        """
        if not self.exists(container_id):
            return None
        status = self._read_number(container_id, _STATUS)
        if status is not None and not 0 <= status < 1 << 31:
            raise CheckpointError(self.status_path(container_id), f"is no wait status: {status}")
        return KILLED_WAIT_STATUS if status is None else status

    def _file(self, container_id: ContainerId, name: str) -> str:
        return os.path.join(self.path(container_id), name)

    def _write(self, container_id: ContainerId, name: str, message: Message) -> None:
        copy = type(message)()
        copy.CopyFrom(message)
        resources.downgrade_all(copy)
        checkpoint.write_record(self._file(container_id, name), copy.SerializeToString())

    def _read(self, container_id: ContainerId, name: str, kind: type[M]) -> M | None:
        path = self._file(container_id, name)
        record = checkpoint.read_record(path)
        if record is None:
            return None
        message = parse_stored(path, record, kind)
        resources.upgrade_all(message)
        return message

    def _read_number(self, container_id: ContainerId, name: str) -> int | None:
        path = self._file(container_id, name)
        text = checkpoint.read_text(path)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise CheckpointError(path, f"is no number: {text[:40]!r}") from None
