# SPDX-License-Identifier: Apache-2.0
"""What can happen to the agent. Each event is handled by one function of the machine.

Sources: the inbox (libprocess messages), the executor API, the runner (results of effects and
timers), the detector, and the program itself (start, signals).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.agent.meta.recovered import Found
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.authentication import authentication_pb2 as authentication
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor

#: What a master's authenticator sends.
AuthenticationMessage: TypeAlias = (
    authentication.AuthenticationMechanismsMessage
    | authentication.AuthenticationStepMessage
    | authentication.AuthenticationCompletedMessage
    | authentication.AuthenticationFailedMessage
    | authentication.AuthenticationErrorMessage
)

# -- the program ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recovered:
    """The containerizer has taken over what an earlier process left, of which ``found`` tells, and
    which this agent may go on with.
    """

    found: Found = field(default_factory=Found)
    #: Ids under which earlier processes made directories.
    agent_ids: tuple[str, ...] = ()
    #: That of the host; ``None`` if it is not known.
    boot_id: str | None = None
    #: Whether the agent goes on with other resources, attributes or domain than before.
    changed: bool = False
    #: Directories of this agent's sandboxes that ``found`` does not tell of, innermost first.
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReregistrationTimeout:
    """The time that executors of an earlier process have to come back is over."""


@dataclass(frozen=True, slots=True)
class ReconnectDue:
    """It is time to ask executors again to come back."""


@dataclass(frozen=True, slots=True)
class UnregisterRequested:
    """SIGUSR1: leave the cluster and stop."""

    user: str


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """SIGTERM, if that is to drain: end all tasks, which get ``grace_s`` at most, and leave."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class LeaveTimeout:
    """The time is over that tasks had before the agent leaves."""


# -- master -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MasterDetected:
    """The detector's answer; ``master`` is empty if there is no leader."""

    master: str
    hostname: str = ""
    #: Its ``MasterInfo.Capability`` types; ``None`` if it is not known to lack any.
    capabilities: frozenset[int] | None = None
    #: Version that the master tells; empty if it is not known.
    version: str = ""


@dataclass(frozen=True, slots=True)
class DetectionFailed:
    """The detector gave up for good."""

    error: str


@dataclass(frozen=True, slots=True)
class RegistrationDue:
    """The delay before the next (re-)registration attempt is over."""

    master: str


@dataclass(frozen=True, slots=True)
class AuthenticationReply:
    """A message of the master's authenticator for ``process_id``, one of our authenticatees."""

    sender: str
    process_id: str
    message: AuthenticationMessage


@dataclass(frozen=True, slots=True)
class AuthenticationTimeout:
    """The attempt of this number took too long."""

    number: int


@dataclass(frozen=True, slots=True)
class AgentRegistered:
    """SlaveRegisteredMessage."""

    sender: str
    agent_id: AgentId
    ping_timeout_s: float | None


