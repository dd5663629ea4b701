# SPDX-License-Identifier: Apache-2.0
"""Checkpointed files and appended records."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError


def test_a_file_is_replaced_whole_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    checkpoint.write_text(str(path), "one")
    checkpoint.write_text(str(path), "two", sync=True)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["file"]
    assert checkpoint.read_text(str(path)) == "two"


def test_a_record_is_four_bytes_of_length_and_the_message(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    checkpoint.write_record(path, b"\x08\x01")
    assert Path(path).read_bytes() == b"\x02\0\0\0\x08\x01"
    assert checkpoint.read_record(path) == b"\x08\x01"


def test_no_file_and_an_empty_file_are_no_record(tmp_path: Path) -> None:
    path = tmp_path / "r"
    assert checkpoint.read_record(str(path)) is None
    assert checkpoint.read_text(str(path)) is None
    path.touch()
    assert checkpoint.read_record(str(path)) is None
    assert checkpoint.read_records(str(path)) == []


@pytest.mark.parametrize("content", [b"\x02", b"\x02\0\0\0\x08", b"\xff\xff\xff\xffx"])
def test_a_torn_record_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="hit EOF unexpectedly, possible corruption"):
        checkpoint.read_record(str(path))
    with pytest.raises(CheckpointError, match="hit EOF"):
        checkpoint.read_records(str(path))
    assert checkpoint.scan_records(str(path)) == checkpoint.Records([], 0, len(content))


def test_a_failure_names_the_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="Failed to checkpoint") as caught:
        checkpoint.write_text(str(tmp_path / "folder"), "x")
    assert caught.value.path == str(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_appended_records_survive_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "task.updates"
    with checkpoint.AppendedRecords(str(path)) as stream:
        stream.append(b"one")
        stream.append(b"two")
    with path.open("ab") as file:
        file.write(b"\x09\0\0\0torn")
    found = checkpoint.scan_records(str(path))
    assert found.messages == [b"one", b"two"]
    assert found.torn
    with checkpoint.AppendedRecords(str(path), end=found.end) as stream:
        stream.append(b"three")
    assert checkpoint.read_records(str(path)) == [b"one", b"two", b"three"]


def test_an_exclusive_stream_must_be_new(tmp_path: Path) -> None:
    path = str(tmp_path / "operation.updates")
    checkpoint.AppendedRecords(path, exclusive=True, sync=True).close()
    with pytest.raises(CheckpointError, match="File exists"):
        checkpoint.AppendedRecords(path, exclusive=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error() -> None:
    with (
        checkpoint.AppendedRecords("/dev/full") as stream,
        pytest.raises(CheckpointError, match="No space left"),
    ):
        stream.append(b"x")


def test_touch_and_relink(tmp_path: Path) -> None:
    marker = tmp_path / "m" / "http.marker"
    checkpoint.touch(str(marker))
    os.utime(marker, (1, 1))
    checkpoint.touch(str(marker))
    assert marker.stat().st_mtime > 1
    link = tmp_path / "latest"
    checkpoint.relink(str(link), "/a")
    checkpoint.relink(str(link), "/b")
    assert os.readlink(link) == "/b"


@given(st.lists(st.binary(max_size=30)), st.integers(0, 200))
def test_any_truncation_keeps_the_complete_records(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "scan"
    content = b"".join(map(checkpoint.frame, messages))
    path.write_bytes(content[: len(content) - cut] if cut <= len(content) else b"")
    found = checkpoint.scan_records(str(path))
    assert found.messages == messages[: len(found.messages)]
    assert b"".join(map(checkpoint.frame, found.messages)) == content[: found.end]
