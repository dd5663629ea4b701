# SPDX-License-Identifier: Apache-2.0
"""Drives the machine in tests: feeds events, collects effects, checks the invariants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesos_compat.agent.features import CAPABILITIES
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.invariants import check
from mesos_compat.agent.machine.state import AgentState, Executor
from mesos_compat.agent.machine.step import step
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.model.resources import parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor

MASTER = "master@127.0.0.1:5050"
PID = "slave(1)@127.0.0.1:5051"
AGENT = AgentId("f4b41d3f-e4f7-4c99-8f67-4b401badbfa9-S0")
FRAMEWORK = FrameworkId("f4b41d3f-e4f7-4c99-8f67-4b401badbfa9-0000")
VERSION_UUID = bytes(range(16))

E = TypeVar("E", bound=Effect)
M = TypeVar("M", bound=Message)


def config(**changes: Any) -> AgentConfig:
    """A configuration like that of the recordings."""
    info = pb.SlaveInfo(hostname="agent.example", port=5051, checkpoint=True)
    info.resources.extend(parse_resources("cpus:2;mem:23081;disk:252899;ports:[31000-32000]"))
    for name, value in (("rack", "r1"), ("zone", "z1")):
        attribute = info.attributes.add(name=name, type=pb.Value.TEXT)
        attribute.text.value = value
    made = AgentConfig(
        pid=PID,
        ip="127.0.0.1",
        port=5051,
        work_dir="/work",
        info=info,
        version="1.12.0",
        capabilities=CAPABILITIES,
        launcher_dir="/launcher",
        command_executor="/launcher/mesos-executor",
        command_executor_error="",
        default_executor="/launcher/mesos-default-executor",
        default_executor_error="",
        sandbox_directory="/mnt/mesos/sandbox",
        switch_user=True,
        http_command_executor=False,
        isolation=frozenset({"cgroups/cpu", "cgroups/mem"}),
        cgroups_enable_cfs=False,
        executor_environment=(("LIBPROCESS_IP", "127.0.0.1"),),
        default_container_info=None,
        registration_backoff_factor_s=1.0,
        executor_registration_timeout_s=60.0,
        executor_shutdown_grace_period_s=5.0,
        executor_reregistration_timeout_s=2.0,
        executor_reregistration_retry_interval_s=None,
        recovery_timeout_s=900.0,
        gc_delay_s=604800.0,
        max_completed_executors=150,
    )
    return dataclasses.replace(made, **changes)


class Driver:
    """One agent without a world around it."""

    _started = 0

    def __init__(self, **changes: Any) -> None:
        self.state = AgentState(config(**changes), VERSION_UUID, start_time=1000.0)
        self.now = 1000.0
        self.steps = 0
        #: Two processes never draw the same UUID.
        self._process = bytes([Driver._started % 256])
        Driver._started += 1
        #: Effects of the last event.
        self.effects: list[Effect] = []
        #: Effects of all events.
        self.all: list[Effect] = []
        #: All events.
        self.fed: list[Event] = []
        #: Whether the framework of random tests wants its tasks to outlive the agent.
        self.checkpoint = False
        #: That of the master.
        self.version = "1.11.0"

    def feed(self, *happened: Event) -> list[Effect]:
        """Feed events; return the effects of all of them."""
        self.effects = []
        for event in happened:
            self.steps += 1
            self.fed.append(event)
            self.now += 0.01
            entropy = self._process + self.steps.to_bytes(31, "big")
            self.effects.extend(step(self.state, event, self.now, entropy))
            check(self.state)
        self.all.extend(self.effects)
        return self.effects

    def last(self, kind: type[E]) -> E:
        """The one effect of a kind that the last call of ``feed`` had."""
        found = self.every(kind)
        assert len(found) == 1, found
        return found[0]

    def every(self, kind: type[E]) -> list[E]:
        """All effects of a kind that the last call of ``feed`` had."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent(self, kind: type[M], within: Iterable[Effect] | None = None) -> list[M]:
        """Messages of a kind that the last call of ``feed`` sent."""
        return [
            effect.message
            for effect in (self.effects if within is None else within)
            if isinstance(effect, effects.Send) and isinstance(effect.message, kind)
        ]

    def to_executor(self) -> list[v1_executor.Event]:
        """Events that the last call of ``feed`` sent to executors."""
        return [effect.event for effect in self.every(effects.SendToExecutor)]

    def updates(self) -> list[pb.TaskStatus]:
        """Statuses that the last call of ``feed`` sent to the master."""
        return [m.update.status for m in self.sent(messages.StatusUpdateMessage)]

    # -- scenes -------------------------------------------------------------------------------

    def register(self) -> None:
        """Become a registered agent."""
        self.feed(events.Recovered(), events.MasterDetected(MASTER, version=self.version))
        self.feed(events.RegistrationDue(MASTER))
        self.feed(events.AgentRegistered(MASTER, AGENT, 75.0))

    def run_task(self, message: messages.RunTaskMessage) -> None:
        """Get a task from the master."""
        self.feed(events.RunTask(MASTER, message))

    def run_group(self, message: messages.RunTaskGroupMessage) -> None:
        """Get a task group from the master."""
        self.feed(events.RunTaskGroup(MASTER, message))

    def executor(self, name: str = "t1") -> Executor:
        """An executor of the framework."""
        return self.state.frameworks[FRAMEWORK].executors[ExecutorId(name)]

    def key(self, name: str = "t1") -> tuple[FrameworkId, ExecutorId, ContainerId]:
        """What answers about an executor's run carry."""
        return FRAMEWORK, ExecutorId(name), self.executor(name).container_id

    def launched(self, name: str = "t1") -> None:
        """Sandbox made and container launched."""
        key = self.key(name)
        self.feed(events.SandboxMade(*key, ""))
        self.feed(events.ContainerLaunched(*key, "", True))

    def subscribed(self, name: str = "t1", stream_id: int = 1) -> None:
        """The executor subscribes."""
        self.feed(
            events.ExecutorSubscribed(
                FRAMEWORK, ExecutorId(name), v1_executor.Call.Subscribe(), stream_id
            )
        )

    def reports(
        self,
        state: pb.TaskState,
        token: int,
        task: str = "t1",
        executor: str = "t1",
        container: pb.ContainerStatus | None = None,
    ) -> None:
        """The executor sends an update and the containerizer answers what it is asked."""
        status = pb.TaskStatus(state=state, uuid=bytes([token]) * 16, timestamp=float(token))
        status.task_id.value = task
        status.executor_id.value = executor
        collected = self.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId(executor), status))
        collected = collected + self.settle(container)
        self.effects = collected

    def settle(self, container: pb.ContainerStatus | None = None) -> list[Effect]:
        """Let the containerizer answer until nothing is asked."""
        collected: list[Effect] = []
        answers: list[Event] = self._answers(self.effects, container)
        while answers:
            collected += self.feed(*answers)
            answers = self._answers(self.effects, container)
        self.effects = collected
        return collected

    def _answers(
        self, asked: Iterable[Effect], container: pb.ContainerStatus | None
    ) -> list[Event]:
        made: list[Event] = []
        for effect in asked:
            match effect:
                case effects.ReadContainerStatus(f, e, c, _):
                    made.append(events.ContainerStatusRead(f, e, c, container))
                case effects.UpdateContainer(f, e, c, _, _):
                    made.append(events.ContainerUpdated(f, e, c, ""))
                case effects.Checkpoint(_, stored, _) if stored is not None:
                    made.append(stored)
        return made

    def terminated(self, name: str = "t1", status: int | None = 0, **fields: Any) -> None:
        """The container is gone."""
        termination = slave.ContainerTermination(**fields)
        if status is not None:
            termination.status = status
        self.feed(events.ContainerTerminated(*self.key(name), termination, ""))

    def acknowledge(self, task: str = "t1") -> None:
        """The scheduler acknowledges what is in flight for a task."""
        stream = self.state.streams[FRAMEWORK, TaskId(task)]
        self.feed(
            events.UpdateAcknowledged(MASTER, AGENT, FRAMEWORK, TaskId(task), stream.queue[0].uuid)
        )


