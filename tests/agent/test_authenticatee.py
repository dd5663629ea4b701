# SPDX-License-Identifier: Apache-2.0
"""What is made of the flags about authentication with masters."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesos_compat.agent.authenticatee import CramMd5, authentication_config
from mesos_compat.agent.flags import AgentFlags, parse_agent_flags
from mesos_compat.base.errors import FlagError
from tests.agent.test_credentials import write


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
