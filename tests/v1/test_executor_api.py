# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.agent.machine.events import (
    ExecutorMessage,
    ExecutorSubscribed,
    ExecutorUpdate,
)
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase
from mesos_compat.agent.machine.tokens import ExecutorTokens
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import ApiError
from mesos_compat.http import authentication
from mesos_compat.http.authentication import AuthenticatorContext, Realms
from mesos_compat.http.authenticators import BasicAuthenticator, JwtAuthenticator
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1.executor import executor_pb2
from mesos_compat.v1 import codec, executor_api
from mesos_compat.v1.executor_api import ExecutorStreams
from tests.http.fakes import EXECUTOR, FRAMEWORK, FakePort, small_state
from tests.http.serving import Client, serving
from tests.libprocess.waiting import until

KEY = b"a key"
UUID = "WpChwSkJSTmx5q48XRHVVw=="
Event = executor_pb2.Event


def call(kind: str | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"framework_id": {"value": "F"}, "executor_id": {"value": "E"}}
    if kind is not None:
        made["type"] = kind
    return made | more


def update(**more: Any) -> dict[str, Any]:
    status = {
        "task_id": {"value": "t"},
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "uuid": UUID,
    } | more
    return call("UPDATE", update={"status": {k: v for k, v in status.items() if v is not None}})


async def post(
    client: Client, body: Any, content_type: str | None = codec.JSON, accept: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    headers = {}
    if content_type is not None:
        headers["Content-Type"] = content_type
    if accept is not None:
        headers["Accept"] = accept
    async with client.session.post(
        client.make_url("/slave(1)/api/v1/executor"),
        data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers=headers,
        skip_auto_headers=["Content-Type", "Accept"],
    ) as response:
        shown = {k: v for k, v in response.headers.items() if k != "Date"}
        return response.status, shown, await response.read()


PREFIX = "Failed to validate Executor::Call: "
CONVERT = "Failed to convert JSON into Call protobuf: "
SENDER = "executor E of framework F"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        (b"", None, 400, "Expecting 'Content-Type' to be present"),
        (
            b"x",
            codec.JSON,
            400,
            "Failed to parse body into JSON: syntax error at line 1 near: x",
        ),
        ([], codec.JSON, 400, CONVERT + "Expecting a JSON object"),
        (
            {"type": "SUBSCRIBE"},
            codec.JSON,
            400,
            CONVERT + "Missing required fields: executor_id, framework_id",
        ),
        (b"\xff", codec.PROTOBUF, 400, "Failed to parse body into Call protobuf"),
        (b"", codec.PROTOBUF, 400, "Failed to parse body into Call protobuf"),
        *(
            (
                {},
                kind,
                415,
                "Expecting 'Content-Type' of application/json or application/x-protobuf",
            )
            for kind in ("text/plain", "application/json; charset=utf-8", codec.RECORDIO)
        ),
        (call("SUBSCRIBE"), codec.JSON, 400, PREFIX + "Expecting 'subscribe' to be present"),
        (call(), codec.JSON, 400, PREFIX + "Expecting 'type' to be present"),
        (call("UPDATE"), codec.JSON, 400, PREFIX + "Expecting 'update' to be present"),
        (call("MESSAGE"), codec.JSON, 400, PREFIX + "Expecting 'message' to be present"),
        (call("UNKNOWN"), codec.JSON, 501, "501 Not Implemented."),
        (
            call("MESSAGE", message={"data": ""}, framework_id={"value": "z"}),
            codec.JSON,
            400,
            "Framework cannot be found",
        ),
        (
            call("MESSAGE", message={"data": ""}, executor_id={"value": "\x00z"}),
            codec.JSON,
            400,
            "Executor cannot be found",
        ),
        (
            call("SUBSCRIBE", subscribe={"unacknowledged_tasks": [{}]}),
            codec.JSON,
            400,
            CONVERT
            + "Missing required fields: subscribe.unacknowledged_tasks[0].name, "
            + "subscribe.unacknowledged_tasks[0].task_id, "
            + "subscribe.unacknowledged_tasks[0].agent_id",
        ),
        (update(uuid=None), codec.JSON, 400, PREFIX + "Expecting 'uuid' to be present"),
        (update(uuid="YQ=="), codec.JSON, 400, PREFIX + "Not a valid UUID"),
        (update(uuid="A" * 22 + "=="), codec.JSON, 400, PREFIX + "Not a valid UUID"),
        *(
            (
                update(source=source),
                codec.JSON,
                400,
                f"{PREFIX}Received Call from {SENDER} with invalid source, "
                "expecting 'SOURCE_EXECUTOR'",
            )
            for source in (None, "SOURCE_AGENT")
        ),
        (
            update(state="TASK_STAGING"),
            codec.JSON,
            400,
            f"{PREFIX}Received TASK_STAGING from {SENDER} which is not allowed",
        ),
        (
            update(executor_id={"value": "other"}),
            codec.JSON,
            400,
            PREFIX + "ExecutorID in Call: E does not match ExecutorID in TaskStatus: other",
        ),
        (
            update(check_status={}),
            codec.JSON,
            400,
            PREFIX + "CheckStatusInfo must specify 'type'",
        ),
        (
            update(check_status={"type": "HTTP"}),
            codec.JSON,
            400,
            PREFIX + "Expecting 'http' to be set for HTTP check's status",
        ),
        (
            update(check_status={"type": "UNKNOWN"}),
            codec.JSON,
            400,
            PREFIX + "'UNKNOWN' is not a valid check's status type",
        ),
    ],
)
async def test_refusals(body: Any, content_type: str | None, status: int, text: str) -> None:
    port = FakePort(small_state())
    async with serving(port) as client:
        answer = await post(client, body, content_type)
    expected = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
    assert answer == (status, expected, text.encode())
    assert port.events == []


