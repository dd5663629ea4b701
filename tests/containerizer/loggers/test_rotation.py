# SPDX-License-Identifier: Apache-2.0
"""Rotation by size."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.loggers.rotation import RotatingFile, RotationPolicy


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


class Said:
    """Collects what is reported."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        self.texts.append(text)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_old_files_are_kept_in_order(tmp_path: Path, folder: int) -> None:
    file = RotatingFile(folder, "out", 10, RotationPolicy(keep=2), Said())
    for line in (b"one 12345\n", b"two\n", b"three\n", b"four 1234\n", b"five\n"):
        file.write(line)
    assert contents(tmp_path) == {
        "out": b"five\n",
        "out.1": b"four 1234\n",
        "out.2": b"two\nthree\n",
    }
    file.close()


def test_readers_always_find_a_file(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done to the folder, the name leads to a file afterwards."""
    changes = 0
    for name in ("link", "rename", "unlink"):
        change = getattr(os, name)

        def checked(*args: object, change: object = change, **kwargs: object) -> None:
            nonlocal changes
            changes += 1
            try:
                change(*args, **kwargs)  # type: ignore[operator]
            finally:
                assert (tmp_path / "out").exists()

        monkeypatch.setattr(os, name, checked)
    for keep in (0, 1, 2):
        file = RotatingFile(folder, "out", 4, RotationPolicy(keep=keep), Said())
        file.write(b"aaa\nbbb\nccc\nddd\n")
        file.close()
    assert changes > 20
    assert not (tmp_path / ".out.new").exists()


def test_without_rotate_nothing_old_is_kept(tmp_path: Path, folder: int) -> None:
    file = RotatingFile(folder, "out", 10, RotationPolicy(), Said())
    file.write(b"1234567890")
    file.write(b"x")
    assert contents(tmp_path) == {"out": b"x"}
    file.close()


@pytest.mark.parametrize("delayed", [False, True])
def test_compressed(tmp_path: Path, folder: int, delayed: bool) -> None:
    policy = RotationPolicy(keep=3, compress=True, delay_compress=delayed)
    file = RotatingFile(folder, "out", 4, policy, Said())
    for line in (b"aaa\n", b"bbb\n", b"ccc\n", b"ddd\n"):
        file.write(line)
    found = contents(tmp_path)
    unpacked = {
        name: gzip.decompress(data) if name.endswith(".gz") else data
        for name, data in found.items()
    }
    first = "out.1" if delayed else "out.1.gz"
    assert unpacked == {
        "out": b"ddd\n",
        first: b"ccc\n",
        "out.2.gz": b"bbb\n",
        "out.3.gz": b"aaa\n",
    }
    file.write(b"eee\n")
    assert len(contents(tmp_path)) == 4
    file.close()


@given(st.lists(st.binary(max_size=30) | st.just(b"line\n")), st.integers(1, 20))
def test_nothing_is_lost_and_nothing_is_too_long(pieces: list[bytes], limit: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        file = RotatingFile(fd, "o", limit, RotationPolicy(keep=1000), Said())
        for piece in pieces:
            file.write(piece)
        file.close()
        os.close(fd)
        found = contents(Path(name))
    assert all(len(data) <= limit for data in found.values())
    order = sorted(found, key=lambda each: -int(each.partition(".")[2] or 0))
    assert b"".join(found[each] for each in order) == b"".join(pieces)


def test_what_is_there_already_counts(tmp_path: Path, folder: int) -> None:
    (tmp_path / "out").write_bytes(b"12345678\n")
    file = RotatingFile(folder, "out", 10, RotationPolicy(keep=1), Said())
    file.write(b"abc\n")
    assert contents(tmp_path) == {"out": b"abc\n", "out.1": b"12345678\n"}
    file.close()


def test_obstacles_are_reported_and_nothing_hangs(tmp_path: Path, folder: int) -> None:
    said = Said()
    (tmp_path / "out.1").mkdir()
    (tmp_path / "out.1" / "x").touch()
    file = RotatingFile(folder, "out", 4, RotationPolicy(keep=1), said)
    file.write(b"aaa\nbbb\nccc\n")
    assert (tmp_path / "out").read_bytes() == b"aaa\nbbb\nccc\n"
    assert "Failed to rename 'out': File exists" in said.texts
    file.close()


def test_links_are_not_followed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "out").symlink_to("target")
    said = Said()
    file = RotatingFile(folder, "out", 4, RotationPolicy(keep=1), said)
    file.write(b"aaa\nbbb\n")
    assert (tmp_path / "target").read_bytes() == b""
    assert (tmp_path / "out").read_bytes() == b"bbb\n"
    assert said.texts == ["Failed to open 'out': Too many levels of symbolic links"]
    file.close()


@pytest.mark.parametrize("trap", ["fifo", "fifo with reader", "device", "socket"])
def test_special_files_are_not_written_to(tmp_path: Path, folder: int, trap: str) -> None:
    reader = -1
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        if trap == "device":
            try:
                os.mknod(tmp_path / "out", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
            except PermissionError:
                pytest.skip("needs root")
        elif trap == "socket":
            server.bind(os.fspath(tmp_path / "out"))
        else:
            os.mkfifo(tmp_path / "out")
            if trap == "fifo with reader":
                reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    said = Said()
    file = RotatingFile(folder, "out", 4, RotationPolicy(keep=1, compress=True), said)
    file.write(b"aaa\n")
    assert said.texts[0].startswith("Failed to open 'out': ")
    if reader >= 0:
        assert os.read(reader, 4) == b""
        os.close(reader)
    # it is put away like any other file, but nobody reads from it
    file.write(b"bbb\n")
    assert (tmp_path / "out").read_bytes() == b"bbb\n"
    assert not stat.S_ISREG((tmp_path / "out.1").lstat().st_mode)
    file.close()


def test_options_of_logrotate() -> None:
    options = """
    rotate 9   # keep nine
    compress
    delaycompress
    start 0
    postrotate
      rotate 1
    endscript
    copytruncate
    rotate x
    """
    policy, ignored = RotationPolicy.parse(options)
    assert policy == RotationPolicy(9, 0, compress=True, delay_compress=True)
    assert ignored == ("postrotate", "copytruncate", "rotate")
    assert RotationPolicy.parse("compress\nnocompress\ndelaycompress\nnodelaycompress") == (
        RotationPolicy(),
        (),
    )
    assert RotationPolicy.parse("rotate 99999999")[0].keep == 1000