def framework(*capabilities: int) -> pb.FrameworkInfo:
    """The framework of the scenes."""
    made = pb.FrameworkInfo(user="root", name="test", role="*")
    made.id.value = FRAMEWORK
    for kind in capabilities:
        made.capabilities.add(type=pb.FrameworkInfo.Capability.Type.Name(kind))
    return made


def task(name: str = "t1", executor: str | None = None, cpus: float = 1.0) -> pb.TaskInfo:
    """A command task, or a task for a custom executor."""
    made = pb.TaskInfo(name=name)
    made.task_id.value = name
    made.slave_id.value = AGENT
    for resource, amount in (("cpus", cpus), ("mem", 64.0)):
        added = made.resources.add(name=resource, type=pb.Value.SCALAR)
        added.scalar.value = amount
        added.allocation_info.role = "*"
    if executor is None:
        made.command.value = "sleep 8"
    else:
        made.executor.executor_id.value = executor
        made.executor.command.value = "./executor"
    return made


def run(
    info: pb.TaskInfo | None = None,
    launch_executor: bool | None = True,
    of: pb.FrameworkInfo | None = None,
) -> messages.RunTaskMessage:
    """A RunTaskMessage as masters send it."""
    made = messages.RunTaskMessage(pid="@0.0.0.0:0")
    made.framework.CopyFrom(of if of is not None else framework())
    made.task.CopyFrom(info if info is not None else task())
    made.resource_version_uuids.add().uuid.value = VERSION_UUID
    if launch_executor is not None:
        made.launch_executor = launch_executor
    return made


def run_group(
    *names: str,
    executor: str = "e",
    launch_executor: bool | None = True,
    of: pb.FrameworkInfo | None = None,
    kind: pb.ExecutorInfo.Type = pb.ExecutorInfo.CUSTOM,
) -> messages.RunTaskGroupMessage:
    """A RunTaskGroupMessage as masters send it."""
    made = messages.RunTaskGroupMessage()
    made.framework.CopyFrom(of if of is not None else framework())
    made.executor.type = kind
    made.executor.executor_id.value = executor
    if kind == pb.ExecutorInfo.CUSTOM:
        made.executor.command.value = "./executor"
    for resource, amount in (("cpus", 0.1), ("mem", 32.0)):
        added = made.executor.resources.add(name=resource, type=pb.Value.SCALAR)
        added.scalar.value = amount
        added.allocation_info.role = "*"
    for name in names:
        info = task(name)
        info.executor.CopyFrom(made.executor)
        made.task_group.tasks.append(info)
    made.resource_version_uuids.add().uuid.value = VERSION_UUID
    if launch_executor is not None:
        made.launch_executor = launch_executor
    return made
