# SPDX-License-Identifier: Apache-2.0
"""The agent gets rid of its tasks: by order of the master, by a signal, again after a restart."""

from __future__ import annotations

import pytest

from mesos_compat.agent import paths
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.recovered import (
    AgentFound,
    ExecutorFound,
    ExecutorProtocol,
    Found,
    FrameworkFound,
    RunFound,
    TaskFound,
)
from mesos_compat.agent.meta.writes import FileWrite, RecordFile, RemovedFile
from mesos_compat.model.ids import ContainerId, ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import (
    AGENT,
    FRAMEWORK,
    MASTER,
    Driver,
    config,
    framework,
    run,
    run_group,
    task,
)

Kind = v1_executor.Event
PATH = layout.drain_config(paths.agent(paths.meta(config().work_dir), AGENT))
PARTITION_AWARE = pb.FrameworkInfo.Capability.PARTITION_AWARE
SECOND = 1_000_000_000


@pytest.fixture
def agent() -> Driver:
    """A registered agent."""
    driver = Driver()
    driver.register()
    return driver


def order(max_grace_s: float | None = None, mark_gone: bool = False) -> events.DrainAgent:
    """What the master sends."""
    made = pb.DrainConfig(mark_gone=mark_gone)
    if max_grace_s is not None:
        made.max_grace_period.nanoseconds = round(max_grace_s * SECOND)
    return events.DrainAgent(MASTER, made)


def writes(agent: Driver) -> list[FileWrite]:
    return [write for effect in agent.every(effects.Checkpoint) for write in effect.writes]


def running(agent: Driver, *capabilities: int, grace_s: float | None = None) -> None:
    """One command task runs."""
    info = task()
    if grace_s is not None:
        info.kill_policy.grace_period.nanoseconds = round(grace_s * SECOND)
    agent.run_task(run(info, of=framework(*capabilities)))
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_RUNNING, 1)
    agent.acknowledge()


def test_an_idle_agent_is_drained_already(agent: Driver) -> None:
    agent.feed(order())
    assert not agent.every(effects.Checkpoint)
    assert agent.state.drain is None
    agent.run_task(run())
    assert agent.every(effects.MakeSandbox)


def test_an_agent_that_never_registered_has_nothing_to_drain() -> None:
    agent = Driver()
    agent.feed(events.Recovered(), order())
    assert not agent.every(effects.Checkpoint)


def test_the_whole_story(agent: Driver) -> None:
    running(agent)
    agent.feed(order())
    assert writes(agent) == [RecordFile(PATH, pb.DrainConfig(mark_gone=False))]
    (kill,) = agent.to_executor()
    assert (kill.type, kill.kill.task_id.value) == (Kind.KILL, "t1")
    assert not kill.kill.HasField("kill_policy")
    agent.reports(pb.TASK_KILLING, 2)
    agent.acknowledge()
    agent.reports(pb.TASK_KILLED, 3)
    (status,) = agent.updates()
    assert (status.state, status.reason) == (
        pb.TASK_KILLED,
        pb.TaskStatus.REASON_SLAVE_DRAINING,
    )
    assert status.source == pb.TaskStatus.SOURCE_EXECUTOR
    agent.terminated()
    assert RemovedFile(PATH) not in writes(agent)
    agent.acknowledge()
    assert writes(agent)[-1] == RemovedFile(PATH)
    assert agent.state.drain is None
    assert agent.state.phase is AgentPhase.RUNNING
    agent.run_task(run(task("t2")))
    assert agent.every(effects.MakeSandbox)


@pytest.mark.parametrize(
    ("own_s", "greatest_s", "told_s"),
    [
        (None, None, None),
        (60, None, None),
        (None, 5, 5),
        (60, 5, 5),
        (5, 5, None),
        (2, 5, None),
        (2, 0, 0),
    ],
)
def test_the_grace_period_is_capped(
    agent: Driver, own_s: float | None, greatest_s: float | None, told_s: float | None
) -> None:
    running(agent, grace_s=own_s)
    agent.feed(order(greatest_s))
    (event,) = agent.to_executor()
    assert event.kill.HasField("kill_policy") == (told_s is not None)
    if told_s is not None:
        assert event.kill.kill_policy.grace_period.nanoseconds == told_s * SECOND


