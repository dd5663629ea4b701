# SPDX-License-Identifier: Apache-2.0
"""What a running agent shows of itself, held against what a real agent shows."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integration.agent import OurAgent
from integration.master import RealMaster
from integration.processes import command, environment, eventually
from integration.scene import Scene

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "http"

CALLS = (
    "GET_AGENT",
    "GET_CONTAINERS",
    "GET_EXECUTORS",
    "GET_FRAMEWORKS",
    "GET_STATE",
    "GET_TASKS",
)
#: Objects whose keys depend on flags, isolators or the machine.
OPEN = frozenset(
    {"flags", "statistics", "resource_statistics", "attributes", "resources", "container"}
)


def golden(name: str) -> Any:
    """Read what the real agent answered."""
    return json.loads((GOLDEN / name).read_text())


def shape(value: Any) -> Any:
    """Keep of a document its keys in their order and the types of its values."""
    if isinstance(value, dict):
        return [(key, "open" if key in OPEN else shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def ask(agent: OurAgent, path: str, body: bytes | None = None) -> tuple[int, str | None, bytes]:
    """Return status, content type and body of an answer."""
    request = urllib.request.Request(f"http://{agent.address}{path}", body)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def call(agent: OurAgent, kind: str) -> Any:
    """Make a call of the v1 operator API."""
    status, content_type, body = ask(agent, "/api/v1", json.dumps({"type": kind}).encode())
    assert (status, content_type) == (200, "application/json"), body
    return json.loads(body)


@contextmanager
def running(scene: Scene, master: RealMaster, agent: OurAgent) -> Iterator[None]:
    """Have a task that runs while the block does."""
    program = command(
        "execute", f"--master={master.address}", "--name=seen", "--command=echo hi; sleep 1000"
    )
    execute = subprocess.Popen(
        program, stdout=subprocess.DEVNULL, env=environment(), cwd=scene.folder
    )
    try:
        eventually(lambda: _runs(agent), 60, "the task to run")
        yield
    finally:
        execute.kill()
        execute.wait()


def _runs(agent: OurAgent) -> bool:
    tasks = call(agent, "GET_TASKS")["get_tasks"]["launched_tasks"]
    return any(task["state"] == "TASK_RUNNING" for task in tasks)


def test_the_agent_shows_a_running_task_as_a_real_agent_does(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, attributes="rack:r1;zone:z1")
    with running(scene, master, agent):
        expected = golden("get_state.json")
        found = agent.state()
        for document in (expected, found):
            _without_image(document)
        assert shape(found) == shape(expected)
        for kind in CALLS:
            expected, found = golden(f"v1_{kind}.json"), call(agent, kind)
            for document in (expected, found):
                _without_image(document)
            assert shape(found) == shape(expected), kind
        for path, name in (
            ("/containers", "get_containers.json"),
            ("/monitor/statistics", "get_monitor_statistics.json"),
            ("/version", "get_version.json"),
        ):
            found = json.loads(ask(agent, path)[2])
            assert shape(found) == shape(golden(name)), path
        statistics = json.loads(ask(agent, "/containers")[2])[0]["statistics"]
        assert statistics["cpus_soft_limit"] > 0
        assert statistics["mem_limit_bytes"] > 0
        _check_metrics(agent)
        _check_files(agent)


def _without_image(document: Any) -> None:
    """Drop what the recording has because its task had an image, or a capability more."""
    if isinstance(document, dict):
        document.pop("container", None)
        document.pop("capabilities", None)
        for value in document.values():
            _without_image(value)
    elif isinstance(document, list):
        for value in document:
            _without_image(value)


def _check_metrics(agent: OurAgent) -> None:
    found = json.loads(ask(agent, "/metrics/snapshot")[2])
    assert all(isinstance(value, float) for value in found.values())
    assert found["slave/tasks_running"] == 1.0
    assert found["slave/registered"] == 1.0
    wanted = {name for name in golden("get_metrics_snapshot.json") if name.startswith("slave/")}
    wanted |= {name for name in golden("get_metrics_snapshot.json") if "fetcher" in name}
    assert wanted - found.keys() == set()
    assert found["slave/executor_directory_max_allowed_age_secs"] == 544320.0
    assert found["containerizer/mesos/provisioner/remove_container_errors"] == 0


def _check_files(agent: OurAgent) -> None:
    """Do what the web UI does to show a sandbox."""
    framework = agent.state()["frameworks"][0]
    executor = framework["executors"][0]
    directory = executor["directory"]
    short = f"/frameworks/{framework['id']}/executors/{executor['id']}/runs/latest"
    attached = json.loads(ask(agent, "/files/debug")[2])
    latest = directory.removesuffix(executor["container"]) + "latest"
    assert {short, directory, latest} <= attached.keys()
    for path in (directory, short, latest):
        _, content_type, body = ask(agent, f"/files/browse?jsonp=angular.callbacks._1&path={path}")
        assert content_type == "text/javascript"
        assert body.startswith(b"angular.callbacks._1([{")
        names = [entry["path"] for entry in json.loads(body[21:-1])]
        assert f"{path}/stdout" in names
        assert f"{path}/stderr" in names
    read = f"/files/read?path={directory}/stdout&offset=-1&length=-1&jsonp=jQuery1_2&_=3"
    body = ask(agent, read)[2]
    assert json.loads(body.removeprefix(b"jQuery1_2(")[:-1])["offset"] > 0
    _, content_type, body = ask(agent, f"/files/download?path={directory}/stdout")
    assert content_type == "application/octet-stream"
    assert b"hi\n" in body
    assert ask(agent, f"/files/read?path={directory}/../../../nope")[0] in (400, 404)


def test_an_idle_agent_shows_empty_lists(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    state = agent.state()
    assert state["frameworks"] == state["completed_frameworks"] == []
    assert call(agent, "GET_CONTAINERS") == {"type": "GET_CONTAINERS"}
    assert call(agent, "GET_OPERATIONS") == {"type": "GET_OPERATIONS", "get_operations": {}}
    flags = json.loads(ask(agent, "/flags")[2])["flags"]
    assert flags == state["flags"]
    listed = call(agent, "GET_FLAGS")["get_flags"]["flags"]
    assert {flag["name"]: flag["value"] for flag in listed} == flags
    assert ask(agent, "/health") == (200, None, b"")
    assert ask(agent, "/nope")[0] == 404
    assert "/slave/log" not in json.loads(ask(agent, "/files/debug")[2])


def test_what_is_removed_is_shown_no_longer(scene: Scene) -> None:
    """But the agent's own log is."""
    master = scene.master()
    agent = scene.agent(master, gc_delay="1secs", log_dir=scene.path("logs"))
    scene.execute(master, "--name=seen", "--command=true").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    framework = agent.state()["completed_frameworks"][0]
    executor = framework["completed_executors"][0]
    directory = executor["directory"]
    paths = (
        directory,
        directory.removesuffix(executor["container"]) + "latest",
        f"/frameworks/{framework['id']}/executors/{executor['id']}/runs/latest",
    )
    eventually(
        lambda: all(ask(agent, f"/files/browse?path={path}")[0] == 404 for path in paths),
        60,
        "the sandbox to be gone",
    )
    assert list(json.loads(ask(agent, "/files/debug")[2])) == ["/slave/log"]
    _, _, body = ask(agent, "/files/read?path=/slave/log&offset=0&length=50000")
    assert "Agent started on" in json.loads(body)["data"]


def test_a_finished_task_is_shown_as_completed(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, attributes="rack:r1;zone:z1")
    scene.execute(master, "--name=done", "--command=true").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    eventually(lambda: not agent.state()["frameworks"], 60, "the framework to be completed")
    expected, found = golden("get_state_after.json"), agent.state()
    for document in (expected, found):
        _without_image(document)
    assert shape(found) == shape(expected)
    path = found["completed_frameworks"][0]["completed_executors"][0]["directory"]
    assert ask(agent, f"/files/browse?path={path}")[0] == 200
