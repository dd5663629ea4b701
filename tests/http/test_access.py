# SPDX-License-Identifier: Apache-2.0
"""What clients may see and do: each endpoint and call asks for its action."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from mesos_compat.agent.machine.pending import PendingTasks, RunRequest
from mesos_compat.agent.machine.state import AgentState, Executor, Framework, Task, TaskPlace
from mesos_compat.authorization.acls import parse_acls
from mesos_compat.authorization.api import Action, Approver, AuthorizationObject, Principal
from mesos_compat.authorization.local import LocalAuthorizer
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.resources import parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.http.fakes import FakePort, FakeStream, agent_state
from tests.http.serving import Client, serving
from tests.http.who import believing

ANY, NONE = {"type": "ANY"}, {"type": "NONE"}


def some(*values: str) -> dict[str, Any]:
    return {"values": list(values)}


def acls(permissive: bool = False, **lists: Any) -> LocalAuthorizer:
    """Lists with one rule about ``ops`` each: the key of the objects, and these."""
    made: dict[str, Any] = {"permissive": permissive}
    for name, (key, objects) in lists.items():
        made[name] = [{"principals": some("ops"), key: objects}]
    return LocalAuthorizer(parse_acls(made))


DENIES = acls()
PERMITS = acls(permissive=True)


def executor(framework: str, name: str, user: str | None) -> Executor:
    info = pb.ExecutorInfo(executor_id=pb.ExecutorID(value=name), name=name)
    if user is not None:
        info.command.user = user
    return Executor(
        info=info,
        framework_id=FrameworkId(framework),
        container_id=ContainerId(f"c-{name}"),
        directory=f"/w/{name}",
        user=None,
        generated=False,
    )


def task(name: str, user: str | None, place: TaskPlace) -> Task:
    info = pb.TaskInfo(name=name, task_id=pb.TaskID(value=name), slave_id=pb.SlaveID(value="S0"))
    if user is not None:
        info.command.user = user
    done = place in (TaskPlace.TERMINATED, TaskPlace.COMPLETED)
    return Task(info, place, pb.TASK_FINISHED if done else pb.TASK_RUNNING)


def framework(name: str, user: str) -> Framework:
    return Framework(pb.FrameworkInfo(user=user, name=name, id=pb.FrameworkID(value=name)))


def scene() -> AgentState:
    """Framework F of fred with an executor of erin and his own, G of gina; H of hana ended."""
    state = agent_state(pb.SlaveInfo(hostname="h"), "S0", start_time=1.0)
    first, second, ended = framework("F", "fred"), framework("G", "gina"), framework("H", "hana")
    erin, plain = executor("F", "E", "erin"), executor("F", "P", None)
    for place, tasks in (
        (TaskPlace.QUEUED, erin.queued),
        (TaskPlace.LAUNCHED, erin.launched),
        (TaskPlace.TERMINATED, erin.terminated),
    ):
        for user in ("tom", None):
            one = task(f"{place.value}-{user}", user, place)
            tasks[one.task_id] = one
    erin.completed.append(task("completed-tom", "tom", TaskPlace.COMPLETED))
    erin.completed.append(task("completed-None", None, TaskPlace.COMPLETED))
    first.add_executor(erin)
    first.add_executor(plain)
    gone = executor("F", "D", "dave")
    gone.completed.append(task("old", "tom", TaskPlace.COMPLETED))
    first.completed_executors = deque([gone])
    waiting = tuple(task(f"pending-{user}", user, TaskPlace.PENDING).info for user in ("tom", None))
    first.pending.add(
        PendingTasks(1, RunRequest(waiting, True, first, ExecutorId("N"), None, None, (), True))
    )
    second.add_executor(executor("G", "X", None))
    ended.completed_executors = deque([executor("H", "Z", "zoe")])
    for each in (first, second):
        state.frameworks[each.framework_id] = each
    state.completed_frameworks.append(ended)
    return state


@pytest.fixture
def port() -> FakePort:
    return FakePort(scene(), {"work_dir": "/w", "log_dir": "/var/log"})


Serving = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def served(port: FakePort) -> Serving:
    def serve(authorizer: Any) -> AbstractAsyncContextManager[Client]:
        port.metrics = Metrics()
        return serving(port, realms=believing(), authorizer=authorizer)

    return serve


async def ask(client: Client, path: str, who: str = "ops", method: str = "GET") -> tuple[int, str]:
    url = URL(f"{client.make_url('/')}{path.removeprefix('/')}", encoded=True)
    async with client.session.request(method, url, headers={"Who": who}) as answer:
        return answer.status, await answer.text()


async def document(client: Client, path: str, who: str = "ops") -> Any:
    status, text = await ask(client, path, who)
    assert status == 200, text
    return json.loads(text)


async def call(client: Client, kind: str, who: str = "ops", **inner: Any) -> tuple[int, str]:
    body: dict[str, Any] = {"type": kind}
    if inner:
        body[kind.lower()] = inner
    async with client.session.post(
        client.make_url("/api/v1"), json=body, headers={"Who": who}
    ) as answer:
        return answer.status, await answer.text()


async def shown(client: Client, kind: str, who: str = "ops", **inner: Any) -> Any:
    status, text = await call(client, kind, who, **inner)
    assert status == 200, text
    return json.loads(text)[kind.lower()]


FORBIDDEN = (403, "403 Forbidden.")

# Endpoints.


@pytest.mark.parametrize(
    "path",
    [
        "/monitor/statistics",
        "/containers",
        "/containerizer/debug",
        "/files/debug",
        "/metrics/snapshot",
        "/logging/toggle",
    ],
)
async def test_endpoints_by_their_path(served: Serving, path: str) -> None:
    allowed = acls(get_endpoints=("paths", some(path)))
    others = acls(get_endpoints=("paths", some("/files/debug", "/containers")))
    async with served(allowed) as client:
        for asked in (path, f"{path}/", f"/{path}"):
            assert (await ask(client, asked))[0] == 200
            assert await ask(client, asked, "else") == FORBIDDEN
        if not path.startswith(("/files", "/metrics", "/logging")):
            assert (await ask(client, f"/slave(1){path}"))[0] == 200
            assert await ask(client, f"/slave%281%29{path}", "else") == FORBIDDEN
    if path not in ("/files/debug", "/containers"):
        async with served(others) as client:
            assert await ask(client, path) == FORBIDDEN
            assert await ask(client, f"{path}?level=1&duration=1secs") == FORBIDDEN


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/flags", 405),
        ("/monitor/statistics", 405),
        ("/containers", 405),
        ("/containerizer/debug", 405),
        ("/files/debug", 405),
        ("/metrics/snapshot", 403),
        ("/logging/toggle", 403),
    ],
)
async def test_other_methods(served: Serving, path: str, status: int) -> None:
    async with served(DENIES) as client:
        assert (await ask(client, path, method="POST"))[0] == status
    async with served(PERMITS) as client:
        assert (await ask(client, path, method="POST"))[0] == (405 if status == 405 else 200)
    async with served(None) as client:
        assert (await ask(client, path, method="POST"))[0] == 200


async def test_what_needs_no_authorization(served: Serving) -> None:
    async with served(DENIES) as client:
        for path in ("/health", "/version", "/system/stats.json", "/help", "/__processes__"):
            assert (await ask(client, path))[0] == 200
        for kind in ("GET_HEALTH", "GET_VERSION", "GET_LOGGING_LEVEL", "GET_AGENT"):
            await shown(client, kind)
        assert (await call(client, "GET_METRICS", timeout={"nanoseconds": 1}))[0] == 200


async def test_flags(served: Serving) -> None:
    async with served(acls(view_flags=("flags", ANY))) as client:
        assert (await document(client, "/flags"))["flags"] == {
            "work_dir": "/w",
            "log_dir": "/var/log",
        }
        assert len((await shown(client, "GET_FLAGS"))["flags"]) == 2
        state = await document(client, "/state")
        assert state["flags"]["work_dir"] == "/w"
        assert state["log_dir"] == "/var/log"
        assert await ask(client, "/flags", "else") == FORBIDDEN
        assert await call(client, "GET_FLAGS", "else") == FORBIDDEN
        state = await document(client, "/state", "else")
        assert not {"flags", "log_dir", "external_log_file"} & state.keys()


async def test_what_was_refused_is_told_to_operators(
    served: Serving, sandboxes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with served(DENIES) as client:
        await ask(client, "/flags")
        await ask(client, "/files/debug", '{"cid":"x"}')
        await ask(client, f"/files/read?path={sandboxes['E']}/stdout")
    told = [text for text in caplog.messages if " is not authorized for " in text]
    endpoint = "GET_ENDPOINT_WITH_PATH of '/files/debug'"
    assert told == [
        "'ops' is not authorized for VIEW_FLAGS",
        f"'{json.dumps({'claims': {'cid': 'x'}}, separators=(',', ':'))}' is not authorized for"
        f" {endpoint}",
        f"'ops' is not authorized for ACCESS_SANDBOX of '{sandboxes['E']}'",
    ]


# Frameworks, executors, tasks.

VIEWS: list[tuple[dict[str, Any], list[str], list[str], list[str]]] = [
    ({}, [], [], []),
    ({"view_frameworks": ("users", ANY)}, ["F", "G", "H"], [], []),
    (
        {"view_frameworks": ("users", some("fred")), "view_executors": ("users", some("fred"))},
        ["F"],
        ["P"],
        [],
    ),
    (
        {
            "view_frameworks": ("users", ANY),
            "view_executors": ("users", some("erin", "gina")),
            "view_tasks": ("users", some("tom")),
        },
        ["F", "G", "H"],
        ["E", "X"],
        ["completed-tom", "launched-tom", "queued-tom", "terminated-tom"],
    ),
    (
        {
            "view_frameworks": ("users", ANY),
            "view_executors": ("users", some("dave", "zoe")),
            "view_tasks": ("users", ANY),
        },
        ["F", "G", "H"],
        ["D", "Z"],
        ["old"],
    ),
    (
        {
            "view_frameworks": ("users", some("fred")),
            "view_executors": ("users", ANY),
            "view_tasks": ("users", some("fred")),
        },
        ["F"],
        ["D", "E", "P"],
        ["completed-None", "launched-None", "queued-None", "terminated-None"],
    ),
]


@pytest.mark.parametrize(("lists", "frameworks", "executors", "tasks"), VIEWS)
async def test_lists_are_filtered_alike(
    served: Serving,
    lists: dict[str, Any],
    frameworks: list[str],
    executors: list[str],
    tasks: list[str],
) -> None:
    async with served(acls(**lists)) as client:
        for _ in range(2):
            state = await document(client, "/state")
            every = state["frameworks"] + state["completed_frameworks"]
            assert sorted(each["id"] for each in every) == frameworks
            runs = [
                run
                for each in every
                for key in ("executors", "completed_executors")
                for run in each[key]
            ]
            assert sorted(run["id"] for run in runs) == executors
            found = [
                one["id"]
                for run in runs
                for key in ("tasks", "queued_tasks", "completed_tasks")
                for one in run[key]
            ]
            assert sorted(found) == tasks
        all_of_it = await shown(client, "GET_STATE")
        for kind in ("GET_FRAMEWORKS", "GET_EXECUTORS", "GET_TASKS"):
            assert await shown(client, kind) == all_of_it[kind.lower()]
        of_frameworks = all_of_it["get_frameworks"]
        ids = [
            each["framework_info"]["id"]["value"]
            for key in ("frameworks", "completed_frameworks")
            for each in of_frameworks[key]
        ]
        assert sorted(ids) == frameworks
        of_executors = all_of_it["get_executors"]
        ids = [
            each["executor_info"]["executor_id"]["value"]
            for key in ("executors", "completed_executors")
            for each in of_executors[key]
        ]
        assert sorted(ids) == executors
        of_tasks = all_of_it["get_tasks"]
        pending = [each["name"] for each in of_tasks.pop("pending_tasks")]
        assert sorted(each["name"] for key in of_tasks for each in of_tasks[key]) == tasks
        users = lists.get("view_tasks", ("users", some()))[1]
        assert pending == [
            name
            for name, user in (("pending-tom", "tom"), ("pending-None", "fred"))
            if users == ANY or user in users["values"]
        ]


async def test_everything_is_shown_to_others_if_permissive(served: Serving) -> None:
    whole = acls(permissive=True, view_frameworks=("users", NONE))
    async with served(whole) as client:
        assert (await document(client, "/state"))["frameworks"] == []
        assert len((await document(client, "/state", "else"))["frameworks"]) == 2
    async with served(None) as client:
        unlimited = await document(client, "/state")
    async with served(whole) as client:
        assert await document(client, "/state", "else") == unlimited


async def test_roles(port: FakePort, served: Serving) -> None:
    resources = parse_resources("cpus(a):1;cpus(a/b):2;cpus(secret):4;cpus:8")
    port.state.config.info.resources.extend(resources)
    async with served(acls(view_roles=("roles", some("a/%", "x")))) as client:
        state = await document(client, "/state")
        assert list(state["reserved_resources"]) == ["a/b"]
        assert list(state["reserved_resources_full"]) == ["a/b"]
        assert state["reserved_resources_allocated"] == {}
        assert state["resources"]["cpus"] == 15.0
        assert state["unreserved_resources"]["cpus"] == 8.0
        assert (await document(client, "/state", "else"))["reserved_resources"] == {}


async def test_operations(port: FakePort, served: Serving) -> None:
    for number, role in enumerate(("a", "secret")):
        operation = pb.Operation(uuid=pb.UUID(value=bytes([number]) * 16))
        operation.info.type = pb.Offer.Operation.UNRESERVE
        resource = parse_resources(f"cpus({role}):1")[0]
        operation.info.unreserve.resources.append(resource)
        operation.latest_status.state = pb.OPERATION_FINISHED
        port.state.operations[operation.uuid.value] = operation
    async with served(acls(view_roles=("roles", some("a")))) as client:
        (only,) = (await shown(client, "GET_OPERATIONS"))["operations"]
        assert only["info"]["unreserve"]["resources"][0]["reservations"][0]["role"] == "a"
        assert await shown(client, "GET_OPERATIONS", "else") == {}
        assert await shown(client, "GET_RESOURCE_PROVIDERS", "else") == {}


# Containers.


def nested(root: str, *path: str) -> dict[str, Any]:
    made: dict[str, Any] = {"value": root}
    for value in path:
        made = {"value": value, "parent": made}
    return made


async def test_containers(port: FakePort, served: Serving) -> None:
    alone, inside = ContainerId("alone-1"), ContainerId("in", ContainerId("c-E"))
    port.containerizer.known |= {
        alone,
        inside,
        ContainerId("in", alone),
        ContainerId("in", ContainerId("c-X")),
    }

    async def found(who: str = "ops") -> list[str]:
        answer = await call(client, "GET_CONTAINERS", who, show_nested=True, show_standalone=True)
        made = json.loads(answer[1]).get("get_containers", {"containers": []})
        return [each["container_id"]["value"] for each in made["containers"]]

    everywhere = ("paths", ANY)
    lists: dict[str, Any] = {
        "view_containers": ("users", some("erin")),
        "get_endpoints": everywhere,
    }
    async with served(acls(**lists)) as client:
        assert await found() == ["c-E", "in"]
        assert await found("else") == []
        (only,) = await document(client, "/containers")
        assert only["executor_id"] == "E"
        assert await document(client, "/containers?container_id=c-X") == []
    async with served(acls(view_standalone_containers=("users", ANY))) as client:
        assert await found() == ["alone-1", "in"]
        assert await found('{"cid_prefix":"alone-"}') == ["alone-1", "in"]
        assert await found('{"cid_prefix":"al-"}') == []
        assert await found('{"cid":"c-E"}') == []


Ask = Callable[[Client, str, Mapping[str, Any]], Awaitable[tuple[int, str]]]


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        ("wait", ["WAIT_CONTAINER", "WAIT_NESTED_CONTAINER"]),
        ("kill", ["KILL_CONTAINER", "KILL_NESTED_CONTAINER"]),
        ("remove", ["REMOVE_CONTAINER", "REMOVE_NESTED_CONTAINER"]),
    ],
)
async def test_calls_on_containers(
    port: FakePort, served: Serving, action: str, kinds: list[str]
) -> None:
    known = {"wait": 404, "kill": 200, "remove": 200}[action]
    inside = ContainerId("in", ContainerId("c-E"))
    port.containerizer.known |= {inside, ContainerId("alone-1")}
    lists: dict[str, Any] = {f"{action}_nested_containers": ("users", some("erin"))}
    async with served(acls(**lists)) as client:
        for kind in kinds:
            of_erin: Any = {"container_id": nested("c-E", "in")}
            assert (await call(client, kind, **of_erin))[0] == known
            assert await call(client, kind, "else", **of_erin) == FORBIDDEN
            assert await call(client, kind, container_id=nested("c-X", "in")) == FORBIDDEN
            assert await call(client, kind, container_id=nested("nowhere", "in")) == FORBIDDEN
            assert (await call(client, kind, '{"cid":"c-E"}', **of_erin))[0] == known
            assert await call(client, kind, '{"cid":"in"}', **of_erin) == FORBIDDEN
            assert await call(client, kind, '{"fid":"F"}', **of_erin) == FORBIDDEN
        assert await call(client, kinds[0], container_id=nested("alone-1")) == FORBIDDEN
    lists = {f"{action}_nested_containers": ("users", some("in"))}
    async with served(acls(**lists)) as client:
        unowned = await call(client, kinds[0], container_id=nested("nowhere", "in"))
        assert unowned[0] in (200, 404)
    lists = {f"{action}_standalone_containers": ("users", ANY)}
    async with served(acls(**lists)) as client:
        alone: Any = {"container_id": nested("alone-1")}
        assert (await call(client, kinds[0], **alone))[0] == known
        assert (await call(client, kinds[0], '{"cid_prefix":"alone"}', **alone))[0] == known
        assert await call(client, kinds[0], "else", **alone) == FORBIDDEN
        assert await call(client, kinds[0], container_id=nested("c-E", "in")) == FORBIDDEN


@pytest.mark.parametrize("kind", ["LAUNCH_CONTAINER", "LAUNCH_NESTED_CONTAINER"])
async def test_launches(port: FakePort, served: Serving, kind: str) -> None:
    lists: dict[str, Any] = {
        "launch_nested_containers_under_parent_with_user": ("users", some("erin")),
        "launch_nested_containers_as_user": ("users", some("tom")),
    }

    async def launch(root: str, user: str | None, who: str = "ops") -> tuple[int, str]:
        command = {"value": "x"} | ({} if user is None else {"user": user})
        port.containerizer.known.clear()
        return await call(client, kind, who, container_id=nested(root, "in"), command=command)

    async with served(acls(**lists)) as client:
        assert (await launch("c-E", "tom"))[0] == 200
        assert await launch("c-E", "root") == FORBIDDEN
        assert await launch("c-E", None) == FORBIDDEN
        assert await launch("c-X", "tom") == FORBIDDEN
        assert await launch("nowhere", "tom") == FORBIDDEN
        assert await launch("c-E", "tom", "else") == FORBIDDEN
        assert (await launch("c-E", "root", '{"cid":"c-E"}'))[0] == 200
        assert await launch("c-E", "tom", '{"cid":"c-X"}') == FORBIDDEN
    assert len(port.containerizer.launched) == 1


async def test_launches_of_standalone_containers(
    port: FakePort, served: Serving, tmp_path: Path
) -> None:
    async with served(DENIES) as client:
        answer = await call(
            client, "LAUNCH_CONTAINER", container_id=nested("x"), command={"value": "x"}
        )
        assert answer == FORBIDDEN
    assert not port.containerizer.launched


RECORDS = {
    "Content-Type": "application/recordio",
    "Message-Content-Type": "application/json",
}


def record(body: Any) -> bytes:
    text = json.dumps(body).encode()
    return b"%d\n%b" % (len(text), text)


async def test_attaching(port: FakePort, served: Serving) -> None:
    inside = ContainerId("in", ContainerId("c-E"))
    port.containerizer.known.add(inside)
    port.containerizer.streams = {inside: FakeStream([b"{}"])}

    async def attach_input(root: str, who: str = "ops") -> tuple[int, str]:
        inner = {"type": "CONTAINER_ID", "container_id": nested(root, "in")}
        body = record({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": inner})
        async with client.session.post(
            client.make_url("/api/v1"), data=body, headers={**RECORDS, "Who": who}
        ) as answer:
            return answer.status, await answer.text()

    async def attach_output(root: str, who: str = "ops") -> tuple[int, str]:
        return await call(client, "ATTACH_CONTAINER_OUTPUT", who, container_id=nested(root, "in"))

    both: dict[str, Any] = {
        "attach_containers_input": ("users", some("erin")),
        "attach_containers_output": ("users", some("erin")),
    }
    async with served(acls(**both)) as client:
        assert (await attach_input("c-E"))[0] == 200
        assert (await attach_output("c-E")) == (200, "2\n{}")
        for attach in (attach_input, attach_output):
            assert await attach("c-E", "else") == FORBIDDEN
            assert await attach("c-X") == FORBIDDEN
            assert (await attach("nowhere", "else"))[0] == 404
        assert await attach_input("c-E", '{"cid":"c-E"}') == FORBIDDEN
        assert (await attach_output("c-E", '{"cid":"c-E"}'))[0] == 200
        assert await attach_output("c-E", '{"cid":"in"}') == FORBIDDEN


async def test_sessions(port: FakePort, served: Serving) -> None:
    inside = ContainerId("in", ContainerId("c-E"))
    lists: dict[str, Any] = {
        "launch_nested_container_sessions_under_parent_with_user": ("users", some("erin")),
        "launch_nested_container_sessions_as_user": ("users", ANY),
    }

    async def session(who: str = "ops") -> tuple[int, str]:
        port.containerizer.streams = {inside: FakeStream([b"{}"])}
        return await call(
            client,
            "LAUNCH_NESTED_CONTAINER_SESSION",
            who,
            container_id=nested("c-E", "in"),
            command={"value": "x"},
        )

    async with served(acls(**lists)) as client:
        assert await session("else") == FORBIDDEN
        assert not port.containerizer.launched
        assert await session() == FORBIDDEN, "its output is a matter of its own"
        assert inside in port.containerizer.launched
        assert port.containerizer.destroyed == [inside]
    lists["attach_containers_output"] = ("users", some("erin"))
    async with served(acls(**lists)) as client:
        assert await session() == (200, "2\n{}")


@pytest.mark.parametrize(
    ("kind", "inner", "lists", "allowed"),
    [
        ("PRUNE_IMAGES", {}, {"prune_images": ("images", ANY)}, 200),
        (
            "SET_LOGGING_LEVEL",
            {"level": 0, "duration": {"nanoseconds": 1}},
            {"set_log_level": ("level", ANY)},
            200,
        ),
        (
            "ADD_RESOURCE_PROVIDER_CONFIG",
            {"info": {"type": "t", "name": "n"}},
            {"modify_resource_provider_configs": ("resource_providers", ANY)},
            501,
        ),
        (
            "UPDATE_RESOURCE_PROVIDER_CONFIG",
            {"info": {"type": "t", "name": "n"}},
            {"modify_resource_provider_configs": ("resource_providers", ANY)},
            501,
        ),
        (
            "REMOVE_RESOURCE_PROVIDER_CONFIG",
            {"type": "t", "name": "n"},
            {"modify_resource_provider_configs": ("resource_providers", ANY)},
            501,
        ),
        (
            "MARK_RESOURCE_PROVIDER_GONE",
            {"resource_provider_id": {"value": "r"}},
            {"mark_resource_providers_gone": ("resource_providers", ANY)},
            501,
        ),
    ],
)
async def test_calls_about_everything(
    served: Serving,
    kind: str,
    inner: dict[str, Any],
    lists: dict[str, Any],
    allowed: int,
) -> None:
    async with served(acls(**lists)) as client:
        assert (await call(client, kind, **inner))[0] == allowed
        assert await call(client, kind, "else", **inner) == FORBIDDEN
        assert await call(client, kind, '{"cid":"c"}', **inner) == FORBIDDEN
    async with served(None) as client:
        assert (await call(client, kind, '{"cid":"c"}', **inner))[0] == allowed


# Files.


@pytest.fixture
def sandboxes(port: FakePort, tmp_path: Path) -> dict[str, str]:
    """Virtual paths of the scene's sandboxes, by executor."""
    work_dir = port.state.config.work_dir
    made = {}
    for framework_id, name in (("F", "E"), ("F", "P"), ("F", "D"), ("H", "Z"), ("gone", "Y")):
        real = tmp_path / name
        real.mkdir()
        (real / "stdout").write_text(name)
        latest = f"/frameworks/{framework_id}/executors/{name}/runs/latest"
        port.files[latest] = str(real)
        port.files[f"{work_dir}/slaves/S0{latest}"] = str(real)
        run = latest.replace("latest", f"c-{name}")
        port.files[f"{work_dir}/slaves/S0{run}"] = str(real)
        made[name] = latest
    log = tmp_path / "log"
    log.write_text("log")
    port.files["/slave/log"] = str(log)
    return made


