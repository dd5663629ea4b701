# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from mesos_compat.base.clock import FakeClock
from mesos_compat.base.log import Logging
from mesos_compat.model import jsonpb
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.v1 import agent_calls, codec, validate
from tests.http.fakes import FakePort, agent_state, golden, golden_state, small_state
from tests.http.serving import Client, serving
from tests.http.test_app import golden_port
from tests.http.test_state_view import ordered

JSON = {"Content-Type": codec.JSON}


async def post(
    client: Client, body: bytes | str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    data = body.encode() if isinstance(body, str) else body
    async with client.session.post(
        client.make_url("/api/v1"),
        data=data,
        headers=JSON if headers is None else headers,
        skip_auto_headers=["Content-Type", "Accept", "Accept-Encoding"],
    ) as response:
        shown = {k: v for k, v in response.headers.items() if k != "Date"}
        return response.status, shown, await response.read()


async def call(client: Client, kind: str, **more: Any) -> Any:
    status, headers, body = await post(client, json.dumps({"type": kind, **more}))
    assert (status, headers["Content-Type"]) == (200, codec.JSON), body
    return json.loads(body)


HEALTH = '{"type":"GET_HEALTH"}'
RECORDIO = {"Content-Type": codec.RECORDIO, "Message-Content-Type": codec.JSON}


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (HEALTH, {}, 400, "Expecting 'Content-Type' to be present"),
        (
            HEALTH,
            {"Content-Type": "application/json; charset=utf-8"},
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf "
            "or application/recordio",
        ),
        (
            HEALTH,
            {"Content-Type": codec.RECORDIO},
            400,
            "Expecting 'Message-Content-Type' to be set for streaming requests",
        ),
        (
            HEALTH,
            {"Content-Type": codec.RECORDIO, "Message-Content-Type": "text/plain"},
            415,
            "Expecting 'Message-Content-Type' of application/json or application/x-protobuf",
        ),
        (
            HEALTH,
            {**JSON, "Message-Content-Type": codec.JSON},
            415,
            "Expecting 'Message-Content-Type' to be not set for non-streaming requests",
        ),
        (
            HEALTH,
            {**JSON, "Accept": "text/html"},
            406,
            "Expecting 'Accept' to allow application/json or application/x-protobuf "
            "or application/recordio",
        ),
        (
            HEALTH,
            {**JSON, "Accept": codec.RECORDIO},
            406,
            "Streaming response is not supported for GET_HEALTH call",
        ),
        (
            HEALTH,
            {**JSON, "Accept": codec.RECORDIO, "Message-Accept": "text/html"},
            406,
            "Expecting 'Message-Accept' to allow application/json or application/x-protobuf",
        ),
        (
            HEALTH,
            {**JSON, "Message-Accept": codec.JSON},
            406,
            "Expecting 'Message-Accept' to be not set for non-streaming responses",
        ),
        ("", JSON, 400, "Failed to parse body into JSON: syntax error at line 1 near: "),
        ("x", JSON, 400, "Failed to parse body into JSON: syntax error at line 1 near: x"),
        ("[]", JSON, 400, "Expecting a JSON object"),
        ('{"type":5}', JSON, 400, "Not expecting a JSON number for field 'type'"),
        ('{"type":{}}', JSON, 400, "Not expecting a JSON object for field 'type'"),
        ('{"type":["GET_HEALTH"]}', JSON, 400, "Not expecting a JSON array for field 'type'"),
        ('{"type":true}', JSON, 400, "Not expecting a JSON boolean for field 'type'"),
        (
            HEALTH + " x",
            JSON,
            400,
            "Failed to parse body into JSON: Parsed JSON included non-whitespace trailing "
            "characters:  x",
        ),
        (
            '{"type":1e999}',
            JSON,
            400,
            "Failed to parse body into JSON: number out of range: 1e999",
        ),
        (
            '{"a":' * 5000 + "1" + "}" * 5000,
            JSON,
            400,
            "Failed to parse body into JSON: nesting is deeper than 200",
        ),
        *(
            (body, JSON, 400, "Failed to validate agent::Call: Expecting 'type' to be present")
            for body in ("{}", '{"type":"NOPE"}', '{"type":null}')
        ),
        ('{"type":"UNKNOWN"}', JSON, 501, "501 Not Implemented."),
        (
            b"\xff\xff",
            {"Content-Type": codec.PROTOBUF},
            400,
            "Failed to parse body into a protobuf object",
        ),
        (
            b"",
            {"Content-Type": codec.PROTOBUF},
            400,
            "Failed to validate agent::Call: Expecting 'type' to be present",
        ),
        (
            "21\n" + HEALTH,
            RECORDIO,
            415,
            "Streaming 'Content-Type' application/recordio is not supported for GET_HEALTH call",
        ),
        ("", RECORDIO, 400, "Received EOF while reading request body"),
        ("5\n{}", RECORDIO, 400, "Received EOF while reading request body"),
        (
            "x\n{}",
            RECORDIO,
            500,
            "Decoder failure: Failed to decode length 'x': Failed to convert 'x' to number",
        ),
        (
            "2\n{}",
            RECORDIO,
            400,
            "Failed to validate agent::Call: Expecting 'type' to be present",
        ),
        (
            '{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":'
            '{"type":"CONTAINER_ID","container_id":{"value":"x"}}}',
            JSON,
            415,
            "Expecting 'Content-Type' to be application/recordio for ATTACH_CONTAINER_INPUT call",
        ),
        (
            '{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1}}',
            JSON,
            400,
            "Missing required fields: set_logging_level.duration",
        ),
        (
            '{"type":"READ_FILE","read_file":{"path":"/x"}}',
            JSON,
            400,
            "Missing required fields: read_file.offset",
        ),
        ('{"type":"READ_FILE","read_file":{"path":"/x","offset":0}}', JSON, 404, ""),
        ('{"type":"LIST_FILES","list_files":{"path":"/x"}}', JSON, 404, ""),
        ('{"type":"LIST_FILES","list_files":{"path":""}}', JSON, 404, ""),
    ],
)
async def test_refusals(body: bytes | str, headers: dict[str, str], status: int, text: str) -> None:
    async with serving(FakePort(small_state())) as client:
        answer = await post(client, body, headers)
    assert answer == (
        status,
        {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(text)),
        },
        text.encode(),
    )


