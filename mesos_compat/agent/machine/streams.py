# SPDX-License-Identifier: Apache-2.0
"""Status update streams: one queue per task, its head repeated until it is acknowledged.

Streams with a file were written there before; their acknowledgements are, too.

Source: spec ``agent-master`` 11.2 to 11.4, 19.
"""

from __future__ import annotations

import os

from mesos_compat.agent.machine import checkpoints
from mesos_compat.agent.machine.effects import (
    CancelTimer,
    CollectGarbage,
    Send,
    StartTimer,
    TimerKey,
)
from mesos_compat.agent.machine.events import RetryDue
from mesos_compat.agent.machine.state import TERMINAL, AgentPhase, AgentState
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import MAX_ACKNOWLEDGED, UpdateStream
from mesos_compat.model.ids import FrameworkId, TaskId
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: Seconds until a head is sent for the second time; doubles from then on.
FIRST_RETRY_S = 10.0
LAST_RETRY_S = 600.0
#: What a stream takes of an executor until the scheduler acknowledges some, and how many streams
#: executors can begin for tasks that nobody knows.
MAX_UPDATES = 10_000
MAX_UPDATE_BYTES = 64 * 1024 * 1024
MAX_STREAMS = 10_000


def enqueue(turn: Turn, update: messages.StatusUpdate, path: str = "") -> None:
    """Take over an update; a UUID that the stream knows already is no news. ``path`` is the file
    that has it.
    """
    key = FrameworkId(update.framework_id.value), TaskId(update.status.task_id.value)
    stream = turn.state.streams.get(key)
    if stream is None:
        stream = turn.state.streams[key] = UpdateStream(*key, path=path)
    if update.uuid in stream.received:
        return
    stream.received.add(update.uuid)
    stream.queue.append(update)
    stream.queued_bytes += update.ByteSize()
    if len(stream.queue) == 1:
        _forward(turn, stream)


def full(state: AgentState, framework_id: FrameworkId, task_id: TaskId) -> bool:
    """Whether no more updates of executors are taken for a task."""
    stream = state.streams.get((framework_id, task_id))
    if stream is None:
        return len(state.streams) >= MAX_STREAMS
    return len(stream.queue) >= MAX_UPDATES or stream.queued_bytes >= MAX_UPDATE_BYTES


def acknowledge(
    turn: Turn, framework_id: FrameworkId, task_id: TaskId, uuid: bytes
) -> messages.StatusUpdate | None:
    """Let go of the head and send the next one; return what was acknowledged, if it was."""
    stream = turn.state.streams.get((framework_id, task_id))
    if stream is None:
        turn.warn(
            f"Cannot find the task status update stream for task {task_id} of framework"
            f" {framework_id}: acknowledgement ignored"
        )
        return None
    if uuid in stream.acknowledged:
        turn.warn(
            f"Duplicate task status acknowledgement for task {task_id} of framework {framework_id}"
        )
        return None
    head = stream.queue[0]
    if head.uuid != uuid:
        turn.warn(
            f"Unexpected task status acknowledgement for task {task_id} of framework"
            f" {framework_id} ignored"
        )
        return None
    stream.queue.popleft()
    stream.queued_bytes -= head.ByteSize()
    stream.acknowledged[uuid] = None
    if len(stream.acknowledged) > MAX_ACKNOWLEDGED:
        oldest = next(iter(stream.acknowledged))
        del stream.acknowledged[oldest]
        stream.received.discard(oldest)
    if stream.path:
        checkpoints.acknowledgement(turn, stream.path, uuid)
    if head.status.state in TERMINAL:
        _close(turn, stream)
        if stream.path:
            turn.do(CollectGarbage((os.path.dirname(stream.path),)))
    elif stream.queue:
        _forward(turn, stream)
    else:
        turn.do(CancelTimer(_key(stream)))
        stream.retry_s = None
    return head


def pause(turn: Turn) -> None:
    """Send nothing until ``resume``."""
    turn.state.streams_paused = True
    for stream in turn.state.streams.values():
        if stream.retry_s is not None:
            turn.do(CancelTimer(_key(stream)))
            stream.retry_s = None


def resume(turn: Turn) -> None:
    """Send the head of every stream now, and go on sending."""
    turn.state.streams_paused = False
    for stream in turn.state.streams.values():
        if stream.queue:
            _forward(turn, stream)


def retry_due(turn: Turn, event: RetryDue) -> None:
    """Send a head again that was not acknowledged in time."""
    stream = turn.state.streams.get((event.framework_id, event.task_id))
    if stream is None or turn.state.streams_paused or stream.retry_s is None:
        return
    if not stream.queue or stream.queue[0].uuid != event.uuid:
        return
    _send(turn, stream, min(stream.retry_s * 2, LAST_RETRY_S))


def close_framework(turn: Turn, framework_id: FrameworkId) -> None:
    """Drop all streams of a framework."""
    for stream in [s for s in turn.state.streams.values() if s.framework_id == framework_id]:
        _close(turn, stream)


def close(turn: Turn, framework_id: FrameworkId, task_id: TaskId) -> None:
    """Drop the stream of a task, if there is one."""
    stream = turn.state.streams.get((framework_id, task_id))
    if stream is not None:
        _close(turn, stream)


def _close(turn: Turn, stream: UpdateStream) -> None:
    del turn.state.streams[stream.framework_id, stream.task_id]
    if stream.retry_s is not None:
        turn.do(CancelTimer(_key(stream)))


def _forward(turn: Turn, stream: UpdateStream) -> None:
    if not turn.state.streams_paused:
        _send(turn, stream, FIRST_RETRY_S)


def _send(turn: Turn, stream: UpdateStream, retry_s: float) -> None:
    state = turn.state
    head = stream.queue[0]
    stream.retry_s = retry_s
    turn.do(
        StartTimer(_key(stream), retry_s, RetryDue(stream.framework_id, stream.task_id, head.uuid))
    )
    if state.phase is not AgentPhase.RUNNING:
        return
    message = messages.StatusUpdateMessage(pid=state.config.pid)
    message.update.CopyFrom(head)
    # Masters abort on a status without uuid.
    message.update.status.uuid = head.uuid
    message.update.ClearField("latest_state")
    framework = state.frameworks.get(stream.framework_id)
    executor = None if framework is None else framework.executor_of(stream.task_id)
    if executor is not None:
        task = executor.launched.get(stream.task_id) or executor.terminated.get(stream.task_id)
        if task is not None:
            message.update.latest_state = task.state
            task.status_update_state = head.status.state
            task.status_update_uuid = head.uuid
    turn.do(Send(state.master, message))


def _key(stream: UpdateStream) -> TimerKey:
    return ("retry", stream.framework_id, stream.task_id)
