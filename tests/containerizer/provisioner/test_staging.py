# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from containerizer.provisioner.staging import StagingArea


class SlowArea(StagingArea):
    """One whose directories take until the test wants them."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.made = threading.Event()
        self.go_on = threading.Event()

    def make(self) -> str:
        path = super().make()
        self.made.set()
        assert self.go_on.wait(30)
        return path


async def test_a_directory_lives_as_long_as_its_context(tmp_path: Path) -> None:
    async with StagingArea(str(tmp_path)).directory() as path:
        (Path(path) / "f").write_bytes(b"x")
        assert os.listdir(tmp_path) == [os.path.basename(path)]
    assert os.listdir(tmp_path) == []


async def test_who_is_cancelled_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    area = SlowArea(str(tmp_path))

    async def use() -> None:
        async with area.directory():
            raise AssertionError

    using = asyncio.ensure_future(use())
    assert await asyncio.to_thread(area.made.wait, 30)
    assert len(os.listdir(tmp_path)) == 1
    using.cancel()
    area.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert os.listdir(tmp_path) == []
