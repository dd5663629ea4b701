# SPDX-License-Identifier: Apache-2.0
"""What the default executor decides: the life of its groups of tasks. Pure.

Each method takes in what happened and returns what is to be done about it, in this order. A task
is a nested container of the agent's; it is known by the id of that container, since ids of tasks
come again.

Source: spec ``executors`` 6.3 to 6.8.
Deviation: a kill that comes before its container runs is carried out; a launch that the agent does
not answer is the end of its group, not of the executor; each launch has a connection of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from google.protobuf.message import DecodeError

from mesos_compat.executor.checks import Health
from mesos_compat.executor.nested import Answer
from mesos_compat.executor.task import DEFAULT_GRACE_S, end_message, end_state, grace_s, has_checks
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

#: Seconds until a call is repeated that failed.
RETRY_S = 1.0

_ENDS_ITS_GROUP = (v1.TASK_FAILED, v1.TASK_KILLED)
_Termination = agent_pb2.Response.WaitNestedContainer


@dataclass(slots=True, eq=False)
class RunningGroup:
    """Tasks that were launched together and have not ended."""

    members: list[GroupTask] = field(default_factory=list)
    #: Set once one of them took the others with it.
    killing: bool = False


@dataclass(slots=True, eq=False)
class GroupTask:
    """A task and its container."""

    info: v1.TaskInfo
    container_id: v1.ContainerID
    group: RunningGroup
    #: What the agent said to the launch.
    answer: Answer | None = None
    #: Why there is no container; set together with ``answer``.
    launch_error: str | None = None
    #: Set once all answers of the group are there.
    waiting: bool = False
    killing: bool = False
    timed_out: bool = False

    @property
    def name(self) -> str:
        """The container's id without that of its parent."""
        return self.container_id.value

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.info.task_id.value


class Alarm(Enum):
    """What a timer of a task is for."""

    #: SIGKILL.
    ESCALATION = "escalation"
    #: The most that the task may take.
    COMPLETION = "completion"
    #: The next attempt to wait for the container.
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class TellStatus:
    """Send a status from scratch."""

    member: GroupTask
    state: v1.TaskState
    message: str | None = None
    reason: v1.TaskStatus.Reason | None = None
    limitation: v1.TaskResourceLimitation | None = None
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class TellNews:
    """Send the last status of a task again, with what a check has found."""

    member: GroupTask
    news: v1.CheckStatusInfo | bool


@dataclass(frozen=True, slots=True)
class StartChecks:
    """Begin with the checks of a task; ``TaskGroups`` is to be told what they find."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class StopChecks:
    """End them for good."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class AcceptTask:
    """Remember a task that the agent has to hear of, and get ready to launch it."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class ConnectGroup:
    """Connect to the agent once for each task; ``TaskGroups.connected`` is to be told."""

    group: RunningGroup


@dataclass(frozen=True, slots=True)
class LaunchNested:
    """Make a call on the task's connection; ``TaskGroups.launched`` is to be told."""

    member: GroupTask
    call: agent_pb2.Call


@dataclass(frozen=True, slots=True)
class LinkSandbox:
    """Make the sandbox of a task known by the task's id."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class WaitNested:
    """Wait for the end of a container; ``TaskGroups.waited`` is to be told."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class SignalNested:
    """Have a signal sent to a container; ``TaskGroups.signalled`` is to be told."""

    member: GroupTask
    number: int


@dataclass(frozen=True, slots=True)
class SetAlarm:
    """Call the alarm's method of ``TaskGroups`` later; it replaces a timer for the same."""

    member: GroupTask
    alarm: Alarm
    seconds: float


@dataclass(frozen=True, slots=True)
class DropAlarm:
    """Forget a timer."""

    member: GroupTask
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class ReleaseTask:
    """Forget the timers and the connection of a task."""

    member: GroupTask


@dataclass(frozen=True, slots=True)
class LeaveAgent:
    """Exit once the agent knows everything; another group may still prevent it if not ``final``."""

    final: bool


Effect = (
    TellStatus
    | TellNews
    | StartChecks
    | StopChecks
    | AcceptTask
    | ConnectGroup
    | LaunchNested
    | LinkSandbox
    | WaitNested
    | SignalNested
    | SetAlarm
    | DropAlarm
    | ReleaseTask
    | LeaveAgent
)


