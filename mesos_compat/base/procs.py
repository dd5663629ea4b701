# SPDX-License-Identifier: Apache-2.0
"""Run a program to its end, with limits; wait for a process that need not be a child.

Programs are started without forking Python code, in a session of their own, so that all of what
they started can be killed. Source: pidfd_open(2).
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from mesos_compat.base.errors import MesosCompatError
from mesos_compat.base.scope import Scope

#: Bytes of each output that ``run`` keeps; more is read and thrown away.
MAX_OUTPUT_BYTES: Final = 1 << 20

#: Seconds to wait for a killed program.
_KILL_WAIT_S: Final = 10.0


#: Open files that a program of ours can have use for.
_MAX_OPEN_FILES: Final = 1 << 20


def raise_open_files() -> tuple[int, int]:
    """Let this process open as many files as it may; return the soft and hard limit it had."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = before
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return before


class ProgramError(MesosCompatError):
    """A program could not be started, did not end in time, or is still there after SIGKILL."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended. ``exit_code`` is negative for a signal, as in ``subprocess``."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    #: Whether output was thrown away.
    truncated: bool

    @property
    def end(self) -> str:
        """The end in words: ``exited with status 1``, ``terminated by signal 9``."""
        if self.exit_code < 0:
            return f"terminated by signal {-self.exit_code}"
        return f"exited with status {self.exit_code}"


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    pass_files: Sequence[IO[bytes]] = (),
) -> Completed:
    """Run ``argv`` to its end.

    It inherits ``pass_files`` under their numbers; they are closed here once it has them.
    ``limits`` maps ``resource.RLIMIT_*`` to soft and hard limit; they are set just after the
    start. When it takes longer than ``timeout_s``, or the caller is cancelled, its process group is
    killed. Raises ProgramError if it cannot be started or did not end in time.
    """
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - starts, does not wait
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
            bufsize=0,
            pass_fds=[file.fileno() for file in pass_files],
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ProgramError(f"Failed to start '{argv[0]}': {why}") from error
    finally:
        for file in pass_files:
            file.close()
    try:
        for limit, value in (limits or {}).items():
            try:
                resource.prlimit(process.pid, limit, (value, value))
            except ProcessLookupError:
                break
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await _communicate(process, stdin, max_output_bytes)
            await wait(process.pid)
    except TimeoutError as error:
        raise ProgramError(f"'{argv[0]}' did not end within {timeout_s:g} seconds") from error
    finally:
        _kill_group(process.pid)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        _reap(process)
    return Completed(tuple(argv), process.returncode, stdout[0], stderr[0], stdout[1] or stderr[1])


async def wait(pid: int) -> None:
    """Return when the process has ended; at once if there is none. Endless: bound it outside."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await wait_pidfd(fd)
    finally:
        os.close(fd)


async def wait_pidfd(fd: int) -> None:
    """Return when the process behind a pidfd has ended. The descriptor stays the caller's."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        loop.remove_reader(fd)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, ready)
    try:
        await ended
    finally:
        loop.remove_reader(fd)


async def _communicate(
    process: subprocess.Popen[bytes], stdin: bytes, limit: int
) -> tuple[tuple[bytes, bool], tuple[bytes, bool]]:
    """Feed the input and read both outputs to their ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with Scope(f"pipes of {process.pid}") as scope:
        out = scope.spawn(_read(process.stdout.fileno(), limit), "stdout")
        err = scope.spawn(_read(process.stderr.fileno(), limit), "stderr")
        fed = scope.spawn(_feed(process.stdin.fileno(), stdin), "stdin")
        await fed
        return await out, await err


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    if write:
        loop.add_writer(fd, ready)
    else:
        loop.add_reader(fd, ready)
    try:
        await future
    finally:
        if write:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)


async def _read(fd: int, limit: int) -> tuple[bytes, bool]:
    os.set_blocking(fd, False)
    kept = bytearray()
    truncated = False
    while True:
        await _ready(fd, write=False)
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            continue
        if not data:
            return bytes(kept), truncated
        truncated = truncated or len(kept) + len(data) > limit
        kept += data[: limit - len(kept)]


async def _feed(fd: int, data: bytes) -> None:
    os.set_blocking(fd, False)
    view = memoryview(data)
    while view:
        await _ready(fd, write=True)
        try:
            view = view[os.write(fd, view[: 1 << 16]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            break
    # the reader must see the end now, while the Popen object still thinks the pipe open
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, fd, inheritable=False)
    os.close(null)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_KILL_WAIT_S)
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"pid {process.pid} did not end after SIGKILL") from error
