# SPDX-License-Identifier: Apache-2.0
"""Runs of executors: sandbox, launch, subscription, end.

Every answer and timer carries the container id of its run and is ignored if that is over.

Source: spec ``executors`` 1.6, 4.4, 4.6, 4.10; ``agent-master`` 8.3, 9.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mesos_compat.agent import paths
from mesos_compat.agent.machine import (
    checkpoints,
    containers,
    frameworks,
    reports,
    status,
    tell,
)
from mesos_compat.agent.machine.effects import (
    CancelTimer,
    CloseExecutorStream,
    CollectGarbage,
    DestroyContainer,
    Launch,
    MakeSandbox,
    Send,
    StartTimer,
)
from mesos_compat.agent.machine.events import (
    ContainerLaunched,
    ContainerTerminated,
    ContainerUpdated,
    ExecutorMessage,
    ExecutorSubscribed,
    ExecutorUpdate,
    FrameworkToExecutor,
    RegistrationTimeout,
    SandboxMade,
    ShutdownTimeout,
    TaskNotStored,
    TaskStoreDue,
)
from mesos_compat.agent.machine.state import (
    AgentPhase,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model import reasons
from mesos_compat.model.evolve import devolve
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.quantity import SECOND_NS, format_duration
from mesos_compat.model.reasons import Cause
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_LIVE = (ExecutorPhase.REGISTERING, ExecutorPhase.RUNNING)


def run_of(
    turn: Turn, framework_id: FrameworkId, executor_id: ExecutorId, container_id: ContainerId
) -> tuple[Framework, Executor] | None:
    """Return the run that an answer or timer is meant for, unless it is over."""
    framework = turn.state.frameworks.get(framework_id)
    executor = None if framework is None else framework.executors.get(executor_id)
    if framework is None or executor is None or executor.container_id != container_id:
        return None
    return framework, executor


def add(turn: Turn, framework: Framework, info: pb.ExecutorInfo, generated: bool) -> Executor:
    """Start a new run of an executor with its sandbox; its first task is to be queued next."""
    state = turn.state
    assert state.agent_id is not None, "only a registered agent has executors"
    executor_id = ExecutorId(info.executor_id.value)
    container_id = ContainerId(str(turn.uuid()))
    home = paths.executor(
        state.config.work_dir, state.agent_id, framework.framework_id, executor_id
    )
    user: str | None = None
    if state.config.switch_user:
        user = info.command.user if info.command.HasField("user") else framework.info.user
    executor = Executor(
        info=info,
        framework_id=framework.framework_id,
        container_id=container_id,
        directory=paths.sandbox(home, container_id),
        user=user,
        generated=generated,
        created_at=turn.now,
    )
    framework.add_executor(executor)
    writes = checkpoints.executor(state, framework, executor)
    if not framework.stored:
        framework.stored = True
        writes = (*checkpoints.framework(state, framework), *writes)
    key = framework.framework_id, executor_id, container_id
    kept = (
        home,
        checkpoints.executor_dir(state, executor),
        paths.framework(state.config.work_dir, state.agent_id, framework.framework_id),
        checkpoints.framework_dir(state, framework),
    )
    turn.do(MakeSandbox(*key, executor.directory, user, writes, kept))
    return executor


def sandbox_made(turn: Turn, event: SandboxMade) -> None:
    """Launch the container, or refuse the tasks that wait for it."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is None:
        return
    framework, executor = found
    executor.sandbox_requested = False
    if event.error:
        _refuse_all(turn, framework, executor, reasons.SANDBOX_FAILED.saying(event.error))
        return
    if executor.phase is not ExecutorPhase.REGISTERING:
        executor.pending_termination = reasons.LAUNCH_FAILED.saying("Executor terminating")
        _end(turn, framework, executor, None, "")
        return
    executor.launch_requested = True
    turn.info(
        f"Launching container {executor.container_id} for executor '{executor.executor_id}' of"
        f" framework {framework.framework_id}"
    )
    key = event.framework_id, event.executor_id, event.container_id
    turn.do(
        Launch(
            *key,
            containers.launch_config(turn.state, executor),
            containers.environment(turn.state, framework, executor),
            checkpoints.forked_pid(turn.state, framework, executor),
        ),
        StartTimer(
            ("subscribe", event.container_id.value),
            turn.state.config.executor_registration_timeout_s,
            RegistrationTimeout(*key),
        ),
    )


