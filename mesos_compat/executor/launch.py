# SPDX-License-Identifier: Apache-2.0
"""Starts the task's command in a fork of the executor, by the code of the launch helper.

Source: spec ``executors`` 5.3 step 6, ``containerizer`` 7.2.
Deviation: an executor that is its container's init goes into the task's image, too; checks in an
image have the user and the rights of the task, not those of its executor.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from containerizer.init import launch, privileges
from containerizer.init.failure import LaunchFailure, say
from containerizer.init.privileges import Privileges
from containerizer.init.seccomp import Filters
from containerizer.init.spec import LaunchCommand, LaunchSpec, SpecError
from containerizer.linux import signals, terminal, users
from containerizer.linux.process import fork
from mesos_compat.base.errors import LaunchError
from mesos_compat.executor.log import write_all
from mesos_compat.executor.task import TaskOptions, launch_info
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1


@dataclasses.dataclass(frozen=True, slots=True)
class LaunchedTask:
    """A task whose command was started."""

    pid: int
    #: Turns a fork of this process into another command that is to run as the task does: in its
    #: root, as its user, with its rights, in the given environment.
    become: Callable[[LaunchCommand, Mapping[str, str]], NoReturn]


def launch_task(
    options: TaskOptions,
    task: v1.TaskInfo,
    environment: Mapping[str, str],
    *,
    enter: bool,
    filters: Filters | None = None,
) -> LaunchedTask:
    """Fork and start the command.

    With ``enter`` this process goes into the task's root itself, and so has nothing left of the
    host that the task could reach by way of it. ``filters`` are for the task and for this process,
    which is confined before the task runs. Raises LaunchError if the command can never work,
    OSError if there can be no process. What fails in the child is told by its stderr and exit
    status.
    """
    spec = dataclasses.replace(_spec(options, task, environment), seccomp_filters=filters)
    if options.rootfs is not None and options.user is not None:
        _give_sandbox_to(options.user)
    entered = None
    last_steps = _all_steps(spec)
    if enter and options.rootfs is not None:
        entered = _enter(spec)
        last_steps = partial(_go_on, spec, entered)
    if filters is not None:
        pid = _fork_confined(last_steps, options, filters)
    else:
        pid = fork()
        if pid == 0:
            _become_task(last_steps, options)
    return LaunchedTask(pid, partial(_become_another, spec, pid, entered))


def _fork_confined(
    last_steps: Callable[[], NoReturn], options: TaskOptions, filters: Filters
) -> int:
    """Fork the task, which waits until this process is confined."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(writing)
        _become_task(last_steps, options, wait_for=reading)
    os.close(reading)
    try:
        privileges.confine(filters.init)
    except LaunchFailure as error:
        os.kill(pid, signal.SIGKILL)
        raise LaunchError(str(error)) from error
    finally:
        os.close(writing)
    return pid


def _enter(spec: LaunchSpec) -> Privileges | None:
    """Do the first steps here; ``None`` if that fails, which has to fail in the child as well."""
    try:
        return launch.enter(spec)
    except LaunchFailure as error:
        # As if it had failed in the child: that is where its status comes from.
        say(str(error))
        return None


def _go_on(spec: LaunchSpec, entered: Privileges | None) -> NoReturn:
    if entered is None:
        os._exit(1)
    launch.exec_entered(spec, entered)


def _all_steps(spec: LaunchSpec) -> Callable[[], NoReturn]:
    return partial(launch.exec_in_place, spec, unshare_mounts=spec.rootfs is not None)


def _become_another(
    spec: LaunchSpec,
    task_pid: int,
    entered: Privileges | None,
    command: LaunchCommand,
    environment: Mapping[str, str],
) -> NoReturn:
    in_image = spec.rootfs is not None
    spec = dataclasses.replace(
        spec,
        command=command,
        environment=tuple(environment.items()),
        working_directory="/" if in_image else None,
        tty=False,
    )
    if entered is not None:
        launch.exec_entered(spec, entered)
    spec = dataclasses.replace(spec, rootfs=None, mounts=(), masked_paths=(), file_operations=())
    if in_image:
        launch.exec_in_mounts_of(task_pid, spec)
    launch.exec_in_place(spec, unshare_mounts=False)


def _spec(options: TaskOptions, task: v1.TaskInfo, environment: Mapping[str, str]) -> LaunchSpec:
    try:
        spec = LaunchSpec.of(launch_info(options, task))
    except SpecError as error:
        raise LaunchError(str(error)) from error
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise LaunchError(f"Environment variable '{name[:100]!a}' is unusable")
    return dataclasses.replace(spec, environment=tuple(environment.items()))


def _give_sandbox_to(user: str) -> None:
    identity = users.of_numbers(user) or users.identity_of(user)
    if identity is None:
        raise LaunchError(f"Failed to chown the sandbox: no such user '{user}'")
    os.chown(".", identity.uid, identity.gid)


def _become_task(
    last_steps: Callable[[], NoReturn], options: TaskOptions, wait_for: int | None = None
) -> NoReturn:
    """Never return into the executor's code, whatever happens."""
    try:
        if options.tty:
            terminal.enter_foreground()
        else:
            os.setsid()
        signals.reset()
        if wait_for is not None:
            os.read(wait_for, 1)
            os.close(wait_for)
        last_steps()
    except BaseException as error:
        write_all(2, f"{error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)
