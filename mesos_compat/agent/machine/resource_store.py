# SPDX-License-Identifier: Apache-2.0
"""Reservations, volumes and operations on their way to disk: one change after the other.

The removal of a volume can take minutes. What comes meanwhile counts at once, is stored after
that, and is told when it is stored. Containers that want volumes which are not there yet wait for
them. A change that fails is tried again as it is, before any other, so that what was to be removed
is gone before something takes its place.

Source: spec ``agent-master`` 12.6 to 12.8, 13.2; ``state-and-recovery`` 7.3.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from mesos_compat.agent.machine import abilities, checkpoints, operation_streams
from mesos_compat.agent.machine.effects import (
    CancelTimer,
    Checkpoint,
    DestroyContainer,
    Effect,
    Launch,
    Send,
    StartTimer,
    UpdateContainer,
)
from mesos_compat.agent.machine.events import ResourcesStored, ResourcesStoreDue
from mesos_compat.agent.machine.state import AgentPhase, AgentState, ResourceChange
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta import resources as meta_resources
from mesos_compat.agent.meta.writes import AppendedRecord, FileWrite, RemovedDirectory
from mesos_compat.base.errors import WireError
from mesos_compat.model import operations as model
from mesos_compat.model.volumes import homes
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

_RETRY = ("resources",)
_Record = messages.UpdateOperationStatusRecord


def announced(state: AgentState, operation: pb.Operation) -> tuple[FileWrite, ...]:
    """Return what keeps an operation that is about to be applied, so that a crash amid it leaves
    what can be finished. There is nothing to be kept while another change is on its way.
    """
    if state.storing is None and _is_kept(operation):
        return _writes(state)
    return ()


def store(turn: Turn, before: Iterable[FileWrite] = ()) -> None:
    """Bring the disk to where we are, after ``before``; ResourcesStored follows."""
    state = turn.state
    if state.storing is not None:
        state.store_again = True
        return
    finished, state.finished_operations = state.finished_operations, {}
    ended, state.ended_operations = state.ended_operations, []
    writes = (
        *before,
        *_writes(state),
        *_first_records(state, finished),
        *(RemovedDirectory(directory(state, key)) for key in ended),
    )
    state.storing = ResourceChange(writes, state.checkpointed_resources, finished)
    _begin(turn, state.storing)


def stored(turn: Turn, event: ResourcesStored) -> None:
    """Tell of the operations that are over, if all is on disk now; else try again later."""
    state, change = turn.state, turn.state.storing
    if change is None:
        return
    if not event.success:
        turn.do(StartTimer(_RETRY, checkpoints.RETRY_S, ResourcesStoreDue()))
        return
    turn.do(CancelTimer(_RETRY))
    state.storing = None
    state.stored_resources = change.resources
    for key, update in change.finished.items():
        if update.status.HasField("uuid"):
            operation_streams.enqueue(turn, update)
        else:
            del state.operations[key]
            if state.phase is AgentPhase.RUNNING and abilities.operations(state):
                turn.do(Send(state.master, update))
    if state.store_again:
        state.store_again = False
        store(turn)


def store_due(turn: Turn, event: ResourcesStoreDue) -> None:
    """Try again to store what is not on disk yet."""
    if turn.state.storing is not None:
        _begin(turn, turn.state.storing)


def as_stored(state: AgentState, operation: pb.Operation) -> pb.Operation:
    """Return an operation as others may know it: none is over before that is stored."""
    key = operation.uuid.value
    storing = state.storing is not None and key in state.storing.finished
    if not storing and key not in state.finished_operations:
        return operation
    made = pb.Operation()
    made.CopyFrom(operation)
    made.ClearField("statuses")
    made.latest_status.state = pb.OPERATION_PENDING
    made.latest_status.ClearField("uuid")
    return made


def in_order(state: AgentState, asked: list[Effect]) -> list[Effect]:
    """Return what can be done of the ``asked`` effects, and of those that were held back.

    A container whose volumes are about to be made, or made anew, waits for them with all that is
    asked for after that.
    """
    if state.storing is None:
        if not state.held_effects:
            return asked
        released, state.held_effects = state.held_effects, []
        return [*released, *asked]
    waiting = {_container(effect) for effect in state.held_effects}
    ready: list[Effect] = []
    for effect in asked:
        container = _container(effect)
        if container is not None and (container in waiting or _needs_volumes(state, effect)):
            waiting.add(container)
            state.held_effects.append(effect)
        else:
            ready.append(effect)
    return ready


def directory(state: AgentState, key: bytes) -> str:
    """The meta directory of an operation."""
    parent = layout.operations(checkpoints.agent_dir(state))
    return f"{parent}/{uuid.UUID(bytes=key)}"


def updates_path(state: AgentState, key: bytes) -> str:
    """The file with the updates of an operation."""
    return layout.operation_updates(checkpoints.agent_dir(state), uuid.UUID(bytes=key))


def _begin(turn: Turn, change: ResourceChange) -> None:
    answers = ResourcesStored(success=True), ResourcesStored(success=False)
    turn.do(Checkpoint(change.writes, *answers))


def _container(effect: Effect) -> str | None:
    """The container that an effect has to wait for, if it is one whose volumes are not there."""
    match effect:
        case Launch() | UpdateContainer() | DestroyContainer():
            return effect.container_id.value
        case StartTimer(key=("subscribe", container)) | CancelTimer(key=("subscribe", container)):
            return container
    return None


def _needs_volumes(state: AgentState, effect: Effect) -> bool:
    """Whether a container is to get a volume that is not there, or not as it is to be."""
    match effect:
        case Launch(config=config):
            resources: Iterable[pb.Resource] = config.resources
        case UpdateContainer(requests=requests):
            resources = requests
        case _:
            return False
    if state.storing is None:
        return False
    work_dir = state.config.work_dir
    lasting = homes(work_dir, state.stored_resources)
    lasting &= homes(work_dir, state.storing.resources)
    lasting &= homes(work_dir, state.checkpointed_resources)
    try:
        return not homes(work_dir, resources) <= lasting
    except WireError:
        return False  # no volume can be there: that is for the containerizer to say


def _writes(state: AgentState) -> tuple[FileWrite, ...]:
    kept = [operation for operation in state.operations.values() if _is_kept(operation)]
    work_dir = state.config.work_dir
    before, after = state.stored_resources, state.checkpointed_resources
    return tuple(meta_resources.change(work_dir, before, after, kept))


def _first_records(
    state: AgentState, finished: dict[bytes, messages.UpdateOperationStatusMessage]
) -> Iterator[FileWrite]:
    for key, update in finished.items():
        if update.status.HasField("uuid"):
            record = _Record(type=_Record.UPDATE, update=update)
            yield AppendedRecord(updates_path(state, key), record, first=True, sync=True)


def _is_kept(operation: pb.Operation) -> bool:
    if operation.latest_status.state in model.TERMINAL:
        return operation.latest_status.HasField("uuid")
    return operation.info.type in (pb.Offer.Operation.CREATE, pb.Offer.Operation.DESTROY)
