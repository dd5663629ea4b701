# SPDX-License-Identifier: Apache-2.0
"""All data of the agent; what must always be true of it is in ``invariants``.

Only ``machine.step`` changes what is here; everybody else reads. Messages are read-only payload
in v0 form, resources in post-refinement format. UPIDs are kept in their canonical text form, the
empty text stands for "none".

Source: spec ``agent-master`` 5, 8, 11, 16; ``executors`` 4.1; ``operator-api`` 6.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.agent.machine.pending import PendingQueues
from mesos_compat.agent.machine.updates import IncomingQueue, OperationStream, UpdateStream
from mesos_compat.agent.meta.writes import FileWrite
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.model.reasons import Cause
from mesos_compat.model.resources import EMPTY, Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

if TYPE_CHECKING:
    from mesos_compat.agent.machine.effects import Effect

#: Completed tasks remembered per executor. Must be positive: whether an executor ever got a task
#: is read from there.
MAX_COMPLETED_TASKS = 200
#: Statuses remembered per task, the newest.
MAX_STATUSES = 100
#: Completed frameworks remembered by the agent.
MAX_COMPLETED_FRAMEWORKS = 50

#: States after which a task never changes again.
TERMINAL = frozenset(
    {
        pb.TASK_FINISHED,
        pb.TASK_FAILED,
        pb.TASK_KILLED,
        pb.TASK_LOST,
        pb.TASK_ERROR,
        pb.TASK_DROPPED,
        pb.TASK_GONE,
        pb.TASK_GONE_BY_OPERATOR,
    }
)


class AgentPhase(enum.Enum):
    """Where the agent stands; decides which messages it accepts."""

    RECOVERING = "RECOVERING"
    DISCONNECTED = "DISCONNECTED"
    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"


class FrameworkPhase(enum.Enum):
    """Whether a framework may still launch tasks and send updates."""

    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"


class ExecutorPhase(enum.Enum):
    """Life of one run of an executor."""

    #: Its container is being launched or it has not subscribed yet.
    REGISTERING = "REGISTERING"
    RUNNING = "RUNNING"
    #: Told to shut down, or its container is being destroyed.
    TERMINATING = "TERMINATING"
    #: Its container is gone; terminal updates wait for their acknowledgement.
    TERMINATED = "TERMINATED"


class Waiting(enum.Enum):
    """What the first update or the queued tasks of an executor wait for."""

    #: ContainerStatusRead, for the first update.
    STATUS = "container status"
    #: ContainerUpdated, for the first update, which is terminal.
    TERMINAL_UPDATE = "container update after a terminal update"
    #: ContainerUpdated, before queued tasks are sent.
    DELIVERY = "container update before tasks are sent"
    #: UpdateStored, for the first update.
    STORE = "checkpoint of an update"


class TaskPlace(enum.Enum):
    """Which list of its executor a task is in."""

    #: It waits for its authorization: no executor has it yet.
    PENDING = "pending"
    QUEUED = "queued"
    LAUNCHED = "launched"
    TERMINATED = "terminated"
    COMPLETED = "completed"


class AuthenticationStep(enum.Enum):
    """How far an attempt to authenticate is."""

    #: Nothing came from the master yet.
    STARTING = "STARTING"
    #: The mechanism was chosen.
    STEPPING = "STEPPING"


@dataclass(slots=True)
class Authentication:
    """One attempt to authenticate."""

    #: Counts from 1 in the life of the process.
    number: int
    step: AuthenticationStep = AuthenticationStep.STARTING
    #: UPID text of the master's session, once it spoke.
    session: str = ""

    @property
    def process_id(self) -> str:
        """What the attempt is called in messages."""
        return f"crammd5-authenticatee({self.number})"


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks that are delivered together or not at all."""

    task_ids: tuple[TaskId, ...]


