# SPDX-License-Identifier: Apache-2.0
"""The executor that the agent makes up for a task that has only a command, and how the one is
started that frameworks only ask for.

Source: spec ``executors`` 4.2, 5.1.
"""

from __future__ import annotations

import shlex

from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.model.quantity import SECOND_NS
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: What the executor itself may use on top of its task; masters do not know of it.
CPUS = 0.1
MEM_MB = 32.0
#: Added to a task's grace period: the executor notices the end of a process once a second, and
#: needs a moment itself.
_EXTRA_GRACE_NS = 2 * SECOND_NS
#: A command longer than this is shortened in the executor's name.
_SHOWN, _CUT = 15, 12


def command_executor(
    config: AgentConfig, framework: pb.FrameworkInfo, task: pb.TaskInfo
) -> pb.ExecutorInfo:
    """Return the ExecutorInfo for ``task``, whose resources are in post-refinement format."""
    made = pb.ExecutorInfo(name=_name(task), source=task.task_id.value)
    made.executor_id.value = task.task_id.value
    made.framework_id.CopyFrom(framework.id)
    if task.HasField("container"):
        made.container.CopyFrom(task.container)
    if task.HasField("labels"):
        made.labels.CopyFrom(task.labels)
    if task.HasField("discovery"):
        made.discovery.CopyFrom(task.discovery)
    if task.kill_policy.HasField("grace_period"):
        grace = task.kill_policy.grace_period.nanoseconds + _EXTRA_GRACE_NS
        made.shutdown_grace_period.nanoseconds = grace
    _fill_command(made.command, config, framework, task)
    role = next(
        (r.allocation_info.role for r in task.resources if r.HasField("allocation_info")), "*"
    )
    for name, value in (("cpus", CPUS), ("mem", MEM_MB)):
        resource = made.resources.add(name=name, type=pb.Value.SCALAR)
        resource.scalar.value = value
        resource.allocation_info.role = role
    return made


def fill_default_executor(made: pb.CommandInfo, config: AgentConfig, user: str | None) -> None:
    """Say how the executor of the type DEFAULT is started; its framework does not."""
    if config.default_executor is None:
        _fail(made, config.default_executor_error)
    else:
        made.shell = False
        made.value = config.default_executor
        arguments = ("mesos-default-executor", f"--launcher_dir={config.launcher_dir}")
        made.arguments.extend(arguments)
    if user is not None:
        made.user = user


def _fail(made: pb.CommandInfo, why: str) -> None:
    made.shell = True
    made.value = f"echo {shlex.quote(why)}; exit 1"


def _fill_command(
    made: pb.CommandInfo, config: AgentConfig, framework: pb.FrameworkInfo, task: pb.TaskInfo
) -> None:
    made.uris.extend(task.command.uris)
    if task.command.HasField("environment"):
        made.environment.CopyFrom(task.command.environment)
    if task.command.HasField("user"):
        made.user = task.command.user
    if config.command_executor is None:
        _fail(made, config.command_executor_error)
        return
    made.shell = False
    made.value = config.command_executor
    made.arguments.extend(("mesos-executor", f"--launcher_dir={config.launcher_dir}"))
    if task.container.type == pb.ContainerInfo.MESOS and task.container.mesos.HasField("image"):
        made.arguments.append(f"--sandbox_directory={config.sandbox_directory}")
        if config.switch_user:
            user = task.command.user if task.command.HasField("user") else framework.user
            made.arguments.append(f"--user={user}")


def _name(task: pb.TaskInfo) -> str:
    return f"Command Executor (Task: {task.task_id.value}) (Command: {_shown(task.command)})"


def _shown(command: pb.CommandInfo) -> str:
    if command.shell:
        if not command.HasField("value"):
            return "NO COMMAND"
        return f"sh -c '{_cut(command.value)}'"
    if not command.HasField("value"):
        return "NO EXECUTABLE"
    return f"[{_cut(command.value + ', ' + ', '.join(command.arguments))}]"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_CUT] + "..."
