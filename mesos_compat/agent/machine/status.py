# SPDX-License-Identifier: Apache-2.0
"""The way of a status update from executor or agent into its stream.

Updates of tasks that an executor owns go one by one through that executor's queue: container
status, task state, container resources, stream, acknowledgement. Only the first of the queue is
being worked on, so they keep their order and the first terminal one wins.

Source: spec ``agent-master`` 11.1, ``executors`` 4.7.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.agent.machine import (
    checkpoints,
    containers,
    draining,
    executors,
    frameworks,
    streams,
    tell,
)
from mesos_compat.agent.machine.effects import ReadContainerStatus
from mesos_compat.agent.machine.events import (
    ContainerStatusRead,
    StoreDue,
    UpdateAcknowledged,
    UpdateStored,
)
from mesos_compat.agent.machine.state import (
    MAX_STATUSES,
    TERMINAL,
    AgentPhase,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
    TaskPlace,
    Waiting,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import IncomingUpdate
from mesos_compat.agent.meta import layout
from mesos_compat.base.errors import WireError
from mesos_compat.model import reasons
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.model.reasons import Cause
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: States whose counter grows with each task of an executor that ends so.
_COUNTED = {
    pb.TASK_FINISHED: "slave/tasks_finished",
    pb.TASK_FAILED: "slave/tasks_failed",
    pb.TASK_KILLED: "slave/tasks_killed",
    pb.TASK_LOST: "slave/tasks_lost",
    pb.TASK_GONE: "slave/tasks_gone",
}
#: The only reasons with which a status may tell limited resources.
_LIMITATIONS = frozenset(
    {
        pb.TaskStatus.REASON_CONTAINER_LIMITATION,
        pb.TaskStatus.REASON_CONTAINER_LIMITATION_DISK,
        pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY,
    }
)
_DROPPED = frozenset({pb.TASK_DROPPED, pb.TASK_LOST})


def make(
    turn: Turn,
    cause: Cause,
    framework_id: FrameworkId,
    task_id: TaskId,
    executor_id: ExecutorId | None,
    partition_aware: bool,
) -> messages.StatusUpdate:
    """Return a new update of the agent's own."""
    state = turn.state
    if state.agent_id is None:
        raise AssertionError("only a registered agent has tasks")
    token = turn.uuid().bytes
    made = messages.StatusUpdate(timestamp=turn.now, uuid=token)
    made.framework_id.value = framework_id
    made.slave_id.value = state.agent_id
    status = made.status
    status.task_id.value = task_id
    status.state = cause.state(partition_aware)
    status.source = pb.TaskStatus.SOURCE_SLAVE
    status.reason = cause.reason
    status.message = cause.message
    status.slave_id.value = state.agent_id
    status.timestamp = turn.now
    status.uuid = token
    if executor_id is not None and cause.with_executor:
        made.executor_id.value = executor_id
        status.executor_id.value = executor_id
    return made


def report(
    turn: Turn,
    framework: Framework,
    executor: Executor,
    tasks: Sequence[Task],
    cause: Cause,
    limited: Sequence[pb.Resource] = (),
) -> None:
    """Queue an update of the agent's own for each of some tasks of ``executor``; ``limited`` are
    resources whose limit the container ran into.
    """
    if framework.phase is FrameworkPhase.TERMINATING:
        return
    for task in tasks:
        update = own(turn, framework, executor.executor_id, task.task_id, cause, limited)
        executor.incoming.append(IncomingUpdate(update, from_executor=False))
    advance(turn, framework, executor)


def own(
    turn: Turn,
    framework: Framework,
    executor_id: ExecutorId | None,
    task_id: TaskId,
    cause: Cause,
    limited: Sequence[pb.Resource] = (),
) -> messages.StatusUpdate:
    """Return a new update of the agent's own, as the framework gets it."""
    update = make(
        turn, cause, framework.framework_id, task_id, executor_id, framework.partition_aware
    )
    if limited and cause.reason in _LIMITATIONS:
        update.status.limitation.resources.extend(limited)
    draining.rewrite(turn, framework, update)
    decorate(turn, update)
    turn.count("slave/valid_status_updates")
    return update


def refuse(
    turn: Turn,
    framework: Framework,
    executor_id: ExecutorId | None,
    task_id: TaskId,
    cause: Cause,
) -> None:
    """Send an update of the agent's own for a task that no executor owns."""
    if framework.phase is not FrameworkPhase.TERMINATING:
        streams.enqueue(turn, own(turn, framework, executor_id, task_id, cause))


