# SPDX-License-Identifier: Apache-2.0
"""AgentCredential files, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesos_compat.agent.authenticatee import (
    AgentCredential,
    CramMd5,
    authentication_config,
    load_credential,
)
from mesos_compat.agent.flags import AgentFlags, parse_agent_flags
from mesos_compat.base.errors import FlagError


def write(folder: Path, content: str | bytes, mode: int = 0o600) -> str:
    file = folder / "credential"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    "content",
    [
        '{"principal": "agents", "secret": "s3cret"}',
        ' {"principal": "agents", "secret": "s3cret", "more": 1}\n',
        "agents s3cret",
        "agents s3cret\n",
        "\nagents\ts3cret\n\n",
    ],
)
def test_forms(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    credential = load_credential(write(tmp_path, content))
    assert credential == AgentCredential("agents", "s3cret")
    assert "s3cret" not in repr(credential)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "Empty credential file '{path}' (see --credential flag)"),
        ("a s3cret\nb s3cret\n", "Expecting only one credential"),
        ("\n", "Expecting only one credential"),
        ("s3cret", "Invalid credential format"),
        ("a b s3cret", "Invalid credential format"),
        ('{"principal": "a", "secret": "s3cret"', "Invalid json format: "),
        ('{"principal": "a" "secret": "s3cret"}', "Invalid json format: "),
        ('{"secret": "s3cret"}', "Failed to parse credential: "),
        ('["a", "s3cret"]', "Failed to parse credential: "),
        ('{"principal": ["s3cret"], "secret": "b"}', "Failed to parse credential: "),
        ('{"principal": "a"}', "refused authentication"),
        (b"a \xff\xfes3cret", "UTF-8"),
        ("a " + "s3cret" * 20000, "too long"),
    ],
)
def test_unusable_files(tmp_path: Path, content: str | bytes, error: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(FlagError) as caught:
        load_credential(path)
    assert error.format(path=path) in str(caught.value)
    assert "s3cret" not in str(caught.value).replace(path, "")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"Failed to read credential file .*No such file"):
        load_credential(str(tmp_path / "missing"))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_open_files_are_warned_of(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    load_credential(write(tmp_path, "a s3cret", mode))
    assert "too open" in caplog.text
    assert "s3cret" not in caplog.text


def flags(*arguments: str) -> AgentFlags:
    return parse_agent_flags(["--master=127.0.0.1:5050", "--work_dir=/w", *arguments], {})


def test_without_credential_nothing_is_needed() -> None:
    assert authentication_config(flags("--authenticatee=unknown"), {}) is None


def test_flags(tmp_path: Path) -> None:
    path = write(tmp_path, "a b")
    given = flags(
        f"--credential=file://{path}",
        "--authentication_backoff_factor=2secs",
        "--authentication_timeout_min=3secs",
        "--authentication_timeout_max=4mins",
    )
    made = authentication_config(given, {})
    assert made is not None
    assert isinstance(made.authenticatee, CramMd5)
    assert (made.backoff_factor_s, made.timeout_min_s, made.timeout_max_s) == (2.0, 3.0, 240.0)
    assert given.display["credential"] == path


def test_an_unknown_authenticatee(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"Unknown plug-in 'gssapi'.*known: crammd5"):
        authentication_config(
            flags(f"--credential={write(tmp_path, 'a b')}", "--authenticatee=gssapi"), {}
        )
