# SPDX-License-Identifier: Apache-2.0
"""mesos-agent up to the point where it listens; the rest is shown by the integration tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mesos_compat.agent.flags import parse_agent_flags
from mesos_compat.base.errors import InvariantError
from mesos_compat.base.log import Logging
from mesos_compat.base.scope import Scope
from mesos_compat.cli import agent


def run(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    """Run the program with flags and no environment of a user."""
    monkeypatch.setattr("sys.argv", ["mesos-agent", *flags])
    for name in [name for name in os.environ if name.startswith(("MESOS_", "LIBPROCESS_"))]:
        monkeypatch.delenv(name)
    return agent.main()


def test_help_and_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == "mesos 1.12.0\n"
    assert run(monkeypatch, "--help") == 0
    assert "--work_dir=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "Missing required option `--master` or `--master_detector`"),
        (["--no-such-flag"], "Failed to load unknown flag"),
        (["--master=x:1", "--port=70000"], "Failed to load flag 'port'"),
    ],
)
def test_unusable_flags(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    error: str,
) -> None:
    assert run(monkeypatch, *flags) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(error)
    assert shown.endswith("\n\nSee `mesos-agent --help`\n")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--isolation=no/such"], "Unknown or unsupported isolator 'no/such'"),
        (["--containerizers=box"], "Unknown or unsupported containerizer: box"),
        (["--containerizers="], "No containerizers specified"),
        (["--image_providers=docker"], "'filesystem/linux' isolator must be enabled"),
        (["--ip=nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_put_together_ends_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    flags: list[str],
    error: str,
) -> None:
    common = [
        "--master=127.0.0.1:1",
        "--port=0",
        "--launcher=posix",
        "--hostname=h",
        f"--work_dir={tmp_path / 'work'}",
        f"--runtime_dir={tmp_path / 'run'}",
    ]
    if not any(flag.startswith("--ip") for flag in flags):
        common.append("--ip=127.0.0.1")
    assert run(monkeypatch, *common, *flags) == 1
    shown = capsys.readouterr().err
    assert "EXIT with status 1: " in shown
    assert error in shown


def test_the_log_is_shown_as_a_virtual_file() -> None:
    plain = parse_agent_flags(["--master=127.0.0.1:1"], {})
    external = parse_agent_flags(["--master=127.0.0.1:1", "--external_log_file=/l"], {})
    assert agent._log_files(plain, Logging("INFO", 0, {})) == {}
    logs = Logging("INFO", 0, {"INFO": "/logs/mesos-agent.INFO"})
    assert agent._log_files(plain, logs) == {"/slave/log": "/logs/mesos-agent.INFO"}
    assert agent._log_files(external, logs) == {"/slave/log": "/l"}


def test_what_was_removed_is_not_shown() -> None:
    files = {"/a": "/w/x", "/b": "/w/x/y", "/c": "/w/xy"}
    agent._detach(files, "/w/x")
    assert files == {"/c": "/w/xy"}


async def test_our_own_bug_in_a_task_ends_the_program() -> None:
    failures: list[InvariantError] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(None)
    agent._end_on_broken_invariants(failures.append)

    async def broken() -> None:
        raise InvariantError("it cannot be")

    async with Scope("test") as scope:
        scope.spawn(broken(), "broken")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert [str(error) for error in failures] == ["it cannot be"]
