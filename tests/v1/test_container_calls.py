# SPDX-License-Identifier: Apache-2.0
"""Operator calls that act on containers, with a containerizer that does as it is told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from containerizer.api import LaunchOutcome
from mesos_compat.base import recordio
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.v1 import codec
from tests.http.fakes import FakeAnswer, FakePort, FakeStream, small_state
from tests.http.serving import Client, serving
from tests.v1.test_agent_calls import JSON, post

ROOT = ContainerId("c")
NESTED = ContainerId("n", ROOT)
DEEP = ContainerId("d", NESTED)
ALONE = ContainerId("alone")
OK = (200, "")


def shown(container_id: ContainerId) -> dict[str, Any]:
    made: dict[str, Any] = {"value": container_id.value}
    return made if container_id.parent is None else {**made, "parent": shown(container_id.parent)}


class Scene:
    """A client of an agent with one executor, whose container is ROOT."""

    def __init__(self, client: Client, port: FakePort) -> None:
        self.client = client
        self.port = port
        self.containers = port.containerizer

    async def call(
        self, kind: str, container_id: ContainerId = NESTED, **more: Any
    ) -> tuple[int, str]:
        inner = {"container_id": shown(container_id), **more}
        body = json.dumps({"type": kind, kind.lower(): inner})
        status, _, answer = await post(self.client, body)
        return status, answer.decode()

    async def launch(self, container_id: ContainerId, **more: Any) -> tuple[int, str]:
        return await self.call("LAUNCH_CONTAINER", container_id, **more)

    async def connect(
        self, call: dict[str, Any], headers: str = "Content-Type: application/json\r\n"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a call on a connection of its own."""
        reader, writer = await asyncio.open_connection(self.client.host, self.client.port)
        body = json.dumps(call)
        head = f"POST /api/v1 HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        return reader, writer


def agent(**settings: Any) -> FakePort:
    state = small_state()
    state.config = dataclasses.replace(state.config, **settings)
    return FakePort(state)


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    port = agent(work_dir=str(tmp_path))
    async with serving(port) as client:
        yield Scene(client, port)


async def until(probe: Any) -> None:
    async with asyncio.timeout(60):
        while not probe():  # noqa: ASYNC110 the other side of a connection
            await asyncio.sleep(0.005)


COMMAND = {"shell": True, "value": "true", "user": "nobody"}


@pytest.mark.parametrize("kind", ["LAUNCH_NESTED_CONTAINER", "LAUNCH_CONTAINER"])
async def test_a_nested_launch(scene: Scene, kind: str) -> None:
    container = {"type": "MESOS", "linux_info": {"share_pid_namespace": True}}
    assert await scene.call(kind, command=COMMAND, container=container) == OK
    config = scene.containers.launched[NESTED]
    assert config.command_info.value == "true"
    assert config.user == "nobody"
    assert config.container_info.linux_info.share_pid_namespace
    assert config.container_class == slave.ContainerClass.DEFAULT
    assert not config.HasField("directory")
    # now it is known
    assert await scene.call(kind, command=COMMAND) == (202, "")


async def test_a_launch_with_nothing_but_an_id(scene: Scene) -> None:
    assert await scene.launch(NESTED) == OK
    config = scene.containers.launched[NESTED]
    assert config.HasField("command_info")
    assert not config.HasField("container_info")
    assert not config.HasField("user")


async def test_users_are_left_alone_without_switch_user(tmp_path: Path) -> None:
    port = agent(work_dir=str(tmp_path), switch_user=False)
    async with serving(port) as client:
        scene = Scene(client, port)
        assert await scene.launch(NESTED, command=COMMAND) == OK
    assert not port.containerizer.launched[NESTED].HasField("user")


async def test_a_standalone_launch(scene: Scene, tmp_path: Path) -> None:
    given = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 64}, "role": "*"},
    ]
    limits = {"cpus": {"value": 2}, "mem": {"value": 128}}
    assert await scene.launch(ALONE, resources=given, limits=limits) == OK
    config = scene.containers.launched[ALONE]
    assert config.directory == str(tmp_path / "containers" / "alone")
    assert (tmp_path / "containers" / "alone").stat().st_mode == 0o40750
    assert [(r.name, r.scalar.value) for r in config.resources] == [("cpus", 0.5), ("mem", 64)]
    assert {name: limit.value for name, limit in config.limits.items()} == {"cpus": 2, "mem": 128}