@pytest.mark.parametrize("aware", [False, True])
@pytest.mark.parametrize("mark_gone", [False, True])
def test_gone_by_operator(agent: Driver, mark_gone: bool, aware: bool) -> None:
    running(agent, *([PARTITION_AWARE] if aware else []))
    agent.feed(order(mark_gone=mark_gone))
    agent.reports(pb.TASK_KILLING, 2)
    (status,) = agent.updates()
    gone = mark_gone and aware
    assert status.state == (pb.TASK_GONE_BY_OPERATOR if gone else pb.TASK_KILLING)
    assert status.reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    agent.reports(pb.TASK_KILLED, 3)
    acknowledged = [e.acknowledged.uuid for e in agent.to_executor()]
    assert acknowledged == [bytes([3]) * 16]
    agent.acknowledge()
    if gone:
        assert not agent.updates(), "the task was over before"
        assert (FRAMEWORK, TaskId("t1")) not in agent.state.streams
    else:
        (status,) = agent.updates()
        assert status.state == pb.TASK_KILLED


def test_gone_by_operator_is_told_once_however_fast_the_scheduler_is(agent: Driver) -> None:
    running(agent, PARTITION_AWARE)
    agent.feed(order(mark_gone=True))
    agent.reports(pb.TASK_KILLING, 2)
    agent.acknowledge()
    agent.reports(pb.TASK_KILLED, 3)
    assert not agent.updates()
    assert [e.acknowledged.uuid for e in agent.to_executor()] == [bytes([3]) * 16]
    assert not agent.state.streams


@pytest.mark.parametrize("state", [pb.TASK_FAILED, pb.TASK_FINISHED, pb.TASK_LOST])
def test_other_ends_are_told_as_they_are(agent: Driver, state: pb.TaskState) -> None:
    running(agent, PARTITION_AWARE)
    agent.feed(order(mark_gone=True))
    agent.reports(state, 2)
    (status,) = agent.updates()
    assert status.state == state
    assert status.reason != pb.TaskStatus.REASON_SLAVE_DRAINING


def test_what_was_not_delivered_is_killed_by_the_agent(agent: Driver) -> None:
    agent.run_task(run(of=framework(PARTITION_AWARE)))
    agent.launched()
    agent.feed(order(mark_gone=True))
    (status,) = agent.updates()
    assert status.state == pb.TASK_GONE_BY_OPERATOR
    assert status.reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    assert status.message == "Killed before delivery to the executor"
    agent.subscribed()
    assert [event.type for event in agent.to_executor()] == [Kind.SHUTDOWN]


def test_groups_are_killed_once(agent: Driver) -> None:
    agent.run_group(run_group("a", "b"))
    agent.launched("e")
    agent.subscribed("e")
    agent.run_group(run_group("c", "d", launch_executor=False))
    agent.feed(order())
    assert [e.kill.task_id.value for e in agent.to_executor()] == ["a", "b"]
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    assert sorted(agent.executor("e").terminated) == ["c", "d"]
    told = [s.task_id.value for s in agent.updates()]
    assert told == ["c", "d"]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("aware", [False, True])
def test_new_tasks_are_refused(agent: Driver, grouped: bool, aware: bool) -> None:
    running(agent)
    agent.feed(order())
    of = framework(*([PARTITION_AWARE] if aware else []))
    of.id.value = "another"
    if grouped:
        agent.run_group(run_group("t2", of=of))
    else:
        agent.run_task(run(task("t2", executor="e"), of=of))
    (status,) = agent.updates()
    assert status.state == (pb.TASK_DROPPED if aware else pb.TASK_LOST)
    assert status.reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    assert status.message == "Task was received while agent was already draining"
    assert status.executor_id.value == "e"
    assert len(agent.sent(messages.ExitedExecutorMessage)) == 1
    assert list(agent.state.frameworks) == [FRAMEWORK]


