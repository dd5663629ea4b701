# SPDX-License-Identifier: Apache-2.0
"""The packages' way to configure an agent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_compat.agent.packaged import Packaged, read_packaged
from mesos_compat.base.errors import FlagError

KNOWN = ("port", "master", "switch_user", "hostname", "gc_delay")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("default", "mesos", "mesos-slave"):
        (tmp_path / name).mkdir()
    return tmp_path


def read(etc: Path, name: str = "mesos-slave", **environ: str) -> Packaged:
    return read_packaged(str(etc / name), {"PATH": os.environ["PATH"], **environ}, KNOWN)


def settings(etc: Path, **environ: str) -> list[tuple[str, str | None]]:
    return [(each.name, each.value) for each in read(etc, **environ).settings]


def write(etc: Path, **files: str) -> None:
    for name, text in files.items():
        (etc / "mesos-slave" / name).write_text(text)


def test_nothing_there(tmp_path: Path) -> None:
    assert read(tmp_path) == Packaged()


def test_a_file_is_a_flag(etc: Path) -> None:
    write(etc, port="5052\n\n", hostname="a b \n", Attributes="x:1")
    (etc / "mesos-slave" / "?switch_user").touch()
    (etc / "mesos-slave" / "?no-strict").touch()
    assert settings(etc) == [
        ("no-strict", None),
        ("switch_user", None),
        ("attributes", "x:1"),
        ("hostname", "a b "),
        ("port", "5052"),
    ]
    assert {each.origin for each in read(etc).settings} >= {f"{etc}/mesos-slave/port"}


def test_attributes_and_resources_piece_by_piece(etc: Path) -> None:
    for folder in ("attributes", "resources"):
        (etc / "mesos-slave" / folder).mkdir()
    (etc / "mesos-slave" / "attributes" / "rack").write_text("north-west\n")
    (etc / "mesos-slave" / "attributes" / "level").write_text("2")
    (etc / "mesos-slave" / "attributes" / "empty").touch()
    (etc / "mesos-slave" / "resources" / "ports").write_text("[1-9]\n")
    assert settings(etc) == [
        ("attributes", "level:2;rack:north-west"),
        ("resources", "ports:[1-9]"),
    ]


def test_leftovers_are_passed_over(etc: Path) -> None:
    for name in ("port~", "port.dpkg-dist", ".port.swp"):
        (etc / "mesos-slave" / name).write_text("1")
    found = read(etc)
    assert found.settings == []
    assert len(found.warnings) == 3


def test_shell_files(etc: Path) -> None:
    (etc / "default" / "mesos").write_text("LOGS=/l\necho noise\nexport IP=1.2.3.4\nulimit=x\n")
    (etc / "default" / "mesos-slave").write_text(
        'MASTER="$(echo m):1"\nISOLATION=\nMESOS_PORT=7\nexport TZ=UTC\n'
        "MESOS_NONSENSE=1\nULIMIT='-n 99'\n"
    )
    found = read(etc, MESOS_HOSTNAME="inherited", MASTER="not this")
    assert {each.name: each.value for each in found.settings} == {
        "log_dir": "/l",
        "ip": "1.2.3.4",
        "master": "m:1",
        "port": "7",
    }
    assert found.variables["TZ"] == "UTC"
    assert found.variables["MESOS_NONSENSE"] == "1"
    assert not {"MASTER", "LOGS", "IP", "ULIMIT", "PATH"} & found.variables.keys()
    assert len(found.warnings) == 1


def test_a_file_wins_over_a_variable(etc: Path) -> None:
    write(etc, port="1")
    (etc / "default" / "mesos-slave").write_text("export MESOS_PORT=2")
    assert settings(etc) == [("port", "1")]


def test_shell_files_that_fail(etc: Path) -> None:
    (etc / "default" / "mesos-slave").write_text("cat /does/not/exist; MASTER=`cat /nor/this`")
    with pytest.raises(FlagError, match=r"default/mesos-slave: .*No such file"):
        read(etc)


def test_the_master_of_the_common_file(etc: Path) -> None:
    (etc / "mesos" / "zk").write_text("zk://a:1/mesos\n")
    assert settings(etc) == [("master", "zk://a:1/mesos")]
    write(etc, master="b:2")
    assert settings(etc) == [("master", "b:2")]


def test_newer_names(etc: Path) -> None:
    (etc / "mesos-agent").mkdir()
    (etc / "mesos-agent" / "port").write_text("1")
    (etc / "default" / "mesos-agent").write_text("IP=1.1.1.1")
    (etc / "default" / "mesos-slave").write_text("IP=2.2.2.2")
    found = read(etc, "mesos-agent")
    assert {each.name: each.value for each in found.settings} == {"port": "1", "ip": "1.1.1.1"}


def test_files_that_are_no_text(etc: Path) -> None:
    (etc / "mesos-slave" / "port").write_bytes(b"\xff")
    with pytest.raises(FlagError, match="not UTF-8"):
        read(etc)
