# SPDX-License-Identifier: Apache-2.0
"""RunTaskMessage and RunTaskGroupMessage: what is ignored, what is refused, what is run.

Deviation: launches that come between an attempt to register and its answer are ignored. A master
sent them before it read the attempt, which does not tell of them: one that kept the agent asks for
them with its answer and hears that they were dropped, one that had given the agent up has
forgotten them, says so to who asks, and must not hear of them again. Upstream runs them.

Source: spec ``agent-master`` 8, ``executors`` 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mesos_compat.agent.machine import (
    checkpoints,
    command,
    executors,
    frameworks,
    masters,
    status,
)
from mesos_compat.agent.machine.effects import Authorize
from mesos_compat.agent.machine.events import RunTask, RunTaskGroup
from mesos_compat.agent.machine.pending import PendingTasks, RunRequest
from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
    TaskGroup,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.base.errors import WireError
from mesos_compat.model import reasons
from mesos_compat.model.ids import ExecutorId, TaskId, id_error
from mesos_compat.model.reasons import Cause
from mesos_compat.model.resources import Resources, needs_checkpointing, upgrade_all
from mesos_compat.pb.mesos import mesos_pb2 as pb


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a task is not run."""

    cause: Cause
    #: Whether the master has to forget an executor that it counts on.
    forget_executor: bool = True


def run_task(turn: Turn, event: RunTask) -> None:
    """Run a task, with its own executor or one that the agent makes up."""
    message = event.message
    task = message.task
    has_executor = task.HasField("executor")
    ids = [task.executor.executor_id.value] if has_executor else []
    if not _acceptable(turn, event.sender, message.framework, [task], ids):
        return
    if has_executor == task.HasField("command"):
        turn.warn(f"Ignoring task {task.task_id.value}: it needs either a command or an executor")
        return
    made = pb.TaskInfo()
    made.CopyFrom(task)
    _inject_role(made, message.framework)
    executor_id = ExecutorId(
        task.executor.executor_id.value if has_executor else task.task_id.value
    )
    framework = frameworks.obtain(turn, message.framework, message.pid)
    request = RunRequest(
        (made,),
        False,
        framework,
        executor_id,
        made.executor if has_executor else None,
        framework.executors.get(executor_id),
        tuple(message.resource_version_uuids),
        message.launch_executor if message.HasField("launch_executor") else None,
    )
    _accept(turn, request)


def run_task_group(turn: Turn, event: RunTaskGroup) -> None:
    """Run tasks that belong together: all of them, or none."""
    message = event.message
    tasks = list(message.task_group.tasks)
    ids = [message.executor.executor_id.value]
    if not tasks or not _acceptable(turn, event.sender, message.framework, tasks, ids):
        return
    info = pb.ExecutorInfo()
    info.CopyFrom(message.executor)
    _inject_role(info, message.framework)
    group = []
    for task in tasks:
        made = pb.TaskInfo()
        made.CopyFrom(task)
        # Masters put it there, too; what they do not put there is not what the group is for.
        made.executor.CopyFrom(message.executor)
        _inject_role(made, message.framework)
        group.append(made)
    executor_id = ExecutorId(info.executor_id.value)
    framework = frameworks.obtain(turn, message.framework, "")
    request = RunRequest(
        tuple(group),
        True,
        framework,
        executor_id,
        info,
        framework.executors.get(executor_id),
        tuple(message.resource_version_uuids),
        message.launch_executor if message.HasField("launch_executor") else None,
    )
    _accept(turn, request)


def refusal(state: AgentState, request: RunRequest) -> Refusal | None:
    """Return the first reason not to run a task; ``None`` if there is none."""
    return _first((*_FORMAL_REFUSALS, *_REFUSALS), state, request)


def _first(
    reasons_not_to: Iterable[Callable[[AgentState, RunRequest], Refusal | None]],
    state: AgentState,
    request: RunRequest,
) -> Refusal | None:
    for find in reasons_not_to:
        found = find(state, request)
        if found is not None:
            return found
    return None


def _acceptable(
    turn: Turn,
    sender: str,
    framework: pb.FrameworkInfo,
    tasks: Sequence[pb.TaskInfo],
    executor_ids: Sequence[str],
) -> bool:
    """Whether the message is for us now; if not it is dropped, as upstream does."""
    state = turn.state
    if not masters.from_master(turn, sender, "run task"):
        return False
    if state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING) or state.agent_id is None:
        return False
    if state.registration_unanswered:
        names = ", ".join(task.task_id.value for task in tasks)
        turn.warn(f"Ignoring {names}: the master was told what runs here and has not answered")
        return False
    for task in tasks:
        if task.slave_id.value != state.agent_id:
            turn.warn(f"Ignoring task '{task.task_id.value}' for agent {task.slave_id.value}")
            return False
    task_ids = [task.task_id.value for task in tasks]
    for text in (framework.id.value, *task_ids, *executor_ids):
        why = id_error(text)
        if why is not None:
            turn.warn(f"Ignoring a task with an unusable id: {why}")
            return False
    if len(set(task_ids)) != len(task_ids):
        turn.warn("Ignoring a task group that has a task twice")
        return False
    return True