@dataclass(slots=True)
class Task:
    """One task that an executor has or had."""

    info: pb.TaskInfo
    place: TaskPlace
    state: pb.TaskState
    #: Means something until the task is launched.
    group: TaskGroup | None = None
    #: Newest last, without their data; a status replaces the last one if it has the same state.
    #: At most MAX_STATUSES.
    statuses: list[pb.TaskStatus] = field(default_factory=list)
    #: The update most recently forwarded to the master; both set or both unset.
    status_update_state: pb.TaskState | None = None
    status_update_uuid: bytes | None = None
    #: Whether a master was told of the task by an attempt to register.
    told: bool = False
    #: Whether no master knows the task: nobody is told of it any more.
    disowned: bool = False

    @property
    def task_id(self) -> TaskId:
        """The id of the task."""
        return TaskId(self.info.task_id.value)

    def message(self, framework_id: FrameworkId) -> pb.Task:
        """Return the task as masters and operators see it."""
        info = self.info
        made = pb.Task(name=info.name, state=self.state)
        made.framework_id.value = framework_id
        made.task_id.CopyFrom(info.task_id)
        made.slave_id.CopyFrom(info.slave_id)
        made.resources.extend(info.resources)
        for name, limit in info.limits.items():
            made.limits[name].CopyFrom(limit)
        made.statuses.extend(self.statuses)
        if info.HasField("executor"):
            made.executor_id.CopyFrom(info.executor.executor_id)
        if self.status_update_state is not None and self.status_update_uuid is not None:
            made.status_update_state = self.status_update_state
            made.status_update_uuid = self.status_update_uuid
        for name in ("labels", "discovery", "container", "health_check", "kill_policy"):
            if info.HasField(name):
                getattr(made, name).CopyFrom(getattr(info, name))
        if self.user is not None:
            made.user = self.user
        return made

    @property
    def user(self) -> str | None:
        """The user that the framework wants the task to run as; ``None`` if it does not say."""
        for command in (self.info.command, self.info.executor.command):
            if command.HasField("user"):
                return command.user
        return None

    @property
    def terminal(self) -> bool:
        """Whether the task reached its last state."""
        return self.state in TERMINAL


@dataclass(slots=True)
class Executor:
    """One run of an executor."""

    #: As received or generated, without the resources of tasks.
    info: pb.ExecutorInfo
    framework_id: FrameworkId
    container_id: ContainerId
    #: Absolute path of the sandbox on the host.
    directory: str
    #: User that owns the sandbox and runs the container; ``None`` for the agent's own.
    user: str | None
    #: Made by the agent for a task with a command and no executor.
    generated: bool
    phase: ExecutorPhase = ExecutorPhase.REGISTERING
    #: The executor's current stream; ``None`` before it subscribed for the first time.
    stream_id: int | None = None
    #: UPID text of an executor that registered by libprocess; empty for others.
    pid: str = ""
    #: The one that it had with an earlier process of the agent.
    recovered_pid: str = ""
    #: Whether it ever subscribed, also to an earlier process: it does not speak libprocess.
    uses_http: bool = False
    #: Tasks in each place by id, in order of arrival there.
    queued: dict[TaskId, Task] = field(default_factory=dict)
    launched: dict[TaskId, Task] = field(default_factory=dict)
    terminated: dict[TaskId, Task] = field(default_factory=dict)
    #: Acknowledged ones; oldest first, the last MAX_COMPLETED_TASKS.
    completed: deque[Task] = field(default_factory=lambda: deque(maxlen=MAX_COMPLETED_TASKS))
    #: Updates in order of arrival. Only the first is being worked on.
    incoming: IncomingQueue = field(default_factory=IncomingQueue)
    #: The one answer of the containerizer that is outstanding, launch and end apart.
    waiting: Waiting | None = None
    #: Why the agent ends the container; told to its tasks once it is gone.
    pending_termination: Cause | None = None
    #: How the container ended; set together with TERMINATED.
    termination: slave.ContainerTermination | None = None
    #: Whether Launch was asked for; from then on exactly one ContainerTerminated follows.
    launch_requested: bool = False
    #: Whether MakeSandbox was asked for and not answered.
    sandbox_requested: bool = True
    #: Resources and limits that the container was last given.
    container_requests: Resources = EMPTY
    container_limits: dict[str, float] = field(default_factory=dict)
    created_at: float = 0.0
    #: That of ``info``.
    executor_id: ExecutorId = field(init=False)

    def __post_init__(self) -> None:
        self.executor_id = ExecutorId(self.info.executor_id.value)

    @property
    def connected(self) -> bool:
        """Whether the executor spoke to this process of the agent."""
        return self.stream_id is not None or bool(self.pid)

    def group_of(self, task: Task) -> list[Task]:
        """Return a queued task and those that are to be delivered with it, in their order."""
        if task.group is None:
            return [task]
        return [self.queued[name] for name in task.group.task_ids if name in self.queued]

    @property
    def incomplete(self) -> bool:
        """Whether any task is queued, launched or waits for its terminal acknowledgement."""
        return bool(self.queued or self.launched or self.terminated)

    def incomplete_tasks(self) -> list[TaskId]:
        """Return their ids."""
        return [*self.queued, *self.launched, *self.terminated]

    @property
    def ever_sent_a_task(self) -> bool:
        """Whether any task was delivered to this run."""
        if self.launched:
            return True
        done = [*self.terminated.values(), *self.completed]
        return any(
            status.source == pb.TaskStatus.SOURCE_EXECUTOR
            for task in done
            for status in task.statuses
        )

    def task(self, task_id: TaskId) -> Task | None:
        """Return an incomplete task."""
        return (
            self.queued.get(task_id) or self.launched.get(task_id) or self.terminated.get(task_id)
        )

    def allocated(self) -> list[pb.Resource]:
        """Return what executor, queued and launched tasks use; not summed."""
        used = list(self.info.resources)
        for task in (*self.queued.values(), *self.launched.values()):
            used.extend(task.info.resources)
        return used


