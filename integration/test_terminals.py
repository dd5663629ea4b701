# SPDX-License-Identifier: Apache-2.0
"""Tasks with a terminal, and output that is rotated, on a real agent with a real master."""

import json
import time
from pathlib import Path

import pytest

from integration.api import Api, container_id
from integration.processes import eventually
from integration.scene import Scene
from integration.test_nested import running_container, task

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

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
        eventually(lambda: "groups" in agent.stdout("tty"), 10, "the task's first output")
        stream = api.stream("ATTACH_CONTAINER_OUTPUT", container_id=container)
        assert stream.status_line == "HTTP/1.1 200 OK"
        size = {"tty_info": {"window_size": {"rows": 33, "columns": 44}}}
        given = api.input(container)
        given.send({"type": "CONTROL", "control": {"type": "TTY_INFO", **size}})
        given.type(b"\x03")
        eventually(lambda: "interrupted" in agent.stdout("tty"), 10, "the interrupt")
        given.type(b"hello\n")
        eventually(lambda: "got hello" in agent.stdout("tty"), 10, "the answer")
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
            lambda: (folder / "stdout").read_bytes().endswith(b"\n50000\n"), 10, "all output"
        )
        names = {path.name for path in folder.iterdir()}
        assert names == {"stdout", "stdout.1", "stdout.2", "stderr"}
        assert all(path.stat().st_size <= 64 << 10 for path in folder.iterdir())
