# SPDX-License-Identifier: Apache-2.0
"""The containers that commands started on this host without an agent.

Each one has an engine of its own, so that no command can take the container of another one for a
leftover::

    <run>/                       /run/mesos-compat/engine; gone after a reboot
        lock                     held while a name is taken
        <id>/                    held (flock) by the process that looks after the container
            record.json          what was asked for
            runtime/             runtime directory of the engine
            sessions/<id>/       commands that joined the container
    <work>/                      /var/lib/mesos-compat/engine
        store/                   images of all
        containers/<id>/         work directory of the engine
            sandbox/             stdout, stderr and what the container keeps

Nothing here starts or ends a container.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from containerizer.linux import mountinfo, proc
from containerizer.rundir import RuntimeDirectory
from mesos_compat.base import checkpoint
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import CheckpointError, ContainerError
from mesos_compat.model.ids import ContainerId, id_error

_RECORD = "record.json"
_LOCK = "lock"
#: A name is taken in no time; whoever holds the lock for longer hangs.
_LOCK_S = 10.0
_LOCK_DELAY_S = 0.02
_ID_BYTES = 6
#: How long the logger of a container that was killed may go on to write what it has.
_REMOVAL_S = 5.0
_REMOVAL_DELAY_S = 0.02


@dataclass(frozen=True, slots=True)
class Record:
    """What was asked for when a container was started."""

    id: str
    name: str
    command: tuple[str, ...]
    image: str | None = None
    #: Time of day.
    created_s: float = 0.0
    #: Goes on without the command that started it.
    detached: bool = False
    #: Nobody wants to see it once it has ended.
    remove: bool = False
    cgroups_root: str | None = None
    launcher: str = "linux"
    isolation: str = ""
    user: str | None = None
    working_directory: str | None = None

    @property
    def container_id(self) -> ContainerId:
        """The id of the one container of its engine."""
        return ContainerId(self.id)

    @classmethod
    def of(cls, document: Any) -> Record:
        """Read the decoded file. Raises ValueError, TypeError."""
        if not isinstance(document, dict):
            raise TypeError("no object")
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        values["command"] = tuple(map(str, values["command"]))
        made = cls(**values)
        if not isinstance(made.id, str) or not isinstance(made.name, str):
            raise TypeError("id and name are no texts")
        return made


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    run: str
    work: str

    @property
    def store(self) -> str:
        """Folder of the image stores."""
        return os.path.join(self.work, "store")

    def directory(self, container: str) -> str:
        """Folder of a container that is gone after a reboot."""
        return os.path.join(self.run, container)

    def runtime(self, container: str) -> str:
        """Runtime directory of the container's engine."""
        return os.path.join(self.run, container, "runtime")

    def sessions(self, container: str) -> str:
        """Folder of the commands that joined the container."""
        return os.path.join(self.run, container, "sessions")

    def work_dir(self, container: str) -> str:
        """Work directory of the container's engine."""
        return os.path.join(self.work, "containers", container)

    def sandbox(self, container: str) -> str:
        """The container's sandbox."""
        return os.path.join(self.work_dir(container), "sandbox")


@dataclass(frozen=True, slots=True)
class LocalContainer:
    """A container as it is at this moment."""

    record: Record
    #: ``starting``, ``running``, ``exited`` or ``lost`` (its command died while it started it).
    state: str
    #: Host pid of init while it runs.
    pid: int | None = None
    #: Of an exited one.
    wait_status: int | None = None