async def file_answers(client: Client, path: str, who: str = "ops") -> list[tuple[int, str]]:
    """What all five ways to a file answer; the file is not a directory."""
    asked = quote(path)
    found = [
        await ask(client, f"/files/{name}?path={asked}", who)
        for name in ("browse", "read", "download")
    ]
    found.append(await call(client, "LIST_FILES", who, path=path))
    found.append(await call(client, "READ_FILE", who, path=path, offset=0))
    return found


DENIED = [(403, ""), (403, ""), (403, "403 Forbidden."), (403, ""), (403, "")]


async def test_sandboxes(port: FakePort, served: Serving, sandboxes: dict[str, str]) -> None:
    users = {"E": "erin", "P": "fred", "D": "dave", "Z": "zoe"}
    for name, user in users.items():
        async with served(acls(access_sandboxes=("users", some(user)))) as client:
            for path in (path for path in port.files if f"/executors/{name}/" in path):
                answers = await file_answers(client, f"{path}/stdout")
                assert [status for status, _ in answers] == [200] * 5
                assert answers[2][1] == name
                assert await file_answers(client, f"{path}/stdout", "else") == DENIED
            for other, path in sandboxes.items():
                if other != name:
                    assert await file_answers(client, f"{path}/stdout") == DENIED


async def test_sandboxes_of_nobody_who_is_known(served: Serving, sandboxes: dict[str, str]) -> None:
    path = f"{sandboxes['Y']}/stdout"
    async with served(acls(access_sandboxes=("users", ANY))) as client:
        assert (await file_answers(client, path))[1][0] == 200
    async with served(acls(access_sandboxes=("users", some("erin", "fred")))) as client:
        assert await file_answers(client, path) == DENIED