@dataclass(frozen=True, slots=True)
class AgentReregistered:
    """SlaveReregisteredMessage."""

    sender: str
    agent_id: AgentId
    ping_timeout_s: float | None
    reconciliations: tuple[messages.ReconcileTasksMessage, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """PingSlaveMessage of an observer of the master."""

    sender: str
    connected: bool


@dataclass(frozen=True, slots=True)
class PingTimeout:
    """No ping arrived in time."""


@dataclass(frozen=True, slots=True)
class LinkExited:
    """A linked peer is gone."""

    peer: str


@dataclass(frozen=True, slots=True)
class ShutdownReceived:
    """ShutdownMessage: the master wants this agent gone."""

    sender: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckpointResources:
    """CheckpointResourcesMessage: the complete set of dynamic reservations and volumes."""

    sender: str
    resources: tuple[pb.Resource, ...]


@dataclass(frozen=True, slots=True)
class DrainAgent:
    """DrainSlaveMessage: kill all tasks and take no more."""

    sender: str
    config: pb.DrainConfig


@dataclass(frozen=True, slots=True)
class ApplyOperation:
    """ApplyOperationMessage: change reservations or volumes."""

    sender: str
    message: messages.ApplyOperationMessage


@dataclass(frozen=True, slots=True)
class OperationAcknowledged:
    """AcknowledgeOperationStatusMessage."""

    sender: str
    operation: bytes
    status: bytes
    #: Whether it is about a resource provider's resources.
    provider: bool


@dataclass(frozen=True, slots=True)
class ReconcileOperations:
    """ReconcileOperationsMessage."""

    sender: str
    message: messages.ReconcileOperationsMessage


@dataclass(frozen=True, slots=True)
class OperationRetryDue:
    """The head of an operation's stream was not acknowledged in time."""

    operation: bytes
    status: bytes


@dataclass(frozen=True, slots=True)
class ResourcesStored:
    """Reservations, volumes and operations were stored, or not."""

    success: bool


@dataclass(frozen=True, slots=True)
class ResourcesStoreDue:
    """It is time to try again to store reservations, volumes and operations."""


# -- oversubscription ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimated:
    """The resource estimator's answer: what can be offered beside that which is allocated."""

    resources: tuple[pb.Resource, ...]


@dataclass(frozen=True, slots=True)
class Corrected:
    """The QoS controller's answer: what has to go."""

    corrections: tuple[oversubscription.QoSCorrection, ...]


# -- tasks and frameworks ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunTask:
    """RunTaskMessage."""

    sender: str
    message: messages.RunTaskMessage


@dataclass(frozen=True, slots=True)
class RunTaskGroup:
    """RunTaskGroupMessage."""

    sender: str
    message: messages.RunTaskGroupMessage


@dataclass(frozen=True, slots=True)
class TasksAuthorized:
    """Answer to Authorize."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    number: int
    verdict: TaskVerdict


@dataclass(frozen=True, slots=True)
class KillTask:
    """KillTaskMessage."""

    sender: str
    framework_id: FrameworkId
    task_id: TaskId
    kill_policy: pb.KillPolicy | None


@dataclass(frozen=True, slots=True)
class ShutdownExecutor:
    """ShutdownExecutorMessage."""

    sender: str
    framework_id: FrameworkId
    executor_id: ExecutorId


@dataclass(frozen=True, slots=True)
class ShutdownFramework:
    """ShutdownFrameworkMessage."""

    sender: str
    framework_id: FrameworkId


@dataclass(frozen=True, slots=True)
class UpdateFramework:
    """UpdateFrameworkMessage; ``info`` is ``None`` if the master sent none."""

    sender: str
    framework_id: FrameworkId
    pid: str
    info: pb.FrameworkInfo | None


@dataclass(frozen=True, slots=True)
class FrameworkToExecutor:
    """FrameworkToExecutorMessage."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    data: bytes


@dataclass(frozen=True, slots=True)
class UpdateAcknowledged:
    """StatusUpdateAcknowledgementMessage."""

    sender: str
    agent_id: AgentId
    framework_id: FrameworkId
    task_id: TaskId
    uuid: bytes


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The head of a stream was not acknowledged in time."""

    framework_id: FrameworkId
    task_id: TaskId
    uuid: bytes


# -- executors --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExecutorSubscribed:
    """SUBSCRIBE of an executor. ``stream_id`` is new for every subscription of the process."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    subscribe: v1_executor.Call.Subscribe
    stream_id: int


@dataclass(frozen=True, slots=True)
class RegisterExecutor:
    """RegisterExecutorMessage."""

    sender: str
    framework_id: FrameworkId
    executor_id: ExecutorId


@dataclass(frozen=True, slots=True)
class ReregisterExecutor:
    """ReregisterExecutorMessage."""

    sender: str
    framework_id: FrameworkId
    executor_id: ExecutorId
    #: Tasks of which the executor has unacknowledged updates.
    tasks: frozenset[TaskId]
    #: These updates, oldest first.
    updates: tuple[messages.StatusUpdate, ...]


@dataclass(frozen=True, slots=True)
class StatusUpdateSent:
    """StatusUpdateMessage of an executor that wants the acknowledgement at ``pid``, if anywhere."""

    update: messages.StatusUpdate
    pid: str


@dataclass(frozen=True, slots=True)
class ExecutorUpdate:
    """UPDATE of an executor; the status in v0 form, ``uuid`` as the executor set it."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    status: pb.TaskStatus


@dataclass(frozen=True, slots=True)
class ExecutorMessage:
    """MESSAGE or ExecutorToFrameworkMessage of an executor for its framework."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    data: bytes
    #: Whether it came as a libprocess message.
    unproven: bool = False


@dataclass(frozen=True, slots=True)
class RegistrationTimeout:
    """An executor did not subscribe in time after its launch."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class ShutdownTimeout:
    """An executor did not end in time after it was told to."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class StoreDue:
    """It is time to try again to store the update that is being worked on."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class TaskStoreDue:
    """It is time to try again to store a task."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    task_id: TaskId


# -- results of effects -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentNotStored:
    """The id that the master gave could not be stored."""


@dataclass(frozen=True, slots=True)
class UpdateStored:
    """The update that is being worked on was stored, or not."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    success: bool


@dataclass(frozen=True, slots=True)
class TaskNotStored:
    """A task could not be stored."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class SandboxMade:
    """Answer to MakeSandbox; ``error`` is empty if the sandbox is there."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    error: str


@dataclass(frozen=True, slots=True)
class ContainerLaunched:
    """Answer to Launch: ``error`` is empty if the container started; ``supported`` is false if no
    containerizer takes it.
    """

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    error: str
    supported: bool


@dataclass(frozen=True, slots=True)
class ContainerTerminated:
    """The last answer to Launch: the container is gone, with its termination if it is known."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    termination: slave.ContainerTermination | None
    error: str


@dataclass(frozen=True, slots=True)
class ContainerUpdated:
    """Answer to UpdateContainer; ``error`` is empty if the resources are set."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    error: str


@dataclass(frozen=True, slots=True)
class ContainerStatusRead:
    """Answer to ReadContainerStatus; ``status`` is ``None`` if it cannot be known."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    status: pb.ContainerStatus | None


Event: TypeAlias = (
    Recovered
    | ReregistrationTimeout
    | ReconnectDue
    | AgentNotStored
    | UpdateStored
    | StoreDue
    | TaskNotStored
    | TaskStoreDue
    | UnregisterRequested
    | LeaveRequested
    | LeaveTimeout
    | MasterDetected
    | DetectionFailed
    | RegistrationDue
    | AuthenticationReply
    | AuthenticationTimeout
    | AgentRegistered
    | AgentReregistered
    | Ping
    | PingTimeout
    | LinkExited
    | ShutdownReceived
    | DrainAgent
    | CheckpointResources
    | ApplyOperation
    | OperationAcknowledged
    | ReconcileOperations
    | OperationRetryDue
    | ResourcesStored
    | ResourcesStoreDue
    | Estimated
    | Corrected
    | RunTask
    | RunTaskGroup
    | TasksAuthorized
    | KillTask
    | ShutdownExecutor
    | ShutdownFramework
    | UpdateFramework
    | FrameworkToExecutor
    | UpdateAcknowledged
    | RetryDue
    | ExecutorSubscribed
    | RegisterExecutor
    | ReregisterExecutor
    | StatusUpdateSent
    | ExecutorUpdate
    | ExecutorMessage
    | RegistrationTimeout
    | ShutdownTimeout
    | SandboxMade
    | ContainerLaunched
    | ContainerTerminated
    | ContainerUpdated
    | ContainerStatusRead
)
