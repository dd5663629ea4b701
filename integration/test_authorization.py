# SPDX-License-Identifier: Apache-2.0
"""Agents that ask what frameworks may run and what clients may see, under real masters."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from integration.agent import OurAgent
from integration.frameworks.director import Director, needs, shell
from integration.master import RealMaster
from integration.processes import eventually
from integration.scene import Scene
from integration.subscription import Record
from integration.test_groups import executor
from integration.test_http_authentication import ask

ANY, NONE = {"type": "ANY"}, {"type": "NONE"}
OPS, GUEST = (
    "Basic " + base64.b64encode(f"{name}:secret of {name}".encode()).decode()
    for name in ("ops", "guest")
)
FORBIDDEN = (403, "403 Forbidden.")
LONG = "while :; do sleep 0.1; done"


def rule(key: str, principals: Any, objects: Any) -> list[Record]:
    return [{"principals": principals, key: objects}]


def some(*values: str) -> Record:
    return {"values": list(values)}


def guarded(scene: Scene) -> dict[str, object]:
    """Flags of an agent where ``ops`` may see things and do little; frameworks run as ``good``."""
    ops = some("ops")
    acls = {
        "permissive": False,
        "run_tasks": rule("users", some("good"), ANY) + rule("users", ANY, NONE),
        "view_frameworks": rule("users", ops, ANY),
        "view_executors": rule("users", ops, ANY),
        "view_tasks": rule("users", ops, ANY),
        "view_containers": rule("users", ops, ANY),
        "view_flags": rule("flags", ops, ANY),
        "access_sandboxes": rule("users", ops, ANY),
        "get_endpoints": rule("paths", ops, some("/containers", "/metrics/snapshot")),
        "kill_nested_containers": rule("users", ops, ANY),
    }
    file = scene.path("acls.json")
    Path(file).write_text(json.dumps(acls))
    credentials = scene.path("credentials.json")
    known = [{"principal": name, "secret": f"secret of {name}"} for name in ("ops", "guest")]
    Path(credentials).write_text(json.dumps({"credentials": known}))
    os.chmod(credentials, 0o600)
    key = scene.path("key")
    Path(key).write_bytes(os.urandom(32))
    os.chmod(key, 0o600)
    return {
        "acls": f"file://{file}",
        "authenticate_http_readonly": True,
        "authenticate_http_readwrite": True,
        "authenticate_http_executors": True,
        "http_credentials": credentials,
        "jwt_secret_key": key,
    }


@contextmanager
def framework(master: RealMaster, principal: str | None) -> Iterator[Director]:
    """A framework that says to be ``principal``, which the masters of these tests believe."""
    director = Director(master.address)
    if principal is not None:
        director.info["principal"] = principal
    try:
        yield director.start()
    finally:
        director.close()


def answer(agent: OurAgent, path: str, who: str, call: object = None) -> tuple[int, str]:
    status, _, text = ask(agent, path, who, call)
    return status, text


def called(agent: OurAgent, who: str, kind: str, **inner: Any) -> tuple[int, str]:
    return answer(agent, "/api/v1", who, {"type": kind, kind.lower(): inner})


def tasks_of(agent: OurAgent, who: str) -> list[str]:
    """Ids of tasks that ``/state`` shows."""
    status, text = answer(agent, "/state", who)
    assert status == 200, text
    return [
        task["id"]
        for each in json.loads(text)["frameworks"]
        for run in each["executors"]
        for task in run["tasks"]
    ]


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_by_acls(scene: Scene, version: str) -> None:
    master = scene.master(version)
    agent = scene.agent(master, **guarded(scene))
    for principal in ("bad", None):
        with framework(master, principal) as bad:
            bad.launch(shell("t", "touch was-here"))
            status = bad.until("t", "TASK_ERROR")
            check_refusal(bad, status, "t", "REASON_TASK_UNAUTHORIZED")
            assert bad.states("t") == ["TASK_ERROR"]
            bad.launch_group(executor(), shell("a", LONG), shell("b", LONG))
            for name in ("a", "b"):
                status = bad.until(name, "TASK_ERROR")
                check_refusal(bad, status, "a", "REASON_TASK_GROUP_UNAUTHORIZED")
            bad.teardown()
    assert agent.sandboxes() == []
    with framework(master, "good") as good:
        good.launch(shell("t", f"echo hello; {LONG}"))
        good.until("t", "TASK_RUNNING")
        check_views(agent)
        check_files(agent)
        check_calls(agent)
        good.kill("t")
        good.until("t", "TASK_KILLED")
        # what was reserved for executors of tasks that were refused is free again
        good.launch_group(executor(), shell("a", "true"), shell("b", "true"))
        for name in ("a", "b"):
            good.until(name, "TASK_FINISHED")
        good.teardown()


def check_refusal(bad: Director, status: Record, task: str, reason: str) -> None:
    assert status["reason"] == reason
    assert status["source"] in ("SOURCE_AGENT", "SOURCE_SLAVE")
    text = f'Framework {bad.framework_id} is not authorized to launch task name: "{task}"\n'
    assert status["message"].startswith(text)
    assert "executor_id" not in status


def check_views(agent: OurAgent) -> None:
    assert tasks_of(agent, OPS) == ["t"]
    assert tasks_of(agent, GUEST) == []
    found = json.loads(called(agent, OPS, "GET_TASKS")[1])["get_tasks"]["launched_tasks"]
    assert [task["name"] for task in found] == ["t"]
    found = json.loads(called(agent, GUEST, "GET_TASKS")[1])["get_tasks"]
    assert not found.get("launched_tasks")
    status, text = answer(agent, "/flags", OPS)
    assert status == 200
    assert json.loads(text)["flags"]["acls"].startswith("permissive: false\nrun_tasks {\n")
    assert "flags" in json.loads(answer(agent, "/state", OPS)[1])
    assert "flags" not in json.loads(answer(agent, "/state", GUEST)[1])
    assert answer(agent, "/flags", GUEST) == FORBIDDEN
    for path in ("/containers", "/metrics/snapshot"):
        assert answer(agent, path, OPS)[0] == 200
        assert answer(agent, path, GUEST) == FORBIDDEN
    for path in ("/monitor/statistics", "/logging/toggle", "/files/debug"):
        assert answer(agent, path, OPS) == FORBIDDEN
    assert answer(agent, "/health", GUEST)[0] == 200


def check_files(agent: OurAgent) -> None:
    path = f"{agent.sandbox()}/stdout"
    eventually(lambda: "hello" in agent.stdout(), 60, "output")
    read = f"/files/read?path={quote(path)}&offset=0"
    assert "hello" in json.loads(answer(agent, read, OPS)[1])["data"]
    assert answer(agent, read, GUEST) == (403, "")
    assert answer(agent, read.replace("path=/", "path=//"), GUEST) == (403, "")
    assert answer(agent, f"/files/browse?path={quote(agent.sandbox())}", GUEST) == (403, "")
    assert answer(agent, f"/files/download?path={quote(path)}", GUEST) == FORBIDDEN
    assert called(agent, GUEST, "READ_FILE", path=path, offset=0) == (403, "")
    assert called(agent, OPS, "READ_FILE", path=path, offset=0)[0] == 200


def check_calls(agent: OurAgent) -> None:
    root = {"value": os.path.basename(agent.sandbox())}
    nested = {"value": "inner", "parent": root}
    for kind in ("PRUNE_IMAGES", "GET_FLAGS"):
        assert called(agent, GUEST, kind) == FORBIDDEN
    assert called(agent, OPS, "PRUNE_IMAGES") == FORBIDDEN
    level = {"level": 1, "duration": {"nanoseconds": 1}}
    assert called(agent, OPS, "SET_LOGGING_LEVEL", **level) == FORBIDDEN
    launch = {"container_id": nested, "command": {"value": "true"}}
    assert called(agent, OPS, "LAUNCH_NESTED_CONTAINER", **launch) == FORBIDDEN
    assert called(agent, OPS, "LAUNCH_NESTED_CONTAINER_SESSION", **launch) == FORBIDDEN
    assert called(agent, OPS, "ATTACH_CONTAINER_OUTPUT", container_id=root) == FORBIDDEN
    assert called(agent, GUEST, "KILL_NESTED_CONTAINER", container_id=nested) == FORBIDDEN
    assert called(agent, OPS, "KILL_NESTED_CONTAINER", container_id=nested)[0] == 404


AUTHORIZER = '''
import asyncio
import os


class Folder:
    """Allows a task when, and denies it if, a file in a folder says so."""

    def __init__(self, folder):
        self._folder = folder

    async def authorized(self, subject, action, what):
        while what.task_info is not None:
            try:
                with open(os.path.join(self._folder, what.task_info.name)) as file:
                    return file.read() == "yes"
            except FileNotFoundError:
                await asyncio.sleep(0.05)
        return True

    def approver(self, subject, action):
        return lambda what: True


def create(parameters):
    return Folder(dict(parameters)["folder"])
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder for ``PYTHONPATH`` with an authorizer in it."""
    site = tmp_path / "site"
    info = site / "slow_authorizer-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "slow_authorizer.py").write_text(AUTHORIZER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-authorizer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mesos_compat.authorizers]\nslow = slow_authorizer:create\n"
    )
    return site


