# SPDX-License-Identifier: Apache-2.0
"""What executors make of a task: the launch of its command, its statuses.

Source: spec ``executors`` 3.3, 5.2, 5.3, 5.5; ``containerizer`` 7.2; ``images`` 12.3, 12.4.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mesos_compat.model.jsonpb import JsonObject, JsonValue
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

#: Seconds that a task has between SIGTERM and SIGKILL unless somebody says otherwise.
DEFAULT_GRACE_S = 3.0

#: What a launch wants to know of a command, and what it takes from the agent's launch info.
_COMMAND_FIELDS = ("shell", "value", "arguments")
_LAUNCH_INFO_FIELDS = ("mounts", "file_operations", "pre_exec_commands", "clone_namespaces")

_CHECK_RESULTS = {
    v1.CheckInfo.COMMAND: "command",
    v1.CheckInfo.HTTP: "http",
    v1.CheckInfo.TCP: "tcp",
}


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the agent's arguments say about the task; absent without an image, mostly.

    Messages are in their JSON form, which is that of ``init.spec.LaunchSpec``.
    """

    rootfs: str | None = None
    sandbox_directory: str | None = None
    working_directory: str | None = None
    user: str | None = None
    #: CommandInfo.
    command: JsonObject | None = None
    #: Environment.
    environment: JsonObject | None = None
    #: ContainerLaunchInfo.
    launch_info: JsonObject | None = None
    #: CapabilityInfo.
    effective_capabilities: JsonObject | None = None
    bounding_capabilities: JsonObject | None = None
    supplementary_groups: tuple[int, ...] = ()
    tty: bool = False


def command_of(options: TaskOptions, task: v1.TaskInfo) -> JsonObject:
    """Return the command to run: the image's, if the agent made one, else the task's."""
    if options.command is not None:
        return options.command
    command = task.command
    made: JsonObject = {"shell": command.shell, "arguments": list(command.arguments)}
    if command.HasField("value"):
        made["value"] = command.value
    return made


def merge_environment(
    environ: Mapping[str, str], options: TaskOptions, task: v1.TaskInfo
) -> tuple[dict[str, str], list[str]]:
    """Return the environment of the task, and the names whose value changed on the way.

    Weakest first: the executor's own, the image's, the task's.
    """
    merged = dict(environ)
    changed: list[str] = []
    layers = [_variables(options.environment)]
    if options.command is not None:
        layers.append(_variables(options.command.get("environment")))
    else:
        layers.append(
            (variable.name, variable.value)
            for variable in task.command.environment.variables
            if variable.type != v1.Environment.Variable.SECRET
        )
    for layer in layers:
        for name, value in layer:
            if merged.get(name, value) != value:
                changed.append(name)
            merged[name] = value
    if task.resources:
        merged["MESOS_ALLOCATION_ROLE"] = task.resources[0].allocation_info.role
    return merged, changed


def _variables(environment: JsonValue) -> Iterator[tuple[str, str]]:
    """Yield what is usable of an Environment in JSON; secrets are not."""
    variables = environment.get("variables") if isinstance(environment, dict) else None
    for variable in variables if isinstance(variables, list) else ():
        if isinstance(variable, dict) and variable.get("type") != "SECRET":
            name, value = variable.get("name"), variable.get("value", "")
            if isinstance(name, str) and isinstance(value, str):
                yield name, value


def launch_info(options: TaskOptions, task: v1.TaskInfo) -> JsonObject:
    """Return how to launch the task (a ContainerLaunchInfo), but for its environment.

    Without an image the executor's own container is the task's and there is little to say.
    """
    command = command_of(options, task)
    info: JsonObject = {
        "command": {name: command[name] for name in _COMMAND_FIELDS if name in command},
        "supplementary_groups": list(options.supplementary_groups),
        "user": options.user,
        "effective_capabilities": options.effective_capabilities,
        "bounding_capabilities": options.bounding_capabilities,
    }
    given = options.launch_info or {}
    info.update({name: given[name] for name in _LAUNCH_INFO_FIELDS if name in given})
    if options.rootfs is not None:
        info["rootfs"] = options.rootfs
        info["working_directory"] = options.working_directory or options.sandbox_directory
    return info


def has_checks(task: v1.TaskInfo) -> bool:
    """Whether something is to be run again and again while the task runs."""
    return task.HasField("check") or task.HasField("health_check")


def random_uuid() -> uuid.UUID:
    """Return a new UUID. Forks of one process go on with the same pseudo-random numbers."""
    return uuid.UUID(bytes=os.urandom(16), version=4)


def status(
    task_id: v1.TaskID,
    executor_id: str,
    state: v1.TaskState,
    *,
    message: str | None = None,
    reason: v1.TaskStatus.Reason | None = None,
    check: v1.CheckInfo | None = None,
) -> v1.TaskStatus:
    """Build a status from scratch; ``check`` is the task's, whose result nobody knows yet."""
    made = v1.TaskStatus(state=state, source=v1.TaskStatus.SOURCE_EXECUTOR)
    _stamp(made)
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


def renew(made: v1.TaskStatus, reason: v1.TaskStatus.Reason) -> None:
    """Make the last status of a task the next one."""
    _stamp(made)
    made.reason = reason


def _stamp(made: v1.TaskStatus) -> None:
    made.uuid = random_uuid().bytes
    made.timestamp = time.time()


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
