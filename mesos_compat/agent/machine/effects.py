# SPDX-License-Identifier: Apache-2.0
"""What the machine can ask for. The runner carries effects out in the order of the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.message import Message

from mesos_compat.agent.meta.writes import FileWrite
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor

if TYPE_CHECKING:
    from mesos_compat.agent.machine.events import Event

#: Names a timer; a new one under the same key replaces the old.
TimerKey: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a libprocess message from the agent's own process id, or from another one of ours."""

    target: str
    message: Message
    process_id: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Open, if there is none, the connection to ``target``; LinkExited follows when it breaks."""

    target: str


@dataclass(frozen=True, slots=True)
class Detect:
    """Ask the detector for the leader, MasterDetected follows. ``previous`` is the UPID text that
    is no news; empty to get the current leader at once.
    """

    previous: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Submit ``event`` after ``delay_s``."""

    key: TimerKey
    delay_s: float
    event: Event


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer; unknown keys are ignored."""

    key: TimerKey


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Change the meta directory, in order up to the first failure. The answer is ``stored``, or
    else ``failed``; without one there is none, and a failure is only told to operators.

    Directories in ``kept`` are taken off garbage collection first. It is a failure if the removal
    of one has begun.
    """

    writes: tuple[FileWrite, ...]
    stored: Event | None = None
    failed: Event | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Authorize:
    """Ask whether a framework may run tasks; TasksAuthorized with the same ``number`` follows."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    number: int
    framework: pb.FrameworkInfo
    tasks: tuple[pb.TaskInfo, ...]


@dataclass(frozen=True, slots=True)
class MakeSandbox:
    """Take directories off garbage collection, make the sandbox and change the meta directory;
    SandboxMade follows. Waits for the removal of ``kept`` where that has begun.
    """

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    directory: str
    user: str | None
    writes: tuple[FileWrite, ...] = ()
    #: All that an earlier run or framework may have left to garbage collection, outermost last.
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShowSandbox:
    """Let ``/files`` show a sandbox that an earlier process made."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    directory: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Launch a container; ContainerLaunched and, when it is gone, ContainerTerminated follow.

    What a failed launch leaves is destroyed without being asked for. The pid of init goes into the
    file ``pid_path``, if there is one.
    """

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    config: slave.ContainerConfig
    environment: Mapping[str, str]
    pid_path: str | None = None


@dataclass(frozen=True, slots=True)
class WatchContainer:
    """Wait for the end of a container that an earlier process launched; ContainerTerminated
    follows, at once if nobody knows the container.
    """

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class UpdateContainer:
    """Set the resources of a container; ContainerUpdated follows."""

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    requests: tuple[pb.Resource, ...]
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ReadContainerStatus:
    """Ask for a container's status; ContainerStatusRead follows. ``target`` may be nested in
    the executor's ``container_id``.
    """

    framework_id: FrameworkId
    executor_id: ExecutorId
    container_id: ContainerId
    target: ContainerId


@dataclass(frozen=True, slots=True)
class DestroyContainer:
    """Destroy a container; its ContainerTerminated is the only answer."""

    container_id: ContainerId


@dataclass(frozen=True, slots=True)
class SendToExecutor:
    """Send an event on an executor's stream."""

    stream_id: int
    event: v1_executor.Event


@dataclass(frozen=True, slots=True)
class CloseExecutorStream:
    """End an executor's stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class CollectGarbage:
    """Remove directories once they are old enough; their files stay readable until then.

    They get old from now on, or with ``aged`` since they were changed last.
    """

    paths: tuple[str, ...]
    aged: bool = False


@dataclass(frozen=True, slots=True)
class TellRemoved:
    """Tell the hooks that an executor is about to be forgotten."""

    framework: pb.FrameworkInfo
    executor: pb.ExecutorInfo


@dataclass(frozen=True, slots=True)
class Log:
    """Write a line for operators; ``level`` as in the logging module."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process after everything before this was carried out. ``error`` is what an
    operator reads; with it the exit status is 1.
    """

    error: str = ""


Effect: TypeAlias = (
    Send
    | Link
    | Detect
    | StartTimer
    | CancelTimer
    | Checkpoint
    | Authorize
    | MakeSandbox
    | ShowSandbox
    | Launch
    | WatchContainer
    | UpdateContainer
    | ReadContainerStatus
    | DestroyContainer
    | SendToExecutor
    | CloseExecutorStream
    | CollectGarbage
    | TellRemoved
    | Log
    | Exit
)
