# SPDX-License-Identifier: Apache-2.0
"""Reservations and persistent volumes: what masters make of the agent's resources.

Old masters send all that there shall be; newer ones send operations and, from 1.8 on, are told of
their end until they acknowledge it. Whatever changes is stored before anybody is told.

Deviations: only the present master is listened to. What does not fit the agent is ignored, and an
operation of that kind is dropped. What cannot be stored is stored later. In all these cases
upstream's agent ends.

Source: spec ``agent-master`` 12.6 to 12.8, 13; ``state-and-recovery`` 7.3, 10.7.
"""

from __future__ import annotations

import uuid

from mesos_compat.agent.machine import (
    abilities,
    draining,
    masters,
    operation_streams,
    resource_store,
)
from mesos_compat.agent.machine.effects import Checkpoint, Send
from mesos_compat.agent.machine.events import (
    ApplyOperation,
    CheckpointResources,
    OperationAcknowledged,
    ReconcileOperations,
)
from mesos_compat.agent.machine.state import AgentPhase, AgentState
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import OperationStream
from mesos_compat.agent.meta.recovered import Found, OperationFound
from mesos_compat.agent.meta.writes import AppendedRecord, RemovedDirectory
from mesos_compat.base.errors import WireError
from mesos_compat.model import operations as model
from mesos_compat.model.resources import Resources, needs_checkpointing, upgrade, upgrade_all
from mesos_compat.model.volumes import homes
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: Operations that are remembered until their end is acknowledged.
MAX_OPERATIONS = 10_000
_UUID_BYTES = 16
_Record = messages.UpdateOperationStatusRecord


def checkpoint_resources(turn: Turn, event: CheckpointResources) -> None:
    """Take over the complete set of reservations and volumes."""
    if not _acceptable(turn, event.sender, "checkpoint resources"):
        return
    wanted: list[pb.Resource] = []
    for resource in event.resources:
        made = pb.Resource()
        made.CopyFrom(resource)
        upgrade(made)
        made.ClearField("allocation_info")
        if needs_checkpointing(made):
            wanted.append(made)
    try:
        resources = Resources.of(wanted)
        _check(turn.state, resources)
    except WireError as error:
        turn.warn(f"Ignoring checkpointed resources that do not fit this agent: {error}")
        return
    if resources == Resources.of(turn.state.checkpointed_resources):
        return
    turn.state.checkpointed_resources = resources.messages()
    turn.info(f"Updated checkpointed resources to {resources}")
    resource_store.store(turn)


def apply(turn: Turn, event: ApplyOperation) -> None:
    """Carry out an operation on the agent's own resources."""
    state = turn.state
    if not _acceptable(turn, event.sender, "apply operation") or state.agent_id is None:
        return
    message = event.message
    key = message.operation_uuid.value
    if len(key) != _UUID_BYTES or key in state.operations:
        turn.warn(f"Ignoring operation {key.hex()}: it is known, or its UUID is none")
        return
    info = pb.Offer.Operation()
    info.CopyFrom(message.operation_info)
    upgrade_all(info)
    operation = pb.Operation(info=info, uuid=message.operation_uuid)
    if message.HasField("framework_id"):
        operation.framework_id.CopyFrom(message.framework_id)
    operation.slave_id.value = state.agent_id
    operation.latest_status.CopyFrom(_status(state, operation, pb.OPERATION_PENDING))
    try:
        if len(state.operations) >= MAX_OPERATIONS:
            raise WireError("too many operations are not acknowledged")
        if any(resource.HasField("provider_id") for resource in model.consumed(info)):
            raise WireError("it is about resources of a provider, of which there is none")
        resources = model.applied(state.total(), info).checkpointed()
        _check(state, resources)
    except WireError as error:
        turn.warn(f"Dropping operation {key.hex()}, which cannot be applied: {error}")
        update = _update(operation, _status(state, operation, pb.OPERATION_DROPPED))
        turn.do(Send(state.master, update))
        return
    name = pb.Offer.Operation.Type.Name(info.type)
    turn.info(f"Applying operation {uuid.UUID(bytes=key)}: {name}")
    state.operations[key] = operation
    before = resource_store.announced(state, operation)
    state.checkpointed_resources = resources.messages()
    _finish(turn, operation)
    resource_store.store(turn, before)


