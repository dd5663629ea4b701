# SPDX-License-Identifier: Apache-2.0
"""RunTaskMessage and RunTaskGroupMessage: what is ignored, what is refused, what is run.

Source: spec ``agent-master`` 8, ``executors`` 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mesos_compat.agent.machine import (
    checkpoints,
    command,
    executors,
    frameworks,
    registration,
    status,
)
from mesos_compat.agent.machine.events import RunTask, RunTaskGroup
from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.base.errors import WireError
from mesos_compat.model import reasons
from mesos_compat.model.ids import ExecutorId, TaskId, id_error
from mesos_compat.model.reasons import Cause
from mesos_compat.model.resources import Resources, is_persistent_volume, upgrade_all
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages


@dataclass(frozen=True, slots=True)
class Request:
    """One task that the master wants to be run, its resources in post-refinement format."""

    task: pb.TaskInfo
    framework: Framework
    executor_id: ExecutorId
    #: The run under the executor's id, if there is one.
    executor: Executor | None
    #: Whether the agent has to make the executor up.
    generated: bool
    resource_versions: tuple[messages.ResourceVersionUUID, ...]
    #: What the master thinks: start an executor, use one, or (old masters) it does not say.
    launch_executor: bool | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a task is not run."""

    cause: Cause
    #: Whether the master has to forget an executor that it counts on.
    forget_executor: bool = True


def run_task(turn: Turn, event: RunTask) -> None:
    """Run a task, with its own executor or one that the agent makes up."""
    message = event.message
    if not _acceptable(turn, event.sender, message.framework, [message.task]):
        return
    task = message.task
    has_executor = task.HasField("executor")
    if has_executor == task.HasField("command"):
        turn.warn(f"Ignoring task {task.task_id.value}: it needs either a command or an executor")
        return
    made = pb.TaskInfo()
    made.CopyFrom(task)
    _inject_role(made, message.framework)
    name = task.executor.executor_id.value if has_executor else task.task_id.value
    executor_id = ExecutorId(name)
    framework = frameworks.obtain(turn, message.framework, message.pid)
    request = Request(
        made,
        framework,
        executor_id,
        framework.executors.get(executor_id),
        generated=not has_executor,
        resource_versions=tuple(message.resource_version_uuids),
        launch_executor=(message.launch_executor if message.HasField("launch_executor") else None),
    )
    turn.info(f"Got assigned task '{task.task_id.value}' for framework {framework.framework_id}")
    if framework.phase is FrameworkPhase.TERMINATING:
        turn.warn(f"Ignoring task '{task.task_id.value}': its framework is terminating")
        _forget(turn, request)
    elif _duplicate(request):
        turn.warn(f"Ignoring task '{task.task_id.value}': a task of this id is running")
        _forget(turn, request)
    else:
        _run(turn, request)
    frameworks.remove_if_idle(turn, framework)


def run_task_group(turn: Turn, event: RunTaskGroup) -> None:
    """Refuse a task group; each of its tasks is told."""
    message = event.message
    tasks = list(message.task_group.tasks)
    if not tasks or not _acceptable(turn, event.sender, message.framework, tasks):
        return
    framework = frameworks.obtain(turn, message.framework, "")
    executor_id = ExecutorId(message.executor.executor_id.value)
    turn.warn(
        f"Refusing a task group of framework {framework.framework_id}:"
        f" {reasons.GROUPS_UNSUPPORTED.message}"
    )
    for task in tasks:
        task_id = TaskId(task.task_id.value)
        status.refuse(turn, framework, executor_id, task_id, reasons.GROUPS_UNSUPPORTED)
    if message.launch_executor and executor_id not in framework.executors:
        executors.exited(turn, framework.framework_id, executor_id, -1)
    frameworks.remove_if_idle(turn, framework)


def refusal(state: AgentState, request: Request) -> Refusal | None:
    """Return the first reason not to run a task; ``None`` if there is none."""
    for find in _REFUSALS:
        found = find(state, request)
        if found is not None:
            return found
    return None


def _acceptable(
    turn: Turn, sender: str, framework: pb.FrameworkInfo, tasks: Iterable[pb.TaskInfo]
) -> bool:
    """Whether the message is for us now; if not it is dropped, as upstream does."""
    state = turn.state
    if not registration.from_master(turn, sender, "run task"):
        return False
    if state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING) or state.agent_id is None:
        return False
    ids = [framework.id.value]
    for task in tasks:
        if task.slave_id.value != state.agent_id:
            turn.warn(f"Ignoring task '{task.task_id.value}' for agent {task.slave_id.value}")
            return False
        ids.append(task.task_id.value)
        if task.HasField("executor"):
            ids.append(task.executor.executor_id.value)
    for text in ids:
        why = id_error(text)
        if why is not None:
            turn.warn(f"Ignoring a task with an unusable id: {why}")
            return False
    return True


def _run(turn: Turn, request: Request) -> None:
    refused = refusal(turn.state, request)
    task_id = TaskId(request.task.task_id.value)
    framework = request.framework
    if refused is not None:
        turn.warn(
            f"Refusing task '{task_id}' of framework {framework.framework_id}:"
            f" {refused.cause.message}"
        )
        status.refuse(turn, framework, request.executor_id, task_id, refused.cause)
        if refused.forget_executor:
            _forget(turn, request)
        elif refused.cause is reasons.EXECUTOR_EXISTS and request.executor is not None:
            executors.shut_down(turn, framework, request.executor)
        return
    executor = request.executor
    if executor is None:
        info = pb.ExecutorInfo()
        if request.generated:
            info.CopyFrom(command.command_executor(turn.state.config, framework.info, request.task))
        else:
            info.CopyFrom(request.task.executor)
            info.framework_id.value = framework.framework_id
        executor = executors.add(turn, framework, info, request.generated)
    decorators = turn.state.config.decorators
    if decorators is not None:
        labels = decorators.task_labels(
            request.task, executor.info, framework.info, turn.state.info()
        )
        if labels != request.task.labels:
            request.task.labels.CopyFrom(labels)
    queued = executor.queued[task_id] = Task(request.task, TaskPlace.QUEUED, pb.TASK_STAGING)
    checkpoints.task(turn, framework, executor, queued)
    turn.info(
        f"Queued task '{task_id}' for executor '{request.executor_id}' of framework"
        f" {framework.framework_id}"
    )
    status.advance(turn, framework, executor)


