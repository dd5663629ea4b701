# SPDX-License-Identifier: Apache-2.0
"""One launch, step by step, in a process that was forked for it.

Three ways in: ``run_init`` in a child of the spawner, ``exec_in_place`` in a child of the
command executor, and ``main``, the program ``mesos-containerizer`` for foreign agents.
All modules are loaded before: behind the pivot no file of ours can be found.

Source: spec ``containerizer`` 8.2.
"""

from __future__ import annotations

import ctypes
import json
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from containerizer.init import command, mounts, pivot, privileges
from containerizer.init.command import Execution, Program
from containerizer.init.failure import LaunchFailure, failure, say
from containerizer.init.flags import USAGE, LaunchFlags
from containerizer.init.pid1 import EXIT_1, Init, StatusFile
from containerizer.init.privileges import Privileges
from containerizer.init.spec import LaunchCommand, LaunchSpec, SpecError
from containerizer.linux import fds, namespaces
from containerizer.linux.libc import LIBC, check
from containerizer.linux.namespaces import CLONE_NEWNS
from containerizer.linux.prctl import ProcessTitle, set_dumpable

_TIOCSCTTY = 0x540E


@dataclass(frozen=True, slots=True)
class LaunchPlace:
    """Where a launch happens, apart from what it does."""

    unshare_mounts: bool = False
    #: Pid whose mount namespace is entered late (DEBUG containers).
    namespace_mnt_target: int | None = None


def run_init(
    read_spec: Callable[[], LaunchSpec],
    init: Init,
    control: int | None,
    place: LaunchPlace,
    programs: Mapping[str, Program],
    title: ProcessTitle | None = None,
) -> NoReturn:
    """Be the init of a container: wait for the release, do the steps, fork the command.

    ``programs`` run in place of an executable of the same (real) path on the host.
    """
    try:
        spec = read_spec()
        if control is not None:
            init.await_release(control)
        program = command.find_program(spec, programs)
        privileges_left, execution = _prepare(spec, place)
        init.check_signals()
        fds.close_all_but(init.fds)
        # Our executable, libraries and status file are the host's: a container's root that was
        # left with few capabilities must not reach them by /proc/1.
        set_dumpable(False)
        pid = os.fork()
        if pid == 0:
            _be_command(execution, privileges_left, program, title)
        init.supervise(pid)
    except (LaunchFailure, SpecError) as error:
        say(str(error))
    except BaseException:
        # Whatever this is, it must not return into the caller's copy of the spawner.
        say(traceback.format_exc())
    init.end(EXIT_1)


def exec_in_place(spec: LaunchSpec, *, unshare_mounts: bool) -> NoReturn:
    """Turn this already forked, single-threaded process into the command of ``spec``.

    No init, no status file; descriptors without CLOEXEC stay open. On failure one line goes to
    stderr and the process exits with 1.
    """
    _exec_in_place(spec, LaunchPlace(unshare_mounts=unshare_mounts))


def main(argv: Sequence[str]) -> int:
    """Run ``mesos-containerizer``; ``argv`` is what follows the program's name."""
    if not argv or argv[0] != "launch":
        say("Usage: mesos-containerizer launch [--name=value]...")
        return 0 if argv and argv[0] in ("help", "--help") else 1
    try:
        flags = LaunchFlags.read(argv[1:], os.environ)
        if flags.help:
            say(USAGE)
            return 0
        status = StatusFile(flags.runtime_directory) if flags.runtime_directory else None
    except LaunchFailure as error:
        say(str(error))
        return 1
    except OSError as error:
        say(str(failure(f"Failed to open '{error.filename}'", error)))
        return 1
    if flags.pipe_write is not None:
        os.close(flags.pipe_write)
    place = LaunchPlace(flags.unshare_namespace_mnt, flags.namespace_mnt_target)
    if status is not None:
        run_init(flags.spec, Init(status), flags.pipe_read, place, {})
    try:
        spec = flags.spec()
        if flags.pipe_read is not None:
            Init(None).await_release(flags.pipe_read)
        _exec_in_place(spec, place)
    except (LaunchFailure, SpecError) as error:
        say(str(error))
    return 1