async def test_a_standalone_launch_for_nobody(scene: Scene, tmp_path: Path) -> None:
    command = {"value": "true", "user": "no-such-user"}
    text = "Failed to create sandbox: "
    text += "Failed to chown directory to 'no-such-user': No such user 'no-such-user'"
    assert await scene.launch(ALONE, command=command) == (500, text)
    assert list((tmp_path / "containers").iterdir()) == []
    assert scene.containers.launched == {}


async def test_the_sandbox_of_a_known_container_is_left_alone(scene: Scene, tmp_path: Path) -> None:
    scene.containers.known.add(ALONE)
    assert await scene.launch(ALONE, command={"user": "no-such-user"}) == (202, "")
    assert not (tmp_path / "containers").exists()


async def test_other_types_of_containers(scene: Scene, tmp_path: Path) -> None:
    container = {"type": "DOCKER", "docker": {"image": "x"}}
    refused = (400, "The provided ContainerInfo is not supported")
    assert await scene.launch(ALONE, container=container) == refused
    assert not (tmp_path / "containers").exists()
    scene.containers.outcome = LaunchOutcome.NOT_SUPPORTED
    assert await scene.launch(NESTED) == refused
    scene.containers.outcome = LaunchOutcome.ALREADY_LAUNCHED
    assert await scene.launch(DEEP) == (202, "")


async def test_a_failed_launch_is_cleaned_up(scene: Scene) -> None:
    scene.containers.failures["launch"] = ContainerError("Failed to fetch x")
    assert await scene.launch(NESTED) == (400, "Failed to fetch x")
    assert scene.containers.destroyed == [NESTED]
    # What was destroyed, as well as it could be, is nobody's any more.
    scene.containers.failures["destroy"] = ContainerError("no")
    assert await scene.launch(NESTED) == (400, "Failed to fetch x")


async def test_a_failed_launch_is_answered_when_its_id_is_free_again(scene: Scene) -> None:
    gate = scene.containers.destroy_gate = asyncio.Event()
    scene.containers.failures["launch"] = ContainerError("Failed to fetch x")
    first = asyncio.create_task(scene.launch(NESTED))
    await until(lambda: scene.containers.destroyed == [NESTED])
    assert await scene.launch(NESTED) == (202, "")
    assert not first.done()
    gate.set()
    assert await first == (400, "Failed to fetch x")
    scene.containers.failures.clear()
    assert await scene.launch(NESTED) == OK


async def test_a_launch_ends_with_its_client(scene: Scene) -> None:
    scene.containers.gate = asyncio.Event()
    call = {"type": "LAUNCH_CONTAINER", "launch_container": {"container_id": shown(NESTED)}}
    _, writer = await scene.connect(call)
    await until(lambda: NESTED in scene.containers.launched)
    assert scene.containers.destroyed == []
    writer.close()
    await until(lambda: scene.containers.destroyed == [NESTED])


RESOURCE = {"name": "mem", "type": "SCALAR", "scalar": {"value": 64}}
PERSISTENT = {"persistence": {"id": "p"}, "volume": {"container_path": "x", "mode": "RW"}}
STATIC = [{"type": "STATIC", "role": "a"}]
SECOND = "'launch_container' is invalid: containers nested at the second level or greater cannot "


