# SPDX-License-Identifier: Apache-2.0
"""Task groups: all of their tasks are run, or none; each is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import ExecutorPhase, TaskPlace
from mesos_compat.agent.meta.writes import RecordFile
from mesos_compat.model import reasons
from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.model.reasons import Cause
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import (
    AGENT,
    FRAMEWORK,
    MASTER,
    Driver,
    framework,
    run,
    run_group,
    task,
)

Kind = v1_executor.Event
Group = messages.RunTaskGroupMessage
PARTITION_AWARE = pb.FrameworkInfo.Capability.PARTITION_AWARE


@pytest.fixture
def agent() -> Driver:
    """A registered agent."""
    driver = Driver()
    driver.register()
    return driver


def kill(agent: Driver, name: str) -> None:
    agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId(name), None))


def test_a_group_is_delivered_at_once(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    assert list(agent.executor("e").queued) == ["a", "b"]
    agent.launched("e")
    launch = next(effect for effect in agent.all if isinstance(effect, effects.Launch))
    amounts = {r.name: r.scalar.value for r in launch.config.resources}
    assert amounts == {"cpus": 2.1, "mem": 160.0}
    assert not launch.config.HasField("task_info")
    agent.subscribed("e")
    subscribed, delivered = agent.to_executor()
    assert (subscribed.type, delivered.type) == (Kind.SUBSCRIBED, Kind.LAUNCH_GROUP)
    group = delivered.launch_group.task_group
    assert [info.task_id.value for info in group.tasks] == ["a", "b"]
    assert {info.executor.executor_id.value for info in group.tasks} == {"e"}
    executor = agent.executor("e")
    assert list(executor.launched) == ["a", "b"]
    assert {each.place for each in executor.launched.values()} == {TaskPlace.LAUNCHED}


def test_single_tasks_go_before_groups(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.run_task(run(task("c", executor="e"), launch_executor=False))
    agent.run_group(run_group("d", launch_executor=False))
    agent.launched("e")
    agent.subscribed("e")
    told = agent.to_executor()
    assert [event.type for event in told] == [
        Kind.SUBSCRIBED,
        Kind.LAUNCH,
        Kind.LAUNCH_GROUP,
        Kind.LAUNCH_GROUP,
    ]
    groups = [event.launch_group.task_group.tasks for event in told[2:]]
    assert [[info.task_id.value for info in group] for group in groups] == [["a", "b"], ["d"]]


def test_a_group_for_a_running_executor_waits_for_its_container(agent: Driver) -> None:
    agent.run_group(run_group("a"))
    agent.launched("e")
    agent.subscribed("e")
    agent.run_group(run_group("b", "c", launch_executor=False))
    update = agent.last(effects.UpdateContainer)
    assert {r.name: r.scalar.value for r in update.requests} == {"cpus": 3.1, "mem": 224.0}
    assert not agent.to_executor()
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    (delivered,) = agent.to_executor()
    assert [info.task_id.value for info in delivered.launch_group.task_group.tasks] == ["b", "c"]


def test_the_executor_of_the_message_counts(agent: Driver) -> None:
    message = run_group("a", "b")
    message.task_group.tasks[1].executor.executor_id.value = "another"
    message.task_group.tasks[0].ClearField("executor")
    agent.run_group(message)
    executor = agent.executor("e")
    reported = [each.message(FRAMEWORK).executor_id.value for each in executor.queued.values()]
    assert reported == ["e", "e"]


def test_roles_that_old_masters_leave_out(agent: Driver) -> None:
    message = run_group("a")
    for resource in (*message.executor.resources, *message.task_group.tasks[0].resources):
        resource.ClearField("allocation_info")
    agent.run_group(message)
    executor = agent.executor("e")
    used = [*executor.info.resources, *executor.queued[TaskId("a")].info.resources]
    assert [resource.allocation_info.role for resource in used] == ["*"] * 4


@pytest.mark.parametrize("checkpoint", [False, True])
def test_all_tasks_are_kept(agent: Driver, checkpoint: bool) -> None:
    of = framework()
    of.checkpoint = checkpoint
    agent.run_group(run_group("a", "b", of=of))
    writes = [write for effect in agent.every(effects.Checkpoint) for write in effect.writes]
    kept = [w.path.split("/")[-2] for w in writes if isinstance(w, RecordFile)]
    assert kept == (["a", "b"] if checkpoint else [])


# -- default executors ------------------------------------------------------------------------


def test_a_default_executor_is_started_from_the_launcher_dir(agent: Driver) -> None:
    agent.run_group(run_group("a", kind=pb.ExecutorInfo.DEFAULT))
    agent.launched("e")
    config = next(effect for effect in agent.all if isinstance(effect, effects.Launch)).config
    command = config.command_info
    assert (command.shell, command.value) == (False, "/launcher/mesos-default-executor")
    assert list(command.arguments) == ["mesos-default-executor", "--launcher_dir=/launcher"]
    assert command.user == "root"
    assert config.executor_info.command == command
    told = agent.executor("e").info
    assert not told.HasField("command"), "masters and executors see what the framework sent"


@pytest.mark.parametrize("kind", [pb.ExecutorInfo.DEFAULT, pb.ExecutorInfo.CUSTOM])
def test_executors_of_our_own_are_told_of_tls(kind: pb.ExecutorInfo.Type) -> None:
    agent = Driver(tls=True)
    agent.register()
    agent.run_group(run_group("a", kind=kind))
    agent.launched("e")
    launch = next(effect for effect in agent.all if isinstance(effect, effects.Launch))
    ours = kind == pb.ExecutorInfo.DEFAULT
    assert launch.environment.get("MESOS_AGENT_TLS") == ("1" if ours else None)


@pytest.mark.parametrize("grouped", [True, False])
def test_a_default_executor_without_its_program(grouped: bool) -> None:
    agent = Driver(default_executor=None, default_executor_error="No such file or directory: /x")
    agent.register()
    message = run_group("a", "b", kind=pb.ExecutorInfo.DEFAULT)
    reason = pb.TaskStatus.REASON_TASK_GROUP_INVALID
    if grouped:
        agent.run_group(message)
    else:
        info = task("a")
        info.ClearField("command")
        info.executor.CopyFrom(message.executor)
        agent.run_task(run(info))
        reason = pb.TaskStatus.REASON_TASK_INVALID
    statuses = agent.updates()
    assert [s.task_id.value for s in statuses] == (["a", "b"] if grouped else ["a"])
    assert {s.state for s in statuses} == {pb.TASK_ERROR}
    assert {s.reason for s in statuses} == {reason}
    text = "This agent has no default executor: No such file or directory: /x"
    assert {s.message for s in statuses} == {text}
    assert len(agent.sent(messages.ExitedExecutorMessage)) == 1
    assert not agent.state.frameworks


# -- ignored and refused ----------------------------------------------------------------------


def empty(message: Group) -> None:
    del message.task_group.tasks[:]


def no_framework_id(message: Group) -> None:
    message.framework.ClearField("id")


def one_of_another_agent(message: Group) -> None:
    message.task_group.tasks[1].slave_id.value = "other"


def climbing_task(message: Group) -> None:
    message.task_group.tasks[1].task_id.value = "../../etc"


def climbing_executor(message: Group) -> None:
    message.executor.executor_id.value = ".."


def twice(message: Group) -> None:
    message.task_group.tasks[1].task_id.value = "a"


@pytest.mark.parametrize(
    "spoil",
    [empty, no_framework_id, one_of_another_agent, climbing_task, climbing_executor, twice],
)
def test_ignored_as_a_whole(agent: Driver, spoil: Callable[[Group], None]) -> None:
    message = run_group("a", "b")
    spoil(message)
    agent.run_group(message)
    assert all(isinstance(effect, effects.Log) for effect in agent.effects)
    assert not agent.state.frameworks


def test_a_stranger_runs_no_group(agent: Driver) -> None:
    agent.feed(events.RunTaskGroup("master@10.0.0.9:5050", run_group("a")))
    assert not agent.state.frameworks


def test_a_task_that_is_there_already_keeps_its_group_out(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.run_group(run_group("b", "c", executor="f"))
    assert not agent.updates()
    assert len(agent.sent(messages.ExitedExecutorMessage)) == 1
    (executor,) = agent.state.frameworks[FRAMEWORK].executors.values()
    assert list(executor.queued) == ["a", "b"]


def limit(message: Group) -> None:
    message.task_group.tasks[1].limits["cpus"].value = 2.0


def outdated(message: Group) -> None:
    message.resource_version_uuids[0].uuid.value = b"x" * 16


def reserve(resource: pb.Resource) -> None:
    reservation = resource.reservations.add()
    reservation.type = pb.Resource.ReservationInfo.DYNAMIC
    reservation.role = "web"


def unknown_of_task(message: Group) -> None:
    reserve(message.task_group.tasks[1].resources[0])


def unknown_of_executor(message: Group) -> None:
    reserve(message.executor.resources[0])


def nonsense(message: Group) -> None:
    message.task_group.tasks[1].resources[0].scalar.value = -1.0


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (limit, reasons.CPU_LIMITS_UNSUPPORTED),
        (outdated, reasons.OUTDATED_RESOURCES),
        (unknown_of_task, reasons.TASK_RESOURCES_UNKNOWN),
        (unknown_of_executor, reasons.EXECUTOR_RESOURCES_UNKNOWN),
        (nonsense, reasons.INVALID_GROUP),
    ],
)
def test_what_is_wrong_with_one_is_wrong_with_all(
    spoil: Callable[[Group], None], cause: Cause, aware: bool
) -> None:
    agent = Driver(isolation=frozenset())
    agent.register()
    message = run_group("a", "b", of=framework(*([PARTITION_AWARE] if aware else [])))
    spoil(message)
    agent.run_group(message)
    told = agent.updates()
    assert [status.task_id.value for status in told] == ["a", "b"]
    for status in told:
        assert status.state == cause.state(aware)
        assert status.reason == cause.reason
        assert status.message.endswith(cause.message)
        assert status.HasField("executor_id") == cause.with_executor
    (exited,) = agent.sent(messages.ExitedExecutorMessage)
    assert (exited.executor_id.value, exited.status) == ("e", -1)
    assert not agent.state.frameworks


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("launch_executor", [True, False, None])
@pytest.mark.parametrize("there", ["absent", "registering", "running", "terminating", "terminated"])
def test_what_the_master_thinks_of_the_executor(
    agent: Driver, there: str, launch_executor: bool | None, grouped: bool
) -> None:
    if there != "absent":
        agent.run_group(run_group("a"))
        agent.launched("e")
    if there in ("running", "terminated"):
        agent.subscribed("e")
    if there == "terminating":
        agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("e")))
    if there == "terminated":
        agent.terminated("e")
    if grouped:
        agent.run_group(run_group("b", "c", launch_executor=launch_executor))
    else:
        agent.run_task(run(task("b", executor="e"), launch_executor))
    texts = {status.message for status in agent.updates()}
    exited = len(agent.sent(messages.ExitedExecutorMessage))
    ready = there in ("registering", "running")
    if launch_executor and there != "absent":
        assert texts == {reasons.EXECUTOR_EXISTS.message}
        assert exited == (1 if there == "terminated" else 0)
        if ready:
            assert agent.executor("e").phase is ExecutorPhase.TERMINATING
    elif launch_executor is False and there == "absent":
        assert texts == {reasons.EXECUTOR_MISSING.message}
        assert exited == 0
    elif ready or there == "absent":
        assert texts == set()
        expected = {"b", "c"} if grouped else {"b"}
        assert expected <= agent.executor("e").queued.keys()
    else:
        assert texts == {f"Executor {there}"}
        assert exited == 0


def test_a_failed_sandbox_is_told_to_each(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.feed(events.SandboxMade(*agent.key("e"), "no room"))
    assert [(s.task_id.value, s.message) for s in agent.updates()] == [
        ("a", "no room"),
        ("b", "no room"),
    ]
    assert len(agent.sent(messages.ExitedExecutorMessage)) == 1


# -- kill -------------------------------------------------------------------------------------


def test_one_killed_before_the_executor_registered(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.run_group(run_group("c", launch_executor=False))
    agent.launched("e")
    kill(agent, "b")
    told = agent.updates()
    assert [(s.task_id.value, s.state) for s in told] == [
        ("a", pb.TASK_KILLED),
        ("b", pb.TASK_KILLED),
    ]
    assert {s.message for s in told} == {
        "A task within the task group was killed before delivery to the executor"
    }
    assert {s.reason for s in told} == {pb.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH}
    assert {s.executor_id.value for s in told} == {"e"}
    agent.subscribed("e")
    agent.settle()
    delivered = agent.to_executor()[-1].launch_group.task_group
    assert [info.task_id.value for info in delivered.tasks] == ["c"]


@pytest.mark.parametrize("amount", [1.0, 0.0])
def test_one_killed_while_its_group_is_queued_at_a_running_executor(
    agent: Driver, amount: float
) -> None:
    agent.run_group(run_group("x"))
    agent.launched("e")
    agent.subscribed("e")
    message = run_group("a", "b", launch_executor=False)
    for info in message.task_group.tasks:
        info.resources[0].scalar.value = amount
    agent.run_group(message)
    kill(agent, "a")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    assert not any(event.type == Kind.LAUNCH_GROUP for event in agent.to_executor())
    executor = agent.executor("e")
    assert list(executor.terminated) == ["a", "b"]
    texts = {each.statuses[-1].message for each in executor.terminated.values()}
    assert texts == {"Killed before delivery to the executor"}
    assert executor.phase is ExecutorPhase.RUNNING


def test_a_group_that_uses_nothing_is_killed_as_a_whole_too(agent: Driver) -> None:
    """No container is changed, so nothing is waited for between the ends of the two."""
    agent.run_group(run_group("x"))
    agent.launched("e")
    agent.subscribed("e")
    agent.run_group(run_group("y", launch_executor=False))
    message = run_group("a", "b", launch_executor=False)
    for info in message.task_group.tasks:
        del info.resources[:]
    agent.run_group(message)
    kill(agent, "a")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    assert sorted(agent.executor("e").terminated) == ["a", "b"]
    assert sorted(agent.executor("e").launched) == ["x", "y"]


def test_an_executor_whose_only_group_was_killed_is_shut_down(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.launched("e")
    kill(agent, "a")
    agent.subscribed("e")
    assert [event.type for event in agent.to_executor()] == [Kind.SHUTDOWN]


def test_a_delivered_task_is_killed_by_its_executor(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.launched("e")
    agent.subscribed("e")
    kill(agent, "b")
    (event,) = agent.to_executor()
    assert (event.type, event.kill.task_id.value) == (Kind.KILL, "b")


def test_an_executor_that_ends_a_task_which_it_never_got(agent: Driver) -> None:
    agent.run_group(run_group("x"))
    agent.launched("e")
    agent.subscribed("e")
    agent.run_group(run_group("a", "b", launch_executor=False))
    agent.reports(pb.TASK_FAILED, 1, task="a", executor="e")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    executor = agent.executor("e")
    ends = {name: each.state for name, each in executor.terminated.items()}
    assert ends == {"a": pb.TASK_FAILED, "b": pb.TASK_KILLED}
    assert list(executor.launched) == ["x"]


# -- ends -------------------------------------------------------------------------------------


def test_each_task_is_told_of_the_end_of_its_executor(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.launched("e")
    agent.subscribed("e")
    agent.reports(pb.TASK_FINISHED, 1, task="a", executor="e")
    agent.terminated("e", 256)
    (status,) = agent.updates()
    assert (status.task_id.value, status.state) == ("b", pb.TASK_FAILED)
    (exited,) = agent.sent(messages.ExitedExecutorMessage)
    assert (exited.executor_id.value, exited.status) == ("e", 256)
    agent.acknowledge("a")
    agent.acknowledge("b")
    assert not agent.state.frameworks


def test_what_a_master_is_told_of_a_group(agent: Driver) -> None:
    agent.run_group(run_group("a", "b", kind=pb.ExecutorInfo.DEFAULT))
    agent.launched("e")
    agent.subscribed("e")
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    (again,) = agent.sent(messages.ReregisterSlaveMessage)
    assert [(t.task_id.value, t.executor_id.value) for t in again.tasks] == [("a", "e"), ("b", "e")]
    (info,) = again.executor_infos
    assert (info.type, info.HasField("command")) == (pb.ExecutorInfo.DEFAULT, False)
    assert info.framework_id.value == FRAMEWORK
    assert again.slave.id.value == AGENT
