# SPDX-License-Identifier: Apache-2.0
"""The command of a launch: what is executed, with which arguments and environment, and how.

A program of ours may run in the forked process in place of an executable: no interpreter is
started for it, and its memory is shared with the spawner's.

Source: spec ``containerizer`` 8.2 (23-27).
Deviation: an executor of ours is the init itself, one process where upstream has two.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import os
import stat
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from containerizer.init.failure import LaunchFailure, say, tell
from containerizer.init.pid1 import Init
from containerizer.init.spec import LaunchCommand, LaunchSpec
from containerizer.linux import process, signals
from containerizer.linux.libc import LIBC
from containerizer.linux.prctl import ProcessTitle, set_name

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: A program that runs in a forked process instead of being executed: arguments (the name
#: first) and environment to exit code.
Program = Callable[[list[str], dict[str, str]], int]
#: The same for a program that is a container's init at once. All signals are blocked: it calls
#: ``Init.take_signals`` when told to and so reaps all children, its own and others.
InitProgram = Callable[[list[str], dict[str, str], Init], int]

#: Runs a file with arguments; returns 0 or an errno.
_Run = Callable[[bytes, list[bytes]], int]

_ANY_X = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
#: What execvpe(3) takes as "not here, look further".
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT)


@dataclass(frozen=True, slots=True)
class Execution:
    """A command ready to run."""

    #: A path, or a name to search in the PATH of ``environment``.
    executable: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


def execution(spec: LaunchSpec) -> Execution:
    """Find out what to execute; to be called inside the root and working directory."""
    return Execution(
        executable=_executable(spec),
        arguments=arguments(spec.command),
        environment=_environment(spec),
    )


def name(command: LaunchCommand) -> str:
    """Return the name of the executable as the command gives it."""
    return "sh" if command.shell else str(command.value)


def arguments(command: LaunchCommand) -> tuple[str, ...]:
    """Return the argument list, the program's own name first; it may be empty."""
    return ("sh", "-c", str(command.value)) if command.shell else command.arguments


def execute_or_exit(what: Execution) -> NoReturn:
    """Execute with default signal actions; on failure say so and exit with 1."""
    try:
        signals.reset()
        execute(what.executable, what.arguments, what.environment)
    except OSError as error:
        say(f"Failed to execute '{what.executable}': {error.strerror}")
    os._exit(1)


def execute(executable: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Execute as execvpe(3) does, searching the PATH of ``environment``. Raises OSError.

    The arguments may be empty, which Python's own functions refuse.
    """
    argv = [os.fsencode(argument) for argument in arguments]
    envp = [os.fsencode(name) + b"=" + os.fsencode(v) for name, v in environment.items()]
    number = _search(executable, environment, argv, lambda path, args: _execve(path, args, envp))
    raise OSError(number, os.strerror(number), executable)


def spawn(what: Execution) -> int:
    """Execute ``what``, with default signal actions, in a child; return its pid. Raises OSError.

    It has no copy of our memory at any time.
    """
    argv = [os.fsencode(argument) for argument in what.arguments]
    envp = [os.fsencode(name) + b"=" + os.fsencode(v) for name, v in what.environment.items()]
    pid = 0

    def run(path: bytes, args: list[bytes]) -> int:
        nonlocal pid
        try:
            # A process for each place where it is not would be too many.
            os.stat(path)
            pid = process.spawn(path, args, envp)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    number = _search(what.executable, what.environment, argv, run)
    if number:
        raise OSError(number, os.strerror(number), what.executable)
    return pid


def load_program(reference: str) -> Callable[..., int]:
    """Import ``module:function``. Raises LaunchFailure."""
    module, _, function = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise LaunchFailure(f"Failed to load program '{reference}': {error}") from error
    if not callable(found):
        raise LaunchFailure(f"Failed to load program '{reference}': it is not callable")
    program: Callable[..., int] = found
    return program


def run_program(program: Program, what: Execution, title: ProcessTitle | None) -> NoReturn:
    """Run ``program`` in this process, which looks as if it had been executed."""

    def run(argv: list[str]) -> int:
        signals.unblock_all()
        return program(argv, dict(what.environment))

    os._exit(_run(run, what, title) & 0xFF)


def run_init_program(
    program: InitProgram, what: Execution, init: Init, title: ProcessTitle | None
) -> NoReturn:
    """Run ``program`` in this process, which is the container's init and stays it."""
    init.finish(_run(lambda argv: program(argv, dict(what.environment), init), what, title))


def _run(run: Callable[[list[str]], int], what: Execution, title: ProcessTitle | None) -> int:
    argv = list(what.arguments) or [what.executable]
    code = 1
    try:
        set_name(os.path.basename(argv[0]))
        if title is not None:
            title.set(" ".join(argv))
        os.environ.clear()
        os.environ.update(what.environment)
        gc.enable()
        code = run(argv)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        say(traceback.format_exc())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    return code


def _executable(spec: LaunchSpec) -> str:
    """Prefer a file of the working directory to a search, even for the shell."""
    called = name(spec.command)
    directory = spec.working_directory
    if directory is None or called.startswith("/"):
        return called
    local = f"{directory.rstrip('/')}/{called}"
    try:
        return local if os.stat(local).st_mode & _ANY_X else called
    except OSError:
        return called


def _environment(spec: LaunchSpec) -> dict[str, str]:
    if spec.environment is None:
        return dict(os.environ)
    made: dict[str, str] = {}
    for name, value in spec.environment:
        if made.get(name, value) != value:
            tell(f"Overwriting environment variable '{name}'")
        made[name] = value
    made.setdefault("PATH", DEFAULT_PATH)
    return made


def _search(executable: str, environment: Mapping[str, str], argv: list[bytes], run: _Run) -> int:
    """Look for the executable as execvpe(3) does; return 0 or the errno."""
    if "/" in executable:
        return _try(os.fsencode(executable), argv, run)
    worst = errno.ENOENT
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        number = _try(os.fsencode(os.path.join(directory, executable)), argv, run)
        if number == errno.EACCES:
            worst = number
        elif number not in _NOT_HERE:
            return number
    return worst


def _try(path: bytes, argv: list[bytes], run: _Run) -> int:
    """Run ``path``, by the shell if it has no format the kernel knows; return 0 or the errno."""
    number = run(path, argv)
    if number == errno.ENOEXEC and run(b"/bin/sh", [b"/bin/sh", path, *argv[1:]]) == 0:
        return 0
    return number


def _execve(path: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> int:
    LIBC.execve(ctypes.c_char_p(path), process.c_strings(argv), process.c_strings(envp))
    return ctypes.get_errno()
