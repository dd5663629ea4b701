# SPDX-License-Identifier: Apache-2.0
"""Commands on the containers of an agent, by its operator API.

Source: spec ``operator-api`` 3.4-3.7.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from containerizer.local.measure import Sample
from containerizer.local.order import (
    LOG_BYTES,
    LOG_FILES,
    ContainerOrder,
    SessionOrder,
    command_info,
    container_info,
)
from mesos_compat.agent import paths
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.scope import Scope
from mesos_compat.cli.containers.client import OperatorClient
from mesos_compat.cli.containers.console import (
    Console,
    Keyboard,
    RawTerminal,
    window_size,
    write,
)
from mesos_compat.cli.containers.foreground import Signals, exit_code
from mesos_compat.cli.containers.logs import STREAMS, follow
from mesos_compat.cli.containers.sandbox import SandboxLogs
from mesos_compat.cli.containers.target import SIGNALLED, LogSource, Row, Usage
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import evolve
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

_MB = 1 << 20
_KILLED = SIGNALLED + signal.SIGKILL
_DEFAULT_CPUS = 1.0
_DEFAULT_MEMORY_MB = 256.0


@dataclass(frozen=True, slots=True)
class _Container:
    """One container as the agent shows it."""

    id: ContainerId
    shown: agent_pb2.Response.GetContainers.Container


class AgentTarget:
    """Implements ContainerTarget for the agent at an address."""

    def __init__(self, address: str, credential: str | None = None) -> None:
        """``credential`` is the file that says who we are. Raises FlagError."""
        self._client = OperatorClient(address, credential)
        self._scope = Scope("containers of an agent")

    async def rows(self) -> list[Row]:
        """Return all containers, nested ones behind those around them."""
        return [_row(each) for each in await self._containers()]

    async def inspect(self, reference: str) -> Mapping[str, object]:
        """Return all that the agent tells of a container."""
        found = await self._find(reference)
        return {**asdict(_row(found)), "container": jsonpb.to_value(found.shown)}

    async def kill(self, reference: str, number: int) -> None:
        """Send a signal to the container's command."""
        await self._kill((await self._find(reference)).id, number)

    async def remove(self, reference: str, *, force: bool) -> None:
        """Remove a nested container that has ended; one that runs is killed by ``force``."""
        known = [each.id for each in await self._containers() if reference in _names(each)]
        if known and not force:
            raise ContainerError(f"Container '{reference}' is running: kill it first, or use -f")
        for container_id in known:
            await self._kill(container_id, signal.SIGKILL)
            await self._waited(container_id)
        parts = str(known[0]).split(".") if known else reference.split(".")
        if len(parts) == 1:
            if known:
                # The agent forgets a top-level container by itself.
                return
            raise ContainerError(f"The agent has no container '{reference}'")
        call = agent_pb2.Call(type=agent_pb2.Call.REMOVE_CONTAINER)
        message = call.remove_container.container_id
        for part in reversed(parts):
            message.value = part
            if part is not parts[0]:
                message = message.parent
        await self._client.call(call)

    async def logs(self, reference: str) -> LogSource:
        """Return the output in the container's sandbox."""
        found = await self._find(reference)
        waiting = self._scope.spawn(self._waited_silently(found.id), f"wait {found.id}")
        if await self._is_standalone(found):
            return await self._standalone_logs(found.id, waiting.done)
        return AgentLogs(self._client, await self._sandbox(found), waiting.done)

    async def usages(self) -> list[Usage]:
        """Return what all containers use, as far as the agent measures it."""
        made = []
        for each in await self._containers():
            if not each.shown.HasField("resource_statistics"):
                continue
            measured = each.shown.resource_statistics
            cpu_s = measured.cpus_user_time_secs + measured.cpus_system_time_secs
            memory = measured.mem_total_bytes or measured.mem_rss_bytes
            made.append(
                Usage(
                    _row(each),
                    measured.timestamp,
                    Sample(
                        cpu_s=cpu_s if measured.HasField("cpus_user_time_secs") else None,
                        memory_bytes=memory or None,
                        memory_limit_bytes=measured.mem_limit_bytes or None,
                        processes=measured.processes or None,
                    ),
                )
            )
        return made

    async def run(self, order: ContainerOrder, console: Console) -> int:
        """Run a standalone container; see ContainerTarget."""
        if order.working_directory is not None:
            raise ContainerError("An agent cannot be told where a command starts: leave out -w")
        if order.isolation is not None:
            raise ContainerError("The agent has an isolation of its own: leave out --isolation")
        if (order.log_files, order.log_bytes) != (LOG_FILES, LOG_BYTES):
            raise ContainerError("The agent has a logger of its own: leave out --log-…")
        if console.interactive or console.terminal:
            raise ContainerError(
                "An agent attaches nobody to a container that has no executor: leave out -i and -t,"
                " or run it without the agent (--local)"
            )
        container_id = ContainerId(order.name or str(uuid.uuid4()))
        call = agent_pb2.Call(type=agent_pb2.Call.LAUNCH_CONTAINER)
        wanted = call.launch_container
        wanted.container_id.value = container_id.value
        wanted.command.CopyFrom(_command(order.command, order.environment, order.user))
        wanted.container.CopyFrom(evolve(container_info(order), v1.ContainerInfo))
        memory = _DEFAULT_MEMORY_MB if order.memory_bytes is None else order.memory_bytes / _MB
        for name, amount in (("cpus", order.cpus or _DEFAULT_CPUS), ("mem", memory)):
            resource = wanted.resources.add(name=name, type=v1.Value.SCALAR)
            resource.scalar.value = amount
        wanted.limits["cpus"].value = order.cpus or math.inf
        wanted.limits["mem"].value = memory if order.memory_bytes else math.inf
        async with Scope("run") as scope:
            signals = Signals(scope)
            with signals.handled():
                try:
                    await self._client.call(call)
                except asyncio.CancelledError:
                    return signals.code()
                if order.detached:
                    print(container_id)
                    return 0
                signals.pass_to(lambda number: self._kill(container_id, number))
                waiting = scope.spawn(self._waited(container_id), f"wait {container_id}")
                await follow(await self._standalone_logs(container_id, waiting.done), STREAMS, None)
                return await waiting

    async def execute(self, reference: str, order: SessionOrder, console: Console) -> int:
        """Run a session in a container; see ContainerTarget."""
        if order.working_directory is not None:
            raise ContainerError("An agent cannot be told where a command starts: leave out -w")
        if not order.command:
            raise ContainerError("There is nothing to run: give a command")
        found = await self._find(reference)
        if await self._is_standalone(found):
            raise ContainerError(
                f"Container '{reference}' has no executor: an agent starts no sessions in it"
            )
        session = ContainerId(str(uuid.uuid4()), found.id)
        call = agent_pb2.Call(type=agent_pb2.Call.LAUNCH_NESTED_CONTAINER_SESSION)
        wanted = call.launch_nested_container_session
        wanted.container_id.CopyFrom(_message(session))
        wanted.command.CopyFrom(_command(order.command, order.environment, order.user))
        if console.terminal:
            wanted.container.type = v1.ContainerInfo.MESOS
            _terminal(wanted.container)
        async with Scope("exec") as scope:
            signals = Signals(scope)
            with signals.handled():
                try:
                    return await self._attached(scope, signals, session, call, console)
                except asyncio.CancelledError:
                    return signals.code()

    async def close(self) -> None:
        """Close all connections."""
        await self._scope.close()
        await self._client.close()

    async def _attached(
        self,
        scope: Scope,
        signals: Signals,
        container_id: ContainerId,
        call: agent_pb2.Call,
        console: Console,
    ) -> int:
        """Relay between us and a container until its output ends; return its exit code.

        ``call`` attaches to the output, or launches the container first.
        """
        keyboard = Keyboard()
        resized = asyncio.Event()
        async with self._client.stream(call) as output:
            signals.pass_to(lambda number: self._kill(container_id, number))
            waiting = scope.spawn(self._waited(container_id), f"wait {container_id}")
            if console.interactive:
                keyboard.start()
            if console.interactive or console.terminal:
                pieces = _input(container_id, keyboard, console, resized)
                scope.spawn(self._sent(pieces), f"input {container_id}")
            resized.set()
            with RawTerminal(console.terminal and console.interactive, resized.set):
                async for record in output:
                    if record.type == agent_pb2.ProcessIO.DATA:
                        stderr = record.data.type == agent_pb2.ProcessIO.Data.STDERR
                        write(2 if stderr else 1, record.data.data)
        return await waiting

    async def _sent(self, calls: AsyncIterator[agent_pb2.Call]) -> None:
        # The container ends when it wants to, whatever is still to be sent.
        with contextlib.suppress(ContainerError):
            await self._client.send(calls)

    async def _waited(self, container_id: ContainerId) -> int:
        """Wait for a container; return its exit code."""
        call = agent_pb2.Call(type=agent_pb2.Call.WAIT_CONTAINER)
        call.wait_container.container_id.CopyFrom(_message(container_id))
        ended = (await self._client.call(call, endless=True)).wait_container
        if ended.message:
            print(f"mesos-compat: {ended.message}", file=sys.stderr)
        return exit_code(ended.exit_status) if ended.HasField("exit_status") else _KILLED

    async def _waited_silently(self, container_id: ContainerId) -> None:
        call = agent_pb2.Call(type=agent_pb2.Call.WAIT_CONTAINER)
        call.wait_container.container_id.CopyFrom(_message(container_id))
        with contextlib.suppress(ContainerError):
            await self._client.call(call, endless=True)

    async def _kill(self, container_id: ContainerId, number: int) -> None:
        call = agent_pb2.Call(type=agent_pb2.Call.KILL_CONTAINER)
        call.kill_container.container_id.CopyFrom(_message(container_id))
        call.kill_container.signal = number
        await self._client.call(call)

    async def _containers(self) -> list[_Container]:
        call = agent_pb2.Call(type=agent_pb2.Call.GET_CONTAINERS)
        call.get_containers.show_nested = True
        call.get_containers.show_standalone = True
        answer = await self._client.call(call)
        found = []
        for shown in answer.get_containers.containers:
            # Only the status has the whole id of a nested container.
            status = shown.container_status
            whole = status.container_id if status.HasField("container_id") else shown.container_id
            found.append(_Container(ContainerId.of(whole), shown))
        return sorted(found, key=lambda each: each.id.path)

    async def _find(self, reference: str) -> _Container:
        containers = await self._containers()
        exact = [each for each in containers if reference in _names(each)]
        found = exact or [
            each for each in containers if reference and str(each.id).startswith(reference)
        ]
        # The beginning of an id is that of all containers nested there, too.
        shortest = [e for e in found if all(str(o.id).startswith(str(e.id)) for o in found)]
        if not found:
            raise ContainerError(f"The agent has no container '{reference}'")
        if len(found) > 1 and len(shortest) != 1:
            ids = ", ".join(str(each.id) for each in found)
            raise ContainerError(f"'{reference}' is ambiguous: {ids}")
        return found[0] if len(found) == 1 else shortest[0]

    async def _sandbox(self, found: _Container) -> str:
        """Return the path of a container's sandbox as the agent's files have it."""
        below = "".join(f"/containers/{value}" for value in found.id.path[1:])
        root = next(
            (each for each in await self._containers() if each.id == found.id.root), found
        ).shown
        framework, executor = root.framework_id.value, root.executor_id.value
        return f"/frameworks/{framework}/executors/{executor}/runs/latest{below}"

    async def _is_standalone(self, found: _Container) -> bool:
        """Whether neither the container nor one around it has an executor."""
        return not any(
            each.id == found.id.root and each.shown.HasField("executor_id")
            for each in await self._containers()
        )

    async def _standalone_logs(
        self, container_id: ContainerId, ended: Callable[[], bool]
    ) -> SandboxLogs:
        """Return the output of a standalone container, whose sandbox no agent shows."""
        answer = await self._client.call(agent_pb2.Call(type=agent_pb2.Call.GET_FLAGS))
        work_dir = next(
            (flag.value for flag in answer.get_flags.flags if flag.name == "work_dir"), ""
        )
        sandbox = paths.standalone(os.path.realpath(work_dir), container_id.root)
        sandbox += "".join(f"/containers/{value}" for value in container_id.path[1:])
        if not os.path.isdir(sandbox):
            raise ContainerError(
                f"The output of container '{container_id}' is on another host: an agent shows only"
                " sandboxes of executors"
            )
        return SandboxLogs(sandbox, lambda: not ended())