@dataclass(slots=True)
class Framework:
    """A framework with executors or tasks on this agent, or a completed one."""

    info: pb.FrameworkInfo
    #: UPID text of a v0 scheduler; empty for HTTP schedulers.
    pid: str = ""
    phase: FrameworkPhase = FrameworkPhase.RUNNING
    #: Whether the framework is written down; never, unless it wants that.
    stored: bool = False
    executors: dict[ExecutorId, Executor] = field(default_factory=dict)
    #: The executor of each incomplete task.
    homes: dict[TaskId, Executor] = field(default_factory=dict, repr=False)
    #: Tasks that no executor has yet.
    pending: PendingQueues = field(default_factory=PendingQueues, repr=False)
    #: Oldest first; the last ``--max_completed_executors_per_framework``.
    completed_executors: deque[Executor] = field(default_factory=deque)
    #: That of ``info``, also of a newer one.
    framework_id: FrameworkId = field(init=False)

    def __post_init__(self) -> None:
        self.framework_id = FrameworkId(self.info.id.value)

    @property
    def idle(self) -> bool:
        """Whether nothing of the framework lives here."""
        return not (self.executors or self.pending)

    @property
    def partition_aware(self) -> bool:
        """Whether the framework understands TASK_DROPPED, TASK_GONE and so on."""
        return self.has_capability(pb.FrameworkInfo.Capability.PARTITION_AWARE)

    def has_capability(self, kind: int) -> bool:
        """Whether the framework declared capability ``kind``."""
        return any(capability.type == kind for capability in self.info.capabilities)

    def executor_of(self, task_id: TaskId) -> Executor | None:
        """Return the executor that has ``task_id`` among its incomplete tasks."""
        return self.homes.get(task_id)

    def add_executor(self, executor: Executor) -> None:
        """File an executor and the tasks that it has."""
        self.executors[executor.executor_id] = executor
        for task_id in executor.incomplete_tasks():
            self.homes[task_id] = executor

    def drop_executor(self, executor: Executor) -> None:
        """Forget an executor and its tasks."""
        del self.executors[executor.executor_id]
        for task_id in executor.incomplete_tasks():
            del self.homes[task_id]

    def knows(self, task_id: TaskId) -> bool:
        """Whether ``task_id`` is pending or among the incomplete tasks of an executor."""
        return task_id in self.homes or self.pending.find(task_id) is not None


@dataclass(frozen=True, slots=True)
class Drain:
    """An order to get rid of all tasks."""

    config: pb.DrainConfig
    started_at: float


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """Reservations, volumes and operations on their way to disk."""

    writes: tuple[FileWrite, ...]
    #: What is stored when they are carried out.
    resources: list[pb.Resource]
    #: Ends of operations, by UUID, that are told then.
    finished: dict[bytes, messages.UpdateOperationStatusMessage]