def launched(turn: Turn, event: ContainerLaunched) -> None:
    """The container started, or will never."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if event.error or not event.supported:
        turn.count("slave/container_launch_errors")
    if found is None:
        if event.supported and not event.error:
            turn.do(DestroyContainer(event.container_id))
        return
    executor = found[1]
    if event.error:
        turn.warn(
            f"Container '{event.container_id}' for executor '{event.executor_id}' of framework"
            f" {event.framework_id} failed to start: {event.error}"
        )
        if executor.pending_termination is None:
            executor.pending_termination = reasons.LAUNCH_FAILED.saying(
                f"Failed to launch container: {event.error}"
            )
        if executor.phase is not ExecutorPhase.TERMINATED:
            executor.phase = ExecutorPhase.TERMINATING
        return
    if event.supported and executor.phase is ExecutorPhase.TERMINATING:
        turn.do(DestroyContainer(event.container_id))


def subscribed(turn: Turn, event: ExecutorSubscribed) -> None:
    """An executor opened a stream: for the first time, or again."""
    found = live(turn, event.framework_id, event.executor_id)
    if found is None:
        turn.warn(
            f"Shutting down executor '{event.executor_id}' of framework {event.framework_id}"
            " because it, its framework or the agent is terminating"
        )
        tell.stream_turned_away(turn, event.stream_id)
        return
    framework, executor = found
    turn.info(
        f"Received Subscribe request for HTTP executor '{event.executor_id}' of framework"
        f" {event.framework_id}"
    )
    if executor.stream_id is not None:
        turn.do(CloseExecutorStream(executor.stream_id))
    executor.stream_id = event.stream_id
    executor.uses_http = True
    executor.pid = executor.recovered_pid = ""
    begin(turn, executor)
    checkpoints.http_executor(turn, framework, executor)
    known = {task.task_id.value for task in event.subscribe.unacknowledged_tasks}
    if not go_on(turn, framework, executor, known):
        return
    tell.registered(turn, framework, executor)
    for update in event.subscribe.unacknowledged_updates:
        sent = devolve(update.status, pb.TaskStatus)
        reports.executor_update(turn, ExecutorUpdate(event.framework_id, event.executor_id, sent))
    if event.executor_id in framework.executors:
        status.advance(turn, framework, executor)


def live(
    turn: Turn, framework_id: FrameworkId, executor_id: ExecutorId
) -> tuple[Framework, Executor] | None:
    """Return an executor that may be told something, unless it or what it belongs to ends."""
    framework = turn.state.frameworks.get(framework_id)
    executor = None if framework is None else framework.executors.get(executor_id)
    if (
        framework is None
        or executor is None
        or turn.state.phase is AgentPhase.TERMINATING
        or framework.phase is FrameworkPhase.TERMINATING
        or executor.phase not in _LIVE
    ):
        return None
    return framework, executor


def believable(turn: Turn, *named: Executor | None) -> bool:
    """Whether a libprocess message in the name of executors may be theirs.

    Where executors prove who they are, it can be only that of those known to speak this way.
    """
    if not turn.state.config.authenticate_executors:
        return True
    known = [each for each in named if each is not None]
    return bool(known) and all(each.pid or each.recovered_pid for each in known)


def begin(turn: Turn, executor: Executor) -> None:
    """An executor is there, for the first time or again."""
    executor.phase = ExecutorPhase.RUNNING
    turn.do(CancelTimer(("subscribe", executor.container_id.value)))


def go_on(turn: Turn, framework: Framework, executor: Executor, known: Collection[str]) -> bool:
    """Report the tasks that an executor never got, of which it would know if they are in ``known``;
    say whether it has anything to do. If it never had, it is shut down.
    """
    lost = [
        task
        for task_id, task in executor.launched.items()
        if task.state == pb.TASK_STAGING and task_id not in known
    ]
    if lost:
        status.report(turn, framework, executor, lost, reasons.NEVER_DELIVERED)
    if executor.phase is ExecutorPhase.RUNNING and not (
        executor.queued or executor.ever_sent_a_task
    ):
        turn.info(f"Shutting down executor '{executor.executor_id}': it has no task to run")
        shut_down(turn, framework, executor)
    return executor.phase is ExecutorPhase.RUNNING


def registration_timeout(turn: Turn, event: RegistrationTimeout) -> None:
    """An executor is too late."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is None:
        return
    framework, executor = found
    if (
        framework.phase is FrameworkPhase.TERMINATING
        or executor.phase is not ExecutorPhase.REGISTERING
    ):
        return
    timeout_s = turn.state.config.executor_registration_timeout_s
    cause = reasons.REGISTRATION_TIMEOUT
    text = f"{cause.message} {format_duration(round(timeout_s * SECOND_NS))}"
    turn.info(f"Terminating executor '{event.executor_id}': {text}")
    executor.phase = ExecutorPhase.TERMINATING
    executor.pending_termination = cause.saying(text)
    turn.do(DestroyContainer(executor.container_id))


