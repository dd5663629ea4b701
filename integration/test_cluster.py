# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat cluster`` as a user calls it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.processes import environment, eventually, free_port, get_json
from integration.scene import Scene


@pytest.fixture
def place(scene: Scene) -> dict[str, str]:
    """The environment of a user with folders of their own."""
    runtime = scene.path("runtime")
    os.mkdir(runtime, mode=0o700)
    return environment(XDG_RUNTIME_DIR=runtime, XDG_STATE_HOME=scene.path("state"))


def cluster(place: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mesos_compat.cli.main", "cluster", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env=place,
        check=False,
    )


def record(place: dict[str, str]) -> Path:
    return Path(place["XDG_RUNTIME_DIR"]) / "mesos-compat" / "cluster.json"


def test_up_status_down(scene: Scene, place: dict[str, str]) -> None:
    port = free_port()
    try:
        up = cluster(place, "up", "--agents=2", "--detach", f"--port={port}")
        assert up.returncode == 0, up.stderr
        assert up.stdout.count("registered, pid") == 2
        agents = get_json(f"127.0.0.1:{port}", "/state")["slaves"]
        assert len(agents) == 2
        assert len({agent["resources"]["ports"] for agent in agents}) == 2
        assert cluster(place, "status").returncode == 0
        again = cluster(place, "up", "--detach")
        assert again.returncode == 1
        assert "runs already" in again.stderr
        done = scene.execute(f"127.0.0.1:{port}", "--name=t", "--command=true")
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    finally:
        down = cluster(place, "down")
    assert down.returncode == 0, down.stderr
    assert "no process, mount or cgroup" in down.stdout
    assert not record(place).exists()
    assert not os.path.exists(scene.path("state", "mesos-compat", "cluster"))


def test_killed_members_are_no_obstacle(scene: Scene, place: dict[str, str]) -> None:
    port = free_port()
    try:
        assert cluster(place, "up", "--detach", f"--port={port}").returncode == 0
        for member in json.loads(record(place).read_text())["members"]:
            os.kill(member["pid"], signal.SIGKILL)
        status = cluster(place, "status")
        assert status.returncode == 1
        assert status.stdout.count("does not run") == 2
        up = cluster(place, "up", "--detach", f"--port={port}")
        assert up.returncode == 0, up.stderr
    finally:
        down = cluster(place, "down")
    assert down.returncode == 0, down.stderr


def test_an_agent_that_cannot_start_takes_all_down(scene: Scene, place: dict[str, str]) -> None:
    port = free_port()
    up = cluster(place, "up", "--detach", f"--port={port}", "--", "--isolation=no/such")
    assert up.returncode == 1
    assert "no/such" in up.stderr
    assert get_json(f"127.0.0.1:{port}", "/version") is None
    assert not record(place).exists()


def test_in_the_foreground_ctrl_c_ends_it(scene: Scene, place: dict[str, str]) -> None:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "mesos_compat.cli.main", "cluster", "up", f"--port={port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=place,
    ) as process:
        eventually(
            lambda: (get_json(f"127.0.0.1:{port}", "/state") or {}).get("activated_slaves"),
            60,
            "the agent to register",
        )
        eventually(lambda: record(place).exists(), 60, "the record")
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert not record(place).exists()
