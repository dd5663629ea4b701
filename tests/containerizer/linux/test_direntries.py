# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.linux import direntries


def test_this_file_system_reports_types(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:0100}").touch()
    before = len(os.listdir("/proc/self/fd"))
    assert direntries.reports_types(str(tmp_path)) is True
    assert len(os.listdir("/proc/self/fd")) <= before


def test_unknown_types_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every entry here is a directory or a file: the first that is looked for is "unknown".
    monkeypatch.setattr(direntries, "_DT_UNKNOWN", 4)
    assert direntries.reports_types(str(tmp_path)) is False


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        direntries.reports_types(str(tmp_path / "none"))
