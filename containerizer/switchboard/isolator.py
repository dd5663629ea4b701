# SPDX-License-Identifier: Apache-2.0
"""The IO switchboard: decides what 0, 1 and 2 of a container are. Always the last isolator.

It owns the container logger. Most containers write straight to what the logger opened and have no
process beside them; those with a terminal and sessions get a server (``server.py``), to which
anybody can attach.

::

    <runtime directory>/io_switchboard/
        socket      path of the server's socket, written before it exists
        pid         decimal, the server's pid, written before it does anything
        status      decimal wait status, written by the server; empty while it runs

Deviations: stdin of containers without a server is /dev/null, not the agent's; the wait status of a
server is known after a restart of the agent, too; a damaged checkpoint makes a container one that
nobody can attach to, it does not stop the agent.

Source: spec ``containerizer`` 14.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from containerizer.init.helper import HelperRequest
from containerizer.isolators.base import Isolator, is_command_task, is_debug
from containerizer.launcher.tracked import TrackedInit
from containerizer.linux import fds, proc, users
from containerizer.loggers.base import ContainerLogger, HelperStarter
from containerizer.switchboard.listener import bind_socket
from mesos_compat.base import checkpoint, units
from mesos_compat.base.errors import CheckpointError, ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Under which name the switchboard is asked; it is none of ``--isolation``.
NAME = "io/switchboard"
_DIRECTORY = "io_switchboard"
_PROGRAM = "mesos-io-switchboard"
#: Where clients connect. A path below the runtime directory may be too long for a socket.
_SOCKET_PREFIX = "/tmp/mesos-io-switchboard-"
_POLL_S = 0.01
_SETTLE_S = 0.1
#: Descriptors of the server behind 0, 1 and 2.
_FIRST_FD = 3


@dataclass(frozen=True, slots=True)
class SwitchboardConfig:
    """Settings of the switchboard."""

    #: Stdio of containers is the agent's own; nobody can attach.
    local: bool = False
    heartbeat_interval_s: float = 30.0
    #: Cgroups of servers and loggers, so that they survive the agent's.
    cgroups: tuple[str, ...] = ()
    #: How long a server may go on after its container, how long after being asked to end.
    patience_s: float = 5.0
    kill_after_s: float = 60.0


@dataclass(slots=True)
class ContainerIO:
    """Descriptors for 0, 1 and 2 of a container, to be closed by whoever took them."""

    stdin: int
    stdout: int
    stderr: int

    def close(self) -> None:
        """Close what is open."""
        for descriptor in {self.stdin, self.stdout, self.stderr}:
            if descriptor >= 0:
                os.close(descriptor)
        self.stdin = self.stdout = self.stderr = -1


@dataclass(slots=True)
class _Server:
    """The server of one container; ``process`` is ``None`` if nobody knows it."""

    directory: str
    address: str | None
    process: TrackedInit | None
    #: Whether somebody may still attach for what the container has written.
    awaited: bool = False
    #: Whether somebody did.
    attached: bool = False

    def failure(self) -> str | None:
        """Return how the server failed; ``None`` if it ended well or nobody knows."""
        path = os.path.join(self.directory, "status")
        try:
            text = checkpoint.read_text(path)
            status = int(text) if text else signal.SIGKILL if text is not None else 0
            return _failure(status)
        except (CheckpointError, ValueError) as error:
            log.warning("Unknown exit status of an I/O switchboard: %s", error)
            return None


@dataclass(slots=True)
class _Descriptors:
    """Closes what it was given unless somebody took it."""

    held: list[int] = field(default_factory=list)

    def keep(self, *descriptors: int) -> None:
        self.held += descriptors

    def pipe(self) -> tuple[int, int]:
        """Return the ends of a pipe, the one to read from first."""
        ends = os.pipe2(os.O_CLOEXEC)
        self.held += ends
        return ends

    def release(self, *descriptors: int) -> None:
        """Let somebody else close these."""
        self.held = [fd for fd in self.held if fd not in descriptors]

    def close(self) -> None:
        """Close what is left."""
        while self.held:
            os.close(self.held.pop())


@dataclass(frozen=True, slots=True)
class _Wires:
    """What connects a container with its server."""

    container: ContainerIO
    stdin_to: int
    stdout_from: int
    stderr_from: int
    #: Path of the terminal, if it is one.
    terminal: str | None = None


class IOSwitchboard(Isolator):
    """Stdio of all containers. Made by ``create.py``."""

    supports_nesting: ClassVar[bool] = True
    supports_standalone: ClassVar[bool] = True

    def __init__(
        self,
        config: SwitchboardConfig,
        logger: ContainerLogger,
        directory: Callable[[ContainerId], str],
        helpers: HelperStarter | None = None,
    ) -> None:
        """``directory`` tells the runtime directory of a container."""
        self._config = config
        self._logger = logger
        self._directory = directory
        self._helpers = helpers
        self._io: dict[ContainerId, ContainerIO] = {}
        self._servers: dict[ContainerId, _Server] = {}

    # Isolator.

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Find the servers of containers that an earlier agent left."""
        live = {ContainerId.of(state.container_id) for state in states}
        for container_id in live.union(orphans):
            server = _recovered(os.path.join(self._directory(container_id), _DIRECTORY))
            if server is not None:
                # whoever was to attach to an orphan did so through an agent that is gone
                server.awaited = container_id in live
                self._servers[container_id] = server

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Have the logger open its files; start a server if the container needs one."""
        if self._config.local:
            self._io[container_id] = ContainerIO(os.dup(0), os.dup(1), os.dup(2))
            return None
        out, err = _opened(await self._logger.prepare(container_id, config))
        tty = config.container_info.HasField("tty_info")
        if not tty and not is_debug(config):
            try:
                stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                os.close(out)
                os.close(err)
                raise
            self._io[container_id] = ContainerIO(stdin, out, err)
            return None
        held = _Descriptors([out, err])
        try:
            owner = users.uid_of(config.user) if config.HasField("user") else None
            wires = _open_terminal(held, owner) if tty else _open_pipes(held, owner)
            await self._start_server(container_id, held, wires, (out, err), is_debug(config))
            stdio = wires.container
            held.release(stdio.stdin, stdio.stdout, stdio.stderr)
            self._io[container_id] = stdio
        finally:
            held.close()
        return _launch_info(wires, config)

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        """Return when the container's server has failed."""
        server = self._servers.get(container_id)
        if server is not None and server.process is not None:
            await server.process.wait()
            failure = server.failure()
            if failure is not None:
                return slave.ContainerLimitation(
                    reason=pb.TaskStatus.REASON_IO_SWITCHBOARD_EXITED, message=failure
                )
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves this future")

    async def cleanup(self, container_id: ContainerId) -> None:
        """Wait for the server to end, which it does once everybody has all output."""
        self.drop_io(container_id)
        server = self._servers.get(container_id)
        if server is None:
            return
        if server.process is not None:
            await self._end(server, server.process)
            server.process.close()
        if server.address is not None:
            for path in (server.address, f"{server.address}_provisional"):
                _remove_socket(path)
        self._servers.pop(container_id, None)

    # Stdio of containers.

    def take_io(self, container_id: ContainerId) -> ContainerIO:
        """Hand over the stdio of a prepared container; the caller closes it.

        Raises ContainerError if there is none.
        """
        taken = self._io.pop(container_id, None)
        if taken is None:
            raise ContainerError(f"Container {container_id} has no stdio")
        server = self._servers.get(container_id)
        if server is not None:
            server.awaited = True
        return taken

    def drop_io(self, container_id: ContainerId) -> None:
        """Close the stdio of a container whose launch has ended before it was taken."""
        dropped = self._io.pop(container_id, None)
        if dropped is not None:
            dropped.close()

    async def address(self, container_id: ContainerId) -> str:
        """Return the path of the socket on which a container's server listens.

        Raises ContainerError in upstream's words if there is none.
        """
        if self._config.local:
            raise ContainerError("Not supported in local mode")
        server = self._servers.get(container_id)
        if server is None:
            raise ContainerError("I/O switchboard server was disabled for this container")
        server.attached = True
        if server.address is None:
            raise ContainerError("Failed to get the io switchboard address: it was not kept")
        while not os.path.exists(server.address):
            # a server of an earlier, foreign agent may be about to listen
            if server.process is None or server.process.exited:
                raise ContainerError("I/O switchboard has shutdown")
            await asyncio.sleep(_POLL_S)
        return server.address

    def expect_nobody(self, container_id: ContainerId) -> None:
        """Learn that a container is destroyed by request.

        If nobody has attached until now, nobody is going to: its server need not wait for that.
        """
        server = self._servers.get(container_id)
        if server is not None and not server.attached:
            server.awaited = False
            if server.process is not None:
                _send(server.process, signal.SIGTERM)

    async def settled(self, container_id: ContainerId) -> None:
        """Give a server that ends at the same time as its container the time to do so.

        A killed one takes its container along by what it closes, some milliseconds before the
        kernel is done with it. One that has more to do is not waited for.
        """
        server = self._servers.get(container_id)
        if server is not None and server.process is not None:
            await _ended(server.process.wait(), _SETTLE_S)

    # Servers.

    async def _start_server(
        self,
        container_id: ContainerId,
        held: _Descriptors,
        wires: _Wires,
        log_files: tuple[int, int],
        wait_for_connection: bool,
    ) -> None:
        if self._helpers is None:
            raise ContainerError("Failed to create io switchboard server process: no spawner")
        directory = os.path.join(self._directory(container_id), _DIRECTORY)
        address = f"{_SOCKET_PREFIX}{uuid.uuid4()}"
        server = self._servers[container_id] = _Server(directory, address, None)
        os.mkdir(directory, 0o700)
        checkpoint.write_text(os.path.join(directory, "socket"), address)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        status = os.open(os.path.join(directory, "status"), flags, 0o600)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        held.keep(status, null)
        with bind_socket(address) as listener:
            own = (wires.stdin_to, wires.stdout_from, wires.stderr_from, listener.fileno(), status)
            numbers = range(_FIRST_FD, _FIRST_FD + len(own))
            stdin_to, stdout_from, stderr_from, listen, status_to = numbers
            interval = units.format_duration(round(self._config.heartbeat_interval_s * 1e9))
            arguments = (
                f"--tty={_text(wires.terminal is not None)}",
                f"--stdin_to_fd={stdin_to}",
                f"--stdout_from_fd={stdout_from}",
                "--stdout_to_fd=1",
                f"--stderr_from_fd={stderr_from}",
                "--stderr_to_fd=2",
                f"--socket_address={address}",
                f"--wait_for_connection={_text(wait_for_connection)}",
                f"--heartbeat_interval={interval}",
                f"--listen_fd={listen}",
                f"--status_fd={status_to}",
            )
            started = await self._helpers.start_helper(
                HelperRequest(_PROGRAM, arguments, self._config.cgroups),
                (null, *log_files, *own),
            )
        server.process = TrackedInit(started.pid, started.pidfd)
        try:
            checkpoint.write_text(os.path.join(directory, "pid"), str(started.pid))
            started.release()
        finally:
            started.abort()
        log.debug("Container %s: I/O switchboard with pid %d", container_id, started.pid)

    async def _end(self, server: _Server, process: TrackedInit) -> None:
        """Wait for a server whose container is gone; first politely."""
        if not server.awaited:
            _send(process, signal.SIGTERM)
        if await _ended(process.wait(), self._config.patience_s):
            return
        _send(process, signal.SIGTERM)
        if await _ended(process.wait(), self._config.kill_after_s):
            return
        log.warning("Killing an I/O switchboard (pid %d) that does not end", process.pid)
        _send(process, signal.SIGKILL)
        await process.wait()