def _accept(turn: Turn, request: RunRequest) -> None:
    turn.info(f"Got assigned {request.subject}")
    if request.framework.phase is FrameworkPhase.TERMINATING:
        turn.warn(f"Ignoring {request.subject}: it is terminating")
        forget(turn, request)
    elif _duplicate(request):
        turn.warn(f"Ignoring {request.subject}: a task of this id is running")
        forget(turn, request)
    elif turn.state.config.authorizes_tasks and not _reuses_executor(request):
        _ask(turn, request)
    else:
        run(turn, request)
    frameworks.remove_if_idle(turn, request.framework)


def _ask(turn: Turn, request: RunRequest) -> None:
    """Let the tasks wait until it is known whether they may be run."""
    refused = _first(_FORMAL_REFUSALS, turn.state, request)
    if refused is not None:
        refuse(turn, request, refused)
        return
    state, framework = turn.state, request.framework
    state.authorizations += 1
    turn.info(f"Authorizing {request.subject}")
    framework.pending.add(PendingTasks(state.authorizations, request.at(None)))
    turn.do(
        Authorize(
            framework.framework_id,
            request.executor_id,
            state.authorizations,
            framework.info,
            request.tasks,
        )
    )


def refuse(turn: Turn, request: RunRequest, refused: Refusal) -> None:
    """Tell the framework why its tasks are not run, and the master that no executor is."""
    turn.warn(f"Refusing {request.subject}: {refused.cause.message}")
    for task_id in request.task_ids:
        status.refuse(turn, request.framework, request.executor_id, task_id, refused.cause)
    if refused.forget_executor:
        forget(turn, request)
    elif refused.cause is reasons.EXECUTOR_EXISTS and request.executor is not None:
        executors.shut_down(turn, request.framework, request.executor)


def run(turn: Turn, request: RunRequest) -> None:
    """Queue tasks that may be run for their executor, unless they cannot be."""
    refused = refusal(turn.state, request)
    if refused is not None:
        refuse(turn, request, refused)
        return
    framework, executor = request.framework, request.executor
    if executor is None:
        executor = _new_executor(turn, request)
    group: TaskGroup | None = None
    if request.grouped:
        group = TaskGroup(request.task_ids)
    for task in request.tasks:
        _decorate(turn, framework, executor, task)
        task_id = TaskId(task.task_id.value)
        queued = executor.queued[task_id] = Task(task, TaskPlace.QUEUED, pb.TASK_STAGING, group)
        framework.homes[task_id] = executor
        checkpoints.forget_updates(turn, framework, executor, task_id)
        checkpoints.task(turn, framework, executor, queued)
    turn.info(f"Queued {request.subject} for executor '{request.executor_id}'")
    status.advance(turn, framework, executor)


def _new_executor(turn: Turn, request: RunRequest) -> Executor:
    framework = request.framework
    info = pb.ExecutorInfo()
    generated = request.executor_info is None
    if request.executor_info is None:
        made = command.command_executor(turn.state.config, framework.info, request.tasks[0])
        info.CopyFrom(made)
    else:
        info.CopyFrom(request.executor_info)
        info.framework_id.value = framework.framework_id
    return executors.add(turn, framework, info, generated)


def _decorate(turn: Turn, framework: Framework, executor: Executor, task: pb.TaskInfo) -> None:
    """Let hooks change the labels of a task of ours."""
    decorators = turn.state.config.decorators
    if decorators is None:
        return
    labels = decorators.task_labels(task, executor.info, framework.info, turn.state.info())
    if labels != task.labels:
        task.labels.CopyFrom(labels)


def _reuses_executor(request: RunRequest) -> bool:
    """Whether a command task has the id of one that is there; that is refused in any case."""
    return request.executor_info is None and request.executor is not None


def _duplicate(request: RunRequest) -> bool:
    """Whether an id is taken; a command task whose own executor is there has its own refusal."""
    if _reuses_executor(request):
        return False
    return any(map(request.framework.knows, request.task_ids))


def forget(turn: Turn, request: RunRequest) -> None:
    """Tell the master that the executor which it counts on is not started."""
    if request.launch_executor:
        executors.exited(turn, request.framework.framework_id, request.executor_id, -1)


def _inject_role(made: pb.TaskInfo | pb.ExecutorInfo, framework: pb.FrameworkInfo) -> None:
    """Bring resources into the agent's form; old masters leave the allocation out."""
    upgrade_all(made)
    roles = [framework.role]
    if any(c.type == pb.FrameworkInfo.Capability.MULTI_ROLE for c in framework.capabilities):
        roles = list(framework.roles)
    if len(roles) != 1:
        return
    resources = list(made.resources)
    if isinstance(made, pb.TaskInfo):
        resources += made.executor.resources
    for resource in resources:
        if not resource.HasField("allocation_info"):
            resource.allocation_info.role = roles[0]


# The table of refusals, in order.