@pytest.mark.parametrize(
    ("container_id", "more", "why"),
    [
        (ALONE, {"resources": [{**RESOURCE, "name": ""}]}, "Invalid resources: Empty resource"),
        (NESTED, {"resources": [{**RESOURCE, "scalar": {"value": -1}}]}, "Invalid resources: "),
        (
            ALONE,
            {"resources": [{**RESOURCE, "name": "gpus", "scalar": {"value": 0.5}}]},
            "Invalid GPU resources: The 'gpus' resource must be an unsigned integer",
        ),
        (
            ALONE,
            {"resources": [{**RESOURCE, "reservations": STATIC}]},
            "'launch_container.resources' must be unreserved",
        ),
        (
            ALONE,
            {"resources": [{**RESOURCE, "role": "a"}]},
            "'launch_container.resources' must be unreserved",
        ),
        (
            ALONE,
            {"resources": [{**RESOURCE, "name": "disk", "disk": PERSISTENT}]},
            "'launch_container.resources' may not use persistent volumes",
        ),
        (
            ALONE,
            {"resources": [{**RESOURCE, "revocable": {}}]},
            "'launch_container.resources' must be non-revocable",
        ),
        (NESTED, {"limits": {"mem": {"value": -1}}}, "Invalid resource limits: 'mem'"),
        (DEEP, {"resources": [RESOURCE]}, f"{SECOND}specify resources"),
        (DEEP, {"limits": {"mem": {"value": 1}}}, f"{SECOND}specify resource limits"),
        (
            DEEP,
            {"container": {"type": "MESOS", "linux_info": {"share_cgroups": False}}},
            f"{SECOND}set 'share_cgroups' to 'false'",
        ),
        (ContainerId("a.b"), {}, "'launch_container.container_id' is invalid: "),
    ],
)
async def test_launches_that_are_refused(
    scene: Scene, container_id: ContainerId, more: dict[str, Any], why: str
) -> None:
    status, text = await scene.launch(container_id, **more)
    assert status == 400
    assert text.startswith(f"Failed to validate agent::Call: {why}")
    assert scene.containers.launched == {}


