# SPDX-License-Identifier: Apache-2.0
"""Changes of the meta directory: values, which the machine asks for, and ``carry_out``.

Nothing is synced to disk unless said: after a loss of power files may be empty, which the loader
takes for missing.

Source: spec ``state-and-recovery`` 3, 4.3, 7.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from google.protobuf.message import Message

from mesos_compat.agent.meta import volumes
from mesos_compat.base import checkpoint
from mesos_compat.base.beneath import Root, Stop, never
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.resources import downgrade_all
from mesos_compat.model.volumes import Home

_RUN_MODE = 0o750


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file with one record; resources in it are written in the format before refinement, unless
    ``as_is`` is set.
    """

    path: str
    message: Message
    as_is: bool = False


@dataclass(frozen=True, slots=True)
class RecordsFile:
    """A file with many records; resources in them are written in the format before refinement."""

    path: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file with a text."""

    path: str
    text: str
    sync: bool = False


@dataclass(frozen=True, slots=True)
class MarkFile:
    """An empty file."""

    path: str


@dataclass(frozen=True, slots=True)
class AppendedRecord:
    """One more record at the end of a file, as it is; the ``first`` one replaces the file.

    With ``sync`` it waits for the disk.
    """

    path: str
    message: Message
    first: bool = False
    sync: bool = False


@dataclass(frozen=True, slots=True)
class LatestDirectory:
    """A directory to which ``latest`` beside it shall lead; ``private`` ones have mode 0750."""

    path: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """No file, or link, any more."""

    path: str


@dataclass(frozen=True, slots=True)
class RenamedFile:
    """A file under another name, in the place of what had that; none is fine if ``optional``."""

    path: str
    to: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class RemovedDirectory:
    """No directory, nor anything in it, any more."""

    path: str


@dataclass(frozen=True, slots=True)
class MadeVolume:
    """The directory of a persistent volume; one that is there is kept as it is."""

    home: Home


@dataclass(frozen=True, slots=True)
class DestroyedVolume:
    """No persistent volume any more; of one that is a whole disk only the content is removed."""

    home: Home


FileWrite: TypeAlias = (
    RecordFile
    | RecordsFile
    | TextFile
    | MarkFile
    | AppendedRecord
    | LatestDirectory
    | RemovedFile
    | RenamedFile
    | RemovedDirectory
    | MadeVolume
    | DestroyedVolume
)


def carry_out(write: FileWrite, stop: Stop = never) -> None:
    """Make one change. Blocks for some file operations, for a DestroyedVolume as long as it takes.

    Raises CheckpointError, or RemovalStopped if ``stop`` ended the removal of a volume.
    """
    match write:
        case RecordFile(path, message, as_is):
            written = message if as_is else _before_refinement(message)
            checkpoint.write_record(path, written.SerializeToString())
        case RecordsFile(path, messages):
            made = (_before_refinement(message).SerializeToString() for message in messages)
            checkpoint.write_records(path, made)
        case TextFile(path, text, sync):
            checkpoint.write_text(path, text, sync=sync)
        case MarkFile(path):
            checkpoint.touch(path)
        case AppendedRecord(path, message, first, sync):
            end = 0 if first else None
            with checkpoint.AppendedRecords(path, sync=sync, end=end) as records:
                records.append(message.SerializeToString())
        case LatestDirectory(path, private):
            _make_latest(path, private)
        case RemovedFile(path):
            with _failing_as(path, "Failed to remove"), contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        case RenamedFile(path, to, optional):
            with _failing_as(path, f"Failed to rename to '{to}'"):
                try:
                    os.rename(path, to)
                except FileNotFoundError:
                    if not optional:
                        raise
        case RemovedDirectory(path):
            _remove_directory(path)
        case MadeVolume(home):
            with _failing_as(home.path, "Failed to create persistent volume"):
                volumes.make(home)
        case DestroyedVolume(home):
            with _failing_as(home.path, "Failed to remove persistent volume"):
                volumes.destroy(home, stop)
        case _:
            assert_never(write)


def _make_latest(path: str, private: bool) -> None:
    with _failing_as(path, "Failed to make the directory"):
        os.makedirs(path, exist_ok=True)
        if private:
            os.chmod(path, _RUN_MODE)
    checkpoint.relink(os.path.join(os.path.dirname(path), "latest"), path)


def _remove_directory(path: str) -> None:
    parent, name = os.path.split(path)
    with (
        _failing_as(path, "Failed to remove"),
        contextlib.suppress(FileNotFoundError),
        Root(parent) as root,
    ):
        root.remove(name)


@contextlib.contextmanager
def _failing_as(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(path, f"{what}: {error.strerror}") from error


def _before_refinement(message: Message) -> Message:
    made = type(message)()
    made.CopyFrom(message)
    downgrade_all(made)
    return made
