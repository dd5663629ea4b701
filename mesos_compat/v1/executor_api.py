# SPDX-License-Identifier: Apache-2.0
"""The v1 executor API: calls of executors become events of the agent, its answers become records.

Order of checks and all texts are upstream's. A subscription is a stream of RecordIO records, one
per HTTP chunk; the agent does not care when a stream breaks, the executor subscribes again.

Source: spec ``executors`` 1.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from aiohttp import HttpVersion11, web

from mesos_compat.agent.machine import tokens
from mesos_compat.agent.machine.events import (
    ExecutorMessage,
    ExecutorSubscribed,
    ExecutorUpdate,
)
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase
from mesos_compat.agent.port import AgentPort
from mesos_compat.base import recordio
from mesos_compat.base.clock import Clock, PendingCall, RealClock
from mesos_compat.base.errors import ApiError
from mesos_compat.http import reply
from mesos_compat.http.body import read_body
from mesos_compat.http.principal import Principal, principal_of
from mesos_compat.http.reply import PlainStream, Reply
from mesos_compat.model import evolve, jsonpb
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.jsonpb import text_of
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2
from mesos_compat.v1 import codec

log = logging.getLogger(__name__)

#: Source: spec ``executors`` 0.
HEARTBEAT_INTERVAL_S: Final = 30 * 60.0
#: What may wait for an executor that does not read; then its stream is dropped. Room for the
#: launches of any number of tasks that one agent can hold.
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
#: Time between looks for streams whose connection is gone while nothing was to be sent.
SWEEP_INTERVAL_S: Final = 10.0
#: Time in which what was queued on a stream that ends has to be read.
CLOSE_GRACE_S: Final = 30.0

_HEARTBEAT: Final = executor_pb2.Event(type=executor_pb2.Event.HEARTBEAT)


class _Stream:
    """Records on their way to one executor."""

    def __init__(self, media_type: str, transport: asyncio.BaseTransport | None) -> None:
        self.media_type = media_type
        self._transport = transport
        self.records: deque[bytes] = deque()
        self.queued_bytes = 0
        #: No records are added any more; what is queued is still sent.
        self.ended = False
        #: The connection is gone or given up; nothing more is sent.
        self.dropped = False
        self.changed = asyncio.Event()
        self.heartbeat: PendingCall | None = None
        #: Gives the stream up; set once it ended.
        self.deadline: PendingCall | None = None

    @property
    def disconnected(self) -> bool:
        """Whether the connection is gone."""
        return self._transport is None or self._transport.is_closing()

    def add(self, record: bytes) -> None:
        """Queue a record."""
        self.records.append(record)
        self.queued_bytes += len(record)
        self.changed.set()

    def drop(self) -> None:
        """Give the connection up at once."""
        self.dropped = True
        self.records.clear()
        self.changed.set()
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


class ExecutorStreams:
    """The subscriptions of executors. Ids are never used twice in the life of the process."""

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._clock = clock if clock is not None else RealClock()
        self._heartbeat_interval_s = heartbeat_interval_s
        self._max_queued_bytes = max_queued_bytes
        self._ids = itertools.count(1)
        self._streams: dict[int, _Stream] = {}
        self._sweeper: PendingCall | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def send(self, stream_id: int, event: executor_pb2.Event) -> None:
        """Queue an event; events for streams that are gone are dropped."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.ended or stream.dropped:
            log.debug("Executor stream %d is gone, dropping event %d", stream_id, event.type)
            return
        record = recordio.encode(codec.serialize(event, stream.media_type))
        if stream.queued_bytes + len(record) > self._max_queued_bytes:
            log.warning("Executor stream %d: its reader is too slow, closing it", stream_id)
            stream.drop()
            return
        stream.add(record)

    def close(self, stream_id: int) -> None:
        """End a stream after what was queued on it; unknown streams are ignored."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.ended:
            stream.ended = True
            stream.deadline = self._clock.call_later(CLOSE_GRACE_S, stream.drop)
            stream.changed.set()

    def close_all(self) -> None:
        """End all streams; for the end of the program."""
        for stream_id in list(self._streams):
            self.close(stream_id)

    async def serve(
        self, request: web.BaseRequest, media_type: str, subscribed: Callable[[int], None]
    ) -> web.StreamResponse:
        """Answer a subscription: call ``subscribed`` with its new id, then send until its end."""
        response = PlainStream(headers={"Content-Type": media_type})
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        await response.prepare(request)
        stream_id = next(self._ids)
        stream = _Stream(media_type, request.transport)
        self._add(stream_id, stream)
        try:
            subscribed(stream_id)
            await _pump(stream, response)
        except ConnectionError as error:
            log.info("Executor stream %d: connection lost: %s", stream_id, error)
        finally:
            stream.dropped = True
            self._remove(stream_id, stream)
        return response

    def _add(self, stream_id: int, stream: _Stream) -> None:
        self._streams[stream_id] = stream
        self._schedule_heartbeat(stream_id, stream)
        if self._sweeper is None:
            self._sweeper = self._clock.call_later(SWEEP_INTERVAL_S, self._sweep)

    def _remove(self, stream_id: int, stream: _Stream) -> None:
        del self._streams[stream_id]
        for timer in (stream.heartbeat, stream.deadline):
            if timer is not None:
                timer.cancel()
        if not self._streams and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _schedule_heartbeat(self, stream_id: int, stream: _Stream) -> None:
        stream.heartbeat = self._clock.call_later(
            self._heartbeat_interval_s, lambda: self._beat(stream_id, stream)
        )

    def _beat(self, stream_id: int, stream: _Stream) -> None:
        if not stream.disconnected:
            self.send(stream_id, _HEARTBEAT)
            self._schedule_heartbeat(stream_id, stream)

    def _sweep(self) -> None:
        """Let go of streams whose connection broke while there was nothing to send."""
        self._sweeper = self._clock.call_later(SWEEP_INTERVAL_S, self._sweep)
        for stream in self._streams.values():
            if stream.disconnected:
                stream.drop()


async def _pump(stream: _Stream, response: web.StreamResponse) -> None:
    """Send records, one per chunk, until the stream ends or is dropped; waits without limit."""
    while not stream.dropped:
        if stream.records:
            record = stream.records.popleft()
            await response.write(record)
            stream.queued_bytes -= len(record)
        elif stream.ended:
            return
        else:
            stream.changed.clear()
            await stream.changed.wait()


class ExecutorApi:
    """The handler of ``/api/v1/executor``."""

    def __init__(self, port: AgentPort, streams: ExecutorStreams) -> None:
        self._port = port
        self._streams = streams

    async def handle(self, request: web.BaseRequest) -> Reply | web.StreamResponse:
        """Answer one request. Raises ApiError."""
        state = self._port.state
        if state.phase is AgentPhase.RECOVERING and not state.reconnecting:
            raise ApiError(503, "Agent has not finished recovery")
        if request.method != "POST":
            return reply.method_not_allowed(request.method, ["POST"])
        content_type = request.headers.get("Content-Type")
        if content_type is None:
            raise ApiError(400, "Expecting 'Content-Type' to be present")
        call = parse_call(await read_body(request), content_type)
        why = call_error(call)
        if why is not None:
            raise ApiError(400, f"Failed to validate Executor::Call: {why}")
        media_type = codec.JSON
        if call.type == executor_pb2.Call.SUBSCRIBE:
            media_type = stream_type(request.headers.get("Accept"))
        if call.type == executor_pb2.Call.HEARTBEAT:
            return Reply(202)
        framework_id, executor_id = self._check_sender(call, principal_of(request))
        return await self._submit(request, call, framework_id, executor_id, media_type)

    def _check_sender(
        self, call: executor_pb2.Call, principal: Principal | None
    ) -> tuple[FrameworkId, ExecutorId]:
        framework_id = FrameworkId(text_of(call.framework_id.value))
        executor_id = ExecutorId(text_of(call.executor_id.value))
        state = self._port.state
        subscribing = call.type == executor_pb2.Call.SUBSCRIBE
        if state.phase is AgentPhase.RECOVERING and not (state.reconnecting and subscribing):
            raise ApiError(503, "Agent has not finished recovery")
        framework = state.frameworks.get(framework_id)
        if framework is None:
            raise ApiError(400, "Framework cannot be found")
        executor = framework.executors.get(executor_id)
        if executor is None:
            raise ApiError(400, "Executor cannot be found")
        if principal is not None:
            check_claims(principal, framework_id, executor_id, executor.container_id)
        if executor.phase is ExecutorPhase.REGISTERING and not subscribing:
            raise ApiError(403, "Executor is not subscribed")
        return framework_id, executor_id

    async def _submit(
        self,
        request: web.BaseRequest,
        call: executor_pb2.Call,
        framework_id: FrameworkId,
        executor_id: ExecutorId,
        media_type: str,
    ) -> Reply | web.StreamResponse:
        submit = self._port.submit
        match call.type:
            case executor_pb2.Call.SUBSCRIBE:
                subscribe = call.subscribe
                return await self._streams.serve(
                    request,
                    media_type,
                    lambda stream_id: submit(
                        ExecutorSubscribed(framework_id, executor_id, subscribe, stream_id)
                    ),
                )
            case executor_pb2.Call.UPDATE:
                status = evolve.devolve(call.update.status, pb.TaskStatus)
                submit(ExecutorUpdate(framework_id, executor_id, status))
            case executor_pb2.Call.MESSAGE:
                submit(ExecutorMessage(framework_id, executor_id, call.message.data))
            case _:
                raise ApiError(501, reply.default_body(501))
        return Reply(202)


def parse_call(body: bytes, content_type: str) -> executor_pb2.Call:
    """Read a call. Raises ApiError 400 or 415."""
    if content_type == codec.PROTOBUF:
        call = codec.from_bytes(executor_pb2.Call, body)
        if call is None:
            raise ApiError(400, "Failed to parse body into Call protobuf")
        return call
    if content_type != codec.JSON:
        raise ApiError(415, f"Expecting 'Content-Type' of {codec.JSON} or {codec.PROTOBUF}")
    try:
        value = jsonpb.loads(body)
    except jsonpb.JsonError as error:
        raise ApiError(400, f"Failed to parse body into JSON: {error}") from None
    try:
        return jsonpb.from_value(executor_pb2.Call, value)
    except jsonpb.JsonError as error:
        raise ApiError(400, f"Failed to convert JSON into Call protobuf: {error}") from None


def check_claims(
    principal: Principal,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    container_id: ContainerId,
) -> None:
    """Check that a principal is the active run of this executor. Raises ApiError 403."""
    claims = principal.claims
    whose = f"Authenticated principal '{principal}' does not contain"
    if claims.get(tokens.FRAMEWORK) != framework_id:
        raise ApiError(
            403,
            f"{whose} an 'fid' claim with the framework ID {framework_id}, which is set in the"
            " call",
        )
    if claims.get(tokens.EXECUTOR) != executor_id:
        raise ApiError(
            403,
            f"{whose} an 'eid' claim with the executor ID {executor_id}, which is set in the call",
        )
    if claims.get(tokens.CONTAINER) != container_id.value:
        raise ApiError(403, f"{whose} a 'cid' claim with the correct active ContainerID")


def stream_type(accept: str | None) -> str:
    """Choose the media type of a stream. Raises ApiError 406."""
    for media_type in (codec.JSON, codec.PROTOBUF):
        if codec.accepts(accept, media_type):
            return media_type
    raise ApiError(406, f"Expecting 'Accept' to allow '{codec.PROTOBUF}' or '{codec.JSON}'")


def call_error(call: executor_pb2.Call) -> str | None:
    """Say in upstream's words why a call is not valid; ``None`` if it is."""
    if not call.HasField("type"):
        return "Expecting 'type' to be present"
    match call.type:
        case executor_pb2.Call.SUBSCRIBE if not call.HasField("subscribe"):
            return "Expecting 'subscribe' to be present"
        case executor_pb2.Call.UPDATE:
            return _update_error(call)
        case executor_pb2.Call.MESSAGE if not call.HasField("message"):
            return "Expecting 'message' to be present"
    return None