def container_status_read(turn: Turn, event: ContainerStatusRead) -> None:
    """The container status for the update at work is here, or cannot be had."""
    found = executors.run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is None:
        return
    framework, executor = found
    if executor.waiting is not Waiting.STATUS or not executor.incoming:
        return
    executor.waiting = None
    head = executor.incoming.head
    if event.status is not None:
        _add_container_status(turn, head.update, event.status)
    _apply(turn, framework, executor, head)
    advance(turn, framework, executor)


def update_applied(turn: Turn, framework: Framework, executor: Executor) -> None:
    """The container has the resources that the tasks left over; pass the terminal update on."""
    executor.waiting = None
    if executor.incoming:
        _pass_on(turn, framework, executor)
    advance(turn, framework, executor)


def update_stored(turn: Turn, event: UpdateStored) -> None:
    """The update at work is on disk, or it stays where it is until it can be written."""
    found = _storing(turn, event)
    if found is None:
        return
    framework, executor = found
    if not event.success:
        turn.warn(f"A status update of executor '{event.executor_id}' has to wait for the disk")
        checkpoints.update_later(turn, event)
        return
    executor.waiting = None
    _hand_over(turn, framework, executor)
    advance(turn, framework, executor)


def store_due(turn: Turn, event: StoreDue) -> None:
    """Try again to write the update at work."""
    found = _storing(turn, event)
    if found is not None:
        checkpoints.update(turn, *found, found[1].incoming.head.update)


def _storing(turn: Turn, event: UpdateStored | StoreDue) -> tuple[Framework, Executor] | None:
    found = executors.run_of(turn, event.framework_id, event.executor_id, event.container_id)
    if found is None or found[1].waiting is not Waiting.STORE or not found[1].incoming:
        return None
    return found


