# SPDX-License-Identifier: Apache-2.0
"""Lives of tasks, played to the end in the process that executors are forked from.

What the interpreter does at the first times only (specialise code, fill its caches, make the
classes of messages) it has then done for all of them, in memory that they share.
"""

from __future__ import annotations

import os
import socket

from containerizer.init.pid1 import Init
from mesos_compat.base import recordio
from mesos_compat.base.tls_options import TlsOptions
from mesos_compat.executor.client import ClientSettings
from mesos_compat.executor.command import CommandExecutor
from mesos_compat.executor.default import DefaultExecutor, address_of
from mesos_compat.executor.flags import parse_default_flags, parse_flags
from mesos_compat.executor.log import SandboxLog
from mesos_compat.executor.loop import READ, Loop
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api

#: Often enough for the interpreter to have adapted its code.
_ROUNDS = 12
#: Seconds after which a rehearsal that hangs is given up.
_LIMIT_S = 5.0
_MOST_BYTES = 1 << 16
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nDate: b\r\nTransfer-Encoding: chunked\r\n\r\n"
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nDate: a\r\nServer: b\r\n\r\n"
#: To the launch of a container as well: nobody reads it there.
_ENDED = agent_pb2.Response(
    type=agent_pb2.Response.WAIT_NESTED_CONTAINER,
    wait_nested_container=agent_pb2.Response.WaitNestedContainer(exit_status=0),
).SerializeToString()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: %d\r\nDate: b\r\n\r\n%b"
_ENVIRON = {
    "MESOS_AGENT_ENDPOINT": "127.0.0.1:1",
    "MESOS_CHECKPOINT": "1",
    "MESOS_DIRECTORY": "/",
    "MESOS_EXECUTOR_ID": "rehearsal",
    "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
    "MESOS_FRAMEWORK_ID": "rehearsal",
    "MESOS_RECOVERY_TIMEOUT": "15mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
}


def rehearse() -> None:
    """Run some tasks; signals have to be blocked. Nothing is left of it."""
    kept = os.dup(2)
    try:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, 2)
        os.close(null)
        init = Init(None)
        for _ in range(_ROUNDS):
            _play(init, grouped=False)
            _play(init, grouped=True)
        for fd in init.fds:
            os.close(fd)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def load_tls() -> None:
    """Have OpenSSL loaded and set up, for executors whose agent is reached by TLS."""
    from mesos_compat.base.tls import Tls

    Tls(TlsOptions())


def _play(init: Init, *, grouped: bool) -> None:
    loop = Loop()
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        agent = _Agent(loop, listener, grouped)
        port = listener.getsockname()[1]
        environ = {**_ENVIRON, "MESOS_SLAVE_PID": f"slave(1)@127.0.0.1:{port}"}
        executor = (_default if grouped else _command)(loop, environ, init)
        executor.start()
        loop.later(_LIMIT_S, lambda: loop.stop(1))
        loop.run()
        executor.close()
        agent.close()


def _command(loop: Loop, environ: dict[str, str], init: Init) -> CommandExecutor:
    flags = parse_flags(["--launcher_dir=/", "--sandbox_directory=/mnt/mesos/sandbox"])
    settings = ClientSettings.of(environ)
    log = SandboxLog(flags.logging_level)
    return CommandExecutor(loop, settings, flags.options, environ, log, init)


def _default(loop: Loop, environ: dict[str, str], init: Init) -> DefaultExecutor:
    flags = parse_default_flags(["--launcher_dir=/"])
    settings = ClientSettings.of(environ)
    log = SandboxLog(flags.logging_level)
    return DefaultExecutor(loop, settings, "/", address_of(b"localhost"), log, init)


class _Agent:
    """Says what an agent says, on the executor's own loop."""

    def __init__(self, loop: Loop, listener: socket.socket, grouped: bool) -> None:
        self._loop = loop
        self._listener = listener
        self._launch = _launch_group() if grouped else _launch()
        self._peers: list[socket.socket] = []
        self._stream: socket.socket | None = None
        loop.watch(listener.fileno(), READ, self._accept)

    def close(self) -> None:
        for peer in self._peers:
            peer.close()

    def _accept(self, events: int) -> None:
        peer = self._listener.accept()[0]
        self._peers.append(peer)
        self._loop.watch(peer.fileno(), READ, lambda _: self._answer(peer))

    def _answer(self, peer: socket.socket) -> None:
        data = peer.recv(_MOST_BYTES)
        if not data:
            self._loop.unwatch(peer.fileno())
        while data:
            head, _, rest = data.partition(b"\r\n\r\n")
            length = int(head.rpartition(b"Content-Length: ")[2])
            if b"/executor " in head:
                self._take(peer, api.Call.FromString(rest[:length]))
            else:
                peer.sendall(_ANSWER % (len(_ENDED), _ENDED))
            data = rest[length:]

    def _take(self, peer: socket.socket, call: api.Call) -> None:
        if call.type == api.Call.SUBSCRIBE:
            self._stream = peer
            peer.sendall(_STREAM)
            self._send(_subscribed())
            self._send(self._launch)
            return
        peer.sendall(_ACCEPTED)
        event = api.Event(type=api.Event.ACKNOWLEDGED)
        event.acknowledged.task_id.CopyFrom(call.update.status.task_id)
        event.acknowledged.uuid = call.update.status.uuid
        self._send(event)

    def _send(self, event: api.Event) -> None:
        assert self._stream is not None
        record = recordio.encode(event.SerializeToString())
        self._stream.sendall(b"%x\r\n%b\r\n" % (len(record), record))


def _subscribed() -> api.Event:
    event = api.Event(type=api.Event.SUBSCRIBED)
    body = event.subscribed
    body.executor_info.executor_id.value = "rehearsal"
    body.framework_info.user = body.framework_info.name = "rehearsal"
    body.framework_info.id.value = body.container_id.value = "rehearsal"
    body.framework_info.capabilities.add(type=v1.FrameworkInfo.Capability.TASK_KILLING_STATE)
    body.agent_info.hostname = "localhost"
    return event


def _launch() -> api.Event:
    event = api.Event(type=api.Event.LAUNCH)
    _fill(event.launch.task, "rehearsal")
    return event


def _launch_group() -> api.Event:
    event = api.Event(type=api.Event.LAUNCH_GROUP)
    # An id that is no file name: nothing is to be linked.
    _fill(event.launch_group.task_group.tasks.add(), "a/rehearsal")
    return event


def _fill(task: v1.TaskInfo, name: str) -> None:
    task.name = task.task_id.value = task.agent_id.value = name
    task.command.value = "exit 0"
    task.command.environment.variables.add(name="A", value="b")
    for kind in ("cpus", "mem"):
        resource = task.resources.add(name=kind, type=v1.Value.SCALAR)
        resource.scalar.value = 1.0
        resource.allocation_info.role = "*"
