# SPDX-License-Identifier: Apache-2.0
"""What the command executor makes of a task: the launch of its command, its statuses. Pure.

Source: spec ``executors`` 3.3, 5.2, 5.3, 5.5; ``containerizer`` 7.2; ``images`` 12.3, 12.4.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesos_compat.model.evolve import devolve
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

#: Seconds that a task has between SIGTERM and SIGKILL unless somebody says otherwise.
DEFAULT_GRACE_S = 3.0

_CHECK_RESULTS = {
    v1.CheckInfo.COMMAND: "command",
    v1.CheckInfo.HTTP: "http",
    v1.CheckInfo.TCP: "tcp",
}


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the agent's arguments say about the task; absent without an image, mostly."""

    rootfs: str | None = None
    sandbox_directory: str | None = None
    working_directory: str | None = None
    user: str | None = None
    command: pb.CommandInfo | None = None
    environment: pb.Environment | None = None
    launch_info: slave.ContainerLaunchInfo | None = None
    effective_capabilities: pb.CapabilityInfo | None = None
    bounding_capabilities: pb.CapabilityInfo | None = None
    supplementary_groups: tuple[int, ...] = ()
    tty: bool = False


def command_of(options: TaskOptions, task: v1.TaskInfo) -> pb.CommandInfo:
    """Return the command to run: the image's, if the agent made one, else the task's."""
    if options.command is not None:
        return options.command
    return devolve(task.command, pb.CommandInfo)


def merge_environment(
    environ: Mapping[str, str], options: TaskOptions, task: v1.TaskInfo
) -> tuple[dict[str, str], list[str]]:
    """Return the environment of the task, and the names whose value changed on the way.

    Weakest first: the executor's own, the image's, the task's.
    """
    merged = dict(environ)
    changed: list[str] = []
    image = options.environment.variables if options.environment is not None else ()
    for variables in (image, command_of(options, task).environment.variables):
        for variable in variables:
            if variable.type == pb.Environment.Variable.SECRET:
                continue
            if merged.get(variable.name, variable.value) != variable.value:
                changed.append(variable.name)
            merged[variable.name] = variable.value
    if task.resources:
        merged["MESOS_ALLOCATION_ROLE"] = task.resources[0].allocation_info.role
    return merged, changed


def launch_info(options: TaskOptions, task: v1.TaskInfo) -> slave.ContainerLaunchInfo:
    """Return how to launch the task, but for its environment.

    Without an image the executor's own container is the task's and there is little to say.
    """
    info = slave.ContainerLaunchInfo()
    info.command.CopyFrom(command_of(options, task))
    info.command.ClearField("environment")
    info.command.ClearField("uris")
    if options.user is not None:
        info.user = options.user
    info.supplementary_groups.extend(options.supplementary_groups)
    if options.effective_capabilities is not None:
        info.effective_capabilities.CopyFrom(options.effective_capabilities)
    if options.bounding_capabilities is not None:
        info.bounding_capabilities.CopyFrom(options.bounding_capabilities)
    if options.launch_info is not None:
        given = options.launch_info
        info.mounts.extend(given.mounts)
        info.file_operations.extend(given.file_operations)
        info.pre_exec_commands.extend(given.pre_exec_commands)
        info.clone_namespaces.extend(given.clone_namespaces)
    if options.rootfs is not None:
        info.rootfs = options.rootfs
        directory = options.working_directory or options.sandbox_directory
        if directory:
            info.working_directory = directory
    return info


def status(
    task_id: v1.TaskID,
    executor_id: str,
    state: v1.TaskState,
    *,
    uuid: bytes,
    timestamp: float,
    message: str | None = None,
    reason: v1.TaskStatus.Reason | None = None,
    check: v1.CheckInfo | None = None,
) -> v1.TaskStatus:
    """Build a status from scratch; ``check`` is the task's, whose result nobody knows yet."""
    made = v1.TaskStatus(
        state=state, source=v1.TaskStatus.SOURCE_EXECUTOR, uuid=uuid, timestamp=timestamp
    )
    made.task_id.CopyFrom(task_id)
    made.executor_id.value = executor_id
    if message is not None:
        made.message = message
    if reason is not None:
        made.reason = reason
    if check is not None:
        made.check_status.type = check.type
        result = _CHECK_RESULTS.get(check.type)
        if result is not None:
            getattr(made.check_status, result).SetInParent()
    return made


def end_message(wait_status: int) -> str:
    """Say how the command ended, in the words that frameworks know."""
    if os.WIFEXITED(wait_status):
        return f"Command exited with status {os.WEXITSTATUS(wait_status)}"
    number = os.WTERMSIG(wait_status)
    name = signal.strsignal(number) or f"Unknown signal {number}"
    dumped = " (core dumped)" if os.WCOREDUMP(wait_status) else ""
    return f"Command terminated with signal {name}{dumped}"


def end_state(wait_status: int, killed: bool, timed_out: bool) -> v1.TaskState:
    """Return the terminal state of a command that ended with ``wait_status``."""
    if timed_out:
        return v1.TASK_FAILED
    if killed:
        return v1.TASK_KILLED
    if os.WIFEXITED(wait_status) and os.WEXITSTATUS(wait_status) == 0:
        return v1.TASK_FINISHED
    return v1.TASK_FAILED


def grace_s(policies: Iterable[v1.KillPolicy]) -> float:
    """Return the first grace period that one of ``policies`` names, in seconds."""
    for policy in policies:
        if policy.HasField("grace_period"):
            return max(policy.grace_period.nanoseconds, 0) / 1e9
    return DEFAULT_GRACE_S
