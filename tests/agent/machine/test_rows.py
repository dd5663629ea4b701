# SPDX-License-Identifier: Apache-2.0
"""Every status that the agent makes by itself: state, reason, source, message, executor.

One scene for each row of the specification's table, for frameworks that are partition-aware and
for others.

Source: spec ``agent-master`` 10.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos_compat.agent.machine import events
from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, framework, run, task

Status = pb.TaskStatus
Scene = Callable[[Driver, pb.FrameworkInfo], None]
PARTITION_AWARE = pb.FrameworkInfo.Capability.PARTITION_AWARE

DROPPED = (pb.TASK_DROPPED, pb.TASK_LOST)
GONE = (pb.TASK_GONE, pb.TASK_LOST)
KILLED = (pb.TASK_KILLED, pb.TASK_KILLED)
FAILED = (pb.TASK_FAILED, pb.TASK_FAILED)


def custom(agent: Driver, of: pb.FrameworkInfo, name: str, launch: bool | None) -> None:
    agent.run_task(run(task(name, executor="e"), launch, of=of))


def started(agent: Driver, of: pb.FrameworkInfo) -> None:
    """An executor runs with one task, of which the scheduler knows."""
    custom(agent, of, "first", True)
    agent.launched("e")
    agent.subscribed("e")
    agent.reports(pb.TASK_RUNNING, 1, task="first", executor="e")
    agent.acknowledge("first")


def kill(agent: Driver, name: str) -> None:
    agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId(name), None))


def cpu_limit(agent: Driver, of: pb.FrameworkInfo) -> None:
    message = run(of=of)
    message.task.limits["cpus"].value = 2.0
    agent.run_task(message)


def memory_limit(agent: Driver, of: pb.FrameworkInfo) -> None:
    message = run(of=of)
    message.task.limits["mem"].value = 512.0
    agent.run_task(message)


def draining(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    agent.feed(events.DrainAgent(MASTER, pb.DrainConfig()))
    custom(agent, of, "t", False)


def outdated(agent: Driver, of: pb.FrameworkInfo) -> None:
    message = run(of=of)
    message.resource_version_uuids[0].uuid.value = b"x" * 16
    agent.run_task(message)


def reserve(resource: pb.Resource) -> None:
    reservation = resource.reservations.add()
    reservation.type = pb.Resource.ReservationInfo.DYNAMIC
    reservation.role = "web"


def unknown_of_task(agent: Driver, of: pb.FrameworkInfo) -> None:
    message = run(of=of)
    reserve(message.task.resources[0])
    agent.run_task(message)


def unknown_of_executor(agent: Driver, of: pb.FrameworkInfo) -> None:
    message = run(task("t", executor="e"), of=of)
    resource = message.task.executor.resources.add(name="cpus", type=pb.Value.SCALAR)
    resource.scalar.value = 1.0
    resource.allocation_info.role = "web"
    reserve(resource)
    agent.run_task(message)


def command_twice(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    agent.run_task(run(of=of))


def executor_there(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    custom(agent, of, "t", True)


def executor_missing(agent: Driver, of: pb.FrameworkInfo) -> None:
    custom(agent, of, "t", False)


def no_sandbox(agent: Driver, of: pb.FrameworkInfo) -> None:
    custom(agent, of, "t", True)
    agent.feed(events.SandboxMade(*agent.key("e"), "no room"))


def executor_terminating(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("e")))
    custom(agent, of, "t", False)


def executor_terminated(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    agent.terminated("e")
    custom(agent, of, "t", False)


def killed_while_registering(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    agent.launched()
    kill(agent, "t1")


def killed_while_queued(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    custom(agent, of, "t", False)
    kill(agent, "t")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()


def killed_unknown(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    kill(agent, "t")


def reconciled(agent: Driver, of: pb.FrameworkInfo) -> None:
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = FRAMEWORK
    asked.framework.CopyFrom(of)
    asked.statuses.add(state=pb.TASK_RUNNING).task_id.value = "t"
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (asked,)))


def never_delivered(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    custom(agent, of, "t", False)
    agent.settle()
    agent.subscribed("e", 2)
    agent.settle()


def exited(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    agent.terminated("e", 256)


def not_destroyed(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    agent.feed(events.ContainerTerminated(*agent.key("e"), None, "it would not go"))


def launch_failed(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""))
    agent.feed(events.ContainerLaunched(*key, "no such image", True))
    agent.feed(events.ContainerTerminated(*key, None, ""))


def ended_before_launch(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    key = agent.key()
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("t1")))
    agent.feed(events.SandboxMade(*key, ""))


def unsupported(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""))
    agent.feed(events.ContainerLaunched(*key, "", False))
    agent.feed(events.ContainerTerminated(*key, None, ""))


def too_late(agent: Driver, of: pb.FrameworkInfo) -> None:
    agent.run_task(run(of=of))
    agent.launched()
    agent.feed(events.RegistrationTimeout(*agent.key()))
    agent.terminated(status=9)


def not_updated(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    custom(agent, of, "t", False)
    agent.feed(events.ContainerUpdated(*agent.key("e"), "disk on fire"))
    agent.terminated("e", 9)


def over_its_limit(agent: Driver, of: pb.FrameworkInfo) -> None:
    started(agent, of)
    termination = slave.ContainerTermination(
        status=9,
        state=pb.TASK_FAILED,
        reason=Status.REASON_CONTAINER_LIMITATION_MEMORY,
        message="Memory limit exceeded",
    )
    termination.limited_resources.add(name="mem", type=pb.Value.SCALAR).scalar.value = 64
    agent.feed(events.ContainerTerminated(*agent.key("e"), termination, ""))


TERMINATED = Status.REASON_EXECUTOR_TERMINATED
ROWS = [
    (
        "L1",
        cpu_limit,
        DROPPED,
        Status.REASON_GC_ERROR,
        "CPU limits can only be set on tasks launched in Mesos containers when the agent has"
        " loaded the 'cgroups/cpu' isolator",
        False,
    ),
    (
        "L1",
        memory_limit,
        DROPPED,
        Status.REASON_GC_ERROR,
        "Memory limits can only be set on tasks launched in Mesos containers when the agent has"
        " loaded the 'cgroups/mem' isolator",
        False,
    ),
    (
        "L4",
        draining,
        DROPPED,
        Status.REASON_SLAVE_DRAINING,
        "Task was received while agent was already draining",
        True,
    ),
    (
        "L5",
        outdated,
        DROPPED,
        Status.REASON_INVALID_OFFERS,
        "Task assumes outdated resource state",
        True,
    ),
    (
        "L6",
        unknown_of_task,
        DROPPED,
        Status.REASON_RESOURCES_UNKNOWN,
        "The checkpointed resources being used by the task or task group are unknown to the agent",
        True,
    ),
    (
        "L7",
        unknown_of_executor,
        DROPPED,
        Status.REASON_RESOURCES_UNKNOWN,
        "The checkpointed resources being used by the executor are unknown to the agent",
        True,
    ),
    (
        "L8",
        command_twice,
        DROPPED,
        Status.REASON_TASK_INVALID,
        "Cannot reuse an already existing executor for a command task",
        True,
    ),
    (
        "L9",
        executor_there,
        DROPPED,
        TERMINATED,
        "Master wants to launch executor, but one already exists",
        True,
    ),
    (
        "L10",
        executor_missing,
        DROPPED,
        TERMINATED,
        "No executor is expected to launch and there is none running",
        True,
    ),
    ("L11", no_sandbox, DROPPED, TERMINATED, "no room", True),
    ("L12", executor_terminating, DROPPED, TERMINATED, "Executor terminating", False),
    ("L12", executor_terminated, DROPPED, TERMINATED, "Executor terminated", False),
    (
        "K2",
        killed_while_registering,
        KILLED,
        Status.REASON_TASK_KILLED_DURING_LAUNCH,
        "Killed before delivery to the executor",
        True,
    ),
    (
        "K3",
        killed_while_queued,
        KILLED,
        Status.REASON_TASK_KILLED_DURING_LAUNCH,
        "Killed before delivery to the executor",
        True,
    ),
    ("K4", killed_unknown, DROPPED, TERMINATED, "Cannot find executor", False),
    (
        "R1",
        reconciled,
        DROPPED,
        Status.REASON_RECONCILIATION,
        "Reconciliation: task unknown to the agent",
        False,
    ),
    (
        "R2",
        never_delivered,
        DROPPED,
        Status.REASON_SLAVE_RESTARTED,
        "Task launched during agent restart",
        True,
    ),
    ("E", exited, FAILED, TERMINATED, "Executor terminated", True),
    (
        "E",
        not_destroyed,
        FAILED,
        TERMINATED,
        "Abnormal executor termination: it would not go",
        True,
    ),
    (
        "E1",
        launch_failed,
        FAILED,
        Status.REASON_CONTAINER_LAUNCH_FAILED,
        "Failed to launch container: no such image; Abnormal executor termination: unknown"
        " container",
        True,
    ),
    (
        "E2",
        ended_before_launch,
        FAILED,
        Status.REASON_CONTAINER_LAUNCH_FAILED,
        "Executor terminating",
        True,
    ),
    (
        "E3",
        unsupported,
        FAILED,
        TERMINATED,
        "Abnormal executor termination: unknown container",
        True,
    ),
    (
        "E4",
        too_late,
        FAILED,
        Status.REASON_EXECUTOR_REGISTRATION_TIMEOUT,
        "Executor did not register within 1mins",
        True,
    ),
    (
        "E6",
        not_updated,
        GONE,
        Status.REASON_CONTAINER_UPDATE_FAILED,
        "Failed to update resources for container: disk on fire",
        True,
    ),
    (
        "E8",
        over_its_limit,
        FAILED,
        Status.REASON_CONTAINER_LIMITATION_MEMORY,
        "Memory limit exceeded",
        True,
    ),
]


@pytest.mark.parametrize("aware", [True, False], ids=["aware", "unaware"])
@pytest.mark.parametrize(
    ("scene", "states", "reason", "text", "with_executor"),
    [row[1:] for row in ROWS],
    ids=[f"{name}-{scene.__name__}" for name, scene, *_ in ROWS],
)
def test_a_status_of_the_agents_own(
    scene: Scene,
    states: tuple[pb.TaskState, pb.TaskState],
    reason: int,
    text: str,
    with_executor: bool,
    aware: bool,
) -> None:
    agent = Driver(isolation=frozenset())
    agent.register()
    scene(agent, framework(*([PARTITION_AWARE] if aware else [])))
    told = agent.sent(messages.StatusUpdateMessage)
    assert told
    for message in told:
        update, status = message.update, message.update.status
        assert pb.TaskState.Name(status.state) == pb.TaskState.Name(states[0 if aware else 1])
        assert (status.reason, status.message) == (reason, text)
        assert status.source == Status.SOURCE_SLAVE
        assert status.HasField("executor_id") == update.HasField("executor_id") == with_executor
        assert status.uuid == update.uuid
        assert len(status.uuid) == 16
        assert status.slave_id.value == update.slave_id.value == AGENT
        assert status.timestamp == update.timestamp > 0
        assert message.pid == agent.state.config.pid
        limited = [resource.name for resource in status.limitation.resources]
        assert limited == (["mem"] if reason == Status.REASON_CONTAINER_LIMITATION_MEMORY else [])
