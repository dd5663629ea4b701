# SPDX-License-Identifier: Apache-2.0
"""One launch, step by step, in a process that was forked for it.

The ways in: ``run_init`` in a child of the spawner; ``exec_in_place``, or ``enter`` and in a child
``exec_entered``, in the command executor; ``main``, the program ``mesos-containerizer`` for
foreign agents.
All modules are loaded before: behind the pivot no file of ours can be found.

Source: spec ``containerizer`` 8.2.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from containerizer.init import command, mounts, pivot, privileges
from containerizer.init.command import Execution, InitProgram
from containerizer.init.failure import LaunchFailure, failure, say
from containerizer.init.flags import USAGE, LaunchFlags
from containerizer.init.pid1 import EXIT_1, Init, StatusFile, await_release
from containerizer.init.privileges import Privileges
from containerizer.init.spec import LaunchCommand, LaunchSpec, SpecError
from containerizer.linux import beneath, fds, mountinfo, namespaces, signals, terminal
from containerizer.linux.namespaces import CLONE_NEWNS
from containerizer.linux.prctl import ProcessTitle, set_dumpable, set_parent_death_signal
from containerizer.linux.process import fork


@dataclass(frozen=True, slots=True)
class LaunchPlace:
    """Where a launch happens, apart from what it does."""

    unshare_mounts: bool = False
    #: Whether fds 0 to 2 are the terminal of the new session.
    terminal: bool = False
    #: Pid whose mount namespace is entered late (DEBUG containers).
    namespace_mnt_target: int | None = None
    #: Sandbox of the outermost container, in which tasks may have changed every name.
    sandbox: str | None = None


@dataclass(frozen=True, slots=True)
class InitTask:
    """What ``run_init`` is to do."""

    read_spec: Callable[[], LaunchSpec]
    #: Descriptor on which one byte is the release; ``None``: go on at once.
    control: int | None
    place: LaunchPlace
    #: Run by init itself in place of the executable that the command names.
    program: InitProgram | None = None
    title: ProcessTitle | None = None


def run_init(init: Init, task: InitTask) -> NoReturn:
    """Be the init of a container: wait for the release, fork the command, watch it.

    A program of ours is run by init itself: one process less. Otherwise init does all steps and
    then starts the command, which so never has a copy of init's memory to be made and thrown away.
    Where the command needs what init must not have (a limit, a filter of system calls) or could
    not do its duty in the meantime, the steps are done by the process that becomes the command;
    init is in its namespaces, the pivot moves its root too, and it follows when privileges are
    given up.
    """
    try:
        if task.place.terminal:
            _take_terminal()
        if task.place.unshare_mounts:
            _unshare_mounts()
        # While the isolators are still at work.
        spec = _read_spec(task)
        if task.control is not None:
            # Not later: the isolators assign init to their cgroups before they release it, and
            # whatever is forked after that is in them, too.
            init.await_release(task.control)
        if not isinstance(spec, LaunchSpec):
            raise spec
        if task.program is not None:
            _be_init_and_command(init, spec, task, task.program)
        if _is_plain(spec, task.place):
            _start_command(init, spec, task.place)
        told, telling = socket.socketpair()
        own_pid = os.getpid()
        pid = fork()
        if pid == 0:
            told.close()
            _be_command(spec, task.place, telling, own_pid)
        telling.close()
        fds.close_all_but({told.fileno(), *init.fds})
        # Our executable, libraries and status file are the host's: a container's root that was
        # left with few capabilities must not reach them by /proc/1.
        set_dumpable(False)
        if task.place.namespace_mnt_target is not None:
            # If it fails it does so for the command, too, which says it.
            with contextlib.suppress(LaunchFailure):
                _enter_mounts(task.place.namespace_mnt_target)
        init.supervise(pid, told.detach(), _follow)
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
    _exec_in_place(spec, LaunchPlace(unshare_mounts, terminal=spec.tty))


def exec_in_mounts_of(pid: int, spec: LaunchSpec) -> NoReturn:
    """Do the same in the mount namespace of a process; ``spec`` has no root and no mounts."""
    _exec_in_place(spec, LaunchPlace(namespace_mnt_target=pid))


def enter(spec: LaunchSpec) -> Privileges:
    """Do the first steps of ``spec`` up to its root; return what is still to be given up.

    The caller has a mount namespace of its own, whatever ``spec`` says of namespaces, and stays in
    the root: nothing of the host can be reached by way of it. Raises LaunchFailure.
    """
    return _enter(spec, LaunchPlace(unshare_mounts=True))


def exec_entered(spec: LaunchSpec, to_give_up: Privileges) -> NoReturn:
    """Do the other steps in a fork of the process that called ``enter``, as ``exec_in_place``."""
    _exec_entered(spec, to_give_up)


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
    signals.reset()
    if status is None:
        _main_in_place(flags)
    init = Init(status)
    try:
        spec = flags.spec()
    except (LaunchFailure, SpecError) as error:
        say(str(error))
        init.end(EXIT_1)
    place = LaunchPlace(flags.unshare_namespace_mnt, spec.tty, flags.namespace_mnt_target)
    run_init(init, InitTask(lambda: spec, flags.pipe_read, place))


def _main_in_place(flags: LaunchFlags) -> NoReturn:
    try:
        spec = flags.spec()
        if flags.pipe_read is not None:
            await_release(flags.pipe_read)
    except (LaunchFailure, SpecError) as error:
        say(str(error))
        os._exit(1)
    place = LaunchPlace(flags.unshare_namespace_mnt, spec.tty, flags.namespace_mnt_target)
    _exec_in_place(spec, place)


def _exec_in_place(spec: LaunchSpec, place: LaunchPlace) -> NoReturn:
    try:
        if place.terminal:
            _take_terminal()
        if place.unshare_mounts:
            _unshare_mounts()
        to_give_up = _enter(spec, place)
    except LaunchFailure as error:
        say(str(error))
    except BaseException:
        # It must not return into the caller's copy of another program.
        say(traceback.format_exc())
    else:
        _exec_entered(spec, to_give_up)
    os._exit(1)


def _exec_entered(spec: LaunchSpec, to_give_up: Privileges) -> NoReturn:
    try:
        _settle(spec, None)
        privileges.give_up(to_give_up)
        command.execute_or_exit(command.execution(spec))
    except LaunchFailure as error:
        say(str(error))
    except BaseException:
        say(traceback.format_exc())
    os._exit(1)


def _read_spec(task: InitTask) -> LaunchSpec | Exception:
    """Return what is to be done; or what is wrong with it, for when it can be told."""
    try:
        return task.read_spec()
    except (LaunchFailure, SpecError) as error:
        return error


def _be_init_and_command(
    init: Init, spec: LaunchSpec, task: InitTask, program: InitProgram
) -> NoReturn:
    """Do the steps in init itself and run ``program``."""
    set_dumpable(False)
    to_give_up = _enter(spec, task.place)
    _settle(spec, task.place.sandbox)
    if to_give_up.filters is not None and to_give_up.filters.by_program:
        init.filters = to_give_up.filters
        to_give_up = to_give_up.without_filters()
    privileges.give_up(to_give_up)
    execution = command.execution(spec)
    fds.close_all_but(init.fds)
    privileges.settle_without_exec(to_give_up)
    init.own_mounts = bool(task.place.unshare_mounts or spec.clone_namespaces & CLONE_NEWNS)
    command.run_init_program(program, execution, init, task.title)


def _is_plain(spec: LaunchSpec, place: LaunchPlace) -> bool:
    """Whether the steps may be done by init on behalf of the command."""
    return (
        not (place.terminal or spec.rlimits or spec.pre_exec_commands)
        and place.namespace_mnt_target is None
        and spec.seccomp_profile is None
        and spec.seccomp_filters is None
    )


def _start_command(init: Init, spec: LaunchSpec, place: LaunchPlace) -> NoReturn:
    """Do the steps in init itself, start the command and watch it."""
    set_dumpable(False)
    to_give_up = _enter(spec, place)
    _settle(spec, place.sandbox)
    privileges.give_up(to_give_up)
    execution = command.execution(spec)
    fds.close_all_but(init.fds)
    try:
        pid = command.spawn(execution)
    except OSError as error:
        raise LaunchFailure(
            f"Failed to execute '{execution.executable}': {error.strerror}"
        ) from None
    # Not to keep the working directory busy; a root may be closed to the user of the command.
    with contextlib.suppress(OSError):
        os.chdir("/")
    init.supervise(pid, None, _follow)


def _be_command(
    spec: LaunchSpec, place: LaunchPlace, telling: socket.socket, init_pid: int
) -> NoReturn:
    """Do the steps and become the command; init's status file is none of our business."""
    try:
        # Without init there is to be no command; once it runs it is on its own.
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != init_pid:
            os._exit(1)
        if place.terminal:
            _enter_foreground()
        signals.unblock_all()
        to_give_up = _enter(spec, place)
        _settle(spec, place.sandbox)
        if to_give_up:
            telling.sendall(to_give_up.of_init().encode())
        if to_give_up.filters is not None:
            # Before there is a command, init is filtered: it closes its end then.
            telling.shutdown(socket.SHUT_WR)
            telling.recv(1)
        privileges.give_up(to_give_up)
        set_parent_death_signal(0)
        execution = command.execution(spec)
        fds.close_all_but()
        command.execute_or_exit(execution)
    except (LaunchFailure, SpecError) as error:
        say(str(error))
    except BaseException:
        say(traceback.format_exc())
    os._exit(1)


