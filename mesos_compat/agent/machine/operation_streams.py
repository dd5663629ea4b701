# SPDX-License-Identifier: Apache-2.0
"""Update streams of operations: one queue each, its head repeated until it is acknowledged.

What is in a stream was written to its file before.

Source: spec ``agent-master`` 13.3.
"""

from __future__ import annotations

from mesos_compat.agent.machine import abilities
from mesos_compat.agent.machine.effects import CancelTimer, Send, StartTimer, TimerKey
from mesos_compat.agent.machine.events import OperationRetryDue
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.agent.machine.streams import FIRST_RETRY_S, LAST_RETRY_S
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import OperationStream
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages


def enqueue(turn: Turn, update: messages.UpdateOperationStatusMessage) -> None:
    """Take over an update."""
    uuid = update.operation_uuid.value
    stream = turn.state.operation_streams.setdefault(uuid, OperationStream(uuid))
    stream.queue.append(update)
    if len(stream.queue) == 1:
        _forward(turn, stream)


def acknowledge(turn: Turn, uuid: bytes, status: bytes) -> bool:
    """Let go of the head; whether it was the one that was acknowledged."""
    stream = turn.state.operation_streams.get(uuid)
    if stream is None or stream.queue[0].status.uuid.value != status:
        turn.warn(f"Unexpected acknowledgement of operation {uuid.hex()} ignored")
        return False
    head = stream.queue.popleft()
    stream.acknowledged.add(head.status.uuid.value)
    turn.do(CancelTimer(_key(stream)))
    stream.retry_s = None
    if stream.queue:
        _forward(turn, stream)
    else:
        del turn.state.operation_streams[uuid]
    return True


def pause(turn: Turn) -> None:
    """Send nothing until ``resume``."""
    for stream in turn.state.operation_streams.values():
        if stream.retry_s is not None:
            turn.do(CancelTimer(_key(stream)))
            stream.retry_s = None


def resume(turn: Turn) -> None:
    """Send the head of every stream now, if this master may be sent any."""
    for stream in turn.state.operation_streams.values():
        _forward(turn, stream)


def retry_due(turn: Turn, event: OperationRetryDue) -> None:
    """Send a head again that was not acknowledged in time."""
    stream = turn.state.operation_streams.get(event.operation)
    if stream is None or stream.retry_s is None:
        return
    if stream.queue[0].status.uuid.value == event.status:
        _send(turn, stream, min(stream.retry_s * 2, LAST_RETRY_S))


def _forward(turn: Turn, stream: OperationStream) -> None:
    if turn.state.phase is AgentPhase.RUNNING and abilities.feedback(turn.state):
        _send(turn, stream, FIRST_RETRY_S)


def _send(turn: Turn, stream: OperationStream, retry_s: float) -> None:
    head = stream.queue[0]
    stream.retry_s = retry_s
    event = OperationRetryDue(stream.uuid, head.status.uuid.value)
    message = messages.UpdateOperationStatusMessage()
    message.CopyFrom(head)
    message.latest_status.CopyFrom(stream.queue[-1].status)
    turn.do(StartTimer(_key(stream), retry_s, event), Send(turn.state.master, message))


def _key(stream: OperationStream) -> TimerKey:
    return ("operation", stream.uuid.hex())
