# SPDX-License-Identifier: Apache-2.0
"""Commands of checks in the containers of tasks, as sessions that the agent nests there.

Source: spec ``executors`` 7.5.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from google.protobuf.message import DecodeError

from mesos_compat.base import http1
from mesos_compat.base.errors import WireError
from mesos_compat.base.recordio import Decoder
from mesos_compat.executor.checks import CommandProbe, Probe, Result
from mesos_compat.executor.children import Children
from mesos_compat.executor.client import ClientSettings, call_headers
from mesos_compat.executor.connection import Connection
from mesos_compat.executor.log import SandboxLog, write_all
from mesos_compat.executor.loop import Loop
from mesos_compat.executor.nested import Answer, Line
from mesos_compat.executor.prober import Concluded, RunningProbe
from mesos_compat.executor.probes import command_result, start_remote
from mesos_compat.executor.task import random_uuid
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

_MAX_RECORD_BYTES = 1 << 20
_TRANSIENT = Result()


class NestedRuns:
    """Begins runs of the checks of a task in a nested container."""

    def __init__(
        self,
        loop: Loop,
        children: Children,
        settings: ClientSettings,
        container_id: v1.ContainerID,
        log: SandboxLog,
    ) -> None:
        self._loop = loop
        self._children = children
        self._settings = settings
        self._container_id = container_id
        self._log = log
        #: What the last run of a check has left, which the next one removes.
        self._left: dict[int, v1.ContainerID] = {}

    def start(self, probe: Probe, concluded: Concluded) -> RunningProbe:
        """Begin one (see ``prober.StartProbe``)."""
        if not isinstance(probe, CommandProbe):
            return start_remote(self._loop, self._children, probe, concluded)
        before = self._left.get(id(probe))
        own = v1.ContainerID(value=f"check-{random_uuid()}")
        own.parent.CopyFrom(self._container_id)

        def launching() -> None:
            self._left[id(probe)] = own

        run = _Session(self._loop, self._settings, own, probe.command, self._log, concluded)
        run.begin(before, launching)
        return run


class _Session:
    """One command: what was left is removed, the session launched, read and waited for."""

    def __init__(
        self,
        loop: Loop,
        settings: ClientSettings,
        container_id: v1.ContainerID,
        command: v1.CommandInfo,
        log: SandboxLog,
        concluded: Concluded,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._container_id = container_id
        self._command = command
        self._log = log
        self._concluded: Concluded | None = concluded
        self._line = Line(loop, settings)
        self._connection: Connection | None = None
        self._head: http1.MessageHead | None = None
        self._decoder = Decoder(_MAX_RECORD_BYTES)
        #: The result, whatever the container does; set once it is not the command's.
        self._result: Result | None = None
        self._waiting = False

    def begin(self, before: v1.ContainerID | None, launching: Callable[[], None]) -> None:
        """Remove what the run before has left, and launch; ``launching`` is told of that."""

        def removed(answer: Answer) -> None:
            if answer.status != 200:
                self._conclude(_TRANSIENT)
                return
            launching()
            self._launch()

        if before is None:
            launching()
            self._launch()
            return
        call = agent_pb2.Call(type=agent_pb2.Call.REMOVE_NESTED_CONTAINER)
        call.remove_nested_container.container_id.CopyFrom(before)
        self._line.ask(call, removed)

    def time_out(self, error: str) -> None:
        """Hang up, upon which the agent kills the container (see ``prober.RunningProbe``)."""
        self._result = Result(error=error)
        if self._connection is None:
            if not self._waiting:
                self._conclude(self._result)
            return
        self._hang_up()
        self._wait()

    def cancel(self) -> None:
        """Hang up (see ``prober.RunningProbe``)."""
        self._concluded = None
        self._hang_up()
        self._line.close()

    # The session.

    def _launch(self) -> None:
        self._connection = Connection(
            self._loop,
            self._settings.endpoint,
            opened=self._opened,
            received=self._received,
            closed=self._closed,
        )

    def _opened(self) -> None:
        assert self._connection is not None
        call = agent_pb2.Call(type=agent_pb2.Call.LAUNCH_NESTED_CONTAINER_SESSION)
        call.launch_nested_container_session.container_id.CopyFrom(self._container_id)
        call.launch_nested_container_session.command.CopyFrom(self._command)
        headers = call_headers(self._settings)
        headers["Message-Accept"] = headers["Accept"]
        headers["Accept"] = "application/recordio"
        headers["Connection"] = "close"
        path = self._settings.endpoint.operator_path
        self._connection.send(http1.request(path, headers, call.SerializeToString()))

    def _received(self, part: http1.Part) -> None:
        if isinstance(part, http1.MessageHead):
            self._head = part
        elif isinstance(part, bytes):
            if self._head is not None and self._head.status == 200:
                self._show(part)
        else:
            self._end_of_session()

    def _show(self, data: bytes) -> None:
        """Leave the command's output in our own."""
        try:
            for record in self._decoder.feed(data):
                message = agent_pb2.ProcessIO.FromString(record)
                write_all(2, message.data.data)
        except (WireError, DecodeError) as error:
            self._log.warning(f"Unusable output of a check: {error}")
            self._closed(str(error))

    def _end_of_session(self) -> None:
        self._hang_up()
        if self._head is None or self._head.status != 200:
            self._result = _TRANSIENT
        self._wait()

    def _closed(self, why: str) -> None:
        self._hang_up()
        self._conclude(_TRANSIENT)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # Its end.

    def _wait(self) -> None:
        call = agent_pb2.Call(type=agent_pb2.Call.WAIT_NESTED_CONTAINER)
        call.wait_nested_container.container_id.CopyFrom(self._container_id)
        self._waiting = True
        self._line.ask(call, self._waited)

    def _waited(self, answer: Answer) -> None:
        self._conclude(self._result if self._result is not None else _result_of(answer))

    def _conclude(self, result: Result) -> None:
        concluded, self._concluded = self._concluded, None
        self._line.close()
        if concluded is not None:
            concluded(result)


def _result_of(answer: Answer) -> Result:
    if answer.status != 200:
        return _TRANSIENT
    try:
        ended = agent_pb2.Response.FromString(answer.body).wait_nested_container
    except DecodeError:
        return _TRANSIENT
    if not ended.HasField("exit_status"):
        return Result(error="Unable to get the exit code")
    # Probably the task has ended, and took it along.
    killed = ended.exit_status == signal.SIGKILL
    return _TRANSIENT if killed else command_result(ended.exit_status)