def _resources_invalid(state: AgentState, request: RunRequest) -> Refusal | None:
    for resources in (*(task.resources for task in request.tasks), _of_executor(request)):
        try:
            Resources.of(resources)
        except WireError as error:
            cause = reasons.INVALID_GROUP if request.grouped else reasons.INVALID_TASK
            return Refusal(cause.saying(f"Task uses invalid resources: {error}"))
    return None


def _limits_unsupported(state: AgentState, request: RunRequest) -> Refusal | None:
    loaded = state.config.isolation
    for task in request.tasks:
        if task.HasField("container") and task.container.type == pb.ContainerInfo.DOCKER:
            continue
        for name, isolator, cause in (
            ("cpus", "cgroups/cpu", reasons.CPU_LIMITS_UNSUPPORTED),
            ("mem", "cgroups/mem", reasons.MEMORY_LIMITS_UNSUPPORTED),
        ):
            if name in task.limits and not loaded & {isolator, "cgroups/all"}:
                return Refusal(cause)
    return None


def _draining(state: AgentState, request: RunRequest) -> Refusal | None:
    return None if state.drain is None else Refusal(reasons.DRAINING)


def _default_executor_missing(state: AgentState, request: RunRequest) -> Refusal | None:
    info = request.executor_info
    if info is None or info.type != pb.ExecutorInfo.DEFAULT:
        return None
    if state.config.default_executor is not None:
        return None
    cause = reasons.INVALID_GROUP if request.grouped else reasons.INVALID_TASK
    why = state.config.default_executor_error
    return Refusal(cause.saying(f"This agent has no default executor: {why}"))


def _resources_outdated(state: AgentState, request: RunRequest) -> Refusal | None:
    for version in request.resource_versions:
        if (
            version.HasField("resource_provider_id")
            or version.uuid.value != state.resource_version_uuid
        ):
            return Refusal(reasons.OUTDATED_RESOURCES)
    return None


def _task_resources_unknown(state: AgentState, request: RunRequest) -> Refusal | None:
    if any(_unknown(state, task.resources) for task in request.tasks):
        return Refusal(reasons.TASK_RESOURCES_UNKNOWN)
    return None


def _executor_resources_unknown(state: AgentState, request: RunRequest) -> Refusal | None:
    if _unknown(state, _of_executor(request)):
        return Refusal(reasons.EXECUTOR_RESOURCES_UNKNOWN)
    return None


def _command_executor_exists(state: AgentState, request: RunRequest) -> Refusal | None:
    if (
        request.launch_executor is None
        or request.executor_info is not None
        or request.executor is None
    ):
        return None
    return Refusal(reasons.COMMAND_EXECUTOR_EXISTS, forget_executor=False)


def _executor_exists(state: AgentState, request: RunRequest) -> Refusal | None:
    if not request.launch_executor or request.executor is None:
        return None
    gone = request.executor.phase is ExecutorPhase.TERMINATED
    return Refusal(reasons.EXECUTOR_EXISTS, forget_executor=gone)


def _executor_missing(state: AgentState, request: RunRequest) -> Refusal | None:
    if request.launch_executor is False and request.executor is None:
        return Refusal(reasons.EXECUTOR_MISSING, forget_executor=False)
    return None


def _executor_ending(state: AgentState, request: RunRequest) -> Refusal | None:
    if request.executor is None:
        return None
    if request.executor.phase is ExecutorPhase.TERMINATING:
        return Refusal(reasons.EXECUTOR_TERMINATING)
    if request.executor.phase is ExecutorPhase.TERMINATED:
        return Refusal(reasons.EXECUTOR_TERMINATED)
    return None


def _command_executor_taken(state: AgentState, request: RunRequest) -> Refusal | None:
    """Old masters do not say what they think of the executor."""
    if _reuses_executor(request):
        return Refusal(reasons.COMMAND_EXECUTOR_EXISTS, forget_executor=False)
    return None


def _of_executor(request: RunRequest) -> Iterable[pb.Resource]:
    return () if request.executor_info is None else request.executor_info.resources


def _unknown(state: AgentState, resources: Iterable[pb.Resource]) -> bool:
    """Say whether one of ``resources`` needs a reservation or volume that is not there."""
    stored = [resource for resource in resources if needs_checkpointing(resource)]
    if not stored:
        return False
    known = Resources.of(state.checkpointed_resources)
    used = Resources.of(stored).unallocated()
    return not all(known.contains(Resources.of([resource])) for resource in used)


#: What is wrong with the tasks whoever sends them.
_FORMAL_REFUSALS: tuple[Callable[[AgentState, RunRequest], Refusal | None], ...] = (
    _resources_invalid,
    _limits_unsupported,
)
_REFUSALS: tuple[Callable[[AgentState, RunRequest], Refusal | None], ...] = (
    _draining,
    _default_executor_missing,
    _resources_outdated,
    _task_resources_unknown,
    _executor_resources_unknown,
    _command_executor_exists,
    _executor_exists,
    _executor_missing,
    _executor_ending,
    _command_executor_taken,
)