@pytest.mark.parametrize("length", ["-1", "99999999999999999999", "9" * 30, "1.5", "+1"])
async def test_absurd_record_lengths(length: str) -> None:
    async with serving(FakePort(small_state())) as client:
        status, _, body = await post(client, f"{length}\n{{}}", RECORDIO)
    assert status == 500
    assert body.startswith(b"Decoder failure: Failed to decode length '")


CONTAINER_CALL = '{"type":"WAIT_CONTAINER","wait_container":{"container_id":%s}}'


@pytest.mark.parametrize(
    ("container_id", "why"),
    [
        ('{"value":""}', "ID must not be empty"),
        ('{"value":"."}', "'.' is disallowed"),
        ('{"value":"a/b"}', "'a/b' contains invalid characters"),
        ('{"value":"a\\u0000"}', "'a\x00' contains invalid characters"),
        ('{"value":"a.b"}', "'ContainerID.value' 'a.b' contains invalid characters"),
        ('{"value":"a b"}', "'ContainerID.value' 'a b' contains invalid characters"),
        (
            '{"value":"%s"}' % ("a" * 243),
            f"'ContainerID.value' '{'a' * 243}' exceeds the maximum length (242)",
        ),
        ('{"value":"%s"}' % ("a" * 256), "ID must not be greater than 255 characters"),
        (
            '{"value":"x","parent":{"value":"ok","parent":{"value":"q r"}}}',
            "'ContainerID.parent' is invalid: 'ContainerID.parent' is invalid: "
            "'ContainerID.value' 'q r' contains invalid characters",
        ),
    ],
)
async def test_container_ids(container_id: str, why: str) -> None:
    async with serving(FakePort(small_state())) as client:
        status, _, body = await post(client, CONTAINER_CALL % container_id)
    expected = f"Failed to validate agent::Call: 'wait_container.container_id' is invalid: {why}"
    assert (status, body.decode()) == (400, expected)


