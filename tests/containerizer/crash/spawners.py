# SPDX-License-Identifier: Apache-2.0
"""Programs of the engine that start faster, or with their fault points watched.

A spawner takes a quarter of a second to load, and each round needs one. Here it is forked from the
engine, where all is loaded, with nothing of the engine's left open.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from containerizer.init import spawner
from containerizer.launcher import spawn
from containerizer.linux import fds
from containerizer.provisioner import offload
from mesos_compat.base import plugins, procs
from tests.containerizer.crash.points import Points, await_call

_ROOT = str(Path(__file__).parents[3])
#: Runs a module as ``-m`` does; arguments: where modules are, the file of the points, the module.
_WATCHED = """\
import runpy, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from tests.containerizer.crash.points import await_call
await_call(Path(sys.argv[2]), "main")
runpy.run_module(sys.argv[3], run_name="__main__", alter_sys=True)
"""


class ForkedSpawner:
    """Stands for the ``subprocess.Popen`` of a spawner."""

    def __init__(
        self, command: Sequence[str], watch: Path | None, stdin: int, env: Mapping[str, str]
    ) -> None:
        arguments = command[command.index("--") + 1 :]
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            Points.uninstall()
            _be_spawner(arguments, watch, stdin, env)

    def poll(self) -> int | None:
        """Return the exit code; ``None`` while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; not longer than for ever."""
        return self._reap(0)

    def kill(self) -> None:
        """Kill it."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def _reap(self, flags: int) -> int | None:
        if self._code is None:
            pid, wait_status = os.waitpid(self.pid, flags)
            if pid:
                self._code = os.waitstatus_to_exitcode(wait_status)
        return self._code


def _be_spawner(
    arguments: Sequence[str], watch: Path | None, stdin: int, env: Mapping[str, str]
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.dup2(stdin, 0)
        fds.close_all_but({0, 1, 2})
        os.chdir("/")
        os.environ.clear()
        os.environ.update(env)
        if watch is not None:
            await_call(watch, "serve")
        code = spawner.main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class _Subprocess:
    """Stands for the module in ``containerizer.launcher.spawn``."""

    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, watch: Path | None) -> None:
        self._watch = watch

    def Popen(  # noqa: N802 the name there
        self,
        command: Sequence[str],
        *,
        stdin: int,
        cwd: str,
        env: Mapping[str, str],
        start_new_session: bool,
    ) -> ForkedSpawner:
        """Start a spawner."""
        assert cwd == "/"
        assert start_new_session
        return ForkedSpawner(command, self._watch, stdin, env)


def fork_spawners(watch: Path | None) -> None:
    """Fork all spawners of this process, and count their points in ``watch``."""
    vars(spawn)["subprocess"] = _Subprocess(watch)
    vars(spawner)["_WARM_UP_ROUNDS"] = 1


def read_plugins_once() -> None:
    """Look for entry points on the disk no more than once."""
    vars(plugins)["entry_points"] = functools.cache(importlib.metadata.entry_points)


def choose(*, real: bool) -> None:
    """Start spawners as programs from now on, or fork them."""
    if real:
        vars(spawn)["subprocess"] = subprocess
    else:
        fork_spawners(None)


def watch_programs(watch: Path) -> None:
    """Count the points of programs that unpack images in ``watch``."""
    run = procs.run

    class Procs:
        """Stands for the module in ``containerizer.provisioner.offload``."""

        ProgramError = procs.ProgramError
        Completed = procs.Completed

        @staticmethod
        async def run(argv: Sequence[str], **options: object) -> procs.Completed:
            """Run the same program, watched."""
            python, *flags, module = argv
            assert (python, flags) == (sys.executable, ["-I", "-m"])
            watched = [python, "-I", "-c", _WATCHED, _ROOT, str(watch), module]
            return await run(watched, **options)  # type: ignore[arg-type]

    vars(offload)["procs"] = Procs