def _follow(told: bytes) -> None:
    """Give up in init what the command gave up; what fails has failed there first."""
    with contextlib.suppress(LaunchFailure):
        privileges.give_up(Privileges.decode(told))


# The steps.


def _enter(spec: LaunchSpec, place: LaunchPlace) -> Privileges:
    """Do steps 7 to 16; return what is still to be given up. Raises LaunchFailure.

    After the pivot nothing of the host is in sight.
    """
    _check_combination(spec, place)
    if spec.rootfs is not None:
        pivot.check(spec.rootfs)
    mounts.perform(spec, place.sandbox)
    for step in spec.pre_exec_commands:
        _pre_execute(step)
    to_give_up = privileges.gather(spec)
    if place.namespace_mnt_target is not None:
        _enter_mounts(place.namespace_mnt_target)
    if spec.rootfs is not None:
        pivot.enter(spec.rootfs)
    return to_give_up


def _settle(spec: LaunchSpec, sandbox: str | None) -> None:
    """Do steps 17 and 18. Raises LaunchFailure.

    Names in ``sandbox`` are the tasks', unless an image is the root: then they mean nothing here.
    """
    privileges.set_limits(spec.rlimits)
    if spec.working_directory is not None:
        _change_directory(spec.working_directory, None if spec.rootfs else sandbox)


