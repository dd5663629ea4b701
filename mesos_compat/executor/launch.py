# SPDX-License-Identifier: Apache-2.0
"""Starts the task's command in a fork of the executor, by the code of the launch helper.

Source: spec ``executors`` 5.3 step 6, ``containerizer`` 7.2.
Deviation: an executor that is its container's init goes into the task's image, too.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Mapping
from typing import NoReturn

from containerizer.init import launch, privileges
from containerizer.init.failure import LaunchFailure, say
from containerizer.init.seccomp import Filters
from containerizer.init.spec import LaunchSpec, SpecError
from containerizer.linux import signals, terminal, users
from containerizer.linux.process import fork
from mesos_compat.base.errors import LaunchError
from mesos_compat.executor.log import write_all
from mesos_compat.executor.task import TaskOptions, launch_info
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1


def launch_task(
    options: TaskOptions,
    task: v1.TaskInfo,
    environment: Mapping[str, str],
    *,
    enter: bool,
    filters: Filters | None = None,
) -> int:
    """Fork, start the command and return its pid.

    With ``enter`` this process goes into the task's root itself, and so has nothing left of the
    host that the task could reach by way of it. ``filters`` are for the task and for this process,
    which is confined before the task runs. Raises LaunchError if the command can never work,
    OSError if there can be no process. What fails in the child is told by its stderr and exit
    status.
    """
    spec = dataclasses.replace(_spec(options, task, environment), seccomp_filters=filters)
    if options.rootfs is not None and options.user is not None:
        _give_sandbox_to(options.user)
    last_steps = _enter(spec) if enter and options.rootfs is not None else _all_steps(spec, options)
    if filters is not None:
        return _fork_confined(last_steps, options, filters)
    pid = fork()
    if pid == 0:
        _become_task(last_steps, options)
    return pid


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


def _enter(spec: LaunchSpec) -> Callable[[], NoReturn]:
    """Do the first steps here and return those of the child."""
    try:
        to_give_up = launch.enter(spec)
    except LaunchFailure as error:
        # As if it had failed in the child: that is where its status comes from.
        say(str(error))
        return lambda: os._exit(1)
    return lambda: launch.exec_entered(spec, to_give_up)


def _all_steps(spec: LaunchSpec, options: TaskOptions) -> Callable[[], NoReturn]:
    return lambda: launch.exec_in_place(spec, unshare_mounts=options.rootfs is not None)


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
