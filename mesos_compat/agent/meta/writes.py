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

from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.resources import downgrade_all

_RUN_MODE = 0o750


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file with one record; resources in it are written in the format before refinement."""

    path: str
    message: Message


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
    """One more record at the end of a file, as it is."""

    path: str
    message: Message


@dataclass(frozen=True, slots=True)
class LatestDirectory:
    """A directory to which ``latest`` beside it shall lead; ``private`` ones have mode 0750."""

    path: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """No file, or link, any more."""

    path: str


FileWrite: TypeAlias = (
    RecordFile | TextFile | MarkFile | AppendedRecord | LatestDirectory | RemovedFile
)


def carry_out(write: FileWrite) -> None:
    """Make one change. Blocks for some file operations. Raises CheckpointError."""
    match write:
        case RecordFile(path, message):
            checkpoint.write_record(path, _before_refinement(message).SerializeToString())
        case TextFile(path, text, sync):
            checkpoint.write_text(path, text, sync=sync)
        case MarkFile(path):
            checkpoint.touch(path)
        case AppendedRecord(path, message):
            with checkpoint.AppendedRecords(path) as records:
                records.append(message.SerializeToString())
        case LatestDirectory(path, private):
            _make_latest(path, private)
        case RemovedFile(path):
            with _failing_as(path, "Failed to remove"), contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        case _:
            assert_never(write)


def _make_latest(path: str, private: bool) -> None:
    with _failing_as(path, "Failed to make the directory"):
        os.makedirs(path, exist_ok=True)
        if private:
            os.chmod(path, _RUN_MODE)
    checkpoint.relink(os.path.join(os.path.dirname(path), "latest"), path)


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