async def test_before_the_subscription_only_subscribe_is_allowed() -> None:
    port = FakePort(small_state(ExecutorPhase.REGISTERING))
    async with serving(port) as client:
        for body in (call("UNKNOWN"), call("MESSAGE", message={"data": ""}), update()):
            status, _, text = await post(client, body)
            assert (status, text) == (403, b"Executor is not subscribed")


async def test_get_is_not_allowed() -> None:
    async with (
        serving(FakePort(small_state())) as client,
        client.session.get(client.make_url("/api/v1/executor/x")) as response,
    ):
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_an_unusable_accept_header_counts_for_subscribe_only() -> None:
    port = FakePort(small_state())
    async with serving(port) as client:
        body = call("SUBSCRIBE", subscribe={})
        status, _, text = await post(client, body, accept="text/html")
        assert (status, text.decode()) == (
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        )
        assert (await post(client, update(), accept="text/html"))[0] == 202


async def test_a_heartbeat_needs_no_known_ids() -> None:
    body = call("HEARTBEAT", framework_id={"value": "unused"}, executor_id={"value": "unused"})
    async with serving(FakePort(small_state())) as client:
        assert await post(client, body) == (202, {"Content-Length": "0"}, b"")


async def test_updates_and_messages_become_events() -> None:
    port = FakePort(small_state())
    async with serving(port) as client:
        body = update(agent_id={"value": "S0"}, reason="REASON_AGENT_RESTARTED")
        assert await post(client, body) == (202, {"Content-Length": "0"}, b"")
        wire = codec.parse(
            executor_pb2.Call,
            json.dumps(call("MESSAGE", message={"data": "aGk="})).encode(),
            codec.JSON,
        ).SerializeToString()
        assert (await post(client, wire, codec.PROTOBUF))[0] == 202
    first, second = port.events
    assert isinstance(first, ExecutorUpdate)
    assert (first.framework_id, first.executor_id) == (FRAMEWORK, EXECUTOR)
    assert isinstance(first.status, pb.TaskStatus)
    assert first.status.slave_id.value == "S0"
    assert first.status.reason == pb.TaskStatus.REASON_SLAVE_RESTARTED
    assert second == ExecutorMessage(FRAMEWORK, EXECUTOR, b"hi")


async def test_while_recovering() -> None:
    state = small_state()
    state.phase = AgentPhase.RECOVERING
    async with serving(FakePort(state)) as client:
        status, _, text = await post(client, call("SUBSCRIBE", subscribe={}))
        assert (status, text) == (503, b"Agent has not finished recovery")


async def test_a_body_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesos_compat.http.body.MAX_JSON_BYTES", 1000)
    async with serving(FakePort(small_state())) as client:
        assert (await post(client, b" " * 2000))[0] == 413


@given(st.binary(max_size=80), st.sampled_from([codec.JSON, codec.PROTOBUF]))
def test_any_body_is_a_call_or_an_error(body: bytes, kind: str) -> None:
    try:
        parsed = executor_api.parse_call(body, kind)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017
    else:
        executor_api.call_error(parsed)


# Streams.