def test_a_slow_authorizer(scene: Scene, plugin: Path) -> None:
    """Groups on one executor start in their order whatever is decided first; one is killed."""
    folder = Path(scene.path("answers"))
    folder.mkdir()
    parameters = [{"key": "folder", "value": str(folder)}]
    module = {"name": "slow", "parameters": parameters}
    master = scene.master()
    agent = scene.agent(
        master,
        variables={"PYTHONPATH": str(plugin)},
        authorizer="slow",
        modules=json.dumps({"libraries": [{"modules": [module]}]}),
    )
    pod = executor()

    def decide(name: str, verdict: str) -> None:
        # whole as soon as it is there
        made = folder / f".{name}"
        made.write_text(verdict)
        made.rename(folder / name)

    def pending() -> list[str]:
        status, _, text = ask(agent, "/api/v1", None, {"type": "GET_TASKS"})
        assert status == 200
        return [task["name"] for task in json.loads(text)["get_tasks"]["pending_tasks"]]

    with framework(master, "any") as director:
        for name in ("first", "second", "third"):
            director.launch_group(pod, shell(name, LONG, resources=needs(0.1, 16)))
        eventually(lambda: sorted(pending()) == ["first", "second", "third"], 60, "questions")
        decide("second", "yes")
        director.kill("third")
        killed = director.until("third", "TASK_KILLED")
        assert killed["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH"
        assert killed["message"] == (
            "A task within the task group was killed before delivery to the executor"
        )
        assert director.states("second") == []
        assert agent.sandboxes() == []
        decide("first", "yes")
        for name in ("first", "second"):
            director.until(name, "TASK_RUNNING")
        director.launch_group(pod, shell("fourth", LONG, resources=needs(0.1, 16)))
        eventually(lambda: pending() == ["fourth"], 60, "a question")
        decide("fourth", "no")
        denied = director.until("fourth", "TASK_ERROR")
        assert denied["reason"] == "REASON_TASK_GROUP_UNAUTHORIZED"
        assert director.states("first")[-1] == "TASK_RUNNING"
        director.teardown()
    eventually(lambda: agent.state()["frameworks"] == [], 60, "the framework to be gone")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            {"acls": {"view_flags": rule("flags", ANY, some("all"))}},
            "ACL.ViewFlags type must be either NONE or ANY",
        ),
        (
            {"acls": {"get_endpoints": rule("paths", ANY, some("/flags"))}},
            "Path: '/flags' is not an authorizable path",
        ),
        ({"acls": {"run_tasks": [{"users": ANY}]}}, "Missing required fields: run_tasks"),
        ({"authorizer": "nobody"}, "Could not create 'nobody' authorizer: Unknown plug-in"),
    ],
)
def test_acls_that_end_the_start(scene: Scene, flags: dict[str, Any], text: str) -> None:
    given = {name: v if isinstance(v, str) else json.dumps(v) for name, v in flags.items()}
    agent = scene.prepare_agent("127.0.0.1:1", launcher="posix", isolation="posix/cpu", **given)
    assert agent.spawn().wait() == 1
    assert text in agent.tail()
