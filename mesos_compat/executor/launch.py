# SPDX-License-Identifier: Apache-2.0
"""Starts the task's command in a fork of the executor, by the code of the launch helper.

Source: spec ``executors`` 5.3 step 6, ``containerizer`` 7.2.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import NoReturn

from containerizer.init.launch import exec_in_place
from containerizer.init.spec import LaunchSpec, SpecError
from containerizer.linux import signals, users
from mesos_compat.base.errors import LaunchError
from mesos_compat.executor.log import write_all
from mesos_compat.executor.task import TaskOptions, launch_info
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1


def launch_task(options: TaskOptions, task: v1.TaskInfo, environment: Mapping[str, str]) -> int:
    """Fork, start the command and return its pid.

    Raises LaunchError if the command can never work, OSError if there can be no process. What
    fails in the child is told by its stderr and exit status.
    """
    spec = _spec(options, task, environment)
    if options.rootfs is not None and options.user is not None:
        _give_sandbox_to(options.user)
    pid = os.fork()
    if pid == 0:
        _become_task(spec, options)
    return pid


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
    identity = users.identity_of(user)
    if identity is None:
        raise LaunchError(f"Failed to chown the sandbox: no such user '{user}'")
    os.chown(".", identity.uid, identity.gid)


def _become_task(spec: LaunchSpec, options: TaskOptions) -> NoReturn:
    """Never return into the executor's code, whatever happens."""
    try:
        if not options.tty:
            os.setsid()
        signals.reset()
        exec_in_place(spec, unshare_mounts=options.rootfs is not None)
    except BaseException as error:
        write_all(2, f"{error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)
