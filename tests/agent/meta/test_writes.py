# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are written as upstream's agent writes them: bytes, modes, system calls."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import Message

from mesos_compat.agent.meta import layout, writes
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.resources import upgrade_all
from mesos_compat.model.volumes import Home
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "checkpoint"

#: Message of each file that holds one record.
RECORDS: dict[str, type[Message]] = {
    "slave.info": pb.SlaveInfo,
    "framework.info": pb.FrameworkInfo,
    "executor.info": pb.ExecutorInfo,
    "task.info": pb.Task,
}


def recorded(name: str) -> list[Path]:
    found = sorted(GOLDEN.rglob(name))
    if not found:
        pytest.skip("the recorded checkpoints are not here")
    return found


@pytest.mark.parametrize("name", RECORDS)
def test_records_have_the_bytes_of_upstream(tmp_path: Path, name: str) -> None:
    for number, path in enumerate(recorded(name)):
        content = checkpoint.read_record(str(path))
        assert content is not None
        message = RECORDS[name].FromString(content)
        upgrade_all(message)
        ours = str(tmp_path / f"{number}-{name}")
        writes.carry_out(writes.RecordFile(ours, message))
        assert Path(ours).read_bytes() == path.read_bytes()
        assert stat.S_IMODE(os.stat(ours).st_mode) == 0o600


def test_appended_records_have_the_bytes_of_upstream(tmp_path: Path) -> None:
    for number, path in enumerate(recorded("task.updates")):
        ours = str(tmp_path / f"{number}-updates")
        for content in checkpoint.read_records(str(path)):
            record = messages.StatusUpdateRecord.FromString(content)
            writes.carry_out(writes.AppendedRecord(ours, record))
        assert Path(ours).read_bytes() == path.read_bytes()
        assert stat.S_IMODE(os.stat(ours).st_mode) == 0o644


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_by_one_write_and_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def noted(*args: object, name: str = name, real: object = real) -> object:
            calls.append(name)
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noted)
    path = str(tmp_path / "text")
    writes.carry_out(writes.TextFile(path, "1", sync))
    expected = ["write", "fsync", "rename", "fsync"] if sync else ["write", "rename"]
    assert calls == expected
    assert Path(path).read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["text"]


def test_latest_is_absolute_and_replaced(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = str(tmp_path / "runs" / name)
        writes.carry_out(writes.LatestDirectory(run, private=True))
        assert os.readlink(tmp_path / "runs" / "latest") == run
        assert stat.S_IMODE(os.stat(run).st_mode) == 0o750
    agent = str(tmp_path / "slaves" / "a")
    writes.carry_out(writes.LatestDirectory(agent))
    assert stat.S_IMODE(os.stat(agent).st_mode) == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_marks_and_removals(tmp_path: Path) -> None:
    path = layout.sentinel(str(tmp_path / "runs" / "c"))
    for _ in range(2):
        writes.carry_out(writes.MarkFile(path))
    assert os.path.getsize(path) == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666 & ~_umask() & 0o644
    for _ in range(2):
        writes.carry_out(writes.RemovedFile(path))
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: writes.RecordFile(path, pb.SlaveInfo(hostname="h")),
        lambda path: writes.RecordsFile(path, (pb.SlaveInfo(hostname="h"),)),
        lambda path: writes.TextFile(path, "1"),
        writes.MarkFile,
        lambda path: writes.AppendedRecord(path, pb.SlaveInfo(hostname="h")),
        writes.LatestDirectory,
        writes.RemovedFile,
        lambda path: writes.RenamedFile(path, f"{path}.new"),
        writes.RemovedDirectory,
        lambda path: writes.MadeVolume(Home(path, "")),
        lambda path: writes.DestroyedVolume(Home(path, "")),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, write: Callable[[str], writes.FileWrite]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/x"):
        writes.carry_out(write(str(tmp_path / "file" / "x")))
