# SPDX-License-Identifier: Apache-2.0
"""What an agent finds of an earlier process: values, as they lie on disk, undecided upon.

``None`` stands for a file that is missing, empty or, where that is tolerated, damaged. Resources
are in post-refinement format.

Source: spec ``state-and-recovery`` 10.2.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.internal.slave import state_pb2


class ExecutorProtocol(enum.Enum):
    """How an executor talked to the agent."""

    LIBPROCESS = "libprocess"
    HTTP = "http"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TaskFound:
    """A task and the updates of its stream."""

    task_id: TaskId
    info: pb.Task
    #: In order of arrival.
    updates: tuple[messages.StatusUpdate, ...]
    #: UUIDs of those that were acknowledged, of some perhaps that are not among ``updates``.
    acknowledged: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class RunFound:
    """The latest run of an executor."""

    container_id: ContainerId
    #: Over, and all its updates were acknowledged.
    completed: bool
    forked_pid: int | None
    connection: ExecutorProtocol
    #: UPID text of an executor that is connected by libprocess; empty for others.
    libprocess_pid: str
    tasks: tuple[TaskFound, ...]


@dataclass(frozen=True, slots=True)
class ExecutorFound:
    """An executor. Without ``info`` or ``latest`` there is nothing to be recovered."""

    executor_id: ExecutorId
    info: pb.ExecutorInfo | None
    generated: bool
    latest: RunFound | None
    #: Names of the directories of earlier runs.
    old_runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrameworkFound:
    """A framework. Without ``info`` or ``pid`` no executors were looked for."""

    framework_id: FrameworkId
    info: pb.FrameworkInfo | None
    #: UPID text of a v0 scheduler, empty for one that uses HTTP.
    pid: str | None
    executors: tuple[ExecutorFound, ...]


@dataclass(frozen=True, slots=True)
class OperationFound:
    """The updates of an operation's stream."""

    uuid: bytes
    #: In order of arrival.
    updates: tuple[messages.UpdateOperationStatusMessage, ...]
    #: UUIDs of the statuses that were acknowledged.
    acknowledged: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class AgentFound:
    """The agent under its latest id."""

    agent_id: AgentId
    info: pb.SlaveInfo
    drain_config: pb.DrainConfig | None
    frameworks: tuple[FrameworkFound, ...]
    operations: tuple[OperationFound, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourcesFound:
    """Reservations, volumes and operations, and a change of them that was not completed."""

    committed: state_pb2.ResourceState = field(default_factory=state_pb2.ResourceState)
    #: Written by a change that was interrupted. Its operations hold even where it is done already.
    target: state_pb2.ResourceState | None = None

    @property
    def effective(self) -> state_pb2.ResourceState:
        """What holds once an interrupted change was completed."""
        return self.committed if self.target is None else self.target


@dataclass(frozen=True, slots=True)
class Found:
    """All of the meta directory."""

    #: Whether the host was started since.
    rebooted: bool = False
    agent: AgentFound | None = None
    resources: ResourcesFound = field(default_factory=ResourcesFound)
    #: Damages that were passed over.
    errors: int = 0