def _launch(kind: str, **more: Any) -> str:
    inner: dict[str, Any] = {"container_id": {"value": "x"}, "command": {"value": "true"}, **more}
    return json.dumps({"type": kind.upper(), kind: inner})


_PARENT = {"value": "x", "parent": {"value": "p"}}
_GRANDPARENT = {"value": "x", "parent": {"value": "p", "parent": {"value": "g"}}}
_OWN = {"type": "MESOS", "linux_info": {"share_cgroups": False}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"type":"GET_METRICS"}', "Expecting 'get_metrics' to be present"),
        ('{"type":"LIST_FILES"}', "Expecting 'list_files' to be present"),
        (
            '{"type":"REMOVE_RESOURCE_PROVIDER_CONFIG"}',
            "Expecting 'remove_resource_provider_config' to be present",
        ),
        (
            '{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"container_id":{"value":"x"}}}',
            "Expecting 'wait_nested_container.container_id.parent' to be present",
        ),
        (
            _launch("launch_nested_container"),
            "Expecting 'launch_nested_container.container_id.parent' to be present",
        ),
        (
            '{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"UNKNOWN"}}',
            "'attach_container_input.type' is unknown",
        ),
        (
            '{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"ZZZ"}}',
            "Expecting 'attach_container_input.type' to be present",
        ),
        (
            _launch("launch_container", container={"type": "DOCKER"}),
            "'launch_container.container' is invalid: "
            "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo",
        ),
        (
            _launch(
                "launch_container",
                container={"type": "MESOS", "linux_info": {"share_cgroups": True}},
            ),
            "'launch_container' is invalid: containers without a parent cannot set "
            "'share_cgroups' to 'true'",
        ),
        (
            _launch(
                "launch_container",
                container={"type": "MESOS", "volumes": [{"container_path": "/x", "mode": "RW"}]},
            ),
            "'launch_container.container' is invalid: Invalid volume: Only one of them should "
            "be set: 'host_path', 'image' and 'source'",
        ),
        (
            _launch(
                "launch_container",
                command={"value": "true", "environment": {"variables": [{"name": "a"}]}},
            ),
            "'launch_container.command' is invalid: Environment variable 'a' of type 'VALUE' "
            "must have a value set",
        ),
        (
            _launch("launch_nested_container", container_id=_GRANDPARENT, container=_OWN),
            "'launch_nested_container' is invalid: containers nested at the second level or "
            "greater cannot set 'share_cgroups' to 'false'",
        ),
        (
            _launch("launch_nested_container_session", container_id=_PARENT, container=_OWN),
            "'launch_nested_container_session.container.linux_info' is invalid: 'share_cgroups' "
            "cannot be set to 'false' for nested container sessions",
        ),
        (
            _launch(
                "launch_container",
                container_id=_GRANDPARENT,
                resources=[{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}],
            ),
            "'launch_container' is invalid: containers nested at the second level or greater "
            "cannot specify resources",
        ),
    ],
)
async def test_calls_that_are_not_valid(body: str, why: str) -> None:
    headers = RECORDIO if "ATTACH_CONTAINER_INPUT" in body else JSON
    data = f"{len(body)}\n{body}" if headers is RECORDIO else body
    async with serving(FakePort(small_state())) as client:
        status, _, answer = await post(client, data, headers)
    assert (status, answer.decode()) == (400, f"Failed to validate agent::Call: {why}")


async def test_get_is_not_allowed() -> None:
    async with (
        serving(FakePort(small_state())) as client,
        client.session.get(client.make_url("/slave(1)/api/v1")) as response,
    ):
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert await response.text() == (
            "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'."
        )


@pytest.mark.parametrize(
    "kind",
    ["GET_AGENT", "GET_CONTAINERS", "GET_EXECUTORS", "GET_FRAMEWORKS", "GET_STATE", "GET_TASKS"],
)
async def test_answers_equal_the_golden_ones(kind: str) -> None:
    async with serving(golden_port()) as client:
        found = await call(client, kind)
    assert ordered(found) == ordered(golden(f"v1_{kind}.json"))


