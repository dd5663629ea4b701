# SPDX-License-Identifier: Apache-2.0
"""An executor's side of the v1 executor API.

Two connections: one for SUBSCRIBE and its stream, one for all other calls; losing either is being
disconnected. Status updates are kept until the agent acknowledges them and are sent again
whenever that may be needed, with the same uuid.

Source: spec ``executors`` 1.4 to 1.8, 5.6.
"""

from __future__ import annotations

import os
import random
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import DecodeError

from mesos_compat.base import http1
from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.recordio import Decoder
from mesos_compat.base.tls_options import AGENT_TLS
from mesos_compat.base.variables import EXECUTOR_TOKEN
from mesos_compat.executor.connection import Connection, Endpoint
from mesos_compat.executor.log import SandboxLog
from mesos_compat.executor.loop import Loop, Timer
from mesos_compat.model.quantity import SECOND_NS, parse_duration
from mesos_compat.model.validate import text_error
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api

#: Seconds between attempts to subscribe, and until a call is repeated that met a starting agent.
RETRY_S = 1.0
#: Seconds between signs of life, which keep an idle connection from being forgotten.
HEARTBEAT_S = 30 * 60.0

#: Forks of one process go on with the same pseudo-random numbers.
_RANDOM = random.SystemRandom()
_PROTOBUF = "application/x-protobuf"
_MAX_EVENT_BYTES = 256 << 20
_MAX_ERROR_BYTES = 64 << 10
_HIDDEN = (EXECUTOR_TOKEN, AGENT_TLS)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the agent tells an executor through its environment; times in seconds."""

    endpoint: Endpoint
    framework_id: str
    executor_id: str
    token: str | None = field(repr=False)
    checkpoint: bool
    shutdown_grace_s: float
    recovery_timeout_s: float = 0.0
    backoff_max_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> ClientSettings:
        """Read the environment. Raises FlagError if something is missing or unusable."""
        checkpoint = environ.get("MESOS_CHECKPOINT") == "1"
        return cls(
            endpoint=Endpoint.of(environ),
            framework_id=_required(environ, "MESOS_FRAMEWORK_ID"),
            executor_id=_required(environ, "MESOS_EXECUTOR_ID"),
            token=environ.get(EXECUTOR_TOKEN),
            checkpoint=checkpoint,
            shutdown_grace_s=_seconds(
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
                environ.get("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
            ),
            recovery_timeout_s=_required_seconds(environ, "MESOS_RECOVERY_TIMEOUT", checkpoint),
            backoff_max_s=_required_seconds(environ, "MESOS_SUBSCRIPTION_BACKOFF_MAX", checkpoint),
        )


def call_headers(settings: ClientSettings) -> dict[str, str]:
    """Return the headers of every call to the agent."""
    headers = {
        "Host": settings.endpoint.host,
        "Accept": _PROTOBUF,
        "Content-Type": _PROTOBUF,
    }
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token}"
    return headers


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``environ`` that programs started by the executor may see."""
    return {name: value for name, value in environ.items() if name not in _HIDDEN}


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise FlagError(f"Expecting '{name}' to be set in the environment")
    return value


def _required_seconds(environ: Mapping[str, str], name: str, wanted: bool) -> float:
    return _seconds(name, _required(environ, name)) if wanted else 0.0


def _seconds(name: str, text: str) -> float:
    try:
        return parse_duration(text) / SECOND_NS
    except WireError as error:
        raise FlagError(f"Failed to parse {name} '{text}': {error}") from error


def _event(record: bytes) -> api.Event:
    """Read an event. Raises DecodeError and WireError."""
    event = api.Event.FromString(record)
    if not event.IsInitialized():
        raise WireError("it lacks required fields")
    why = text_error(event)
    if why is not None:
        raise WireError(why)
    return event


class EventHandler(Protocol):
    """The program that uses a client."""

    def handle(self, event: api.Event) -> None:
        """Handle an event of the agent, or an ERROR or SHUTDOWN that the client came to."""

    def disconnected(self, for_good: bool) -> None:
        """Learn that the agent is away; ``for_good`` if nobody waits for its return."""


