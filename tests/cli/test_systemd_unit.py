# SPDX-License-Identifier: Apache-2.0
"""The unit is tried with a real systemd in ``integration/test_systemd.py``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mesos_compat.cli.systemd_unit import main, unit

ANALYZE = shutil.which("systemd-analyze")


def command(text: str) -> str:
    [line] = (line for line in text.splitlines() if line.startswith("ExecStart="))
    return line


def test_the_flags_of_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert command(capsys.readouterr().out).endswith(
        "/mesos-agent --config=/etc/mesos-compat/agent.toml"
    )
    assert main(["--master=h:1", '--attributes=a:b c;d:"%$\\']) == 0
    assert command(capsys.readouterr().out).endswith(
        '/mesos-agent --master=h:1 "--attributes=a:b c;d:\\"%%$$\\\\"'
    )


@pytest.mark.parametrize("word", ["master", "-x", "--a=b\nExecStartPre=evil"])
def test_what_is_no_flag(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "is no flag" in err


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze (Debian package systemd)")
def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    path = tmp_path / "mesos-agent.service"
    path.write_text(unit(["/bin/true", "--attributes=a:b c;d:%h"]))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "mesos-agent.service" not in done.stderr
    assert done.returncode == 0, done.stderr
