# SPDX-License-Identifier: Apache-2.0
"""libprocess messages for ``slave(1)`` become events. What cannot be read is dropped with a line.

So do those for the process that authenticates at the moment, if there is one.

Source: spec ``agent-master`` 2.4, 2.7.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mesos_compat.agent.machine import events
from mesos_compat.agent.machine.events import Event
from mesos_compat.base.errors import WireError
from mesos_compat.base.log import Complaints
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model.ids import AgentId, ExecutorId, FrameworkId, TaskId, id_error
from mesos_compat.model.validate import text_error, wire_error
from mesos_compat.pb.mesos.authentication import authentication_pb2 as authentication
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

#: Reads a message of a known sender. Raises WireError or DecodeError.
Reader = Callable[[UPID, bytes], Event]

_PACKAGE = "mesos.internal."


class Inbox:
    """Where the libprocess server delivers what is addressed to the agent."""

    def __init__(
        self,
        actor_id: str,
        submit: Callable[[Event], None],
        authenticatee: Callable[[], str] = str,
    ) -> None:
        self._actor_id = actor_id
        self._submit = submit
        #: Returns the id of the process that authenticates, empty if none does.
        self._authenticatee = authenticatee
        self._complaints = Complaints(log)

    def __call__(self, sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        """Take one message; ``False`` if it is for nobody here. Never raises for what was sent."""
        if target_id == self._actor_id:
            self._take(_READERS, sender, name, body)
            return True
        if target_id and target_id == self._authenticatee():
            self._take(_authentication_readers(target_id), sender, name, body)
            return True
        return False

    def _take(self, readers: Mapping[str, Reader], sender: UPID, name: str, body: bytes) -> None:
        short = name.removeprefix(_PACKAGE)
        read = readers.get(short) if name.startswith(_PACKAGE) else None
        if read is None:
            log.debug("Ignoring unknown message from %s", sender)
            return
        try:
            event = read(sender, body)
        except (DecodeError, WireError) as error:
            self._complaints.warn("Dropping %s from %s: %s", short, sender, error)
            return
        self._submit(event)


def _parse(kind: type[M], body: bytes) -> M:
    why = wire_error(kind, body)
    if why is not None:
        raise WireError(why)
    made = kind.FromString(body)
    if not made.IsInitialized():
        raise WireError("Missing required fields")
    why = text_error(made)
    if why is not None:
        raise WireError(why)
    return made


def _checked(text: str) -> str:
    why = id_error(text)
    if why is not None:
        raise WireError(why)
    return text


def _registered(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.SlaveRegisteredMessage, body)
    agent_id = AgentId(_checked(message.slave_id.value))
    return events.AgentRegistered(str(sender), agent_id, _ping_timeout(message))


def _reregistered(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.SlaveReregisteredMessage, body)
    agent_id = AgentId(_checked(message.slave_id.value))
    return events.AgentReregistered(
        str(sender), agent_id, _ping_timeout(message), tuple(message.reconciliations)
    )


def _ping_timeout(
    message: messages.SlaveRegisteredMessage | messages.SlaveReregisteredMessage,
) -> float | None:
    connection = message.connection
    if not connection.HasField("total_ping_timeout_seconds"):
        return None
    timeout_s = connection.total_ping_timeout_seconds
    # Not a number, negative or beyond any clock: as if it was not told.
    return timeout_s if 0 < timeout_s < 1e9 else None


def _ping(sender: UPID, body: bytes) -> Event:
    return events.Ping(_answerable(sender), _parse(messages.PingSlaveMessage, body).connected)


def _shutdown(sender: UPID, body: bytes) -> Event:
    return events.ShutdownReceived(str(sender), _parse(messages.ShutdownMessage, body).message)


def _drain(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.DrainSlaveMessage, body)
    if message.config.max_grace_period.nanoseconds < 0:
        raise WireError("max_grace_period is negative")
    return events.DrainAgent(str(sender), message.config)


def _checkpoint_resources(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.CheckpointResourcesMessage, body)
    return events.CheckpointResources(str(sender), tuple(message.resources))


def _apply_operation(sender: UPID, body: bytes) -> Event:
    return events.ApplyOperation(str(sender), _parse(messages.ApplyOperationMessage, body))


def _operation_acknowledged(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.AcknowledgeOperationStatusMessage, body)
    return events.OperationAcknowledged(
        str(sender),
        message.operation_uuid.value,
        message.status_uuid.value,
        message.HasField("resource_provider_id"),
    )


def _reconcile_operations(sender: UPID, body: bytes) -> Event:
    return events.ReconcileOperations(
        str(sender), _parse(messages.ReconcileOperationsMessage, body)
    )


def _run_task(sender: UPID, body: bytes) -> Event:
    return events.RunTask(str(sender), _parse(messages.RunTaskMessage, body))


def _run_task_group(sender: UPID, body: bytes) -> Event:
    return events.RunTaskGroup(str(sender), _parse(messages.RunTaskGroupMessage, body))


def _kill_task(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.KillTaskMessage, body)
    return events.KillTask(
        str(sender),
        FrameworkId(_checked(message.framework_id.value)),
        TaskId(_checked(message.task_id.value)),
        message.kill_policy if message.HasField("kill_policy") else None,
    )


def _shutdown_executor(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.ShutdownExecutorMessage, body)
    return events.ShutdownExecutor(
        str(sender),
        *_executor(message),
    )


def _shutdown_framework(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.ShutdownFrameworkMessage, body)
    return events.ShutdownFramework(str(sender), FrameworkId(_checked(message.framework_id.value)))


def _update_framework(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.UpdateFrameworkMessage, body)
    framework_id = FrameworkId(_checked(message.framework_id.value))
    info = message.framework_info if message.HasField("framework_info") else None
    if info is not None and info.id.value != framework_id:
        raise WireError(f"framework_info is of {info.id.value}")
    return events.UpdateFramework(str(sender), framework_id, message.pid, info)


def _framework_message(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.FrameworkToExecutorMessage, body)
    return events.FrameworkToExecutor(
        *_executor(message),
        message.data,
    )


def _acknowledgement(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.StatusUpdateAcknowledgementMessage, body)
    return events.UpdateAcknowledged(
        str(sender),
        AgentId(_checked(message.slave_id.value)),
        FrameworkId(_checked(message.framework_id.value)),
        TaskId(_checked(message.task_id.value)),
        message.uuid,
    )


def _register_executor(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.RegisterExecutorMessage, body)
    return events.RegisterExecutor(
        _answerable(sender),
        *_executor(message),
    )


def _reregister_executor(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.ReregisterExecutorMessage, body)
    return events.ReregisterExecutor(
        _answerable(sender),
        *_executor(message),
        frozenset(TaskId(_checked(task.task_id.value)) for task in message.tasks),
        tuple(_update(update) for update in message.updates),
    )


def _status_update(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.StatusUpdateMessage, body)
    pid = UPID.parse(message.pid)
    return events.StatusUpdateSent(_update(message.update), str(pid) if pid else "")


def _executor_message(sender: UPID, body: bytes) -> Event:
    message = _parse(messages.ExecutorToFrameworkMessage, body)
    return events.ExecutorMessage(
        *_executor(message),
        message.data,
        unproven=True,
    )


def _executor(
    message: messages.ShutdownExecutorMessage
    | messages.FrameworkToExecutorMessage
    | messages.RegisterExecutorMessage
    | messages.ReregisterExecutorMessage
    | messages.ExecutorToFrameworkMessage,
) -> tuple[FrameworkId, ExecutorId]:
    return (
        FrameworkId(_checked(message.framework_id.value)),
        ExecutorId(_checked(message.executor_id.value)),
    )


def _answerable(sender: UPID) -> str:
    if not sender:
        raise WireError("nobody to answer")
    return str(sender)


def _update(update: messages.StatusUpdate) -> messages.StatusUpdate:
    _checked(update.framework_id.value)
    _checked(update.status.task_id.value)
    if update.HasField("executor_id"):
        _checked(update.executor_id.value)
    return update


_READERS: Mapping[str, Reader] = {
    "SlaveRegisteredMessage": _registered,
    "SlaveReregisteredMessage": _reregistered,
    "PingSlaveMessage": _ping,
    "ShutdownMessage": _shutdown,
    "DrainSlaveMessage": _drain,
    "CheckpointResourcesMessage": _checkpoint_resources,
    "ApplyOperationMessage": _apply_operation,
    "AcknowledgeOperationStatusMessage": _operation_acknowledged,
    "ReconcileOperationsMessage": _reconcile_operations,
    "RunTaskMessage": _run_task,
    "RunTaskGroupMessage": _run_task_group,
    "KillTaskMessage": _kill_task,
    "ShutdownExecutorMessage": _shutdown_executor,
    "ShutdownFrameworkMessage": _shutdown_framework,
    "UpdateFrameworkMessage": _update_framework,
    "FrameworkToExecutorMessage": _framework_message,
    "StatusUpdateAcknowledgementMessage": _acknowledgement,
    "RegisterExecutorMessage": _register_executor,
    "ReregisterExecutorMessage": _reregister_executor,
    "StatusUpdateMessage": _status_update,
    "ExecutorToFrameworkMessage": _executor_message,
}

_AUTHENTICATION: tuple[type[events.AuthenticationMessage], ...] = (
    authentication.AuthenticationMechanismsMessage,
    authentication.AuthenticationStepMessage,
    authentication.AuthenticationCompletedMessage,
    authentication.AuthenticationFailedMessage,
    authentication.AuthenticationErrorMessage,
)


def _authentication_readers(process_id: str) -> Mapping[str, Reader]:
    def reader(kind: type[events.AuthenticationMessage]) -> Reader:
        return lambda sender, body: events.AuthenticationReply(
            str(sender), process_id, _parse(kind, body)
        )

    return {kind.DESCRIPTOR.name: reader(kind) for kind in _AUTHENTICATION}
