# SPDX-License-Identifier: Apache-2.0
import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.realmaster.flags import library_environment, parse_command_line, parse_usage

USAGE = """\
Usage:  [options]

  --acls=VALUE              The value could be JSON, see
                              --not_a_flag=VALUE of another column
  --agent_ping_timeout=VALUE
                            A timeout. (default: 15secs)
  --[no-]quiet              Disable logging to stderr. (default: false)
  --[no-]authenticate_frameworks   x
  --zk=VALUE                y
"""
KNOWN = parse_usage(USAGE)


def test_names_and_kinds_come_from_the_usage_text() -> None:
    assert KNOWN == {
        "acls": False,
        "agent_ping_timeout": False,
        "quiet": True,
        "authenticate_frameworks": True,
        "zk": False,
    }


@pytest.mark.parametrize(
    ("argv", "values"),
    [
        ([], {}),
        (["--acls=a=b"], {"acls": "a=b"}),
        (["--acls="], {"acls": ""}),
        (["--acls", "x", "--quiet"], {"acls": "x", "quiet": "true"}),
        (["--quiet", "--acls", "x"], {"acls": "x", "quiet": "true"}),
        (["--no-quiet"], {"quiet": "false"}),
        (["--quiet=false"], {"quiet": "false"}),
        (["--slave_ping_timeout=1secs"], {"agent_ping_timeout": "1secs"}),
        (["--no-authenticate"], {"authenticate_frameworks": "false"}),
    ],
)
def test_command_lines(argv: list[str], values: dict[str, str]) -> None:
    assert parse_command_line(argv, KNOWN) == values


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bogus=1"], "Failed to load unknown flag 'bogus'"),
        (["--no-bogus"], "Failed to load unknown flag 'bogus' via 'no-bogus'"),
        (["--no-acls"], "Failed to load non-boolean flag 'acls' via 'no-acls'"),
        (["--acls"], "Failed to load non-boolean flag 'acls': Missing value"),
        (["--acls", "--quiet"], "Failed to load non-boolean flag 'acls': Missing value"),
        (
            ["--no-quiet=1"],
            "Failed to load boolean flag 'quiet' via 'no-quiet' with value '1'",
        ),
        (["stray"], "Unexpected argument 'stray'"),
        (["--quiet", "stray"], "Unexpected argument 'stray'"),
        (["--"], "Unexpected argument '--'"),
        (["--zk=zk://h/mesos"], "--zk: leader election is not available"),
    ],
)
def test_refusals(argv: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse_command_line(argv, KNOWN)
    assert str(caught.value).startswith(message)


def test_flags_win_over_the_environment_and_defaults_over_neither() -> None:
    values = {"ip": "10.0.0.1", "quiet": "true"}
    environ = {"MESOS_IP": "10.0.0.2", "MESOS_ADVERTISE_IP": "10.0.0.3", "MESOS_WORK_DIR": "/w"}
    assert library_environment(values, environ, "/default") == {
        "MESOS_NUM_SLAVES": "0",
        "LIBPROCESS_IP": "10.0.0.1",
        "MESOS_QUIET": "true",
        "LIBPROCESS_ADVERTISE_IP": "10.0.0.3",
        "LIBPROCESS_PORT": "5050",
    }
    assert library_environment({}, {"LIBPROCESS_PORT": "7"}, "/default") == {
        "MESOS_NUM_SLAVES": "0",
        "MESOS_WORK_DIR": "/default",
    }
