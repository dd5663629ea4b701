# SPDX-License-Identifier: Apache-2.0
"""What the web UI of a real master asks an agent for, in the order in which its pages do; what the
agent's log tells about a container; how fast the agent ends.
"""

import json
import re
import signal
import urllib.parse
import urllib.request
from typing import Any

import pytest

from integration.agent import OurAgent
from integration.processes import eventually, get_json
from integration.scene import Scene

#: The oldest and the newest web UI.
VERSIONS = ("1.4.3", "1.11.0")

#: What the log says at INFO about every container.
_STEPS = ("preparing", "launched", "destroying", "terminated")


class Browser:
    """Loads data by script tags, as the pages do."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._number = 0

    def script(self, route: str, callback: str = "angular.callbacks._%d", **query: object) -> Any:
        """Return the data that a script calls its function with."""
        self._number += 1
        callback %= self._number
        text = urllib.parse.urlencode({"jsonp": callback, **query}, safe="/")
        with urllib.request.urlopen(f"http://{self.prefix}{route}?{text}", timeout=60) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/javascript"
            assert "Server" not in answer.headers
            body = answer.read().decode()
        assert body.startswith(f"{callback}(")
        assert body.endswith(")")
        return json.loads(body[len(callback) + 1 : -1])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pages_of_a_real_master_open_a_sandbox(scene: Scene, version: str) -> None:
    master = scene.master(version)
    agent = scene.agent(master)
    script = "printf '<b>%s</b>' one > 'a b.html'; seq 1 20000"
    scene.execute(master, "--name=seen", f"--command={script}").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    known = (get_json(master.address, "/state") or {})["slaves"][0]
    process_id, _, address = known["pid"].partition("@")
    browser = Browser(f"{known['hostname']}:{address.rpartition(':')[2]}")

    state = browser.script(f"/{process_id}/state")
    assert {"resources", "reserved_resources", "resource_providers"} <= state.keys()
    framework = state["completed_frameworks"][0]
    executor = framework["completed_executors"][0]
    assert executor["completed_tasks"][0]["state"] == "TASK_FINISHED"
    assert {"tasks", "queued_tasks", "resources", "role"} <= executor.keys()
    assert browser.script(f"/{process_id}/monitor/statistics") == []
    assert browser.script("/metrics/snapshot")["slave/tasks_finished"] == 1

    entries = browser.script("/files/browse", path=executor["directory"])
    paths = {entry["path"].rpartition("/")[2]: entry for entry in entries}
    assert {"stdout", "stderr", "a b.html"} <= paths.keys()
    assert paths["a b.html"]["mode"] == "-rw-r--r--"
    stdout = paths["stdout"]["path"]
    whole = "".join(f"{number}\n" for number in range(1, 20001))
    size = browser.script("/files/read", "jQuery1_%d", path=stdout, offset=-1, length=-1, _=1)
    assert size["offset"] == paths["stdout"]["size"]
    piece = browser.script(
        "/files/read", "jQuery1_%d", path=stdout, offset=size["offset"] - 50000, length=50000, _=2
    )
    assert whole.endswith(piece["data"])
    assert len(piece["data"]) == 50000
    page = browser.script("/files/read", "jQuery1_%d", path=stdout, offset=0, length=32768, _=3)
    assert len(page["data"]) == 32768
    assert browser.script("/files/read", path=paths["a b.html"]["path"], offset=0)["data"] == (
        "<b>one</b>"
    )
    query = urllib.parse.urlencode({"path": paths["a b.html"]["path"]})
    with urllib.request.urlopen(f"http://{browser.prefix}/files/download?{query}") as answer:
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.read() == b"<b>one</b>"
    _check_log(agent, executor["container"])


def _check_log(agent: OurAgent, container: str) -> None:
    """The life of a container is told in lines that name it."""

    def missing() -> list[str]:
        lines = [line for line in agent.log_text().splitlines() if container in line]
        text = "\n".join(line for line in lines if line.startswith("I")).lower()
        return [step for step in _STEPS if step not in text]

    eventually(lambda: not missing(), 60, f"lines about {missing()}")


@pytest.mark.root
def test_provisioning_is_told_in_the_log(scene: Scene, docker_images: str) -> None:
    master = scene.master()
    agent = scene.agent(
        master,
        isolation="docker/runtime,filesystem/linux",
        image_providers="docker",
        docker_registry=docker_images,
    )
    scene.execute(master, "--name=seen", "--docker_image=busybox:latest", "--command=true").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    container = agent.sandbox().rpartition("/")[2]
    _check_log(agent, container)
    assert re.search(f"{container}.*provisioning", agent.log_text())


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_an_idle_agent_ends_at_once(scene: Scene, number: signal.Signals) -> None:
    master = scene.master()
    agent = scene.agent(master, executor_shutdown_grace_period="10mins")
    agent.signal(number)
    agent.wait()
    if number is signal.SIGUSR1:
        eventually(lambda: not _agents(master.address), 60, "the master to forget the agent")


def _agents(master: str) -> list[Any]:
    return [each for each in (get_json(master, "/state") or {})["slaves"] if each["active"]]
