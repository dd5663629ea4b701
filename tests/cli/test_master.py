# SPDX-License-Identifier: Apache-2.0
import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.cli.master import DEFAULT_VERSION, OwnFlags, main, split_command_line


def test_our_flags_are_taken_out_and_the_rest_is_the_masters() -> None:
    argv = ["--ip=1.2.3.4", "--version", "1.4.3", "--port", "5051", "--log_file=/l", "--quiet"]
    own, rest = split_command_line(argv)
    assert own == OwnFlags(version="1.4.3", log_file="/l")
    assert rest == ["--ip=1.2.3.4", "--port", "5051", "--quiet"]


def test_the_version_alone_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mesos {DEFAULT_VERSION}\n"


@pytest.mark.parametrize("argv", [["--version=latest"], ["--version="], ["--log_file"]])
def test_unusable_values_end_with_1_and_a_reason(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 1
    assert capsys.readouterr().err.startswith("mesos-compat master: ")


def test_a_version_cannot_be_a_path() -> None:
    with pytest.raises(FlagError):
        split_command_line(["--version=../../1.4.3"])