EMPTY_TASKS = (
    '"get_tasks":{"pending_tasks":[],"queued_tasks":[],"launched_tasks":[],'
    '"terminated_tasks":[],"completed_tasks":[]}'
)
EMPTY_EXECUTORS = '"get_executors":{"executors":[],"completed_executors":[]}'
EMPTY_FRAMEWORKS = '"get_frameworks":{"frameworks":[],"completed_frameworks":[]}'


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("GET_HEALTH", '"get_health":{"healthy":true}'),
        ("GET_LOGGING_LEVEL", '"get_logging_level":{"level":0}'),
        ("GET_OPERATIONS", '"get_operations":{}'),
        ("GET_RESOURCE_PROVIDERS", '"get_resource_providers":{}'),
        ("GET_TASKS", EMPTY_TASKS),
        ("GET_EXECUTORS", EMPTY_EXECUTORS),
        ("GET_FRAMEWORKS", EMPTY_FRAMEWORKS),
        ("GET_STATE", f'"get_state":{{{EMPTY_TASKS},{EMPTY_EXECUTORS},{EMPTY_FRAMEWORKS}}}'),
        ("GET_CONTAINERS", ""),
        ("GET_FLAGS", '"get_flags":{"flags":[{"name":"a","value":"1"},{"name":"b","value":""}]}'),
    ],
)
async def test_bytes_of_an_idle_agents_answers(kind: str, rest: str) -> None:
    port = FakePort(agent_state(pb.SlaveInfo(hostname="h"), start_time=1.0), {"b": "", "a": "1"})
    async with serving(port) as client:
        status, headers, body = await post(client, f'{{"type":"{kind}"}}')
        assert (status, headers["Content-Type"]) == (200, codec.JSON)
        expected = f'{{"type":"{kind}"{"," if rest else ""}{rest}}}'
        assert body.decode() == expected
        _, headers, wire = await post(
            client, f'{{"type":"{kind}"}}', {**JSON, "Accept": codec.PROTOBUF}
        )
    assert headers["Content-Type"] == codec.PROTOBUF
    response = agent_pb2.Response.FromString(wire)
    assert codec.serialize(response, codec.JSON, agent_calls.FULL_LISTS) == expected.encode()


async def test_protobuf_calls() -> None:
    body = agent_pb2.Call(type=agent_pb2.Call.GET_AGENT).SerializeToString()
    async with serving(FakePort(golden_state())) as client:
        status, _, answer = await post(client, body, {"Content-Type": codec.PROTOBUF})
    assert status == 200
    assert json.loads(answer) == golden("v1_GET_AGENT.json")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", codec.JSON),
        ("application/*;q=0.5", codec.JSON),
        ("application/json;q=0, application/x-protobuf", codec.PROTOBUF),
        ("application/x-protobuf, application/json;q=0.1", codec.JSON),
        ("APPLICATION/X-PROTOBUF", codec.PROTOBUF),
        ("application/x-protobuf;q=x,*/*", codec.JSON),
    ],
)
def test_negotiation(accept: str, kind: str) -> None:
    assert codec.negotiate({**JSON, "Accept": accept}).accept == kind


async def test_metrics_and_version() -> None:
    port = FakePort(small_state())
    port.metrics.counter("slave/x").increment(2)
    async with serving(port) as client:
        for timeout in ({}, {"timeout": {"nanoseconds": -1}}):
            found = await call(client, "GET_METRICS", get_metrics=timeout)
            assert found["get_metrics"]["metrics"][0] == {"name": "slave/x", "value": 2.0}
        found = await call(client, "GET_VERSION")
    info = found["get_version"]["version_info"]
    assert list(info) == ["version", "build_date", "build_time", "build_user"]


async def test_the_logging_level_goes_back() -> None:
    logs, clock = Logging("INFO", 0, {}), FakeClock()
    body = (
        '{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":%d}}}'
    )
    async with serving(FakePort(small_state()), logs=logs, clock=clock) as client:
        try:
            status, headers, answer = await post(client, body % 10**9)
            assert (status, headers, answer) == (200, {"Content-Length": "0"}, b"")
            found = await call(client, "GET_LOGGING_LEVEL")
            assert found["get_logging_level"]["level"] == 1
        finally:
            clock.advance(1)
        found = await call(client, "GET_LOGGING_LEVEL")
        assert found["get_logging_level"]["level"] == 0
        assert clock.pending == []