def advance(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Work on the executor's updates, then on its queued tasks, until something has to be waited
    for or nothing is left.
    """
    while executor.waiting is None and executor.incoming:
        head = executor.incoming.head
        if _needs_container_status(executor, head):
            executor.waiting = Waiting.STATUS
            turn.do(
                ReadContainerStatus(
                    framework.framework_id,
                    executor.executor_id,
                    executor.container_id,
                    _container_of(executor, head.update.status),
                )
            )
        else:
            _apply(turn, framework, executor, head)
    if executor.waiting is not None or executor.phase is not ExecutorPhase.RUNNING:
        return
    if executor.queued:
        containers.deliver(turn, framework, executor)
    elif not executor.ever_sent_a_task:
        # All its tasks were killed before it got any.
        executors.shut_down(turn, framework, executor)


def _forgotten(framework: Framework) -> pb.TaskState:
    """What masters say of a task that they do not know."""
    return pb.TASK_GONE if framework.partition_aware else pb.TASK_LOST


def acknowledged(turn: Turn, event: UpdateAcknowledged) -> None:
    """The scheduler has an update."""
    state = turn.state
    current = event.sender == state.master and state.phase is AgentPhase.RUNNING
    if event.sender.startswith("master") and not current:
        turn.warn(f"Ignoring status update acknowledgement from {event.sender}: not our master")
        return
    if event.agent_id != state.agent_id:
        turn.warn(f"Ignoring status update acknowledgement for agent {event.agent_id}")
        return
    update = streams.acknowledge(turn, event.framework_id, event.task_id, event.uuid)
    if update is None or update.status.state not in TERMINAL:
        return
    framework = state.frameworks.get(event.framework_id)
    if framework is None:
        return
    executor = framework.executor_of(event.task_id)
    if executor is None or event.task_id not in executor.terminated:
        return
    complete(turn, framework, executor, executor.terminated[event.task_id])


def complete(turn: Turn, framework: Framework, executor: Executor, task: Task) -> None:
    """A task is over, and whoever is to know that knows it."""
    del executor.terminated[task.task_id]
    del framework.homes[task.task_id]
    task.place = TaskPlace.COMPLETED
    if task.disowned:
        task.state = _forgotten(framework)
    executor.completed.append(task)
    if executor.phase is ExecutorPhase.TERMINATED and not executor.incomplete:
        frameworks.remove_executor(turn, framework, executor)


def decorate(turn: Turn, update: messages.StatusUpdate) -> None:
    """Let hooks change labels and container status of an update of ours or a copy."""
    decorators = turn.state.config.decorators
    if decorators is not None:
        decorated = decorators.task_status(update.framework_id.value, update.status)
        update.status.CopyFrom(decorated)


def _needs_container_status(executor: Executor, head: IncomingUpdate) -> bool:
    if executor.phase is ExecutorPhase.TERMINATED:
        return False
    if TaskId(head.update.status.task_id.value) not in executor.launched:
        return False
    return head.from_executor or head.update.status.state not in _DROPPED


def _container_of(executor: Executor, status: pb.TaskStatus) -> ContainerId:
    if status.container_status.HasField("container_id"):
        try:
            return ContainerId.of(status.container_status.container_id)
        except WireError:
            return executor.container_id
    return executor.container_id


def _add_container_status(
    turn: Turn, update: messages.StatusUpdate, found: pb.ContainerStatus
) -> None:
    """Complete an update, which is the machine's own from its arrival on."""
    merged = update.status.container_status
    merged.MergeFrom(found)
    if not merged.network_infos:
        address = merged.network_infos.add().ip_addresses.add()
        address.ip_address = turn.state.config.ip


def _apply(turn: Turn, framework: Framework, executor: Executor, head: IncomingUpdate) -> None:
    """Change the task; then pass the update on, at once or when the container is adjusted."""
    status = head.update.status
    task_id = TaskId(status.task_id.value)
    task = executor.queued.get(task_id) or executor.launched.get(task_id)
    terminal = status.state in TERMINAL
    if _is_known(turn, head.update):
        executor.incoming.popleft()
        acknowledge_executor(turn, executor, head)
        return
    if task is None or (task.place is TaskPlace.QUEUED and not terminal):
        executor.incoming.popleft()
        turn.warn(
            f"Ignoring {pb.TaskState.Name(status.state)} for task {task_id} of framework"
            f" {framework.framework_id}: the task is"
            f" {'not known' if task is None else 'not launched'} or over"
        )
        acknowledge_executor(turn, executor, head)
        return
    if terminal and task.disowned:
        # That is what its framework was told, and what is kept.
        status.state = _forgotten(framework)
    record(task, status)
    if not terminal:
        _pass_on(turn, framework, executor)
        return
    if task.place is TaskPlace.QUEUED and head.from_executor:
        _end_group(turn, framework, executor, task)
    place = executor.queued if task.place is TaskPlace.QUEUED else executor.launched
    del place[task_id]
    task.place = TaskPlace.TERMINATED
    executor.terminated[task_id] = task
    counter = _COUNTED.get(status.state)
    if counter is not None:
        turn.count(counter)
    if not containers.adjust(turn, executor, Waiting.TERMINAL_UPDATE):
        _pass_on(turn, framework, executor)


def _end_group(turn: Turn, framework: Framework, executor: Executor, ended: Task) -> None:
    """An executor tells the end of a task that it was never given: nor are the others given."""
    for task in executor.group_of(ended):
        if task is not ended:
            cause = reasons.KILLED_BEFORE_DELIVERY
            update = own(turn, framework, executor.executor_id, task.task_id, cause)
            executor.incoming.append(IncomingUpdate(update, from_executor=False))


def record(task: Task, status: pb.TaskStatus) -> None:
    """Give a task its newest status."""
    if task.statuses and task.statuses[-1].state == status.state:
        task.statuses.pop()
    if status.HasField("data"):
        # For the scheduler only, and of any size.
        kept = pb.TaskStatus()
        kept.CopyFrom(status)
        kept.ClearField("data")
        status = kept
    task.statuses.append(status)
    del task.statuses[:-MAX_STATUSES]
    task.state = status.state


def _is_known(turn: Turn, update: messages.StatusUpdate) -> bool:
    key = FrameworkId(update.framework_id.value), TaskId(update.status.task_id.value)
    stream = turn.state.streams.get(key)
    return stream is not None and update.uuid in stream.received


def _pass_on(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Give the update at work to its stream, after it was stored if the framework wants that."""
    if framework.info.checkpoint:
        executor.waiting = Waiting.STORE
        checkpoints.update(turn, framework, executor, executor.incoming.head.update)
    else:
        _hand_over(turn, framework, executor)


def _hand_over(turn: Turn, framework: Framework, executor: Executor) -> None:
    head = executor.incoming.popleft()
    task_id = TaskId(head.update.status.task_id.value)
    task = executor.task(task_id)
    if task is None or task.disowned:
        acknowledge_executor(turn, executor, head)
        if task is not None and task.place is TaskPlace.TERMINATED:
            complete(turn, framework, executor, task)
        return
    path = ""
    if framework.info.checkpoint:
        path = layout.task_updates(checkpoints.task_dir(turn.state, executor, task_id))
    streams.enqueue(turn, head.update, path)
    acknowledge_executor(turn, executor, head)


def acknowledge_executor(turn: Turn, executor: Executor | None, incoming: IncomingUpdate) -> None:
    """Tell whoever sent an update that it is safe."""
    if not incoming.from_executor:
        return
    if incoming.pid:
        tell.acknowledged_at(turn, incoming.pid, incoming.update)
    elif executor is not None and executor.phase is not ExecutorPhase.TERMINATED:
        tell.acknowledged(turn, executor, incoming.update)