def _exec_in_place(spec: LaunchSpec, place: LaunchPlace) -> NoReturn:
    try:
        _, execution = _prepare(spec, place)
        command.execute_or_exit(execution)
    except LaunchFailure as error:
        say(str(error))
    except BaseException:
        # It must not return into the caller's copy of another program.
        say(traceback.format_exc())
    os._exit(1)


def _be_command(
    execution: Execution,
    privileges_left: Privileges,
    program: Program | None,
    title: ProcessTitle | None,
) -> NoReturn:
    """Be the command, in the child of init, whose status file is none of our business."""
    try:
        fds.close_all_but()
        if program is None:
            command.execute_or_exit(execution)
        privileges.settle_without_exec(privileges_left)
        command.run_program(program, execution, title)
    except LaunchFailure as error:
        say(str(error))
    except BaseException:
        say(traceback.format_exc())
    os._exit(1)


def _prepare(spec: LaunchSpec, place: LaunchPlace) -> tuple[Privileges, Execution]:
    """Do steps 5 to 25. Raises LaunchFailure; after the pivot nothing of the host is in sight."""
    if spec.tty:
        _take_terminal()
    if place.unshare_mounts:
        try:
            namespaces.unshare(CLONE_NEWNS)
        except OSError as error:
            raise failure("Failed to unshare mount namespace", error) from error
    _check_combination(spec, place)
    if spec.rootfs is not None:
        pivot.check(spec.rootfs)
    mounts.perform(spec)
    for step in spec.pre_exec_commands:
        _pre_execute(step)
    to_give_up = privileges.gather(spec)
    if place.namespace_mnt_target is not None:
        _enter_mounts(place.namespace_mnt_target)
    if spec.rootfs is not None:
        pivot.enter(spec.rootfs)
    privileges.set_limits(spec.rlimits)
    if spec.working_directory is not None:
        _change_directory(spec.working_directory)
    privileges.give_up(to_give_up)
    return to_give_up, command.execution(spec)


def _take_terminal() -> None:
    try:
        check(LIBC.ioctl(0, ctypes.c_ulong(_TIOCSCTTY), 0))
    except OSError as error:
        raise failure("Failed to set the controlling terminal", error) from error


def _check_combination(spec: LaunchSpec, place: LaunchPlace) -> None:
    if place.namespace_mnt_target is not None:
        what = "supported if 'namespace_mnt_target' is set"
        if spec.mounts:
            raise LaunchFailure(f"Mounts are not {what}")
        if spec.rootfs is not None:
            raise LaunchFailure(f"Container rootfs is not {what}")
    own_mounts = place.unshare_mounts or spec.clone_namespaces & CLONE_NEWNS
    if spec.rootfs is not None and not own_mounts:
        # Going on would replace the root of the host.
        raise LaunchFailure("Container rootfs is not supported if the mount namespace is shared")


def _pre_execute(step: LaunchCommand) -> None:
    """Run a command of an isolator with our own user and environment, and wait for it."""
    text = _command_json(step)
    say(f"Executing pre-exec command '{text}'")
    pid = os.fork()
    if pid == 0:
        run = Execution(command.name(step), command.arguments(step), dict(os.environ))
        command.execute_or_exit(run)
    _, wait_status = os.waitpid(pid, 0)
    if wait_status == 0:
        return
    code = os.waitstatus_to_exitcode(wait_status)
    ended = f"was terminated by signal {-code}" if code < 0 else f"exited with status {code}"
    raise LaunchFailure(f"The pre-exec command '{text}' {ended}")


def _command_json(step: LaunchCommand) -> str:
    fields: dict[str, object] = {"shell": step.shell, "value": step.value}
    if step.arguments:
        fields["arguments"] = list(step.arguments)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _enter_mounts(pid: int) -> None:
    try:
        for flag, fd in namespaces.open_namespaces(pid, CLONE_NEWNS):
            namespaces.setns(fd, flag)
            os.close(fd)
    except OSError as error:
        raise failure(f"Failed to enter mount namespace of process {pid}", error) from error


def _change_directory(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        say(f"Failed to create working directory '{path}': {error.strerror}")
    try:
        os.chdir(path)
    except OSError as error:
        what = f"Failed to chdir into current working directory '{path}'"
        raise failure(what, error) from error