def _send(process: TrackedInit, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.signal(number)


def _opened(answer: object) -> tuple[int, int]:
    """Check what a logger, which may be a plug-in, answered. Raises ContainerError.

    We are going to close both, so they have to be two, and none of our own.
    """
    given = list(answer) if isinstance(answer, tuple | list) else []
    if len(given) != 2 or not all(type(fd) is int and _is_open(fd) for fd in given):
        raise ContainerError(
            "The container logger did not return open descriptors for stdout and stderr, but "
            f"{str(answer)[:100]}"
        )
    out, err = given
    return out, os.dup(err) if err == out else err


def _is_open(descriptor: int) -> bool:
    """Whether a number is a descriptor, and none of 0, 1 and 2."""
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        return False
    return descriptor > 2


def _launch_info(wires: _Wires, config: slave.ContainerConfig) -> slave.ContainerLaunchInfo | None:
    if wires.terminal is None:
        return None
    info = slave.ContainerLaunchInfo(tty_slave_path=wires.terminal)
    if is_command_task(config):
        info.command.arguments.append(f"--tty_slave_path={wires.terminal}")
    return info


def _open_pipes(held: _Descriptors, owner: int | None) -> _Wires:
    """Make three pipes, whose owner can open them again by the names in /dev."""
    ends = []
    for name in ("stdin", "stdout", "stderr"):
        with _attempted(f"Failed to create {name} pipe"):
            pair = held.pipe()
            if owner is not None:
                os.fchown(pair[0], owner, -1)
            ends.append(pair)
    (stdin, stdin_to), (stdout_from, stdout), (stderr_from, stderr) = ends
    return _Wires(ContainerIO(stdin, stdout, stderr), stdin_to, stdout_from, stderr_from)


def _open_terminal(held: _Descriptors, owner: int | None) -> _Wires:
    """Make a pseudo terminal that belongs to ``owner``."""
    with _attempted("Failed to open a master pseudo terminal"):
        master, slave_fd = os.openpty()
        held.keep(master, slave_fd)
        path = os.ttyname(slave_fd)
        if owner is not None:
            os.fchown(slave_fd, owner, -1)
    return _Wires(ContainerIO(slave_fd, slave_fd, slave_fd), master, master, master, path)


def _recovered(directory: str) -> _Server | None:
    """Return the server of which a directory tells; ``None`` if there is no directory."""
    if not os.path.isdir(directory):
        return None
    path = os.path.join(directory, "pid")
    address = process = None
    try:
        address = checkpoint.read_text(os.path.join(directory, "socket")) or None
        text = checkpoint.read_text(path)
        if text:
            pid = int(text)
            known = _is_server(pid, directory, os.stat(path).st_mtime)
            process = TrackedInit.recovered(pid) if known else TrackedInit.gone(pid)
    except (CheckpointError, ValueError, OSError) as error:
        log.error("Failed to get I/O switchboard server pid from '%s': %s", path, error)
    if address is not None and not (address.startswith("/") and address.isprintable()):
        address = None
    return _Server(directory, address, process)


def _is_server(pid: int, directory: str, written_at: float) -> bool:
    """Whether a process is the server: it will be killed, and the number may be anybody's.

    Servers of upstream's agents have the name only.
    """
    try:
        if not proc.runs_since(pid, written_at) or not _PROGRAM.startswith(proc.stat(pid).name):
            return False
        status = os.path.join(directory, "status")
        return not os.path.lexists(status) or fds.has_open(pid, status)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False


def _remove_socket(path: str) -> None:
    """Remove a socket of which a file tells; it may tell anything."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("Failed to remove the socket of an I/O switchboard: %s", error)


def _failure(wait_status: int) -> str | None:
    if wait_status == 0:
        return None
    code = os.waitstatus_to_exitcode(wait_status)
    if code >= 0:
        return f"'IOSwitchboard' exited with status {code}"
    return f"'IOSwitchboard' terminated with signal {signal.strsignal(-code)}"


async def _ended(wait: Awaitable[None], timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await wait
    except TimeoutError:
        return False
    return True


@contextlib.contextmanager
def _attempted(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ContainerError(f"{what}: {error.strerror or error}") from error


def _text(truth: bool) -> str:
    return "true" if truth else "false"