async def test_wait(scene: Scene) -> None:
    ended: asyncio.Future[slave.ContainerTermination] = asyncio.Future()
    scene.containers.terminations[NESTED] = ended
    first = asyncio.create_task(scene.call("WAIT_CONTAINER"))
    second = asyncio.create_task(scene.call("WAIT_NESTED_CONTAINER"))
    call = {"type": "WAIT_CONTAINER", "wait_container": {"container_id": shown(NESTED)}}
    _, writer = await scene.connect(call)
    await asyncio.sleep(0.01)
    writer.close()
    await asyncio.sleep(0.01)
    assert not ended.cancelled()
    termination = slave.ContainerTermination(
        status=9,
        state=pb.TASK_FAILED,
        reason=pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY,
        message="too much",
    )
    limited = termination.limited_resources.add(name="mem", type=pb.Value.SCALAR)
    limited.scalar.value = 64
    ended.set_result(termination)
    status, text = await first
    assert status == 200
    value = json.loads(text)["wait_container"]
    assert value == {
        "exit_status": 9,
        "state": "TASK_FAILED",
        "reason": "REASON_CONTAINER_LIMITATION_MEMORY",
        "limitation": {"resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}}]},
        "message": "too much",
    }
    status, text = await second
    assert json.loads(text) == {"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": value}


async def test_wait_for_what_ended_without_a_status(scene: Scene) -> None:
    ended: asyncio.Future[slave.ContainerTermination] = asyncio.Future()
    ended.set_result(slave.ContainerTermination())
    scene.containers.terminations[ROOT] = ended
    answer = await scene.call("WAIT_CONTAINER", ROOT)
    assert answer == (200, '{"type":"WAIT_CONTAINER","wait_container":{}}')


async def test_wait_for_nothing(scene: Scene) -> None:
    for kind in ("WAIT_CONTAINER", "WAIT_NESTED_CONTAINER"):
        assert await scene.call(kind) == (404, "Container c.n cannot be found")
    scene.containers.failures["wait"] = ContainerError("Failed to kill all processes")
    assert await scene.call("WAIT_CONTAINER") == (500, "Failed to kill all processes")


async def test_answers_in_protobuf(scene: Scene) -> None:
    ended: asyncio.Future[slave.ContainerTermination] = asyncio.Future()
    ended.set_result(slave.ContainerTermination(status=256))
    scene.containers.terminations[NESTED] = ended
    call = agent_pb2.Call(type=agent_pb2.Call.WAIT_CONTAINER)
    call.wait_container.container_id.value = "n"
    call.wait_container.container_id.parent.value = "c"
    headers = {"Content-Type": codec.PROTOBUF, "Accept": codec.PROTOBUF}
    status, got, body = await post(scene.client, call.SerializeToString(), headers)
    assert (status, got["Content-Type"]) == (200, codec.PROTOBUF)
    response = agent_pb2.Response.FromString(body)
    assert response.wait_container.exit_status == 256


@pytest.mark.parametrize("kind", ["KILL_CONTAINER", "KILL_NESTED_CONTAINER"])
async def test_kill(scene: Scene, kind: str) -> None:
    text = "Container 'c.n' cannot be found (or is already killed)"
    assert await scene.call(kind) == (404, text)
    scene.containers.known.add(NESTED)
    assert await scene.call(kind) == OK
    assert await scene.call(kind, signal=15) == OK
    assert scene.containers.signals == [(NESTED, 9), (NESTED, 9), (NESTED, 15)]
    scene.containers.failures["kill"] = ContainerError("Unable to send signal to container: x")
    assert await scene.call(kind) == (500, "Unable to send signal to container: x")


@pytest.mark.parametrize("kind", ["REMOVE_CONTAINER", "REMOVE_NESTED_CONTAINER"])
async def test_remove(scene: Scene, kind: str) -> None:
    assert await scene.call(kind) == OK
    assert scene.containers.removed == [NESTED]
    scene.containers.failures["remove"] = ContainerError("Unknown root container")
    assert await scene.call(kind) == (500, "Unknown root container")


async def test_prune_images(scene: Scene) -> None:
    image = {"type": "DOCKER", "docker": {"name": "kept"}}
    body = {"type": "PRUNE_IMAGES", "prune_images": {"excluded_images": [image]}}
    assert (await post(scene.client, json.dumps(body)))[0] == 200
    assert [kept.docker.name for kept in scene.containers.pruned] == ["kept"]
    scene.containers.failures["prune_images"] = ContainerError("no")
    status, _, text = await post(scene.client, '{"type":"PRUNE_IMAGES"}')
    assert (status, text) == (500, b"no")


# Streams.

RECORDS = (b'{"type":"CONTROL"}', b'{"type":"DATA"}')


def attach(kind: str, container_id: ContainerId = NESTED) -> dict[str, Any]:
    return {"type": kind, kind.lower(): {"container_id": shown(container_id)}}


@pytest.mark.parametrize(
    ("accept", "message_accept", "types"),
    [
        ("application/json", None, ["application/json"]),
        ("application/x-protobuf", None, ["application/x-protobuf"]),
        ("application/recordio", None, ["application/recordio", "application/json"]),
        (
            "application/recordio",
            "application/x-protobuf",
            ["application/recordio", "application/x-protobuf"],
        ),
    ],
)
async def test_output_is_framed_whatever_its_type(
    scene: Scene, accept: str, message_accept: str | None, types: list[str]
) -> None:
    stream = scene.containers.streams[NESTED] = FakeStream(RECORDS)
    headers = {**JSON, "Accept": accept}
    if message_accept is not None:
        headers["Message-Accept"] = message_accept
    body = json.dumps(attach("ATTACH_CONTAINER_OUTPUT"))
    status, got, answer = await post(scene.client, body, headers)
    assert status == 200
    assert [v for k, v in got.items() if k.endswith("ontent-Type")] == types
    assert got["Transfer-Encoding"] == "chunked"
    assert answer == b"".join(recordio.encode(record) for record in RECORDS)
    assert stream.closed


async def test_output_that_breaks_off_looks_broken(scene: Scene) -> None:
    stream = scene.containers.streams[NESTED] = FakeStream(RECORDS)
    stream.broken = ContainerError("gone")
    reader, writer = await scene.connect(attach("ATTACH_CONTAINER_OUTPUT"))
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not answer.endswith(b"0\r\n\r\n")
    assert stream.closed
    writer.close()


async def test_whoever_detaches_from_output_leaves_the_container_alone(scene: Scene) -> None:
    stream = scene.containers.streams[NESTED] = FakeStream(RECORDS, asyncio.Event())
    reader, writer = await scene.connect(attach("ATTACH_CONTAINER_OUTPUT"))
    await reader.readuntil(RECORDS[1])
    writer.close()
    await until(lambda: stream.closed)
    assert scene.containers.destroyed == []


async def test_attaching_to_what_cannot_be_attached_to(scene: Scene) -> None:
    for container_id in (ALONE, ContainerId("n", ALONE)):
        missing = (404, f"Container {container_id} cannot be found")
        assert await scene.call("ATTACH_CONTAINER_OUTPUT", container_id) == missing
    text = "I/O switchboard server was disabled for this container"
    scene.containers.failures["attach"] = ContainerError(text)
    assert await scene.call("ATTACH_CONTAINER_OUTPUT") == (500, text)
    assert await typed(scene) == (500, text)


async def typed(scene: Scene, *records: dict[str, Any], first: Any = None) -> tuple[int, str]:
    """Send a stream of input."""
    if first is None:
        first = {"type": "CONTAINER_ID", "container_id": shown(NESTED)}
    body = b"".join(
        recordio.encode(
            json.dumps({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": each}).encode()
        )
        for each in (first, *records)
    )
    headers = {"Content-Type": codec.RECORDIO, "Message-Content-Type": codec.JSON}
    status, _, answer = await post(scene.client, body, headers)
    return status, answer.decode()


async def test_input(scene: Scene) -> None:
    record = {"type": "PROCESS_IO", "process_io": {"type": "CONTROL"}}
    assert await typed(scene) == OK
    assert scene.containers.received == []
    assert await typed(scene, record, record) == OK
    assert [json.loads(call)["attach_container_input"] for call in scene.containers.received] == [
        record,
        record,
    ]
    scene.containers.answer = FakeAnswer(409, "Multiple input connections are not allowed")
    assert await typed(scene) == (409, "Multiple input connections are not allowed")


async def test_input_begins_with_the_container(scene: Scene) -> None:
    record = {"type": "PROCESS_IO", "process_io": {"type": "CONTROL"}}
    text = "Expecting 'attach_container_input.type' to be CONTAINER_ID"
    assert await typed(scene, first=record) == (400, text)
    missing = {"type": "CONTAINER_ID", "container_id": shown(ALONE)}
    assert await typed(scene, first=missing) == (404, "Container alone cannot be found")


async def test_input_arrives_while_it_is_sent(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection(scene.client.host, scene.client.port)
    writer.write(
        b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/recordio\r\n"
        b"Message-Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def send(data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    target = {"type": "CONTAINER_ID", "container_id": shown(NESTED)}
    call = {"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": target}
    # a length with zeros in front, and a piece of the next record
    send(b"00" + recordio.encode(json.dumps(call).encode()) + b"5\nhe")
    send(b"llo3\nyou")
    await until(lambda: scene.containers.received == [b"hello", b"you"])
    send(b"x\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    writer.close()


async def test_a_session(scene: Scene) -> None:
    stream = scene.containers.streams[NESTED] = FakeStream(RECORDS)
    status, text = await scene.call("LAUNCH_NESTED_CONTAINER_SESSION", command=COMMAND)
    assert status == 200
    assert text.encode() == b"".join(recordio.encode(record) for record in RECORDS)
    config = scene.containers.launched[NESTED]
    assert config.container_class == slave.ContainerClass.DEBUG
    assert stream.closed
    await until(lambda: scene.containers.destroyed == [NESTED])


async def test_a_session_ends_with_its_client(scene: Scene) -> None:
    scene.containers.streams[NESTED] = FakeStream(RECORDS, asyncio.Event())
    reader, writer = await scene.connect(attach("LAUNCH_NESTED_CONTAINER_SESSION"))
    await reader.readuntil(RECORDS[1])
    assert scene.containers.destroyed == []
    writer.close()
    await until(lambda: scene.containers.destroyed == [NESTED])


async def test_sessions_that_do_not_begin(scene: Scene) -> None:
    scene.containers.failures["attach"] = ContainerError("I/O switchboard has shutdown")
    answer = await scene.call("LAUNCH_NESTED_CONTAINER_SESSION")
    assert answer == (500, "I/O switchboard has shutdown")
    await until(lambda: scene.containers.destroyed == [NESTED])
    scene.containers.known.add(NESTED)
    assert await scene.call("LAUNCH_NESTED_CONTAINER_SESSION") == (202, "")
    assert scene.containers.destroyed == [NESTED]
    scene.containers.known.clear()
    scene.containers.failures["launch"] = ContainerError("no such image")
    assert await scene.call("LAUNCH_NESTED_CONTAINER_SESSION") == (400, "no such image")
