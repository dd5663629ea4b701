# SPDX-License-Identifier: Apache-2.0
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from containerizer.linux import cgroup1
from mesos_compat.cli.leftovers import Leftovers, Territory, find, remove


@contextmanager
def sleeper(cwd: Path, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = ["sh", "-c", "echo ready; read forever", *arguments]
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **variables},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def pids(left: Leftovers) -> set[int]:
    return {pid for pid, _ in left.processes}


def test_agents_and_tasks_are_found_by_what_they_were_started_with(tmp_path: Path) -> None:
    ours = Territory((str(tmp_path / "work"),))
    (tmp_path / "work" / "sandbox").mkdir(parents=True)
    (tmp_path / "work-2").mkdir()
    with (
        sleeper(tmp_path, f"--work_dir={tmp_path}/work") as agent,
        sleeper(tmp_path, MESOS_SANDBOX=f"{tmp_path}/work/sandbox") as task,
        sleeper(tmp_path, f"--work_dir={tmp_path}/work-2"),
        sleeper(tmp_path / "work"),
    ):
        found = find(ours)
        assert pids(found) == {agent.pid, task.pid}
        assert found.mounts == ()
        assert f"process {agent.pid}: sh -c" in str(found)


def test_they_are_killed_and_nobody_else_is(tmp_path: Path) -> None:
    with sleeper(tmp_path, MESOS_DIRECTORY=str(tmp_path)) as task, sleeper(tmp_path) as visitor:
        assert not remove(Territory((str(tmp_path),)))
        assert task.wait(60) == -9
        assert visitor.poll() is None


def test_executors_that_are_forks_of_our_interpreter_count(tmp_path: Path) -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert pids(find(Territory((str(tmp_path),)))) == {process.pid}


def test_sockets_of_containers(tmp_path: Path) -> None:
    """Wherever they are, and nothing else that is named in their place."""
    plain = tmp_path / "plain"
    plain.touch()
    place = tmp_path / "run"
    wanted = []
    for number, named in enumerate(("made", "made", plain, tmp_path / "none", "")):
        place = place / "containers" / f"c{number}"
        (place / "io_switchboard").mkdir(parents=True)
        if named == "made":
            named = tmp_path / f"socket{number}"
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(named))
            wanted.append(str(named))
        (place / "io_switchboard" / "socket").write_text(str(named))
    ours = Territory((), (), (str(tmp_path / "run"), str(tmp_path / "nowhere")))
    assert find(ours).sockets == tuple(wanted)
    assert f"socket {wanted[0]}" in str(find(ours))
    assert not remove(ours)
    assert not any(map(os.path.exists, wanted))
    assert plain.exists()


@pytest.mark.root
def test_mounts_are_removed_from_the_top(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from containerizer.linux import mount

    for name in ("a", "a/b"):
        (tmp_path / name).mkdir()
        mount.mount("tmpfs", str(tmp_path / name), "tmpfs")
    ours = Territory((str(tmp_path),))
    assert find(ours).mounts == (f"{tmp_path}/a", f"{tmp_path}/a/b")
    assert not remove(ours)
    assert not find(ours)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_frozen_are_thawed_first(tmp_path: Path) -> None:
    hierarchies = cgroup1.hierarchies()
    if not {"cpu", "freezer"} <= hierarchies.keys():
        pytest.skip("needs cgroups version 1")
    root = f"mesos-compat-test-frozen-{os.getpid()}"
    made = [os.path.join(hierarchies[name], root) for name in ("cpu", "freezer")]
    with subprocess.Popen(["sleep", "600"]) as process:
        for path in made:
            cgroup1.create(path)
            cgroup1.assign(path, process.pid)
        Path(made[1], "freezer.state").write_text("FROZEN")
        assert not remove(Territory((str(tmp_path),), (root,)), patience_s=5.0)
        assert process.wait() == -9
    assert not any(os.path.exists(path) for path in made)
