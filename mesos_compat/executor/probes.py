# SPDX-License-Identifier: Apache-2.0
"""Single runs of checks: a command in a child, HTTP in a child, TCP on the loop.

Source: spec ``executors`` 7.2 to 7.4.
Deviation: HTTP and TCP checks need no programs, and use no proxies; TCP health checks over IPv6
go to ``::1``.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from containerizer.init.spec import LaunchCommand
from containerizer.linux import fds, signals
from containerizer.linux.process import fork
from mesos_compat.base.errors import WireError
from mesos_compat.executor.checks import (
    CommandProbe,
    HttpProbe,
    Probe,
    Result,
    TcpProbe,
    health_probe,
)
from mesos_compat.executor.children import Children
from mesos_compat.executor.fetch import load_for, status_of
from mesos_compat.executor.kill import signal_tree
from mesos_compat.executor.launch import LaunchedTask
from mesos_compat.executor.log import write_all
from mesos_compat.executor.loop import WRITE, Loop
from mesos_compat.executor.prober import Concluded, RunningProbe
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

_MAX_ANSWER_BYTES = 4096


class ChildProbe:
    """A run in a child process, in a session of its own."""

    def __init__(
        self,
        children: Children,
        body: Callable[[], NoReturn],
        interpret: Callable[[int], Result],
        concluded: Concluded,
    ) -> None:
        """``body`` is run in the child; ``interpret`` gets its wait status. Raises OSError."""
        self._interpret = interpret
        self._concluded: Concluded | None = concluded
        self._error: str | None = None
        self._pid = fork()
        if self._pid == 0:
            _be_child(body)
        children.watch(self._pid, self._ended)

    def time_out(self, error: str) -> None:
        """Kill it (see ``prober.RunningProbe``)."""
        self._error = error
        signal_tree(self._pid, signal.SIGKILL)

    def cancel(self) -> None:
        """Kill it (see ``prober.RunningProbe``)."""
        self._concluded = None
        signal_tree(self._pid, signal.SIGKILL)

    def _ended(self, wait_status: int) -> None:
        found = self._interpret(wait_status)
        if self._concluded is not None:
            self._concluded(found if self._error is None else Result(error=self._error))


def prepare(info: v1.TaskInfo) -> None:
    """Load what the checks of a task need, while files can be reached."""
    probe = health_probe(info.health_check) if info.HasField("health_check") else None
    if isinstance(probe, HttpProbe):
        load_for(probe.url)


class CheckRuns:
    """Begins runs of the checks of a task whose command this process has started."""

    def __init__(
        self, loop: Loop, children: Children, environ: Mapping[str, str], task: LaunchedTask
    ) -> None:
        """``environ`` is what commands of checks see of ours."""
        self._loop = loop
        self._children = children
        self._environ = environ
        self._task = task

    def start(self, probe: Probe, concluded: Concluded) -> RunningProbe:
        """Begin one (see ``prober.StartProbe``)."""
        if not isinstance(probe, CommandProbe):
            return start_remote(self._loop, self._children, probe, concluded)
        command = probe.command
        if not command.HasField("value"):
            return FailedRun(self._loop, "Command has no value", concluded)
        environ = dict(self._environ)
        for variable in command.environment.variables:
            if variable.type != v1.Environment.Variable.SECRET:
                environ[variable.name] = variable.value
        what = LaunchCommand(command.value, command.shell, tuple(command.arguments))
        body = partial(self._task.become, what, environ)
        try:
            return ChildProbe(self._children, body, command_result, concluded)
        except OSError as error:
            return FailedRun(self._loop, str(error), concluded)


def start_remote(
    loop: Loop, children: Children, probe: HttpProbe | TcpProbe, concluded: Concluded
) -> RunningProbe:
    """Begin a run that only needs the network (see ``prober.StartProbe``)."""
    try:
        if isinstance(probe, TcpProbe):
            return TcpRun(loop, probe, concluded)
        return run_http(children, probe, concluded)
    except (OSError, OverflowError) as error:
        return FailedRun(loop, str(error), concluded)


def command_result(wait_status: int) -> Result:
    """Return what the end of a command means."""
    if os.WIFEXITED(wait_status):
        return Result(os.WEXITSTATUS(wait_status))
    return Result(error=f"Command was terminated by signal {os.WTERMSIG(wait_status)}")


def run_http(children: Children, probe: HttpProbe, concluded: Concluded) -> ChildProbe:
    """Ask an HTTP server in a child, which may have to look up names. Raises OSError."""
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def body() -> NoReturn:
        # Whoever is at the other end of a connection of ours has to see when it is closed.
        fds.close_all_but({writing})
        try:
            answer = str(status_of(probe.url))
        except (OSError, WireError, ValueError) as error:
            answer = f"!{error}"
        os.write(writing, answer.encode("utf-8", "replace")[:_MAX_ANSWER_BYTES])
        os._exit(0)

    def interpret(wait_status: int) -> Result:
        try:
            answer = os.read(reading, _MAX_ANSWER_BYTES).decode("utf-8", "replace")
        finally:
            os.close(reading)
        if answer.isascii() and answer.isdigit():
            return Result(int(answer))
        return Result(error=answer[1:] or "no answer")

    try:
        return ChildProbe(children, body, interpret, concluded)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)


def _be_child(body: Callable[[], NoReturn]) -> NoReturn:
    """Never return into the executor's code, whatever happens; stdout is that of errors."""
    try:
        os.setsid()
        signals.reset()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        body()
    except BaseException as error:
        write_all(2, f"{error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


class FailedRun:
    """A run that could not begin."""

    def __init__(self, loop: Loop, error: str, concluded: Concluded) -> None:
        self._timer = loop.later(0, lambda: concluded(Result(error=error)))

    def time_out(self, error: str) -> None:
        """It is over already (see ``prober.RunningProbe``)."""

    def cancel(self) -> None:
        """Keep its result back (see ``prober.RunningProbe``)."""
        self._timer.cancel()


class TcpRun:
    """One attempt to connect."""

    def __init__(self, loop: Loop, probe: TcpProbe, concluded: Concluded) -> None:
        self._loop = loop
        self._concluded: Concluded | None = concluded
        family = socket.AF_INET6 if ":" in probe.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            code = self._socket.connect_ex((probe.host, probe.port))
        except OverflowError:
            self._socket.close()
            raise
        if code == errno.EINPROGRESS:
            loop.watch(self._socket.fileno(), WRITE, self._on_ready)
        else:
            loop.later(0, lambda: self._finish(Result(int(code == 0))))

    def time_out(self, error: str) -> None:
        """Give up (see ``prober.RunningProbe``)."""
        self._finish(Result(error=error))

    def cancel(self) -> None:
        """Give up (see ``prober.RunningProbe``)."""
        self._concluded = None
        self._close()

    def _on_ready(self, events: int) -> None:
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._finish(Result(int(not failed and not events & select.POLLERR)))

    def _finish(self, result: Result) -> None:
        concluded, self._concluded = self._concluded, None
        self._close()
        if concluded is not None:
            concluded(result)

    def _close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
