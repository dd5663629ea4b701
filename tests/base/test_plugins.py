# SPDX-License-Identifier: Apache-2.0
"""Plug-ins are found by name and imported only when asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group

POINTS = [
    EntryPoint("b", "os.path:join", "g"),
    EntryPoint("a", "not.there:x", "g"),
    EntryPoint("c", "os:not_there", "g"),
    EntryPoint("b", "os.path:split", "g"),
]


def test_names_and_load(caplog: pytest.LogCaptureFixture) -> None:
    import os

    group = Group("g", POINTS)
    assert group.names() == ["a", "b", "c"]
    assert "b" in group
    assert "d" not in group
    assert group.load("b") is os.path.join
    assert "'b' is registered as os.path:join and as os.path:split" in caplog.text


@pytest.mark.parametrize(
    ("name", "error"),
    [("x", r"Unknown plug-in 'x' in g \(known: a, b, c\)"), ("a", "Failed"), ("c", "Failed")],
)
def test_what_cannot_be_loaded_is_a_flag_error(name: str, error: str) -> None:
    with pytest.raises(FlagError, match=error):
        Group("g", POINTS).load(name)


def test_installed_entry_points_are_read() -> None:
    assert "mesos-agent" in Group("console_scripts").names()
