# SPDX-License-Identifier: Apache-2.0
"""Files with secrets: what is read of them, and what errors do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesos_compat.agent.credentials import (
    AgentCredential,
    load_credential,
    load_credentials,
    load_key,
)
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


@pytest.mark.parametrize(
    "content",
    [
        '{"credentials": [{"principal": "a", "secret": "s3cret"},'
        ' {"principal": "b", "secret": "x:y"}]}',
        "a s3cret\n\nb x:y\n",
        "b old\na s3cret\nb x:y",
    ],
)
def test_many(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    assert load_credentials(write(tmp_path, content)) == {"a": "s3cret", "b": "x:y"}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "Credentials file must contain at least one credential"),
        ("\n", "Credentials file must contain at least one credential"),
        ("{}", "Credentials file must contain at least one credential"),
        ("a s3cret b", "Invalid credential format"),
        ('{"credentials": [{"principal": "a" "secret": "s3cret"}]}', "Invalid json format: "),
        ('{"credentials": [{"secret": "s3cret"}]}', "Failed to parse credentials: "),
        ('{"credentials": [{"principal": "a"}]}', "The principal 'a' in '{path}' has no secret"),
        ('[{"principal": "a", "secret": "s3cret"}]', "Failed to parse credentials: "),
        (b"a \xff\xfes3cret", "UTF-8"),
    ],
)
def test_unusable_lists(tmp_path: Path, content: str | bytes, error: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(FlagError) as caught:
        load_credentials(path)
    assert error.format(path=path) in str(caught.value)
    assert "s3cret" not in str(caught.value).replace(path, "")


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"Failed to read credentials file .*No such file"):
        load_credentials(str(tmp_path / "missing"))


def test_a_key_is_all_that_is_in_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = b"\0 a key of forty bytes, with its line feed\n"
    assert load_key(write(tmp_path, key)) == key
    assert caplog.text == ""
    assert load_key(write(tmp_path, b"k\n", 0o644)) == b"k\n"
    assert "too open" in caplog.text
    assert "has 2 bytes: at least 32 are advised" in caplog.text


def test_unusable_keys(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="is empty: anybody could sign tokens"):
        load_key(write(tmp_path, b""))
    with pytest.raises(FlagError, match="it is too long"):
        load_key(write(tmp_path, bytes(1 << 21)))
    with pytest.raises(FlagError, match=r"Failed to read secret key file .*No such file"):
        load_key(str(tmp_path / "missing"))