def shut_down(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Tell a live executor to end, and see to it after its grace period."""
    if executor.phase not in _LIVE:
        return
    turn.info(
        f"Shutting down executor '{executor.executor_id}' of framework {framework.framework_id}"
    )
    executor.phase = ExecutorPhase.TERMINATING
    tell.shut_down(turn, executor)
    turn.do(
        CancelTimer(("subscribe", executor.container_id.value)),
        StartTimer(
            ("shutdown", executor.container_id.value),
            containers.shutdown_grace_s(turn.state.config, executor),
            ShutdownTimeout(framework.framework_id, executor.executor_id, executor.container_id),
        ),
    )


def shutdown_timeout(turn: Turn, event: ShutdownTimeout) -> None:
    """An executor that was told to end is still there."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is None or found[1].phase is not ExecutorPhase.TERMINATING:
        return
    turn.info(
        f"Killing executor '{event.executor_id}' of framework {event.framework_id}: its shutdown"
        " grace period is over"
    )
    turn.do(DestroyContainer(event.container_id))


def terminated(turn: Turn, event: ContainerTerminated) -> None:
    """The container of an executor is gone."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is not None and found[1].phase is not ExecutorPhase.TERMINATED:
        _end(turn, *found, event.termination, event.error)


def container_updated(turn: Turn, event: ContainerUpdated) -> None:
    """The answer to a change of a container's resources."""
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is not None:
        containers.updated(turn, *found, event)


def exited(turn: Turn, framework_id: FrameworkId, executor_id: ExecutorId, code: int) -> None:
    """Tell the master that an executor it knows of is gone; ``code`` as from waitpid, or -1."""
    state = turn.state
    if state.agent_id is None or not state.master:
        return
    made = messages.ExitedExecutorMessage(status=code)
    made.slave_id.value = state.agent_id
    made.framework_id.value = framework_id
    made.executor_id.value = executor_id
    turn.do(Send(state.master, made))


def executor_message(turn: Turn, event: ExecutorMessage) -> None:
    """Pass data of an executor on to its framework."""
    state = turn.state
    framework = state.frameworks.get(event.framework_id)
    if (
        state.phase is not AgentPhase.RUNNING
        or state.agent_id is None
        or framework is None
        or framework.phase is FrameworkPhase.TERMINATING
        or (event.unproven and not believable(turn, framework.executors.get(event.executor_id)))
    ):
        turn.count("slave/invalid_framework_messages")
        turn.warn(
            f"Dropping message of executor '{event.executor_id}' for framework"
            f" {event.framework_id}: the agent or the framework is not running, or it is somebody"
            " else's"
        )
        return
    made = messages.ExecutorToFrameworkMessage(data=event.data)
    made.slave_id.value = state.agent_id
    made.framework_id.value = event.framework_id
    made.executor_id.value = event.executor_id
    turn.count("slave/valid_framework_messages")
    turn.do(Send(framework.pid or state.master, made))


def framework_message(turn: Turn, event: FrameworkToExecutor) -> None:
    """Pass data of a framework on to its executor."""
    state = turn.state
    framework = state.frameworks.get(event.framework_id)
    executor = state.find_executor(event.framework_id, event.executor_id)
    if (
        state.phase is not AgentPhase.RUNNING
        or framework is None
        or framework.phase is FrameworkPhase.TERMINATING
        or executor is None
        or executor.phase is not ExecutorPhase.RUNNING
    ):
        turn.count("slave/invalid_framework_messages")
        turn.warn(
            f"Dropping message of framework {event.framework_id} for executor"
            f" '{event.executor_id}': one of them or the agent is not running"
        )
        return
    turn.count("slave/valid_framework_messages")
    tell.data(turn, executor, event.data)


def _end(
    turn: Turn,
    framework: Framework,
    executor: Executor,
    termination: slave.ContainerTermination | None,
    error: str,
) -> None:
    """Everything that follows from the end of a run."""
    state = turn.state
    turn.count("slave/executors_terminated")
    code = -1
    if termination is not None and termination.HasField("status"):
        code = termination.status
    turn.info(
        f"Executor '{executor.executor_id}' of framework {framework.framework_id} terminated"
        f" (container {executor.container_id}, wait status {code})"
    )
    cause = _cause(executor, termination, error)
    executor.phase = ExecutorPhase.TERMINATED
    executor.termination = termination or slave.ContainerTermination()
    cancel_timers(turn, executor)
    if executor.stream_id is not None:
        turn.do(CloseExecutorStream(executor.stream_id))
    tasks = [*executor.launched.values(), *executor.queued.values()]
    if framework.phase is FrameworkPhase.TERMINATING:
        for task in tasks:
            task.place = TaskPlace.TERMINATED
            executor.terminated[task.task_id] = task
        executor.launched.clear()
        executor.queued.clear()
    limited = () if termination is None else termination.limited_resources
    status.report(turn, framework, executor, tasks, cause, tuple(limited))
    if not executor.generated:
        exited(turn, framework.framework_id, executor.executor_id, code)
    if framework.executors.get(executor.executor_id) is not executor:
        # Nobody is to hear of its tasks, and so it is gone already.
        return
    if (
        state.phase is AgentPhase.TERMINATING
        or framework.phase is FrameworkPhase.TERMINATING
        or not executor.incomplete
    ):
        frameworks.remove_executor(turn, framework, executor)


def _cause(executor: Executor, termination: slave.ContainerTermination | None, error: str) -> Cause:
    pending = executor.pending_termination
    cause = pending or reasons.EXECUTOR_ENDED
    texts = [] if pending is None else [pending.message]
    if termination is None:
        if executor.launch_requested:
            texts.append(
                f"Abnormal executor termination: {error}" if error else reasons.UNKNOWN_CONTAINER
            )
    else:
        if termination.HasField("state"):
            cause = replace(cause, given_state=termination.state)
        if termination.HasField("reason"):
            cause = replace(cause, reason=termination.reason)
        if termination.message:
            texts.append(termination.message)
    return cause.saying("; ".join(texts) or reasons.EXECUTOR_ENDED.message)


def cancel_timers(turn: Turn, executor: Executor) -> None:
    """Forget the timers of a run."""
    turn.do(
        CancelTimer(("subscribe", executor.container_id.value)),
        CancelTimer(("shutdown", executor.container_id.value)),
    )


def task_not_stored(turn: Turn, event: TaskNotStored) -> None:
    """Keep the task later, if it is still there."""
    if _live_task(turn, event) is not None:
        checkpoints.task_later(turn, event)


def task_store_due(turn: Turn, event: TaskStoreDue) -> None:
    """Try again to keep a task."""
    found = _live_task(turn, event)
    if found is not None:
        checkpoints.task(turn, *found)


def _live_task(
    turn: Turn, event: TaskNotStored | TaskStoreDue
) -> tuple[Framework, Executor, Task] | None:
    found = run_of(turn, event.framework_id, event.executor_id, event.container_id)
    task = None if found is None else found[1].task(event.task_id)
    return None if found is None or task is None else (*found, task)


def _refuse_all(turn: Turn, framework: Framework, executor: Executor, cause: Cause) -> None:
    """Undo a run that has no sandbox."""
    turn.warn(f"Container {executor.container_id} is not launched: {cause.message}")
    framework.drop_executor(executor)
    cancel_timers(turn, executor)
    if framework.info.checkpoint:
        # Its tasks are on disk, and may be launched elsewhere.
        checkpoints.completed(turn, framework, executor)
        turn.do(CollectGarbage((checkpoints.run_dir(turn.state, executor),)))
    for task_id in list(executor.queued):
        status.refuse(turn, framework, executor.executor_id, task_id, cause)
    if not executor.generated:
        exited(turn, framework.framework_id, executor.executor_id, -1)
    frameworks.remove_if_idle(turn, framework)