async def test_the_log(served: Serving, sandboxes: dict[str, str]) -> None:
    async with served(acls(access_mesos_logs=("logs", ANY))) as client:
        assert (await file_answers(client, "/slave/log"))[2] == (200, "log")
        assert await file_answers(client, "/slave/log", "else") == DENIED
        assert await file_answers(client, f"{sandboxes['E']}/stdout") == DENIED
    async with served(acls(access_sandboxes=("users", ANY))) as client:
        for path in (
            "/slave/log",
            "//slave/log",
            "slave/log",
            "/./slave/./log/",
            "file:///slave/log",
        ):
            assert await file_answers(client, path) == DENIED


async def test_tricks_with_paths(served: Serving, sandboxes: dict[str, str]) -> None:
    sandbox = sandboxes["E"]
    async with served(DENIES) as client:
        for path in (
            f"/{sandbox}",
            f"{sandbox}/",
            f"{sandbox}//stdout",
            f"{sandbox}/./stdout",
            f"file://{sandbox}/stdout",
            f"{sandbox}/../../latest/stdout",
            f"{sandbox}/not/there",
            sandbox.removeprefix("/"),
        ):
            assert await file_answers(client, path) == DENIED
        for path in ("/", "/frameworks", "/frameworks/F", "/slave", "/slave/logs", "/etc/passwd"):
            assert (await ask(client, f"/files/browse?path={path}"))[0] == 404
        assert (await ask(client, "/files/read"))[0] == 400


