# SPDX-License-Identifier: Apache-2.0
"""On this very host."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesos_compat.cli.doctor import main


@pytest.fixture(autouse=True)
def no_flags_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MESOS_", "LIBPROCESS_", "SSL_")):
            monkeypatch.delenv(name)


def run(
    capsys: pytest.CaptureFixture[str], folder: Path, *more: str
) -> tuple[int, dict[str, dict[str, str]]]:
    flags = [f"--work_dir={folder}/work", f"--runtime_dir={folder}/run"]
    launcher = [] if "--launcher=linux" in more else ["--launcher=posix"]
    code = main([*flags, *launcher, "--json", *more])
    return code, {each["subject"]: each for each in json.loads(capsys.readouterr().out)}


def test_this_host(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = run(capsys, tmp_path)
    assert code == 0
    assert "trials" not in found
    assert {"kernel", "cgroups", "backend overlay", "namespace mnt", "clock"} <= found.keys()
    assert found["isolator posix/cpu"]["level"] == "ok"
    assert found["launcher posix"]["level"] == "ok"
    assert os.listdir(tmp_path) == []


@pytest.mark.root
def test_backends_are_tried(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = run(capsys, tmp_path, "--image_providers=docker", "--launcher=linux")
    assert code == 0
    assert found["backend copy"]["text"] == "tried, works"
    assert found["isolator filesystem/linux"]["level"] == "ok"
    assert found["isolator namespaces/pid"]["level"] == "ok"
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert os.listdir(tmp_path) == []


def test_an_agent_that_would_not_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = run(capsys, tmp_path, "--isolation=no/such", "--master=127.0.0.1:1")
    assert code == 1
    assert found["isolator no/such"]["level"] == "missing"
    assert found["master 127.0.0.1:1"]["text"].startswith("no answer: Cannot connect to host")


def test_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'work_dir = "{tmp_path}/w"\nlauncher = "posix"\nisolation = ["no/such"]')
    assert main([f"--config={config}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "missing!  isolator no/such              there is no such isolator here" in lines
    assert lines[-1].endswith("an agent with these flags does not run without isolator no/such")


def test_unusable_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worc_dir=/x"]) == 2
    assert "Did you mean --work_dir?" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "Exit status" in capsys.readouterr().out