def _duplicate(request: Request) -> bool:
    """Whether the id is taken; a command task whose own executor is there has its own refusal."""
    if request.generated and request.executor is not None:
        return False
    return request.framework.executor_of(TaskId(request.task.task_id.value)) is not None


def _forget(turn: Turn, request: Request) -> None:
    if request.launch_executor:
        executors.exited(turn, request.framework.framework_id, request.executor_id, -1)


def _inject_role(task: pb.TaskInfo, framework: pb.FrameworkInfo) -> None:
    """Bring resources into the agent's form; old masters leave the allocation out."""
    upgrade_all(task)
    roles = [framework.role]
    if any(c.type == pb.FrameworkInfo.Capability.MULTI_ROLE for c in framework.capabilities):
        roles = list(framework.roles)
    if len(roles) != 1:
        return
    for resource in (*task.resources, *task.executor.resources):
        if not resource.HasField("allocation_info"):
            resource.allocation_info.role = roles[0]


# The table of refusals, in order.


def _resources_invalid(state: AgentState, request: Request) -> Refusal | None:
    for resources in (request.task.resources, request.task.executor.resources):
        try:
            Resources.of(resources)
        except WireError as error:
            return Refusal(
                reasons.INVALID_RESOURCES.saying(f"Task uses invalid resources: {error}")
            )
    return None


def _limits_unsupported(state: AgentState, request: Request) -> Refusal | None:
    task = request.task
    if task.container.type == pb.ContainerInfo.DOCKER and task.HasField("container"):
        return None
    loaded = state.config.isolation
    for name, isolator, cause in (
        ("cpus", "cgroups/cpu", reasons.CPU_LIMITS_UNSUPPORTED),
        ("mem", "cgroups/mem", reasons.MEMORY_LIMITS_UNSUPPORTED),
    ):
        if name in task.limits and not loaded & {isolator, "cgroups/all"}:
            return Refusal(cause)
    return None


def _default_executor(state: AgentState, request: Request) -> Refusal | None:
    if not request.generated and request.task.executor.type == pb.ExecutorInfo.DEFAULT:
        return Refusal(reasons.GROUPS_UNSUPPORTED)
    return None


def _resources_outdated(state: AgentState, request: Request) -> Refusal | None:
    for version in request.resource_versions:
        if (
            version.HasField("resource_provider_id")
            or version.uuid.value != state.resource_version_uuid
        ):
            return Refusal(reasons.OUTDATED_RESOURCES)
    return None


def _task_resources_unknown(state: AgentState, request: Request) -> Refusal | None:
    if _unknown(state, request.task.resources):
        return Refusal(reasons.TASK_RESOURCES_UNKNOWN)
    return None


def _executor_resources_unknown(state: AgentState, request: Request) -> Refusal | None:
    if _unknown(state, request.task.executor.resources):
        return Refusal(reasons.EXECUTOR_RESOURCES_UNKNOWN)
    return None


def _command_executor_exists(state: AgentState, request: Request) -> Refusal | None:
    if request.launch_executor is None or not request.generated or request.executor is None:
        return None
    return Refusal(reasons.COMMAND_EXECUTOR_EXISTS, forget_executor=False)


def _executor_exists(state: AgentState, request: Request) -> Refusal | None:
    if not request.launch_executor or request.executor is None:
        return None
    gone = request.executor.phase is ExecutorPhase.TERMINATED
    return Refusal(reasons.EXECUTOR_EXISTS, forget_executor=gone)


def _executor_missing(state: AgentState, request: Request) -> Refusal | None:
    if request.launch_executor is False and request.executor is None:
        return Refusal(reasons.EXECUTOR_MISSING, forget_executor=False)
    return None


def _executor_ending(state: AgentState, request: Request) -> Refusal | None:
    if request.executor is None:
        return None
    if request.executor.phase is ExecutorPhase.TERMINATING:
        return Refusal(reasons.EXECUTOR_TERMINATING)
    if request.executor.phase is ExecutorPhase.TERMINATED:
        return Refusal(reasons.EXECUTOR_TERMINATED)
    return None


def _command_executor_taken(state: AgentState, request: Request) -> Refusal | None:
    """Old masters do not say what they think of the executor."""
    if request.generated and request.executor is not None:
        return Refusal(reasons.COMMAND_EXECUTOR_EXISTS, forget_executor=False)
    return None


def _unknown(state: AgentState, resources: Iterable[pb.Resource]) -> bool:
    used = Resources.of(resources).unallocated()
    if any(is_persistent_volume(resource) for resource in used):
        return True
    return not Resources.of(state.checkpointed_resources).contains(used.checkpointed())


_REFUSALS: tuple[Callable[[AgentState, Request], Refusal | None], ...] = (
    _resources_invalid,
    _limits_unsupported,
    _default_executor,
    _resources_outdated,
    _task_resources_unknown,
    _executor_resources_unknown,
    _command_executor_exists,
    _executor_exists,
    _executor_missing,
    _executor_ending,
    _command_executor_taken,
)
