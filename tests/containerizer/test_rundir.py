# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.rundir import KILLED_WAIT_STATUS, RuntimeDirectory
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

GOLDEN = Path(__file__).parents[1] / "golden" / "runtime"
A = ContainerId("a")
B = ContainerId("b", A)


@pytest.fixture
def rundir(tmp_path: Path) -> RuntimeDirectory:
    made = RuntimeDirectory(str(tmp_path))
    made.make(A)
    return made


def test_layout(tmp_path: Path, rundir: RuntimeDirectory) -> None:
    assert rundir.path(B) == f"{tmp_path}/containers/a/containers/b"
    rundir.make(B)
    rundir.write_pid(B, 12)
    assert Path(rundir.path(B), "pid").read_bytes() == b"12"
    assert list(rundir.ids()) == [A, B]
    rundir.remove(A)
    rundir.remove(A)
    assert list(rundir.ids()) == []


@pytest.mark.parametrize("name", ["command-task-image", "default-executor"])
def test_files_of_a_real_agent_are_read_and_written_alike(
    rundir: RuntimeDirectory, name: str
) -> None:
    directory = Path(rundir.path(A))
    for kind in ("config", "launch_info"):
        (directory / kind).write_bytes((GOLDEN / f"{name}.{kind}").read_bytes())
    config = rundir.read_config(A)
    info = rundir.read_launch_info(A)
    assert config is not None
    assert info is not None
    rundir.write_config(A, config)
    rundir.write_launch_info(A, info)
    again = slave.ContainerConfig()
    again.ParseFromString((directory / "config").read_bytes()[4:])
    expected = slave.ContainerConfig()
    expected.ParseFromString((GOLDEN / f"{name}.config").read_bytes()[4:])
    assert again == expected
    assert (directory / "launch_info").read_bytes() == (GOLDEN / f"{name}.launch_info").read_bytes()
    assert (directory / "config").stat().st_mode & 0o777 == 0o600


def test_what_is_missing(rundir: RuntimeDirectory) -> None:
    assert rundir.read_config(B) is None
    assert rundir.read_pid(A) is None
    assert rundir.pid_written_at(A) is None
    assert not rundir.is_standalone(A)
    assert rundir.read_wait_status(A) == KILLED_WAIT_STATUS


@pytest.mark.parametrize(("text", "expected"), [("", 9), ("0", 0), ("32512", 32512)])
def test_wait_status(rundir: RuntimeDirectory, text: str, expected: int) -> None:
    Path(rundir.path(A), "status").write_text(text)
    assert rundir.read_wait_status(A) == expected


@pytest.mark.parametrize("text", ["x", "1.5"])
def test_damaged_numbers(rundir: RuntimeDirectory, text: str) -> None:
    Path(rundir.path(A), "status").write_text(text)
    with pytest.raises(CheckpointError):
        rundir.read_wait_status(A)


def test_a_new_container_does_not_inherit_files(rundir: RuntimeDirectory) -> None:
    Path(rundir.path(A), "status").write_text("0")
    rundir.mark_standalone(A)
    rundir.make(A)
    assert os.listdir(rundir.path(A)) == []


def test_a_damaged_message(rundir: RuntimeDirectory) -> None:
    Path(rundir.path(A), "config").write_bytes(b"\x02\0\0\0\xff\xff")
    with pytest.raises(CheckpointError, match="is no ContainerConfig"):
        rundir.read_config(A)
    Path(rundir.path(A), "config").write_bytes(b"")
    assert rundir.read_config(A) is None
