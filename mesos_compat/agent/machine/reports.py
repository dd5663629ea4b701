# SPDX-License-Identifier: Apache-2.0
"""Status updates as executors send them: checked and brought into one form.

Those with the HTTP API are wrapped; messages come wrapped, but what the agent knows better is laid
over. Nothing of an update is trusted; who sends it is asked only where executors have to prove who
they are, as any executor of a framework may report any task.

Deviation: then only executors that are connected by libprocess report by message; upstream lets
everybody.

Source: spec ``agent-master`` 11.1; ``executors`` 1.5, 2.4, 4.7.
"""

from __future__ import annotations

import math
import uuid

from mesos_compat.agent.machine import draining, executors, status, streams
from mesos_compat.agent.machine.events import ExecutorUpdate, StatusUpdateSent
from mesos_compat.agent.machine.state import Executor, Framework, FrameworkPhase
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import IncomingUpdate
from mesos_compat.model.ids import ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: States that masters give, and some of which make a master abort if an agent sends them.
_NOT_FOR_EXECUTORS = frozenset({pb.TASK_UNREACHABLE, pb.TASK_UNKNOWN, pb.TASK_GONE_BY_OPERATOR})


def executor_update(turn: Turn, event: ExecutorUpdate) -> None:
    """An executor with the HTTP API reports a task."""
    made = messages.StatusUpdate(timestamp=turn.now)
    made.framework_id.value = event.framework_id
    made.slave_id.value = turn.state.agent_id or ""
    made.status.CopyFrom(event.status)
    if event.status.HasField("uuid"):
        made.uuid = event.status.uuid
    if event.status.HasField("executor_id"):
        made.executor_id.CopyFrom(event.status.executor_id)
    if event.status.HasField("timestamp"):
        made.timestamp = event.status.timestamp
    made.status.timestamp = made.timestamp
    if not event.status.HasField("slave_id"):
        made.status.slave_id.CopyFrom(made.slave_id)
    made.status.source = pb.TaskStatus.SOURCE_EXECUTOR
    _take(turn, IncomingUpdate(made, from_executor=True), event.executor_id)


def status_update(turn: Turn, event: StatusUpdateSent) -> None:
    """An executor that speaks libprocess, or somebody else, reports a task."""
    made = messages.StatusUpdate()
    made.CopyFrom(event.update)
    made.ClearField("latest_state")
    # What nobody wants to be acknowledged counts as the agent's own, as with upstream.
    source = pb.TaskStatus.SOURCE_EXECUTOR if event.pid else pb.TaskStatus.SOURCE_SLAVE
    made.status.source = source
    made.status.uuid = made.uuid
    if made.HasField("executor_id"):
        made.status.executor_id.CopyFrom(made.executor_id)
    incoming = IncomingUpdate(made, from_executor=bool(event.pid), pid=event.pid)
    _take(turn, incoming, ExecutorId(made.executor_id.value), unproven=True)


def _take(
    turn: Turn, incoming: IncomingUpdate, executor_id: ExecutorId, unproven: bool = False
) -> None:
    """Check an update of ours, complete it, and give it to the executor that owns the task."""
    state, update = turn.state, incoming.update
    framework_id = FrameworkId(update.framework_id.value)
    task_id = TaskId(update.status.task_id.value)
    framework = state.frameworks.get(framework_id)
    executor = None if framework is None else framework.executor_of(task_id)
    _bound_times(turn, update)
    why = _unusable(turn, update, framework)
    if not why and _full(turn, executor, framework_id, task_id):
        why = f"too many updates of task {task_id} wait"
    sender = None if framework is None else framework.executors.get(executor_id)
    if unproven and not executors.believable(turn, executor, sender):
        why = "it is not its executor that says so"
    if why or framework is None:
        turn.count("slave/invalid_status_updates")
        turn.warn(
            f"Ignoring status update of executor {executor_id} of framework {framework_id}: {why}"
        )
        return
    turn.count("slave/valid_status_updates")
    draining.rewrite(turn, framework, update)
    status.decorate(turn, update)
    if executor is None and sender is not None and _was_completed(sender, update):
        status.acknowledge_executor(turn, sender, incoming)
        return
    turn.info(
        f"Handling status update {pb.TaskState.Name(update.status.state)}"
        f" (Status UUID: {uuid.UUID(bytes=update.uuid)}) for task {task_id} of framework"
        f" {framework_id}"
    )
    if update.status.state == pb.TASK_STAGING and executor is not None:
        turn.warn(f"Executor {executor_id} sent TASK_STAGING: shutting it down")
        executors.shut_down(turn, framework, executor)
    elif executor is None:
        streams.enqueue(turn, update)
        if incoming.pid:
            status.acknowledge_executor(turn, None, incoming)
    else:
        executor.incoming.append(incoming)
        status.advance(turn, framework, executor)


def _bound_times(turn: Turn, update: messages.StatusUpdate) -> None:
    """Masters print times as JSON, which knows finite numbers only."""
    if not math.isfinite(update.timestamp):
        update.timestamp = turn.now
    if not math.isfinite(update.status.timestamp):
        update.status.timestamp = update.timestamp


def _unusable(turn: Turn, update: messages.StatusUpdate, framework: Framework | None) -> str:
    if len(update.uuid) != 16:
        return "it has no uuid"
    if update.status.state in _NOT_FOR_EXECUTORS:
        return f"no executor can know {pb.TaskState.Name(update.status.state)}"
    here = turn.state.agent_id
    if here is None or {update.slave_id.value, update.status.slave_id.value} != {here}:
        return "it is for another agent"
    if framework is None:
        return "the framework is unknown"
    if framework.phase is FrameworkPhase.TERMINATING:
        return "the framework is terminating"
    return ""


def _full(
    turn: Turn, executor: Executor | None, framework_id: FrameworkId, task_id: TaskId
) -> bool:
    """Whether an executor is far ahead of its scheduler. What is not taken is not acknowledged, so
    the executor keeps it and tells it again when it subscribes.

    Deviation: upstream takes updates until its memory ends.
    """
    if executor is not None and (
        len(executor.incoming) >= streams.MAX_UPDATES
        or executor.incoming.bytes >= streams.MAX_UPDATE_BYTES
    ):
        return True
    known = executor is not None and (framework_id, task_id) not in turn.state.streams
    return not known and streams.full(turn.state, framework_id, task_id)


def _was_completed(executor: Executor, update: messages.StatusUpdate) -> bool:
    """Whether the scheduler has this very update already, and it was the task's last.

    So has it an update that follows TASK_KILLING, if that was told as the end (14.1). Of a task
    that no master knows it is to have none.
    """
    gone = update.status.state == pb.TASK_GONE_BY_OPERATOR
    return any(
        task.task_id == update.status.task_id.value
        and (
            task.disowned
            or (gone and task.state == pb.TASK_GONE_BY_OPERATOR)
            or any(known.uuid == update.uuid for known in task.statuses)
        )
        for task in executor.completed
    )
