# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from mesos_compat.cli.main import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert text.count(":\n  ") == 4


def test_nothing_and_nonsense_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["slave"]) == 2
    assert "unknown command 'slave'" in capsys.readouterr().err


def test_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agnet"]) == 2
    assert "unknown command 'agnet'; did you mean 'agent'?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mesos-compat ")


def test_start_up_imports_no_sub_command() -> None:
    code = (
        "import sys, mesos_compat.cli.main as m; "
        "print([n for n, _ in m.COMMANDS.values() if n in sys.modules], 'aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