def acknowledged(turn: Turn, event: OperationAcknowledged) -> None:
    """Forget an operation whose end is known to who asked for it."""
    state = turn.state
    if not _acceptable(turn, event.sender, "operation status acknowledgement"):
        return
    operation = state.operations.get(event.operation)
    if operation is None or event.provider:
        turn.warn(f"Ignoring the acknowledgement of unknown operation {event.operation.hex()}")
        return
    if not operation_streams.acknowledge(turn, event.operation, event.status):
        return
    record = _Record(type=_Record.ACK)
    record.uuid.value = event.status
    turn.do(
        Checkpoint(
            (
                AppendedRecord(
                    resource_store.updates_path(state, event.operation), record, sync=True
                ),
            )
        )
    )
    if event.operation not in state.operation_streams:
        _forget(turn, event.operation)


def reconcile(turn: Turn, event: ReconcileOperations) -> None:
    """Tell the master, or a framework through it, of operations that it asks after."""
    state = turn.state
    if not _acceptable(turn, event.sender, "reconcile operations") or state.agent_id is None:
        return
    from_framework = event.message.HasField("framework_id")
    for asked in event.message.operations:
        if from_framework:
            answer = _answer_framework(state, event.message.framework_id, asked)
        else:
            answer = _answer_master(state, asked)
        if answer is not None:
            turn.do(Send(state.master, answer))


def recover(turn: Turn, found: Found) -> None:
    """Take up what an earlier process left, and finish what it began."""
    state = turn.state
    kept = found.resources.effective
    state.checkpointed_resources = [*kept.resources]
    state.stored_resources = state.checkpointed_resources
    streams = {} if found.agent is None else {each.uuid: each for each in found.agent.operations}
    dirty = False
    for operation in kept.operations:
        upgrade_all(operation)
        key = operation.uuid.value
        if state.agent_id is None or operation.slave_id.value != state.agent_id:
            dirty = True
            continue
        state.operations[key] = operation
        if operation.latest_status.state not in model.TERMINAL:
            _finish_recovered(turn, operation)
            dirty = True
            streams.pop(key, None)
        elif not _take_up(turn, operation, streams.pop(key, None)):
            del state.operations[key]
            turn.do(Checkpoint((RemovedDirectory(resource_store.directory(state, key)),)))
            dirty = True
    for key in streams:
        turn.do(Checkpoint((RemovedDirectory(resource_store.directory(state, key)),)))
    if dirty or state.finished_operations:
        resource_store.store(turn)


def _take_up(turn: Turn, operation: pb.Operation, found: OperationFound | None) -> bool:
    """Open the stream of an operation that is over; ``False`` if that was acknowledged."""
    state, key = turn.state, operation.uuid.value
    if found is None or not found.updates:
        if not operation.latest_status.HasField("uuid"):
            return False
        state.finished_operations[key] = _update(operation, operation.latest_status)
        return True
    stream = OperationStream(key, acknowledged=set(found.acknowledged))
    for update in found.updates:
        if update.status.uuid.value not in found.acknowledged:
            stream.queue.append(update)
    if not stream.queue:
        return False
    state.operation_streams[key] = stream
    return True


def _finish_recovered(turn: Turn, operation: pb.Operation) -> None:
    state = turn.state
    try:
        resources = model.applied(state.total(), operation.info).checkpointed()
        _check(state, resources)
    except WireError as error:
        turn.warn(f"Operation {operation.uuid.value.hex()} was applied already: {error}")
    else:
        state.checkpointed_resources = resources.messages()
    _finish(turn, operation, feedback=True)


def _acceptable(turn: Turn, sender: str, what: str) -> bool:
    """Before recovery is over there is nothing that could be changed."""
    if turn.state.phase is AgentPhase.RECOVERING:
        return False
    return masters.from_master(turn, sender, what)