def test_executors_without_tasks_stay(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e")))
    agent.launched("e")
    agent.subscribed("e")
    agent.reports(pb.TASK_FINISHED, 1, executor="e")
    agent.acknowledge()
    agent.feed(order())
    assert not agent.to_executor()
    assert agent.executor("e").phase is ExecutorPhase.RUNNING


def test_a_later_order_counts(agent: Driver) -> None:
    running(agent)
    agent.feed(order())
    agent.feed(order(3, mark_gone=True))
    (kill,) = agent.to_executor()
    assert kill.kill.kill_policy.grace_period.nanoseconds == 3 * SECOND
    (write,) = writes(agent)
    assert isinstance(write, RecordFile)
    assert isinstance(write.message, pb.DrainConfig)
    assert write.message.mark_gone


def test_an_order_of_a_master_that_has_not_taken_us_back_yet(agent: Driver) -> None:
    running(agent)
    agent.feed(events.MasterDetected(MASTER), order())
    assert [event.type for event in agent.to_executor()] == [Kind.KILL]


# -- after a restart --------------------------------------------------------------------------


def found(drain: pb.DrainConfig, executors: tuple[ExecutorFound, ...]) -> events.Recovered:
    info = framework()
    info.checkpoint = True
    one = FrameworkFound(FRAMEWORK, info, "", executors)
    return events.Recovered(Found(agent=AgentFound(AGENT, pb.SlaveInfo(), drain, (one,))))


def survivor() -> ExecutorFound:
    """An executor with one task, as it is found."""
    info = task(executor="e").executor
    info.framework_id.value = FRAMEWORK
    kept = pb.Task(name="t1", state=pb.TASK_STAGING)
    kept.task_id.value = "t1"
    kept.slave_id.value = AGENT
    kept.framework_id.value = FRAMEWORK
    kept.executor_id.value = "e"
    update = messages.StatusUpdate(timestamp=1.0, uuid=b"r" * 16)
    update.framework_id.value = FRAMEWORK
    update.slave_id.value = AGENT
    update.status.task_id.value = "t1"
    update.status.state = pb.TASK_RUNNING
    update.status.uuid = update.uuid
    tasks = (TaskFound(TaskId("t1"), kept, (update,), frozenset({update.uuid})),)
    container_id = ContainerId("5d1a5f5e-7d5b-4d39-94f5-4a9c3e6a2f11")
    latest = RunFound(container_id, False, 100, ExecutorProtocol.HTTP, "", tasks)
    return ExecutorFound(ExecutorId("e"), info, False, latest, ())


def test_an_order_holds_after_a_restart() -> None:
    agent = Driver()
    agent.feed(found(order(5).config, (survivor(),)))
    agent.subscribed("e")
    assert [event.type for event in agent.to_executor()] == [Kind.SUBSCRIBED]
    agent.feed(events.ReregistrationTimeout())
    (event,) = agent.to_executor()
    assert (event.type, event.kill.task_id.value) == (Kind.KILL, "t1")
    assert event.kill.kill_policy.grace_period.nanoseconds == 5 * SECOND
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    agent.run_task(run(task("t2")))
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    agent.reports(pb.TASK_KILLED, 2, executor="e")
    agent.acknowledge()
    agent.terminated("e")
    assert writes(agent)[-1] == RemovedFile(PATH)
    assert agent.state.drain is None


def test_an_order_of_which_nothing_is_left() -> None:
    agent = Driver()
    agent.feed(found(order().config, ()))
    assert RemovedFile(PATH) in writes(agent)
    assert agent.state.drain is None


# -- by a signal ------------------------------------------------------------------------------


def test_leaving_with_nothing_to_end(agent: Driver) -> None:
    agent.feed(events.LeaveRequested(10.0))
    assert len(agent.sent(messages.UnregisterSlaveMessage)) == 1
    assert agent.last(effects.Exit).error == ""
    assert not agent.every(effects.Checkpoint)


def test_leaving_once_the_scheduler_knows_the_end_of_its_task(agent: Driver) -> None:
    running(agent, grace_s=60)
    agent.feed(events.LeaveRequested(10.0))
    (kill,) = agent.to_executor()
    assert kill.kill.kill_policy.grace_period.nanoseconds == 10 * SECOND
    timer = agent.last(effects.StartTimer)
    assert timer.delay_s == 15.0
    agent.reports(pb.TASK_KILLED, 2)
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    assert not agent.sent(messages.UnregisterSlaveMessage)
    agent.run_task(run(task("t2")))
    assert [s.reason for s in agent.updates()] == [pb.TaskStatus.REASON_SLAVE_DRAINING]
    agent.acknowledge("t2")
    assert not agent.sent(messages.UnregisterSlaveMessage)
    agent.acknowledge()
    assert len(agent.sent(messages.UnregisterSlaveMessage)) == 1
    assert not agent.every(effects.Exit)
    agent.terminated()
    assert agent.last(effects.Exit).error == ""
    agent.feed(timer.event)
    assert len(agent.sent(messages.UnregisterSlaveMessage, agent.all)) == 1


def test_leaving_does_not_wait_for_ever(agent: Driver) -> None:
    running(agent)
    agent.feed(events.LeaveRequested(10.0))
    agent.feed(agent.last(effects.StartTimer).event)
    assert len(agent.sent(messages.UnregisterSlaveMessage)) == 1
    assert agent.state.phase is AgentPhase.TERMINATING
    assert agent.executor().phase is ExecutorPhase.TERMINATING


def test_leaving_while_the_master_drains(agent: Driver) -> None:
    """What the master wants is still to be done by the next process."""
    running(agent, PARTITION_AWARE)
    agent.feed(order(mark_gone=True), events.LeaveRequested(10.0))
    agent.reports(pb.TASK_KILLED, 2)
    assert [s.state for s in agent.updates()] == [pb.TASK_GONE_BY_OPERATOR]
    agent.acknowledge()
    agent.terminated()
    assert RemovedFile(PATH) not in writes(agent)
    assert agent.last(effects.Exit).error == ""
