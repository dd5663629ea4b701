# SPDX-License-Identifier: Apache-2.0
"""The agent's side of the spawner: keep it running, ask it for inits, hold on to them.

See ``containerizer.init.spawner`` for the protocol.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import logging
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from containerizer.init.helper import HelperRequest
from containerizer.init.spawner import MORTAL, QUIET, TITLE_ROOM, SpawnRequest
from containerizer.launcher.base import Stdio
from mesos_compat.base.errors import LaunchError
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Isolated from the environment, but with the modules that this process has.
_BOOT = """\
import sys
end = sys.argv.index("--")
sys.path[:] = sys.argv[1:end]
from containerizer.init.readonly import begin
begin()
from containerizer.init.spawner import main
sys.exit(main(sys.argv[end + 1:]))
"""
#: Programs beside containers that the spawner forks; see ``containerizer.init.helper``.
_HELPERS = {
    "mesos-io-switchboard": "containerizer.switchboard.server:main",
    "mesos-logrotate-logger": "containerizer.loggers.logrotate_program:main",
}
#: Importing all programs takes a second on a busy machine, minutes on an emulated one.
_START_S = 180.0
#: A child answers in a millisecond; a machine that takes longer than this is of no use.
_ANSWER_S = 60.0
_CLOSE_S = 5.0
#: After this it was not the helper that was lost but only what it forked.
_DYING_S = 1.0
_MAX_ANSWER = 8192
_CREDENTIALS = struct.Struct("3i")
#: Room for the command line of an executor in the title of its process.
_TITLE_ROOM_BYTES = 2048


@dataclass(frozen=True, slots=True)
class SpawnerConfig:
    """How the spawner is started."""

    #: Path of an executable to ``module:function`` (an ``InitProgram``) that is called in its
    #: place, by the container's init itself.
    programs: Mapping[str, str]
    #: ``module:function`` called once with all signals blocked: what it makes warm, all share.
    rehearsals: Sequence[str] = ()
    python: str = sys.executable
    #: Soft and hard limit of open files that containers start with; ``None``: this process's own.
    open_files: tuple[int, int] | None = None
    #: Launches tell nothing but failures on the stderr of their containers.
    quiet: bool = False
    #: What is in cgroups of a launcher is killed when this process dies.
    mortal: bool = False


class SpawnedInit:
    """An init that waits for its release; implements ForkedInit.

    ``pidfd`` stands for the init whatever becomes of its pid; it belongs to whoever asked.
    """

    def __init__(self, pid: int, pidfd: int, control: socket.socket) -> None:
        self._pid = pid
        self.pidfd = pidfd
        self._control: socket.socket | None = control

    @property
    def pid(self) -> int:
        """Pid of init as this process sees it."""
        return self._pid

    def release(self) -> None:
        """Let init go on to the command. Raises LaunchError if init is gone."""
        control, self._control = self._control, None
        if control is None:
            raise LaunchError("Failed to synchronize with child process: already done")
        with control:
            try:
                control.send(b"\0")
            except OSError as error:
                text = f"Failed to synchronize with child process: {error.strerror}"
                raise LaunchError(text) from error

    def abort(self) -> None:
        """Make an unreleased init exit; no effect after ``release``."""
        control, self._control = self._control, None
        if control is not None:
            control.close()


class Spawner:
    """The resident helper process: started at first use, started again when it died."""

    def __init__(self, config: SpawnerConfig) -> None:
        self._config = config
        #: By real path.
        self._programs = {os.path.realpath(path): ref for path, ref in config.programs.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Pid of the helper process; ``None`` if it does not run."""
        return None if self._process is None else self._process.pid

    def program(self, info: slave.ContainerLaunchInfo) -> str | None:
        """Return the program of ours that the command of ``info`` is, if it is one."""
        value = info.command.value
        if info.command.shell or info.HasField("rootfs") or not value:
            return None
        path = os.path.realpath(value)
        return path if path in self._programs else None

    async def start(self) -> None:
        """Start the helper if it does not run. Raises LaunchError."""
        async with self._lock:
            await self._ensure()

    async def fork(self, request: SpawnRequest, launch_info: bytes, stdio: Stdio) -> SpawnedInit:
        """Start one init; it is in its cgroups and namespaces when this returns.

        Raises LaunchError. The descriptors of ``stdio`` stay the caller's.
        """
        document = _memory_file(launch_info)
        try:
            descriptors = [document, stdio.stdin, stdio.stdout, stdio.stderr]
            return await self._ask(request.encode(), descriptors)
        finally:
            os.close(document)

    async def start_helper(self, request: HelperRequest, descriptors: Sequence[int]) -> SpawnedInit:
        """Start a helper program, which waits for its release; see ``containerizer.init.helper``.

        ``descriptors`` become 0, 1, 2, … of it and stay the caller's. Raises LaunchError.
        """
        return await self._ask(request.encode(), descriptors)

    async def _ask(self, data: bytes, descriptors: Sequence[int]) -> SpawnedInit:
        """Have a process forked; try again if the spawner is gone."""
        try:
            return await self._attempt(data, descriptors)
        except _SpawnerLostError:
            # The helper was killed. Nothing of the attempt can reach its command any more.
            log.warning("The spawner of containers is gone; starting another one")
            await self._let_die()
        try:
            return await self._attempt(data, descriptors)
        except _SpawnerLostError as error:
            raise LaunchError("Failed to clone child process: no answer") from error

    async def _let_die(self) -> None:
        """Wait for a helper that was killed: while it dies its socket still takes requests."""
        process = self._process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DYING_S):
                while process is not None and process.poll() is None:  # noqa: ASYNC110 no event
                    await asyncio.sleep(0.002)

    async def close(self) -> None:
        """Let the helper end; the inits it forked go on."""
        self._closed = True
        async with self._lock:
            await asyncio.to_thread(self._stop)

    async def _attempt(self, data: bytes, descriptors: Sequence[int]) -> SpawnedInit:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                ours.setblocking(False)
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                async with self._lock:
                    await self._ensure()
                    await self._send(data, [theirs.fileno(), *descriptors])
            pid, pidfd = await _receive_announcement(ours)
        except BaseException:
            ours.close()
            raise
        return SpawnedInit(pid, pidfd, ours)

    async def _ensure(self) -> None:
        if self._closed:
            raise LaunchError("Failed to clone child process: the launcher is closed")
        if self._process is not None and self._process.poll() is None:
            return
        self._stop()
        await self._start()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [f"--program={path}={ref}" for path, ref in self._programs.items()]
        arguments += [f"--rehearse={ref}={ref}" for ref in self._config.rehearsals]
        arguments += [f"--helper={name}={ref}" for name, ref in _HELPERS.items()]
        arguments += [QUIET] if self._config.quiet else []
        arguments += [MORTAL] if self._config.mortal else []
        command = [self._config.python, "-I", "-c", _BOOT, *_module_path(), "--", *arguments]
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: ASYNC220 starts, does not wait
                    command,
                    stdin=theirs.fileno(),
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                )
            if self._config.open_files is not None:
                pid = self._process.pid
                resource.prlimit(pid, resource.RLIMIT_NOFILE, self._config.open_files)
            ours.setblocking(False)
            self._socket = ours
            answer = await _first_message(ours, _START_S)
        except TimeoutError as error:
            self._stop()
            raise LaunchError("Failed to start the spawner: no answer in time") from error
        except OSError as error:
            ours.close()
            raise LaunchError(f"Failed to start the spawner: {error}") from error
        except BaseException:
            self._stop()
            raise
        if answer != b"{}":
            self._stop()
            why = json.loads(answer).get("error") if answer else "it ended at once"
            raise LaunchError(f"Failed to start the spawner: {why}")
        log.info("Spawner of containers started with pid %d", self._process.pid)

    async def _send(self, data: bytes, descriptors: list[int]) -> None:
        assert self._socket is not None
        while True:
            try:
                socket.send_fds(self._socket, [data], descriptors)
                return
            except BlockingIOError:
                await _ready(self._socket, write=True, timeout_s=_ANSWER_S)
            except OSError as error:
                self._stop()
                raise _SpawnerLostError from error

    def _stop(self) -> None:
        """Close the socket, which ends the helper, and reap it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _SpawnerLostError(Exception):
    """The helper ended before it forked, or the child before it said a word."""


async def _ready(of: socket.socket, *, write: bool, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    fd = of.fileno()

    def set_done() -> None:
        if not done.done():
            done.set_result(None)

    add, remove = (
        (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    )
    add(fd, set_done)
    try:
        async with asyncio.timeout(timeout_s):
            await done
    finally:
        remove(fd)


async def _first_message(source: socket.socket, timeout_s: float) -> bytes:
    """Return what came first, nothing if the other end is closed.

    Raises:
        TimeoutError: Nothing came in time.
    """
    await _ready(source, write=False, timeout_s=timeout_s)
    try:
        return source.recv(_MAX_ANSWER)
    except OSError:
        return b""


async def _receive_announcement(control: socket.socket) -> tuple[int, int]:
    """Return pid and pidfd of the init at the other end."""
    try:
        await _ready(control, write=False, timeout_s=_ANSWER_S)
        data, ancillary, _, _ = control.recvmsg(
            _MAX_ANSWER,
            socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4),
            socket.MSG_CMSG_CLOEXEC,
        )
    except TimeoutError as error:
        raise LaunchError("Failed to clone child process: no answer in time") from error
    except OSError as error:
        raise _SpawnerLostError from error
    pid, pidfd = _pid_and_descriptor(ancillary)
    if data == b"{}" and pid > 0 and pidfd is not None:
        return pid, pidfd
    if pidfd is not None:
        os.close(pidfd)
    if not data:
        raise _SpawnerLostError
    raise LaunchError(str(json.loads(data).get("error", "Failed to clone child process")))


def _pid_and_descriptor(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int | None]:
    pid, pidfd = 0, None
    for level, kind, content in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
        elif kind == socket.SCM_RIGHTS:
            passed = array.array("i", content)
            pidfd = passed[0]
    return pid, pidfd


def _memory_file(content: bytes) -> int:
    """Return a descriptor, at its start, of a file that has no name and no size limit."""
    fd = os.memfd_create("launch_info", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd


def _module_path() -> list[str]:
    """Return where modules are found, without what depends on the working directory."""
    return [path for path in sys.path if os.path.isabs(path)]


def _environment() -> dict[str, str]:
    """Return what pre-exec commands may see of the agent's environment: no secrets."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TZ", "HOME")}
    return {**kept, TITLE_ROOM: " " * _TITLE_ROOM_BYTES}