class AgentLogs:
    """Implements LogSource on the files of an agent.

    Should a file that is followed be shorter than before, it was rotated: what it still got is read
    from the youngest old one. An agent does not tell one file from the next, so one that has grown
    beyond the old one between two looks is taken for it.
    """

    def __init__(self, client: OperatorClient, sandbox: str, ended: Callable[[], bool]) -> None:
        self._client = client
        self._sandbox = sandbox
        self._ended = ended
        #: Where the newest file begins, by stream.
        self._begins: dict[str, int] = {}

    async def size(self, stream: str) -> int:
        """Return how many bytes there are now."""
        return self._begins.get(stream, 0) + (await self._read(stream, 0, 0)).size

    async def read(self, stream: str, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; none at the end."""
        within = offset - self._begins.get(stream, 0)
        answer = await self._read(stream, within, length)
        if answer.data or answer.size >= within:
            return answer.data
        # Without old files the rest is lost.
        with contextlib.suppress(ContainerError):
            rest = (await self._read(f"{stream}.1", within, length)).data
            if rest:
                return rest
        self._begins[stream] = offset
        return (await self._read(stream, 0, length)).data

    async def running(self) -> bool:
        """Whether more may come."""
        return not self._ended()

    async def _read(self, stream: str, offset: int, length: int) -> agent_pb2.Response.ReadFile:
        call = agent_pb2.Call(type=agent_pb2.Call.READ_FILE)
        call.read_file.path = f"{self._sandbox}/{stream}"
        call.read_file.offset = offset
        call.read_file.length = length
        return (await self._client.call(call)).read_file


async def _input(
    container_id: ContainerId, keyboard: Keyboard, console: Console, resized: asyncio.Event
) -> AsyncIterator[agent_pb2.Call]:
    """Yield the records of an input stream: whose it is, window sizes, what is typed, its end."""
    first = _attach(agent_pb2.Call.AttachContainerInput.CONTAINER_ID)
    first.attach_container_input.container_id.CopyFrom(_message(container_id))
    yield first
    async with Scope(f"input {container_id}") as scope:
        queue: asyncio.Queue[agent_pb2.Call | None] = asyncio.Queue(1)

        async def typed() -> None:
            async for piece in keyboard:
                await queue.put(_data(piece))
            await queue.put(_data(b""))
            if not console.terminal:
                await queue.put(None)

        async def sized() -> None:
            while True:
                await resized.wait()
                resized.clear()
                size = window_size()
                if size is not None:
                    await queue.put(_window(*size))

        if console.interactive:
            scope.spawn(typed(), "typed")
        if console.terminal:
            scope.spawn(sized(), "sized")
        while (call := await queue.get()) is not None:
            yield call


def _attach(kind: agent_pb2.Call.AttachContainerInput.Type) -> agent_pb2.Call:
    call = agent_pb2.Call(type=agent_pb2.Call.ATTACH_CONTAINER_INPUT)
    call.attach_container_input.type = kind
    return call


def _data(piece: bytes) -> agent_pb2.Call:
    call = _attach(agent_pb2.Call.AttachContainerInput.PROCESS_IO)
    process_io = call.attach_container_input.process_io
    process_io.type = agent_pb2.ProcessIO.DATA
    process_io.data.type = agent_pb2.ProcessIO.Data.STDIN
    process_io.data.data = piece
    return call


def _window(rows: int, columns: int) -> agent_pb2.Call:
    call = _attach(agent_pb2.Call.AttachContainerInput.PROCESS_IO)
    process_io = call.attach_container_input.process_io
    process_io.type = agent_pb2.ProcessIO.CONTROL
    process_io.control.type = agent_pb2.ProcessIO.Control.TTY_INFO
    process_io.control.tty_info.window_size.rows = rows
    process_io.control.tty_info.window_size.columns = columns
    return call


def _command(
    command: Sequence[str], environment: Mapping[str, str], user: str | None
) -> v1.CommandInfo:
    made = evolve(command_info(command, environment), v1.CommandInfo)
    if user is not None:
        made.user = user
    return made


def _terminal(made: v1.ContainerInfo) -> None:
    made.tty_info.SetInParent()
    size = window_size()
    if size is not None:
        made.tty_info.window_size.rows, made.tty_info.window_size.columns = size


def _message(container_id: ContainerId) -> v1.ContainerID:
    made = v1.ContainerID(value=container_id.value)
    if container_id.parent is not None:
        made.parent.CopyFrom(_message(container_id.parent))
    return made


def _names(container: _Container) -> tuple[str, ...]:
    nested = container.id.parent is not None
    name = "" if nested else container.shown.executor_id.value
    return tuple(filter(None, (str(container.id), name)))


def _row(container: _Container) -> Row:
    shown = container.shown
    pid = shown.container_status.executor_pid
    nested = container.id.parent is not None
    return Row(
        id=str(container.id),
        name="" if nested else shown.executor_id.value,
        image="",
        command="" if nested else shown.executor_name,
        state="running" if pid else "starting",
        pid=pid or None,
    )