async def test_a_run_is_told_from_its_successor(
    port: FakePort, served: Serving, sandboxes: dict[str, str]
) -> None:
    """A later run of another user does not open the sandbox of an earlier one."""
    framework = port.state.frameworks[FrameworkId("F")]
    again = executor("F", "D", "erin")
    again.container_id = ContainerId("c-D2")
    framework.add_executor(again)
    work_dir = port.state.config.work_dir
    earlier = f"{work_dir}/slaves/S0/frameworks/F/executors/D/runs/c-D/stdout"
    latest = f"{sandboxes['D']}/stdout"
    async with served(acls(access_sandboxes=("users", some("erin")))) as client:
        assert await file_answers(client, earlier) == DENIED
        assert (await file_answers(client, latest))[1][0] == 200
    async with served(acls(access_sandboxes=("users", some("dave")))) as client:
        assert (await file_answers(client, earlier))[1][0] == 200
        assert await file_answers(client, latest) == DENIED


# Clients without a name, authorizers that fail.


async def test_clients_that_need_not_say_who_they_are(port: FakePort) -> None:
    named = acls(view_flags=("flags", ANY))
    everybody = LocalAuthorizer(
        parse_acls(
            {
                "permissive": False,
                "view_flags": [{"principals": {"type": "ANY"}, "flags": {"type": "ANY"}}],
            }
        )
    )
    async with serving(port, authorizer=named) as client:
        assert await ask(client, "/flags") == FORBIDDEN
    port.metrics = Metrics()
    async with serving(port, authorizer=everybody) as client:
        assert (await ask(client, "/flags"))[0] == 200


class Broken:
    """Cannot decide anything, or not about objects."""

    def __init__(self, approvers: bool) -> None:
        self._approvers = approvers

    def authorized(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool:
        raise ValueError("no idea")

    async def approver(self, subject: Principal | None, action: Action) -> Approver:
        if not self._approvers:
            raise ValueError("no idea")

        def approve(what: AuthorizationObject) -> bool:
            raise ValueError("no idea")

        return approve


async def test_an_authorizer_that_fails(served: Serving, sandboxes: dict[str, str]) -> None:
    failed = (500, "ValueError: no idea")
    async with served(Broken(approvers=False)) as client:
        assert await ask(client, "/flags") == failed
        assert await ask(client, "/metrics/snapshot") == failed
        assert await ask(client, "/state") == failed
        assert await call(client, "GET_STATE") == failed
        assert await call(client, "PRUNE_IMAGES") == failed
        assert await ask(client, f"/files/read?path={sandboxes['E']}/stdout") == failed
        assert (await ask(client, "/health"))[0] == 200
    async with served(Broken(approvers=True)) as client:
        assert (await document(client, "/state"))["frameworks"] == []
        assert (await shown(client, "GET_FRAMEWORKS"))["frameworks"] == []
