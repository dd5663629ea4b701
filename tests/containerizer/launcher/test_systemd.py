# SPDX-License-Identifier: Apache-2.0
"""The slice of systemd's, with programs in place of systemd; integration/ has a real one."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from containerizer.launcher import systemd
from containerizer.launcher.systemd import SLICE, Systemd, SystemdConfig, prepare_systemd
from containerizer.linux import cgroup1, proc
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import FlagError


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SystemdConfig:
    """A host that systemd runs; ``calls`` is what systemctl was asked."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroup1, "layout", lambda: CgroupLayout.HYBRID)
    for name in ("units", "cgroups/systemd", "cgroups/unified"):
        (tmp_path / name).mkdir(parents=True)
    made = tmp_path / "cgroups" / "systemd" / SLICE
    return SystemdConfig(
        runtime_directory=str(tmp_path / "units"),
        cgroups_hierarchy=str(tmp_path / "cgroups"),
        init=program(tmp_path / "init", "echo systemd 252 '(252.38)'"),
        booted=str(tmp_path),
        control=program(
            tmp_path / "systemctl",
            f'echo "$@" >> {tmp_path}/calls; test $1 != start || mkdir -p {made}',
        ),
    )


def test_the_slice_is_written_once_and_started_each_time(
    config: SystemdConfig, tmp_path: Path
) -> None:
    first = prepare_systemd(config)
    assert first == Systemd(f"{tmp_path}/cgroups/systemd", None)
    assert first.helper_cgroups == (f"{tmp_path}/cgroups/systemd/{SLICE}",)
    assert first.container_cgroups == ()
    unit = tmp_path / "units" / SLICE
    assert unit.read_text() == "[Unit]\nDescription=Mesos Executors Slice\n"
    assert prepare_systemd(config) == first
    assert (tmp_path / "calls").read_text().splitlines() == [
        "daemon-reload",
        f"start {SLICE}",
        f"start {SLICE}",
    ]


def test_with_the_hybrid_layout_all_are_in_the_slice(config: SystemdConfig, tmp_path: Path) -> None:
    unified = tmp_path / "cgroups" / "unified" / SLICE
    unified.mkdir()
    made = prepare_systemd(config)
    assert made is not None
    assert made.container_cgroups == (str(unified),)
    assert made.helper_cgroups == (f"{tmp_path}/cgroups/systemd/{SLICE}", str(unified))


def test_who_does_not_need_it(config: SystemdConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare_systemd(replace(config, booted="/nowhere")) is None
    assert prepare_systemd(replace(config, init="/nowhere/init")) is None
    assert prepare_systemd(replace(config, init="/bin/echo")) is None
    monkeypatch.setattr(cgroup1, "layout", lambda: CgroupLayout.V2)
    assert prepare_systemd(config) is None
    monkeypatch.setattr(cgroup1, "layout", lambda: CgroupLayout.V1)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert prepare_systemd(config) is None


def test_an_old_systemd_is_told_of(
    config: SystemdConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = replace(config, init=program(tmp_path / "old", "echo systemd 208"))
    with caplog.at_level(logging.WARNING, systemd.__name__):
        assert prepare_systemd(old) is not None
    assert "systemd 208 is older than 218" in caplog.text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"control": "/nowhere/systemctl"}, "Failed to run '/nowhere/systemctl daemon-reload': "),
        ({"control": "/bin/false"}, "Failed to run '/bin/false daemon-reload': exit status 1"),
        ({"control": "/bin/true"}, "Failed to locate systemd cgroups hierarchy: does not exist"),
        ({"runtime_directory": "/nowhere"}, f"Failed to write systemd slice `/nowhere/{SLICE}`: "),
    ],
)
def test_a_slice_that_cannot_be_made_ends_the_start(
    config: SystemdConfig, change: dict[str, str], text: str
) -> None:
    with pytest.raises(FlagError) as refused:
        prepare_systemd(replace(config, **change))
    assert str(refused.value).startswith(f"Failed to initialize systemd: {text}")


@pytest.mark.parametrize(
    ("unified", "places", "kept"),
    [
        (None, {"name=systemd": "/mesos/c1"}, True),
        (None, {"name=systemd": f"/{SLICE}"}, True),
        (None, {"name=systemd": "/system.slice/agent.service"}, False),
        (None, {"name=systemd": "/mesosphere/c1"}, False),
        (None, {}, False),
        ("/u", {"name=systemd": "/mesos/c1", "": "/system.slice/agent.service"}, False),
        ("/u", {"name=systemd": "/mesos/c1", "": f"/{SLICE}"}, True),
    ],
)
def test_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, unified: str | None, places: dict[str, str], kept: bool
) -> None:
    monkeypatch.setattr(proc, "cgroups", lambda pid: places)
    assert Systemd("/s", unified).keeps(1, "mesos") is kept