def _unshare_mounts() -> None:
    try:
        namespaces.unshare(CLONE_NEWNS)
    except OSError as error:
        raise failure("Failed to unshare mount namespace", error) from error


def _take_terminal() -> None:
    try:
        terminal.take()
    except OSError as error:
        raise failure("Failed to set the controlling terminal", error) from error


def _enter_foreground() -> None:
    try:
        terminal.enter_foreground()
    except OSError as error:
        raise failure("Failed to enter the foreground of the terminal", error) from error


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
    pid = fork()
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


def _change_directory(path: str, sandbox: str | None) -> None:
    """Go to ``path``, made where missing; below ``sandbox`` no link leads out of it."""
    if sandbox is not None and path != sandbox and mountinfo.is_below(path, sandbox):
        _change_directory_beneath(path, sandbox)
        return
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        say(f"Failed to create working directory '{path}': {error.strerror}")
    try:
        os.chdir(path)
    except OSError as error:
        raise _no_directory(path, error) from error


def _change_directory_beneath(path: str, sandbox: str) -> None:
    inner = path[len(sandbox) :]
    try:
        root = beneath.open_root(sandbox)
        try:
            try:
                made = beneath.open_beneath(root, inner)
            except FileNotFoundError:
                os.close(beneath.make_directory_in_root(root, inner))
                made = beneath.open_beneath(root, inner)
        finally:
            os.close(root)
        os.fchdir(made)
        os.close(made)
    except OSError as error:
        raise _no_directory(path, error) from error


def _no_directory(path: str, error: OSError) -> LaunchFailure:
    return failure(f"Failed to chdir into current working directory '{path}'", error)