@dataclass(slots=True)
class AgentState:
    """Everything the agent knows. One object for the life of the process."""

    config: AgentConfig
    #: Random at start of the process, told to masters, never changed: offers refer to it.
    resource_version_uuid: bytes
    start_time: float
    #: How long recovery took; ``None`` until it is over.
    recovery_time_s: float | None = None
    phase: AgentPhase = AgentPhase.RECOVERING
    #: Whether executors of an earlier process may come back while the agent is RECOVERING.
    reconnecting: bool = False
    #: That of the host, to be kept at the end of recovery.
    boot_id: str | None = None
    #: ``None`` before the first registration.
    agent_id: AgentId | None = None
    #: UPID text of the detected leading master; empty if none is known.
    master: str = ""
    #: Host name of the master, as far as known; for ``/state``.
    master_hostname: str = ""
    #: When the agent was last registered or re-registered.
    registered_at: float | None = None
    #: Attempts since the master was detected; grows the delay between them.
    registration_attempts: int = 0
    #: Whether a master was told what the agent runs, and has not answered.
    registration_unanswered: bool = False
    #: Whether resources, attributes or domain are others than in the life before.
    changed: bool = False
    #: Whether the present master knows who we are.
    authenticated: bool = False
    #: The attempt that is going on.
    authentication: Authentication | None = None
    #: All of them so far, and those in a row that failed at the present master.
    authentication_attempts: int = 0
    authentication_failures: int = 0
    ping_timeout_s: float = 75.0
    #: Major and minor version of the master; ``None`` if it is not known.
    master_version: tuple[int, int] | None = None
    #: Reservations made at run time and persistent volumes, in post-refinement format.
    checkpointed_resources: list[pb.Resource] = field(default_factory=list)
    #: The same as it lies on disk, where ``storing`` is not done yet.
    stored_resources: list[pb.Resource] = field(default_factory=list)
    #: Operations on the agent's own resources that are not over, or whose end was not
    #: acknowledged, by UUID.
    operations: dict[bytes, pb.Operation] = field(default_factory=dict)
    operation_streams: dict[bytes, OperationStream] = field(default_factory=dict)
    #: Ends of operations that have to be stored before they are told, beside ``storing``.
    finished_operations: dict[bytes, messages.UpdateOperationStatusMessage] = field(
        default_factory=dict
    )
    #: Operations that are forgotten, but not on disk.
    ended_operations: list[bytes] = field(default_factory=list)
    #: The one change of all that which is being written, or will be tried again.
    storing: ResourceChange | None = None
    #: Whether there is more to be stored after that.
    store_again: bool = False
    #: What containers wait for until then, in order.
    held_effects: list[Effect] = field(default_factory=list)
    #: What can be offered though it is promised to others already, with what is used of it;
    #: ``None`` without an estimate.
    oversubscribed: list[pb.Resource] | None = None
    frameworks: dict[FrameworkId, Framework] = field(default_factory=dict)
    #: Oldest first.
    completed_frameworks: deque[Framework] = field(
        default_factory=lambda: deque(maxlen=MAX_COMPLETED_FRAMEWORKS)
    )
    streams: dict[tuple[FrameworkId, TaskId], UpdateStream] = field(default_factory=dict)
    #: Whether updates are only queued: from the start and from every detection on.
    streams_paused: bool = True
    #: What the master or a signal wants to be drained; ``None`` if nothing is or all is.
    drain: Drain | None = None
    #: Whether the agent is to leave its cluster as soon as no task is left.
    leaving: bool = False
    #: Authorizations asked for so far.
    authorizations: int = 0
    #: Counters by their name in ``/metrics/snapshot``; a name that is missing is zero.
    counters: dict[str, int] = field(default_factory=dict)

    def info(self) -> pb.SlaveInfo:
        """Return a new SlaveInfo with the agent's id, if it has one."""
        made = pb.SlaveInfo()
        made.CopyFrom(self.config.info)
        if self.agent_id is not None:
            made.id.value = self.agent_id
        return made

    def total_resources(self) -> Sequence[pb.Resource]:
        """Return the agent's resources from flags and host, in post-refinement format."""
        return self.config.info.resources

    def total(self) -> Resources:
        """Return the agent's resources, with reservations and volumes."""
        checkpointed = Resources.of(self.checkpointed_resources)
        return Resources.of(self.config.info.resources).with_checkpointed(checkpointed)

    def executors(self) -> Iterator[Executor]:
        """Go through the executors of all active frameworks."""
        for framework in self.frameworks.values():
            yield from framework.executors.values()

    def allocated_resources(self) -> list[pb.Resource]:
        """Return what all executors and tasks use, those that wait included; not summed."""
        used = [resource for executor in self.executors() for resource in executor.allocated()]
        for framework in self.frameworks.values():
            used.extend(framework.pending.resources(framework.executors))
        return used

    def find_executor(self, framework_id: FrameworkId, executor_id: ExecutorId) -> Executor | None:
        """Return an executor of an active framework."""
        framework = self.frameworks.get(framework_id)
        return None if framework is None else framework.executors.get(executor_id)

    def executor_by_container(self, container_id: ContainerId) -> Executor | None:
        """Return the executor whose container is the root of ``container_id``."""
        root = container_id.root
        for executor in self.executors():
            if executor.container_id == root:
                return executor
        return None