def _check(state: AgentState, checkpointed: Resources) -> None:
    """Raise WireError if the agent cannot have these reservations and volumes."""
    Resources.of(state.config.info.resources).with_checkpointed(checkpointed)
    homes(state.config.work_dir, checkpointed)


def _finish(turn: Turn, operation: pb.Operation, *, feedback: bool | None = None) -> None:
    """Give an operation its last status, which is told once it is stored."""
    state = turn.state
    status = _status(state, operation, pb.OPERATION_FINISHED)
    if abilities.feedback(state) if feedback is None else feedback:
        status.uuid.value = turn.uuid().bytes
    operation.latest_status.CopyFrom(status)
    operation.statuses.append(status)
    state.finished_operations[operation.uuid.value] = _update(operation, status)


def _forget(turn: Turn, key: bytes) -> None:
    state = turn.state
    del state.operations[key]
    state.ended_operations.append(key)
    resource_store.store(turn)
    draining.finish(turn)


def _status(
    state: AgentState, operation: pb.Operation, value: pb.OperationState
) -> pb.OperationStatus:
    made = pb.OperationStatus(state=value)
    if operation.info.HasField("id"):
        made.operation_id.CopyFrom(operation.info.id)
    made.slave_id.CopyFrom(operation.slave_id)
    return made


def _update(
    operation: pb.Operation, status: pb.OperationStatus
) -> messages.UpdateOperationStatusMessage:
    made = messages.UpdateOperationStatusMessage(operation_uuid=operation.uuid, status=status)
    if operation.HasField("framework_id"):
        made.framework_id.CopyFrom(operation.framework_id)
    made.slave_id.CopyFrom(operation.slave_id)
    return made


def _answer_master(
    state: AgentState, asked: messages.ReconcileOperationsMessage.Operation
) -> messages.UpdateOperationStatusMessage | None:
    # Nobody but a provider can tell of its operations, and there is none.
    if asked.operation_uuid.value in state.operations or not asked.HasField("operation_uuid"):
        return None
    made = _not_known(state, asked, pb.OPERATION_DROPPED)
    made.operation_uuid.CopyFrom(asked.operation_uuid)
    return made


def _answer_framework(
    state: AgentState,
    framework_id: pb.FrameworkID,
    asked: messages.ReconcileOperationsMessage.Operation,
) -> messages.UpdateOperationStatusMessage | None:
    known = _find(state, framework_id, asked)
    if known is not None:
        known = resource_store.as_stored(state, known)
        answer = _update(known, known.latest_status)
        answer.status.ClearField("uuid")
        return answer
    if not asked.HasField("resource_provider_id"):
        return None
    made = _not_known(state, asked, pb.OPERATION_UNKNOWN)
    made.framework_id.CopyFrom(framework_id)
    if asked.HasField("operation_id"):
        made.status.operation_id.CopyFrom(asked.operation_id)
    return made


def _not_known(
    state: AgentState,
    asked: messages.ReconcileOperationsMessage.Operation,
    told: pb.OperationState,
) -> messages.UpdateOperationStatusMessage:
    """Begin the answer to a question after an operation that is not here."""
    made = messages.UpdateOperationStatusMessage()
    made.slave_id.value = made.status.slave_id.value = state.agent_id or ""
    made.status.state = told
    if asked.HasField("resource_provider_id"):
        made.status.resource_provider_id.CopyFrom(asked.resource_provider_id)
    return made


def _find(
    state: AgentState,
    framework_id: pb.FrameworkID,
    asked: messages.ReconcileOperationsMessage.Operation,
) -> pb.Operation | None:
    if asked.HasField("operation_uuid"):
        found = state.operations.get(asked.operation_uuid.value)
        if found is not None and found.framework_id == framework_id:
            return found
    for operation in state.operations.values():
        if (
            asked.HasField("operation_id")
            and operation.framework_id == framework_id
            and operation.info.id == asked.operation_id
        ):
            return operation
    return None