def _update_error(call: executor_pb2.Call) -> str | None:
    if not call.HasField("update"):
        return "Expecting 'update' to be present"
    status = call.update.status
    if not status.HasField("uuid"):
        return "Expecting 'uuid' to be present"
    if not _is_uuid(status.uuid):
        return "Not a valid UUID"
    executor_id = text_of(call.executor_id.value)
    if status.HasField("executor_id") and status.executor_id != call.executor_id:
        other = text_of(status.executor_id.value)
        return f"ExecutorID in Call: {executor_id} does not match ExecutorID in TaskStatus: {other}"
    sender = f"executor {executor_id} of framework {text_of(call.framework_id.value)}"
    if status.source != v1.TaskStatus.SOURCE_EXECUTOR:
        return f"Received Call from {sender} with invalid source, expecting 'SOURCE_EXECUTOR'"
    if status.state == v1.TASK_STAGING:
        return f"Received TASK_STAGING from {sender} which is not allowed"
    if status.HasField("check_status"):
        return _check_status_error(status.check_status)
    return None


def _is_uuid(data: bytes) -> bool:
    """Say whether bytes are a UUID of one of the five versions of RFC 4122."""
    return len(data) == 16 and 1 <= data[6] >> 4 <= 5


def _check_status_error(status: v1.CheckStatusInfo) -> str | None:
    if not status.HasField("type"):
        return "CheckStatusInfo must specify 'type'"
    if status.type == v1.CheckInfo.UNKNOWN:
        return "'UNKNOWN' is not a valid check's status type"
    name = v1.CheckInfo.Type.Name(status.type)
    if not status.HasField(_CHECK_FIELDS[status.type]):
        return f"Expecting '{_CHECK_FIELDS[status.type]}' to be set for {name} check's status"
    return None


_CHECK_FIELDS: Final[dict[int, Literal["command", "http", "tcp"]]] = {
    v1.CheckInfo.COMMAND: "command",
    v1.CheckInfo.HTTP: "http",
    v1.CheckInfo.TCP: "tcp",
}
