# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
from pathlib import Path

import pytest

from containerizer.linux import proc
from mesos_compat.base.errors import FlagError
from mesos_compat.cli import cluster, cluster_record, cluster_start
from mesos_compat.cli.cluster_record import Cluster, ClusterError, Folders, Member


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return cluster_record.make_folders()


def member(pid: int, start_ticks: int, folders: Folders) -> Member:
    return Member("master", pid, start_ticks, "127.0.0.1", 1, folders.log("master"))


def record(folders: Folders, *members: Member) -> Cluster:
    os.makedirs(folders.state, exist_ok=True)
    made = Cluster("1.11.0", members)
    cluster_record.write(folders, made)
    return made


def test_the_record_is_read_back(folders: Folders) -> None:
    assert cluster_record.read(folders) is None
    made = record(folders, member(1, 2, folders))
    assert cluster_record.read(folders) == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "1", "members": []}', '{"members'])
def test_an_unreadable_record_is_an_error_that_names_it(folders: Folders, text: str) -> None:
    Path(folders.record).write_text(text)
    with pytest.raises(ClusterError, match=r"cluster\.json"):
        cluster_record.read(folders)


def test_a_pid_of_somebody_else_is_neither_alive_nor_killed(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        start = proc.stat(stranger.pid).start_ticks
        record(folders, member(stranger.pid, start - 1, folders))
        assert cluster.main(["status"]) == 1
        assert "does not run" in capsys.readouterr().out
        assert cluster.main(["down"]) == 0
        assert stranger.poll() is None
        assert not Path(folders.record).exists()
        assert not Path(folders.state).exists()
        stranger.kill()


def test_down_ends_the_recorded_process(folders: Folders) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        record(folders, member(process.pid, proc.stat(process.pid).start_ticks, folders))
        assert cluster.main(["down", "--keep"]) == 0
        assert process.wait(60) == -15
        assert Path(folders.state).exists()


def test_down_and_status_without_a_cluster(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster.main(["down"]) == 0
    assert cluster.main(["status"]) == 1
    assert capsys.readouterr().out == "No cluster runs\n" * 2


def test_only_one_command_at_a_time(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    with cluster_record.locked(folders):
        assert cluster.main(["down"]) == 1
    assert "another `mesos-compat cluster` command" in capsys.readouterr().err


def test_a_runtime_folder_of_others_is_refused(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(folders.runtime).chmod(0o777)
    assert cluster.main(["status"]) == 1
    assert "only this user" in capsys.readouterr().err


def test_ports_in_use_are_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cluster_start._free_port("127.0.0.1", port, {port + 1}) > port + 1


def test_flags_that_differ_per_agent_cannot_be_given(folders: Folders) -> None:
    wish = cluster_start.UpOptions(1, "1.11.0", "127.0.0.1", None, ("--work_dir=/x",))
    with pytest.raises(FlagError, match="--work_dir is chosen per agent"):
        cluster_start._start_agent(folders, wish, member(1, 1, folders), 1, set())