class TaskGroups:
    """All groups of one executor."""

    def __init__(self, container_ip: str | None) -> None:
        """``container_ip`` is the address that tasks are told to be theirs."""
        self._container_ip = container_ip
        self._parent = v1.ContainerID()
        self._shows_killing = False
        self._partition_aware = False
        self._subscribed = False
        self._shutting_down = False
        #: Whether a task was killed because of its health.
        self._unhealthy = False
        #: By container id.
        self._members: dict[str, GroupTask] = {}

    def __iter__(self) -> Iterator[GroupTask]:
        return iter(self._members.values())

    def __contains__(self, member: GroupTask) -> bool:
        return member.name in self._members

    # The agent.

    def subscribed(
        self,
        container_id: v1.ContainerID,
        capabilities: Iterable[v1.FrameworkInfo.Capability],
    ) -> list[Effect]:
        """Take up where the agent was lost, if it was; ``container_id`` is the executor's."""
        self._parent.CopyFrom(container_id)
        known = {capability.type for capability in capabilities}
        self._shows_killing = v1.FrameworkInfo.Capability.TASK_KILLING_STATE in known
        self._partition_aware = v1.FrameworkInfo.Capability.PARTITION_AWARE in known
        self._subscribed = True
        return [WaitNested(member) for member in self._members.values() if member.waiting]

    def disconnected(self) -> None:
        """Note that the agent is away; whoever waits gives that up."""
        self._subscribed = False

    # Launch.

    def launch(self, tasks: Iterable[tuple[v1.TaskInfo, str]]) -> list[Effect]:
        """Launch a group of tasks, each in a container with the id that comes with it."""
        if self._shutting_down:
            return []
        group = RunningGroup()
        for info, name in tasks:
            container_id = v1.ContainerID(value=name)
            container_id.parent.CopyFrom(self._parent)
            member = GroupTask(info, container_id, group)
            group.members.append(member)
            self._members[name] = member
        return [*map(AcceptTask, group.members), ConnectGroup(group)]

    def connected(self, group: RunningGroup, established: bool) -> list[Effect]:
        """Go on with a group whose connections are there, or can not be made."""
        if not (established and self._subscribed):
            state = v1.TASK_DROPPED if self._partition_aware else v1.TASK_LOST
            made: list[Effect] = []
            for member in tuple(group.members):
                made += [TellStatus(member, state), *self._forget(member)]
            return made + self._leave_if_idle()
        made = []
        for member in group.members:
            made.append(TellStatus(member, v1.TASK_STARTING))
            made.append(LaunchNested(member, self._launch_call(member)))
        return made

    def launched(self, member: GroupTask, answer: Answer) -> list[Effect]:
        """Take the agent's answer to a launch; what follows waits for those of the group."""
        member.answer = answer
        if answer.status != 200:
            failed = f"Failed to launch container: {answer.text if answer.lost else answer.status}"
            member.launch_error = failed if answer.lost else answer.text or failed
        group = member.group
        if any(other.answer is None for other in group.members):
            return []
        made: list[Effect] = []
        for other in group.members:
            made += self._begun(other)
        for other in group.members:
            other.waiting = True
            made.append(WaitNested(other))
        return made

    def _begun(self, member: GroupTask) -> Iterator[Effect]:
        assert member.answer is not None
        if member.answer.lost:
            # It may be there all the same.
            yield SignalNested(member, signal.SIGKILL)
        if member.launch_error is not None:
            return
        yield LinkSandbox(member)
        if member.killing:
            yield SignalNested(member, signal.SIGTERM)
            return
        limit_ns = member.info.max_completion_time.nanoseconds
        if limit_ns > 0:
            yield SetAlarm(member, Alarm.COMPLETION, limit_ns / 1e9)
        if has_checks(member.info):
            yield StartChecks(member)
        yield TellStatus(member, v1.TASK_RUNNING)

    def _launch_call(self, member: GroupTask) -> agent_pb2.Call:
        info = member.info
        call = agent_pb2.Call(type=agent_pb2.Call.LAUNCH_CONTAINER)
        launch = call.launch_container
        launch.container_id.CopyFrom(member.container_id)
        launch.command.CopyFrom(info.command)
        variables = launch.command.environment.variables
        if self._container_ip is not None:
            variables.add(name="MESOS_CONTAINER_IP", value=self._container_ip)
        if info.resources:
            role = info.resources[0].allocation_info.role
            variables.add(name="MESOS_ALLOCATION_ROLE", value=role)
        if info.HasField("container"):
            launch.container.CopyFrom(info.container)
        launch.resources.extend(info.resources)
        for name, limit in info.limits.items():
            launch.limits[name].CopyFrom(limit)
        for resource in info.resources:
            if resource.disk.HasField("volume"):
                _add_volume(launch.container, resource.disk.volume)
        return call

    # The end of a container.

    def waited(self, member: GroupTask, answer: Answer) -> list[Effect]:
        """Take the agent's answer to a wait."""
        if member not in self:
            return []
        if answer.lost or answer.status == 503:
            return [SetAlarm(member, Alarm.WAIT, RETRY_S)] if self._subscribed else []
        if answer.status == 404:
            return self._end_unseen(member)
        try:
            if answer.status != 200:
                return self._fail()
            ended = agent_pb2.Response.FromString(answer.body).wait_nested_container
        except DecodeError:
            return self._fail()
        return self._end_seen(member, ended)

    def wait(self, member: GroupTask) -> list[Effect]:
        """Wait again (see ``Alarm.WAIT``)."""
        return [WaitNested(member)] if member in self and self._subscribed else []

    def _end_unseen(self, member: GroupTask) -> list[Effect]:
        if member.killing:
            return self._end(TellStatus(member, v1.TASK_KILLED))
        message = member.launch_error or "Unable to retrieve command's termination information"
        return self._end(TellStatus(member, v1.TASK_FAILED, message))

    def _end_seen(self, member: GroupTask, ended: _Termination) -> list[Effect]:
        state = v1.TASK_FAILED
        reason = None
        if member.launch_error is not None or not ended.HasField("exit_status"):
            message = member.launch_error or "Command terminated with unknown status"
            if member.launch_error is not None and member.killing:
                state = v1.TASK_KILLED  # that is why there was no launch
        else:
            state = end_state(ended.exit_status, member.killing, member.timed_out)
            message = end_message(ended.exit_status)
            if member.timed_out:
                reason = v1.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED
        if ended.HasField("state"):
            state = ended.state
        if ended.HasField("reason"):
            reason = ended.reason
        if ended.HasField("message"):
            message = f"{message}: {ended.message}"
        limitation = ended.limitation if ended.HasField("limitation") else None
        return self._end(TellStatus(member, state, message, reason, limitation))

    def _end(self, last: TellStatus) -> list[Effect]:
        """Send the last status of a task, and see what becomes of its group."""
        group = last.member.group
        if self._unhealthy:
            last = replace(last, healthy=False)
        made: list[Effect] = [last, *self._forget(last.member)]
        if last.state in _ENDS_ITS_GROUP and not (group.killing or self._shutting_down):
            group.killing = True
            for other in group.members:
                made += self._kill(other, DEFAULT_GRACE_S)
        return made + self._leave_if_idle()

    def _forget(self, member: GroupTask) -> list[Effect]:
        del self._members[member.name]
        # Not to leave a cycle behind: nobody collects them here.
        member.group.members.remove(member)
        return [ReleaseTask(member)]

    def _leave_if_idle(self) -> list[Effect]:
        return [] if self._members else [LeaveAgent(final=self._shutting_down)]

    def _fail(self) -> list[Effect]:
        """Give up: the agent destroys what is left when we exit."""
        self._shutting_down = True
        return [LeaveAgent(final=True)]

    # Kill.

    def kill(self, task_id: str, policy: v1.KillPolicy) -> list[Effect]:
        """Kill a task for its framework; ``policy`` may be empty."""
        if self._shutting_down:
            return []
        for member in self._members.values():
            if member.task_id == task_id:
                return self._kill(member, grace_s((policy, member.info.kill_policy)))
        return []

    def complete(self, member: GroupTask) -> list[Effect]:
        """Kill a task that takes too long (see ``Alarm.COMPLETION``)."""
        if member not in self or member.killing:
            return []
        member.timed_out = True
        return self._kill(member, 0)

    def _kill(self, member: GroupTask, grace: float) -> list[Effect]:
        if member not in self or member.killing or member.launch_error is not None:
            return []
        member.killing = True
        made: list[Effect] = [
            DropAlarm(member, Alarm.COMPLETION),
            StopChecks(member),
            SetAlarm(member, Alarm.ESCALATION, grace),
        ]
        if self._shows_killing and not member.timed_out:
            made.append(TellStatus(member, v1.TASK_KILLING))
        return [*made, SignalNested(member, signal.SIGTERM)]

    def escalate(self, member: GroupTask) -> list[Effect]:
        """Kill for good (see ``Alarm.ESCALATION``)."""
        return [SignalNested(member, signal.SIGKILL)] if member in self else []

    def signalled(self, member: GroupTask, number: int, answer: Answer) -> list[Effect]:
        """Take the agent's answer to a signal."""
        if answer.status == 200 or member not in self:
            return []
        if number == signal.SIGKILL:
            return [SetAlarm(member, Alarm.ESCALATION, RETRY_S)]
        # One that is not there (any more) is none to give up for.
        return self._fail() if self._shutting_down and answer.status != 404 else []

    # Checks.

    def checked(self, member: GroupTask, status: v1.CheckStatusInfo) -> list[Effect]:
        """Take what a check has found."""
        return [] if member.killing or member not in self else [TellNews(member, status)]

    def health_changed(self, member: GroupTask, health: Health) -> list[Effect]:
        """Take what a health check has found."""
        if member.killing or member not in self:
            return []
        made: list[Effect] = [TellNews(member, health.healthy)]
        if health.kill:
            self._unhealthy = True
            made += self._kill(member, grace_s((member.info.kill_policy,)))
        return made

    # Shutdown.

    def shut_down(self) -> list[Effect]:
        """Kill everything and leave."""
        if self._shutting_down:
            return []
        self._shutting_down = True
        if not (self._members and self._subscribed):
            return [LeaveAgent(final=True)]
        made: list[Effect] = []
        for member in self._members.values():
            made += self._kill(member, DEFAULT_GRACE_S)
        return made


def _add_volume(container: v1.ContainerInfo, volume: v1.Volume) -> None:
    """Show a volume of the executor's, which the agent mounts in its sandbox, to a task."""
    if not container.HasField("type"):
        container.type = v1.ContainerInfo.MESOS
    made = container.volumes.add(mode=volume.mode, container_path=volume.container_path)
    made.source.type = v1.Volume.Source.SANDBOX_PATH
    made.source.sandbox_path.type = v1.Volume.Source.SandboxPath.PARENT
    made.source.sandbox_path.path = volume.container_path
