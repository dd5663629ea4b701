# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from mesos_compat.cli import launcher_dir


def test_help_of_the_programs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mesos-executor", "--help"])
    assert launcher_dir.executor() == 0
    assert "--task_launch_info" in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mesos-default-executor", "--help"])
    assert launcher_dir.default_executor() == 0
    assert "--launcher_dir" in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mesos-containerizer", "help"])
    assert launcher_dir.containerizer() == 0
    assert "launch" in capfd.readouterr().err
    monkeypatch.setattr(sys, "argv", ["mesos-containerizer", "nosuch"])
    assert launcher_dir.containerizer() == 1