class AgentClient:
    """Subscribes, keeps subscribed, and sends calls."""

    def __init__(
        self, loop: Loop, settings: ClientSettings, handler: EventHandler, log: SandboxLog
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._handler = handler
        self._log = log
        self._headers = call_headers(settings)
        self._stream: Connection | None = None
        self._calls: Connection | None = None
        self._decoder = Decoder(_MAX_EVENT_BYTES)
        self._head: http1.MessageHead | None = None
        self._error_body = b""
        #: Calls sent and not yet answered, oldest first, with the uuid of an update.
        self._in_flight: deque[tuple[str, bytes]] = deque()
        self._call_head: http1.MessageHead | None = None
        self._call_body = b""
        self._subscribing = False
        self._subscribed = False
        self._was_connected = False
        self._given_up = False
        self._subscribe_timer: Timer | None = None
        self._recovery_timer: Timer | None = None
        #: Updates without acknowledgement by uuid, oldest first.
        self._updates: dict[bytes, v1.TaskStatus] = {}
        #: Those of them that the agent was told on the current connection.
        self._told: set[bytes] = set()
        #: Tasks of which no update was acknowledged yet.
        self._tasks: dict[str, v1.TaskInfo] = {}

    def start(self) -> None:
        """Connect and subscribe; to be called once."""
        self._log.info(f"Using URL {self._settings.endpoint} for the executor API endpoint")
        self._loop.later(HEARTBEAT_S, self._heartbeat)
        self._connect()

    def close(self) -> None:
        """Close the connections for good."""
        self._given_up = True
        self._drop_connections()

    @property
    def subscribed(self) -> bool:
        """Whether the agent is there."""
        return self._subscribed

    @property
    def all_acknowledged(self) -> bool:
        """Whether the agent has every update."""
        return not self._updates

    def task_launched(self, task: v1.TaskInfo) -> None:
        """Remember a task that the agent has to hear of until it acknowledges an update."""
        self._tasks[task.task_id.value] = task

    def update(self, status: v1.TaskStatus) -> None:
        """Deliver a status, which needs its uuid; now, or as soon as there is an agent."""
        self._updates[status.uuid] = status
        self._tell_updates()

    # Connections.

    def _connect(self) -> None:
        self._drop_connections()
        self._decoder = Decoder(_MAX_EVENT_BYTES)
        self._head = None
        self._error_body = b""
        self._call_head = None
        self._call_body = b""
        endpoint = self._settings.endpoint
        self._stream = Connection(
            self._loop,
            endpoint,
            opened=self._connected,
            received=self._stream_received,
            closed=self._disconnected,
        )
        self._calls = Connection(
            self._loop,
            endpoint,
            opened=self._connected,
            received=self._calls_received,
            closed=self._disconnected,
        )

    def _connected(self) -> None:
        assert self._stream is not None
        assert self._calls is not None
        if not (self._stream.is_open and self._calls.is_open):
            return
        self._was_connected = True
        if self._recovery_timer is not None:
            self._recovery_timer.cancel()
            self._recovery_timer = None
        self._subscribe()

    def _drop_connections(self) -> None:
        for connection in (self._stream, self._calls):
            if connection is not None:
                connection.close()
        self._stream = self._calls = None
        self._in_flight.clear()
        self._told.clear()
        self._subscribing = self._subscribed = False
        if self._subscribe_timer is not None:
            self._subscribe_timer.cancel()
            self._subscribe_timer = None

    def _disconnected(self, why: str) -> None:
        self._drop_connections()
        self._log.warning(f"Disconnected from agent: {why}")
        if self._given_up:
            return
        if not (self._settings.checkpoint and self._was_connected):
            self._give_up("Framework checkpointing not enabled")
            return
        if self._recovery_timer is None:
            self._recovery_timer = self._loop.later(
                self._settings.recovery_timeout_s,
                lambda: self._give_up("Recovery timeout exceeded"),
            )
            self._loop.later(0, self._reconnect)
        else:
            self._loop.later(_RANDOM.uniform(0, self._settings.backoff_max_s), self._reconnect)
        self._handler.disconnected(False)

    def _reconnect(self) -> None:
        if not self._given_up:
            self._connect()

    def _give_up(self, why: str) -> None:
        self._log.info(f"{why}. Shutting down")
        self._given_up = True
        self._drop_connections()
        self._dispatch(api.Event(type=api.Event.SHUTDOWN))
        self._handler.disconnected(True)

    # Subscription.

    def _subscribe(self) -> None:
        if self._subscribed or self._stream is None or not self._stream.is_open:
            return
        self._subscribe_timer = self._loop.later(RETRY_S, self._subscribe)
        if self._subscribing:
            return
        self._subscribing = True
        call = self._call(api.Call.SUBSCRIBE)
        call.subscribe.SetInParent()
        call.subscribe.unacknowledged_tasks.extend(self._tasks.values())
        for uuid, status in self._updates.items():
            call.subscribe.unacknowledged_updates.add().status.CopyFrom(status)
            self._told.add(uuid)
        self._stream.send(self._request(call))

    def _stream_received(self, part: http1.Part) -> None:
        if isinstance(part, http1.MessageHead):
            self._head = part
            self._error_body = b""
        elif self._head is not None and self._head.status == 200:
            self._stream_data(part)
        elif isinstance(part, bytes):
            self._error_body = (self._error_body + part)[:_MAX_ERROR_BYTES]
        else:
            self._subscribing = False
            self._told.clear()
            self._refused("SUBSCRIBE", self._head, self._error_body)

    def _stream_data(self, part: bytes | http1.MessageEnd) -> None:
        if isinstance(part, http1.MessageEnd):
            self._disconnected("the agent ended the subscription")
            return
        try:
            for record in self._decoder.feed(part):
                self._dispatch(_event(record))
                if self._stream is None:
                    return
        except (WireError, DecodeError) as error:
            self._disconnected(f"unusable event: {error}")

    def _dispatch(self, event: api.Event) -> None:
        match event.type:
            case api.Event.SUBSCRIBED:
                self._subscribing = False
                self._subscribed = True
                if self._subscribe_timer is not None:
                    self._subscribe_timer.cancel()
            case api.Event.ACKNOWLEDGED:
                self._updates.pop(event.acknowledged.uuid, None)
                self._tasks.pop(event.acknowledged.task_id.value, None)
            case api.Event.SHUTDOWN:
                self._loop.later(self._settings.shutdown_grace_s, self._die)
        self._handler.handle(event)
        if event.type == api.Event.SUBSCRIBED:
            self._tell_updates()

    def _die(self) -> None:
        """End everything that is left: the grace period after a shutdown is over."""
        self._log.error("Committing suicide by killing the process group")
        os.killpg(0, signal.SIGKILL)

    # Calls.

    def _tell_updates(self) -> None:
        if not self._subscribed or self._calls is None:
            return
        for uuid, status in self._updates.items():
            if uuid not in self._told:
                self._told.add(uuid)
                call = self._call(api.Call.UPDATE)
                call.update.status.CopyFrom(status)
                self._send(call, "UPDATE", uuid)

    def _heartbeat(self) -> None:
        self._loop.later(HEARTBEAT_S, self._heartbeat)
        if self._subscribed:
            self._send(self._call(api.Call.HEARTBEAT), "HEARTBEAT", b"")

    def _send(self, call: api.Call, name: str, uuid: bytes) -> None:
        assert self._calls is not None
        self._in_flight.append((name, uuid))
        self._calls.send(self._request(call))

    def _calls_received(self, part: http1.Part) -> None:
        if isinstance(part, http1.MessageHead):
            self._call_head = part
            self._call_body = b""
        elif isinstance(part, bytes):
            self._call_body = (self._call_body + part)[:_MAX_ERROR_BYTES]
        else:
            assert self._call_head is not None
            if not self._in_flight:
                self._disconnected("a response that belongs to no call")
                return
            name, uuid = self._in_flight.popleft()
            if self._call_head.status not in (200, 202):
                self._call_refused(name, uuid)

    def _call_refused(self, name: str, uuid: bytes) -> None:
        assert self._call_head is not None
        if name == "UPDATE" and self._call_head.status in (404, 503):
            self._told.discard(uuid)
            self._loop.later(RETRY_S, self._tell_updates)
        self._refused(name, self._call_head, self._call_body)

    def _refused(self, name: str, head: http1.MessageHead | None, body: bytes) -> None:
        assert head is not None
        text = body.decode("utf-8", "replace")
        why = f"'{head.status} {head.reason}' ({text}) for {name}"
        if head.status in (404, 503):
            self._log.warning(f"Received {why}")
            return
        event = api.Event(type=api.Event.ERROR)
        event.error.message = f"Received unexpected {why}"
        self._handler.handle(event)

    def _call(self, kind: api.Call.Type) -> api.Call:
        call = api.Call(type=kind)
        call.executor_id.value = self._settings.executor_id
        call.framework_id.value = self._settings.framework_id
        return call

    def _request(self, call: api.Call) -> bytes:
        body = call.SerializeToString()
        return http1.request(self._settings.endpoint.path, self._headers, body)
