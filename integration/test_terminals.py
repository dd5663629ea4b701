# SPDX-License-Identifier: Apache-2.0
"""Tasks with a terminal, and output that is rotated, on a real agent with a real master."""

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from integration.api import Api, container_id
from integration.processes import command, environment, eventually
from integration.scene import Scene
from integration.test_nested import running_container, task

pytestmark = pytest.mark.root

LOGGER = "org_apache_mesos_LogrotateContainerLogger"


def test_a_command_task_with_a_terminal(scene: Scene) -> None:
    """The executor and its task share the terminal; the keys are the task's."""
    agent = scene.agent(
        scene.master(), authenticate_http_readwrite=False, http_heartbeat_interval="1secs"
    )
    api = Api(agent.address)
    script = (
        "trap 'echo interrupted' INT; stty size; echo $(ps -o pgid=,tpgid= -p $$) groups;"
        " while ! read x; do :; done; stty size; echo got $x; sleep 1000"
    )
    with task(scene, agent, "tty", f"--command={script}", "--tty") as root:
        container = container_id(root)
        eventually(lambda: "groups" in agent.stdout("tty"), 60, "the task's first output")
        stream = api.stream("ATTACH_CONTAINER_OUTPUT", container_id=container)
        assert stream.status_line == "HTTP/1.1 200 OK"
        size = {"tty_info": {"window_size": {"rows": 33, "columns": 44}}}
        given = api.input(container)
        given.send({"type": "CONTROL", "control": {"type": "TTY_INFO", **size}})
        given.type(b"\x03")
        eventually(lambda: "interrupted" in agent.stdout("tty"), 60, "the interrupt")
        given.type(b"hello\n")
        eventually(lambda: "got hello" in agent.stdout("tty"), 60, "the answer")
        assert running_container(agent, "tty") == root
        time.sleep(0.2)
        given.close()
        stream.close()
        output = Path(agent.sandbox("tty"), "stdout").read_bytes()
        lines = output.decode().split("\r\n")
        assert "0 0" in lines
        assert "33 44" in lines
        assert lines.count("interrupted") == 1 or lines.count("^Cinterrupted") == 1
        (groups,) = [line.split() for line in lines if line.endswith("groups")]
        assert groups[0] == groups[1]


def test_everybody_who_attaches_gets_the_output_and_heartbeats(scene: Scene) -> None:
    """Both forms of the answer are framed records, as upstream writes them."""
    agent = scene.agent(
        scene.master(), authenticate_http_readwrite=False, http_heartbeat_interval="1secs"
    )
    api = Api(agent.address)
    script = "stty -echo; while read x; do echo got $x; done; sleep 1000"
    with task(scene, agent, "tty", f"--command={script}", "--tty") as root:
        container = container_id(root)
        streams = [
            api.stream("ATTACH_CONTAINER_OUTPUT", accept, container_id=container)
            for accept in ("application/recordio", "application/json")
        ]
        assert [stream.status_line for stream in streams] == ["HTTP/1.1 200 OK"] * 2
        heartbeat = {
            "type": "CONTROL",
            "control": {
                "type": "HEARTBEAT",
                "heartbeat": {"interval": {"nanoseconds": 1_000_000_000}},
            },
        }
        for stream in streams:
            stream.until(lambda found: found.count(heartbeat) >= 2)
        given = api.input(container).type(b"hello\n")
        for stream in streams:
            stream.until(lambda found: b"got hello\r\n" in data(found))
            stream.close()
        # Others come and go.
        again = api.stream("ATTACH_CONTAINER_OUTPUT", container_id=container)
        given.type(b"there\n")
        again.until(lambda found: b"got there\r\n" in data(found))
        again.close()
        given.close()


def data(found: list[dict[str, Any]]) -> bytes:
    """Join the data of records."""
    pieces = [record["data"]["data"] for record in found if record["type"] == "DATA"]
    return b"".join(map(base64.b64decode, pieces))


def test_a_switchboard_that_is_killed_fails_its_task(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    arguments = ("--name=tty", "--tty", "--command=echo begun; sleep 1000")
    program = command("execute", f"--master={agent.master}", *arguments)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment()) as running:
        root = eventually(lambda: running_container(agent, "tty"), 60, "the task")
        eventually(lambda: "begun" in agent.stdout("tty"), 60, "the task's first output")
        folder = Path(agent.runtime_dir, "containers", root)
        os.kill(int((folder / "io_switchboard" / "pid").read_text()), signal.SIGKILL)
        output, _ = running.communicate(timeout=60)
    assert "Received status update TASK_FAILED for task 'tty'" in output
    assert "REASON_IO_SWITCHBOARD_EXITED" in output
    assert "'IOSwitchboard' terminated with signal Killed" in output


def test_output_that_is_rotated(scene: Scene) -> None:
    parameters = [
        {"key": "max_stdout_size", "value": "64KB"},
        {"key": "logrotate_stdout_options", "value": "rotate 2"},
    ]
    modules = {"libraries": [{"modules": [{"name": LOGGER, "parameters": parameters}]}]}
    agent = scene.agent(scene.master(), container_logger=LOGGER, modules=json.dumps(modules))
    with task(scene, agent, "log", "--command=seq 50000; sleep 1000"):
        folder = Path(agent.sandbox("log"))
        eventually(
            lambda: (folder / "stdout").read_bytes().endswith(b"\n50000\n"), 60, "all output"
        )
        names = {path.name for path in folder.iterdir()}
        assert names == {"stdout", "stdout.1", "stdout.2", "stderr"}
        assert all(path.stat().st_size <= 64 << 10 for path in folder.iterdir())