class Subscription:
    """The executor's side, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data


@asynccontextmanager
async def subscribed(client: Client, accept: str = "") -> AsyncIterator[Subscription]:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    body = json.dumps(call("SUBSCRIBE", subscribe={})).encode()
    accept_line = f"Accept: {accept}\r\n" if accept else ""
    writer.write(
        b"POST /slave(1)/api/v1/executor HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/json\r\n%b"
        b"Content-Length: %d\r\n\r\n%b" % (accept_line.encode(), len(body), body)
    )
    try:
        yield Subscription(reader, writer)
    finally:
        writer.close()


def answering(streams: ExecutorStreams, *events: executor_pb2.Event) -> Callable[[Any], None]:
    """React to a subscription as the agent does."""

    def react(event: Any) -> None:
        if isinstance(event, ExecutorSubscribed):
            for answer in events:
                streams.send(event.stream_id, answer)

    return react


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def kill(task: str) -> executor_pb2.Event:
    return Event(type=Event.KILL, kill=Event.Kill(task_id={"value": task}))


async def test_bytes_of_a_stream() -> None:
    streams, port = ExecutorStreams(), FakePort(small_state(ExecutorPhase.REGISTERING))
    port.reactions.append(answering(streams, kill("q1"), Event(type=Event.SHUTDOWN)))
    async with serving(port, streams) as client, subscribed(client) as stream:
        head = (await stream.head()).split(b"\r\n")
        assert head[0] == b"HTTP/1.1 200 OK"
        names = sorted(line.split(b":")[0] for line in head[1:-2])
        assert names == [b"Content-Type", b"Date", b"Transfer-Encoding"]
        assert b"Content-Type: application/json" in head
        assert await stream.chunk() == b'49\n{"type":"KILL","kill":{"task_id":{"value":"q1"}}}'
        assert await stream.chunk() == b'19\n{"type":"SHUTDOWN"}'
        event = port.events[0]
        assert isinstance(event, ExecutorSubscribed)
        assert (event.framework_id, event.executor_id) == (FRAMEWORK, EXECUTOR)
        streams.send(event.stream_id, kill("q2"))
        streams.close(event.stream_id)
        streams.send(event.stream_id, kill("q3"))
        assert b"q2" in await stream.chunk()
        assert await stream.reader.readexactly(5) == b"0\r\n\r\n"
        await eventually(lambda: len(streams) == 0)
        streams.close(event.stream_id)
        streams.send(event.stream_id, kill("q3"))


async def test_protobuf_streams() -> None:
    streams, port = ExecutorStreams(), FakePort(small_state())
    port.reactions.append(answering(streams, kill("t")))
    async with (
        serving(port, streams) as client,
        subscribed(client, "application/x-protobuf") as stream,
    ):
        assert b"Content-Type: application/x-protobuf" in await stream.head()
        length, _, record = (await stream.chunk()).partition(b"\n")
        assert len(record) == int(length)
        assert Event.FromString(record) == kill("t")


async def test_every_subscription_has_its_own_id() -> None:
    streams, port = ExecutorStreams(), FakePort(small_state())
    async with serving(port, streams) as client:
        for count in range(1, 4):
            async with subscribed(client) as stream:
                await stream.head()
                await eventually(lambda count=count: len(port.events) == count)  # type: ignore[misc]  # bound now
        ids = [event.stream_id for event in port.events if isinstance(event, ExecutorSubscribed)]
        assert len(set(ids)) == 3
        streams.close_all()
        await eventually(lambda: len(streams) == 0)


async def test_heartbeats() -> None:
    clock = FakeClock()
    streams, port = ExecutorStreams(clock), FakePort(small_state())
    async with serving(port, streams) as client, subscribed(client) as stream:
        await stream.head()
        await eventually(lambda: len(streams) == 1)
        for _ in range(2):
            clock.advance(executor_api.HEARTBEAT_INTERVAL_S)
            assert await stream.chunk() == b'20\n{"type":"HEARTBEAT"}'
        streams.close_all()
        await eventually(lambda: len(streams) == 0)
        assert clock.pending == []


async def test_a_silent_stream_whose_connection_broke_is_let_go() -> None:
    clock = FakeClock()
    streams, port = ExecutorStreams(clock), FakePort(small_state())
    async with serving(port, streams) as client:
        async with subscribed(client) as stream:
            await stream.head()
            await eventually(lambda: len(streams) == 1)
        stream.writer.transport.abort()

        def swept() -> bool:
            clock.advance(executor_api.SWEEP_INTERVAL_S)
            return len(streams) == 0

        await eventually(swept)
        assert clock.pending == []


async def test_a_reader_that_does_not_read_is_dropped() -> None:
    streams, port = ExecutorStreams(max_queued_bytes=1 << 20), FakePort(small_state())
    async with serving(port, streams) as client, subscribed(client) as stream:
        await stream.head()
        await eventually(lambda: len(port.events) == 1)
        subscribed_event = port.events[0]
        assert isinstance(subscribed_event, ExecutorSubscribed)
        big = Event(type=Event.MESSAGE, message=Event.Message(data=b"x" * 100_000))
        for _ in range(500):
            streams.send(subscribed_event.stream_id, big)
            await asyncio.sleep(0)
            if not len(streams):
                break
        await eventually(lambda: len(streams) == 0)
        streams.send(subscribed_event.stream_id, big)


async def test_many_events_keep_their_order() -> None:
    streams, port = ExecutorStreams(), FakePort(small_state())
    async with serving(port, streams) as client, subscribed(client) as stream:
        await stream.head()
        await eventually(lambda: len(port.events) == 1)
        event = port.events[0]
        assert isinstance(event, ExecutorSubscribed)
        for number in range(300):
            streams.send(event.stream_id, kill(str(number)))
        for number in range(300):
            assert b'"%d"' % number in await stream.chunk()
        streams.close_all()
        await eventually(lambda: len(streams) == 0)


async def test_a_stream_that_ends_is_given_up_if_nobody_reads_the_rest() -> None:
    clock = FakeClock()
    streams = ExecutorStreams(clock)
    port = FakePort(small_state())
    async with serving(port, streams) as client:
        address = client.make_url("/")
        writers = []
        for _ in range(5):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, limit=1 << 10
            )
            writers.append(writer)
            body = json.dumps(call("SUBSCRIBE", subscribe={})).encode()
            writer.write(
                b"POST /slave(1)/api/v1/executor HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await reader.readuntil(b"\r\n\r\n")
        assert len(streams) == 5
        large = Event(type=Event.MESSAGE)
        large.message.data = bytes(20 * 1024 * 1024)
        for event in [e for e in port.events if isinstance(e, ExecutorSubscribed)]:
            streams.send(event.stream_id, large)
            streams.close(event.stream_id)
        await asyncio.sleep(0.05)
        assert len(streams) == 5
        clock.advance(executor_api.CLOSE_GRACE_S + 1)
        await until(lambda: len(streams) == 0)
        for writer in writers:
            writer.close()


def token_of(framework: str = "F", executor: str = "E", container: str = "c") -> str:
    made = ExecutorTokens(KEY).token(
        FrameworkId(framework), ExecutorId(executor), ContainerId(container)
    )
    return f"Bearer {made}"


def known() -> Realms:
    context = AuthenticatorContext(authentication.EXECUTOR, {"ops": "s"}, KEY)
    return Realms(
        {authentication.EXECUTOR: (BasicAuthenticator(context), JwtAuthenticator(context))}
    )


async def posted(client: Client, body: Any, authorization: str) -> tuple[int, str]:
    headers = {"Content-Type": codec.JSON, "Authorization": authorization}
    url = client.make_url("/slave(1)/api/v1/executor")
    async with client.session.post(url, json=body, headers=headers) as response:
        return response.status, await response.text()


async def test_an_executor_with_its_token() -> None:
    port = FakePort(small_state())
    async with serving(port, realms=known()) as client:
        assert (await post(client, update()))[0] == 401
        assert await posted(client, update(), token_of()) == (202, "")
        assert (await posted(client, call("HEARTBEAT"), token_of("other")))[0] == 202
    assert [type(event) for event in port.events] == [ExecutorUpdate]


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        (("G", "E", "c"), "an 'fid' claim with the framework ID F, which is set in the call"),
        (("F", "D", "c"), "an 'eid' claim with the executor ID E, which is set in the call"),
        (("F", "E", "d"), "a 'cid' claim with the correct active ContainerID"),
    ],
)
async def test_the_token_of_another_executor(claims: tuple[str, str, str], what: str) -> None:
    port = FakePort(small_state(ExecutorPhase.REGISTERING))
    framework, executor, container = claims
    shown = f'{{"claims":{{"cid":"{container}","eid":"{executor}","fid":"{framework}"}}}}'
    async with serving(port, realms=known()) as client:
        for body in (update(), call("SUBSCRIBE", subscribe={}), call("UNKNOWN")):
            status, text = await posted(client, body, token_of(*claims))
            assert status == 403
            assert text == f"Authenticated principal '{shown}' does not contain {what}"
    assert port.events == []


async def test_a_user_is_no_executor() -> None:
    port = FakePort(small_state())
    async with serving(port, realms=known()) as client:
        status, text = await posted(client, update(), "Basic b3BzOnM=")
    assert status == 403
    assert text.startswith("Authenticated principal 'ops' does not contain an 'fid' claim")


async def test_what_is_wrong_with_the_call_comes_first() -> None:
    async with serving(FakePort(small_state()), realms=known()) as client:
        body = update() | {"framework_id": {"value": "G"}}
        assert await posted(client, body, token_of("H")) == (400, "Framework cannot be found")
        assert (await posted(client, {}, token_of("H")))[0] == 400
