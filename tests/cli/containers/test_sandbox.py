# SPDX-License-Identifier: Apache-2.0
"""Output in files that are rotated while they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.loggers.rotation import MIN_BYTES, RotatingFile, RotationPolicy
from mesos_compat.base.errors import ContainerError
from mesos_compat.cli.containers.logs import start_of_tail
from mesos_compat.cli.containers.sandbox import SandboxLogs

LINE = b"%063d\n"
#: Lines that fill one file.
FULL = MIN_BYTES // 64


class Rotated:
    """A logger, and its lines by number."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._fd = os.open(folder, os.O_RDONLY)
        self._file = RotatingFile(self._fd, "stdout", MIN_BYTES, RotationPolicy(keep), pytest.fail)
        self.written = 0

    def write(self, lines: int) -> None:
        for _ in range(lines):
            self._file.write(LINE % self.written)
            self.written += 1

    def finish(self) -> None:
        self._file.close()

    def close(self) -> None:
        self.finish()
        os.close(self._fd)


@pytest.fixture
def rotated(tmp_path: Path) -> Iterator[Rotated]:
    made = Rotated(tmp_path, 3)
    yield made
    made.close()


def stopped() -> bool:
    return False


def numbers(text: bytes) -> list[int]:
    return [int(line) for line in text.splitlines()]


async def rest(logs: SandboxLogs, offset: int) -> bytes:
    found = b""
    while piece := await logs.read("stdout", offset + len(found), 1000):
        found += piece
    return found


async def test_all_files_are_one_text(tmp_path: Path, rotated: Rotated) -> None:
    rotated.write(FULL * 2 + 5)
    logs = SandboxLogs(str(tmp_path), stopped)
    assert numbers(await rest(logs, 0)) == list(range(rotated.written))
    logs = SandboxLogs(str(tmp_path), stopped)
    assert await logs.size("stdout") == rotated.written * 64
    begin = await start_of_tail(logs, "stdout", FULL + 7)
    assert numbers(await rest(logs, begin)) == list(range(rotated.written))[-FULL - 7 :]


async def test_following_over_rotations(tmp_path: Path, rotated: Rotated) -> None:
    """Up to as many rotations between two looks as there are old files."""
    logs = SandboxLogs(str(tmp_path), stopped)
    read = b""
    for step in (1, FULL, 3, FULL * 2, FULL - 1, 1, 1, FULL * 3, 17):
        rotated.write(step)
        read += await rest(logs, len(read))
        assert numbers(read) == list(range(rotated.written))
    descriptors = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    # Those that the logger keeps, and that of the logger.
    assert sum(str(tmp_path / "stdout") in name for name in descriptors) <= 3 + 1 + 1


async def test_what_was_rotated_away_is_missing_and_nothing_else(
    tmp_path: Path, rotated: Rotated
) -> None:
    logs = SandboxLogs(str(tmp_path), stopped)
    rotated.write(1)
    read = await rest(logs, 0)
    rotated.write(FULL * 9)
    read += await rest(logs, len(read))
    found = numbers(read)
    # What was open is read to its end.
    kept = FULL * 3 + 1
    assert found == [*range(FULL), *range(rotated.written - kept, rotated.written)]


async def test_a_logger_that_is_not_done_is_waited_for(tmp_path: Path, rotated: Rotated) -> None:
    rotated.write(1)
    logs = SandboxLogs(str(tmp_path), stopped)
    await rest(logs, 0)
    assert await logs.running()
    rotated.finish()
    assert not await logs.running()


async def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "stderr")
    logs = SandboxLogs(str(tmp_path), stopped)
    for stream in ("stdout", "stderr"):
        with pytest.raises(ContainerError):
            await logs.read(stream, 0, 10)
