# SPDX-License-Identifier: Apache-2.0
"""An agent as an executor sees it, driven step by step by a test, and an executor to go with it.

No threads: the test process serves the sockets while it waits for the next call, and the executor
is a fork of it, as in production.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import ssl
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from containerizer.linux import proc
from mesos_compat.base import recordio
from mesos_compat.executor import command, default
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.patience import PATIENCE_S

FRAMEWORK = "f-0000"
EXECUTOR = "t"
CONTAINER = "c-0"


@dataclass
class Peer:
    socket: socket.socket
    buffer: bytearray = field(default_factory=bytearray)


@dataclass
class Request:
    call: api.Call
    head: str
    peer: Peer


@dataclass
class Ask:
    """A call of the operator API, which waits for its answer."""

    call: agent_pb2.Call
    head: str
    peer: Peer

    def answer(self, status: int = 200, body: bytes | str = b"") -> None:
        """Answer; an executor that has hung up meanwhile hears nothing, as of a real agent."""
        data = body.encode() if isinstance(body, str) else body
        head = f"HTTP/1.1 {status} So\r\nContent-Length: {len(data)}\r\n\r\n"
        with contextlib.suppress(OSError):
            self.peer.socket.sendall(head.encode() + data)

    def end(self, exit_status: int | None = 0, **fields: object) -> None:
        """Answer a wait."""
        response = agent_pb2.Response(type=agent_pb2.Response.WAIT_NESTED_CONTAINER)
        response.wait_nested_container.SetInParent()
        if exit_status is not None:
            response.wait_nested_container.exit_status = exit_status
        for name, value in fields.items():
            setattr(response.wait_nested_container, name, value)
        self.answer(200, response.SerializeToString())


class FakeAgent:
    """Answers 200 or 202 unless ``refuse`` holds an answer for the next call of a type.

    Calls of the operator API wait for the test to answer them.
    """

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, path: str = "") -> None:
        self.listener = socket.socket(family)
        self.listener.bind(path if family == socket.AF_UNIX else ("127.0.0.1", 0))
        self.listener.listen()
        self.path = path
        self.peers: list[Peer] = []
        self.requests: deque[Request] = deque()
        self.asked: list[Ask] = []
        self.stream: Peer | None = None
        self.refuse: dict[int, deque[tuple[int, str]]] = {}
        #: How to speak TLS, if so, and how often an executor broke that off.
        self.tls: ssl.SSLContext | None = None
        self.broken_handshakes = 0

    @property
    def upid(self) -> str:
        if self.path:
            return "slave(1)@127.0.0.1:1"
        host, port = self.listener.getsockname()
        return f"slave(1)@{host}:{port}"

    def close(self) -> None:
        self.drop()
        self.listener.close()

    def drop(self) -> None:
        """Break all connections."""
        for peer in self.peers:
            peer.socket.close()
        self.peers.clear()
        self.stream = None

    def request(self) -> Request:
        """Wait for the next call."""
        self.serve(lambda: bool(self.requests))
        return self.requests.popleft()

    def call(self, kind: int) -> api.Call:
        """Wait for the next call, which has to be of this type."""
        request = self.request()
        assert request.call.type == kind, request.call
        return request.call

    def ask(self, kind: int) -> Ask:
        """Wait for the next call of this type of the operator API."""
        self.serve(lambda: any(ask.call.type == kind for ask in self.asked))
        found = next(ask for ask in self.asked if ask.call.type == kind)
        self.asked.remove(found)
        return found

    def update(self, state: int, acknowledge: bool = True) -> v1.TaskStatus:
        """Wait for an update, which has to be of this state."""
        status = self.call(api.Call.UPDATE).update.status
        assert status.state == state, status
        if acknowledge:
            self.acknowledge(status)
        return status

    def serve(self, done: Callable[[], bool], wait_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + wait_s
        while not done():
            left = end - time.monotonic()
            assert left > 0, "the executor does not say what the test expects"
            fds: list[socket.socket] = [self.listener, *(peer.socket for peer in self.peers)]
            for ready in select.select(fds, [], [], min(left, 0.005))[0]:
                if ready is self.listener:
                    self._accept()
                else:
                    self._read(next(p for p in self.peers if p.socket is ready))

    def _accept(self) -> None:
        accepted = self.listener.accept()[0]
        if self.tls is not None:
            accepted.settimeout(PATIENCE_S)
            try:
                accepted = self.tls.wrap_socket(accepted, server_side=True)
            except OSError:
                accepted.close()
                self.broken_handshakes += 1
                return
        self.peers.append(Peer(accepted))

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.socket.recv(1 << 16)
            while isinstance(peer.socket, ssl.SSLSocket) and (more := peer.socket.pending()):
                data += peer.socket.recv(more)
        except ConnectionResetError:
            data = b""
        if not data:
            peer.socket.close()
            self.peers.remove(peer)
            return
        peer.buffer += data
        while True:
            head, end, rest = bytes(peer.buffer).partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0")
            if not end or len(rest) < length:
                return
            del peer.buffer[: len(head) + 4 + length]
            if b"/executor " not in head:
                called = agent_pb2.Call.FromString(rest[:length])
                self.asked.append(Ask(called, head.decode(), peer))
                continue
            call = api.Call.FromString(rest[:length])
            self._answer(peer, call)
            self.requests.append(Request(call, head.decode(), peer))

    def _answer(self, peer: Peer, call: api.Call) -> None:
        refusals = self.refuse.get(call.type)
        if refusals:
            status, body = refusals.popleft()
            peer.socket.sendall(
                f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
        elif call.type == api.Call.SUBSCRIBE:
            self.stream = peer
            peer.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            peer.socket.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    def send(self, event: api.Event) -> None:
        assert self.stream is not None
        record = recordio.encode(event.SerializeToString())
        self.stream.socket.sendall(b"%x\r\n%b\r\n" % (len(record), record))

    def end_stream(self) -> None:
        assert self.stream is not None
        self.stream.socket.sendall(b"0\r\n\r\n")

    def subscribed(self, *capabilities: v1.FrameworkInfo.Capability.Type) -> None:
        event = api.Event(type=api.Event.SUBSCRIBED)
        body = event.subscribed
        body.executor_info.executor_id.value = EXECUTOR
        body.framework_info.user = "nobody"
        body.framework_info.name = "test"
        body.framework_info.id.value = FRAMEWORK
        for capability in capabilities:
            body.framework_info.capabilities.add(type=capability)
        body.agent_info.hostname = "agent.example"
        body.container_id.value = CONTAINER
        self.send(event)

    def launch(self, task: v1.TaskInfo) -> None:
        event = api.Event(type=api.Event.LAUNCH)
        event.launch.task.CopyFrom(task)
        self.send(event)

    def launch_group(self, *tasks: v1.TaskInfo) -> None:
        event = api.Event(type=api.Event.LAUNCH_GROUP)
        event.launch_group.task_group.tasks.extend(tasks)
        self.send(event)

    def acknowledge(self, status: v1.TaskStatus) -> None:
        event = api.Event(type=api.Event.ACKNOWLEDGED)
        event.acknowledged.task_id.CopyFrom(status.task_id)
        event.acknowledged.uuid = status.uuid
        self.send(event)

    def kill(self, grace_s: float | None = None, task_id: str = EXECUTOR) -> None:
        event = api.Event(type=api.Event.KILL)
        event.kill.task_id.value = task_id
        if grace_s is not None:
            event.kill.kill_policy.grace_period.nanoseconds = int(grace_s * 1e9)
        self.send(event)

    def shutdown(self) -> None:
        self.send(api.Event(type=api.Event.SHUTDOWN))

    def start_task(
        self, task: v1.TaskInfo, *capabilities: v1.FrameworkInfo.Capability.Type
    ) -> None:
        """Go from SUBSCRIBE to an acknowledged TASK_RUNNING."""
        self.call(api.Call.SUBSCRIBE)
        self.subscribed(*capabilities)
        self.launch(task)
        self.update(v1.TASK_STARTING)
        self.update(v1.TASK_RUNNING)


class RunningExecutor:
    """The executor in a fork, in a session of its own, writing to files of a sandbox."""

    def __init__(
        self,
        agent: FakeAgent,
        sandbox: str,
        arguments: list[str],
        environ: Mapping[str, str],
        grouped: bool = False,
    ) -> None:
        """With ``grouped`` it is a default executor."""
        self.sandbox = sandbox
        self.exit_status: int | None = None
        environment = {
            "PATH": os.environ["PATH"],
            "MESOS_SLAVE_PID": agent.upid,
            "MESOS_FRAMEWORK_ID": FRAMEWORK,
            "MESOS_EXECUTOR_ID": EXECUTOR,
            "MESOS_CHECKPOINT": "0",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
            **environ,
        }
        self.pid = os.fork()
        if self.pid == 0:
            try:
                agent.close()
                os.setsid()
                os.chdir(sandbox)
                for fd, name in ((1, "stdout"), (2, "stderr")):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), fd)
                if grouped:
                    environment["MESOS_SANDBOX"] = sandbox
                    os._exit(default.main(["mesos-default-executor", *arguments], environment))
                os._exit(command.main(["mesos-executor", *arguments], environment))
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(77)

    def output(self, name: str = "stdout") -> str:
        with open(os.path.join(self.sandbox, name), encoding="utf-8") as file:
            return file.read()

    def wait(self, agent: FakeAgent) -> int:
        """Serve until the executor is gone; return its exit code."""
        agent.serve(self.gone)
        assert self.exit_status is not None
        return os.waitstatus_to_exitcode(self.exit_status)

    def gone(self) -> bool:
        """Whether it has ended."""
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_status = status
        return self.exit_status is not None

    def stop(self) -> None:
        if not self.gone():
            for task in proc.children(self.pid):
                os.kill(task, signal.SIGKILL)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def shell_task(command_line: str, task_id: str = EXECUTOR) -> v1.TaskInfo:
    """A task as it arrives at an executor."""
    task = v1.TaskInfo(name="test")
    task.task_id.value = task_id
    task.agent_id.value = "a-S0"
    task.command.value = command_line
    resource = task.resources.add(name="cpus", type=v1.Value.SCALAR)
    resource.scalar.value = 1
    resource.allocation_info.role = "web"
    return task