async def test_files(tmp_path: Any) -> None:
    (tmp_path / "bin").write_bytes(b'a\x00b\xff"/\\\n\t\xc3\xa9')
    (tmp_path / "d").mkdir()
    port = FakePort(small_state())
    port.files["/v"] = str(tmp_path)
    async with serving(port) as client:
        found = await call(client, "LIST_FILES", list_files={"path": "/v"})
        infos = found["list_files"]["file_infos"]
        assert [info["path"] for info in infos] == ["/v/bin", "/v/d"]
        assert list(infos[0]) == ["path", "nlink", "size", "mtime", "mode", "uid", "gid"]
        found = await call(client, "LIST_FILES", list_files={"path": "/v/bin"})
        assert found == {"type": "LIST_FILES", "list_files": {}}
        for wanted, data in (
            ({"offset": 0}, "YQBi/yIvXAoJw6k="),
            ({"offset": 0, "length": 0}, ""),
            ({"offset": 500}, ""),
            ({"offset": 2, "length": 1}, "Yg=="),
            ({"offset": 0, "length": 2**64 - 1}, "YQBi/yIvXAoJw6k="),
            ({"offset": 2**64 - 1}, ""),
        ):
            found = await call(client, "READ_FILE", read_file={"path": "/v/bin", **wanted})
            assert found["read_file"] == {"size": 11, "data": data}
        status, _, body = await post(
            client, '{"type":"READ_FILE","read_file":{"path":"/v/d","offset":0}}'
        )
        assert (status, body) == (400, b"Cannot read a directory.\n")


async def test_nested_and_standalone_containers() -> None:
    port = FakePort(small_state())
    nested = ContainerId("n", ContainerId("c"))
    alone = ContainerId("alone")
    for container_id in (ContainerId("c"), nested, alone):
        port.containerizer.statuses[container_id] = pb.ContainerStatus(
            container_id=container_id.message()
        )
    async with serving(port) as client:
        for options, expected in (
            ({}, ["c"]),
            ({"show_nested": True}, ["c", "n"]),
            ({"show_standalone": True}, ["c", "alone"]),
            ({"show_nested": True, "show_standalone": True}, ["c", "alone", "n"]),
        ):
            found = await call(client, "GET_CONTAINERS", get_containers=options)
            shown = found["get_containers"]["containers"]
            assert [item["container_id"]["value"] for item in shown] == expected
        assert shown[2]["container_id"] == {"value": "n"}
        assert shown[2]["container_status"]["container_id"]["parent"] == {"value": "c"}
        assert "executor_id" not in shown[2]


def test_a_call_with_every_type_is_valid_or_refused() -> None:
    for name in agent_pb2.Call.Type.keys():  # noqa: SIM118 (no dictionary)
        made = jsonpb.from_value(agent_pb2.Call, {"type": name})
        why = validate.call_error(made)
        assert why in (None, f"Expecting '{name.lower()}' to be present")


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async with serving(FakePort(small_state())) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(
            b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(HEALTH)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(HEALTH.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_gzipped_calls() -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    async with serving(FakePort(small_state())) as client:
        status, _, body = await post(client, gzip.compress(HEALTH.encode()), headers)
        assert (status, json.loads(body)["type"]) == (200, "GET_HEALTH")
        status, shown, body = await post(client, b"no gzip at all, but long enough", headers)
        assert (status, shown["Connection"]) == (500, "close")
        assert body.startswith(b"Failed to decode body: ")
        assert (await post(client, HEALTH))[0] == 200


async def test_a_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesos_compat.http.body.read_body.__defaults__", (1 << 20,))
    headers = {**JSON, "Content-Encoding": "gzip"}
    async with serving(FakePort(small_state())) as client:
        status, _, _ = await post(client, gzip.compress(b" " * (64 << 20), 1), headers)
        assert status == 413
        assert (await post(client, HEALTH))[0] == 200