class Claim:
    """A container that this process looks after, until ``release``."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let others look after it; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Registry:
    """All local containers. Every failure is a ContainerError."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def add(self, record: Record) -> tuple[Record, Claim]:
        """Take a name (that of ``record``, or its new id) and return the completed record."""
        if record.name:
            _check_name(record.name)
        with _explained(f"Cannot use '{self.places.run}'"):
            os.makedirs(self.places.run, 0o711, exist_ok=True)
            with self._locked():
                taken = {name for each in self.all() for name in (each.record.name, each.record.id)}
                if record.name in taken:
                    raise ContainerError(
                        f"The name '{record.name}' is taken; remove that container first:"
                        f" mesos-compat rm {record.name}"
                    )
                made = _completed(record, taken)
                directory = self.places.directory(made.id)
                os.mkdir(directory, 0o700)
                claim = self.claim(made.id)
                checkpoint.write_text(os.path.join(directory, _RECORD), _text(made))
        return made, claim

    def all(self) -> list[LocalContainer]:
        """Return all containers, the oldest first."""
        try:
            names = sorted(os.listdir(self.places.run))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ContainerError(f"Cannot read '{self.places.run}': {error.strerror}") from error
        found = [self._container(name) for name in names if name != _LOCK]
        return sorted(filter(None, found), key=lambda each: (each.record.created_s, each.record.id))

    def find(self, reference: str) -> LocalContainer:
        """Return the container with this name, id or beginning of an id."""
        containers = self.all()
        exact = [each for each in containers if reference in (each.record.name, each.record.id)]
        found = exact or [
            each for each in containers if reference and each.record.id.startswith(reference)
        ]
        if not found:
            raise ContainerError(f"There is no container '{reference}'")
        if len(found) > 1:
            ids = ", ".join(each.record.id for each in found)
            raise ContainerError(f"'{reference}' is ambiguous: {ids}")
        return found[0]

    def claim(self, container: str) -> Claim:
        """Look after a container. Raises ContainerError if somebody else does."""
        directory = self.places.directory(container)
        with _explained(f"There is no container '{container}'"):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise ContainerError(
                f"Container '{container}' is busy: another command looks after it"
            ) from error
        return Claim(fd)

    def claimed(self, container: str) -> bool:
        """Whether a living process looks after the container."""
        try:
            self.claim(container).release()
        except ContainerError:
            return os.path.isdir(self.places.directory(container))
        return False

    def remove(self, container: str) -> None:
        """Forget a container that has ended and whose engine is closed, with all its files."""
        work_dir = self.places.work_dir(container)
        mounted = mountinfo.read_below(work_dir)
        if mounted:
            raise ContainerError(f"'{mounted[0].target}' is still mounted")
        for root, path in ((self.places.work, work_dir), (self.places.run, container)):
            relative = os.path.relpath(os.path.join(root, path), root)
            with (
                _explained(f"Failed to remove '{path}'"),
                contextlib.suppress(FileNotFoundError),
                Root(root) as held,
            ):
                _remove(held, relative)

    def runtime(self, container: str) -> RuntimeDirectory:
        """Return the runtime directory of a container's engine."""
        return RuntimeDirectory(self.places.runtime(container))

    def _container(self, name: str) -> LocalContainer | None:
        """Read one folder; ``None`` if it is none of ours (any more)."""
        path = os.path.join(self.places.directory(name), _RECORD)
        try:
            text = checkpoint.read_text(path)
            record = Record.of(json.loads(text)) if text is not None else None
        except (CheckpointError, ValueError, TypeError, KeyError):
            return None
        if record is None or record.id != name:
            return None
        rundir = self.runtime(name)
        try:
            pid = rundir.read_pid(record.container_id)
            written_s = rundir.pid_written_at(record.container_id)
            if pid is None or written_s is None:
                state = "starting" if self.claimed(name) else "lost"
                return LocalContainer(record, state)
            if proc.runs_since(pid, written_s):
                return LocalContainer(record, "running", pid)
            status = rundir.read_wait_status(record.container_id)
        except CheckpointError:
            return LocalContainer(record, "lost")
        return LocalContainer(record, "exited", wait_status=status)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = os.path.join(self.places.run, _LOCK)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + _LOCK_S
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise ContainerError(
                            f"The engine is busy: another command holds '{path}'"
                        ) from None
                    time.sleep(_LOCK_DELAY_S)
            yield
        finally:
            os.close(fd)


def _completed(record: Record, taken: set[str]) -> Record:
    made = secrets.token_hex(_ID_BYTES)
    while made in taken:
        made = secrets.token_hex(_ID_BYTES)
    values = asdict(record) | {"id": made, "name": record.name or made, "created_s": time.time()}
    return Record.of(values)


def _text(record: Record) -> str:
    return json.dumps(asdict(record), indent=1)


def _check_name(name: str) -> None:
    why = id_error(name)
    if why is None and (not name.isprintable() or name.split() != [name] or name.startswith("-")):
        why = f"'{name}' contains invalid characters"
    if why is not None:
        raise ContainerError(f"Unusable name: {why}")


def _remove(root: Root, path: str) -> None:
    """Remove a tree, also while a logger rotates its last files in it. Raises OSError."""
    until = time.monotonic() + _REMOVAL_S
    while True:
        try:
            root.remove(path)
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > until:
                raise
        time.sleep(_REMOVAL_DELAY_S)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, CheckpointError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ContainerError(f"{what}: {why}") from error
