# SPDX-License-Identifier: Apache-2.0
"""Launches between two answers of a master to attempts to register."""

from __future__ import annotations

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.events import TasksAuthorized
from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.agent.machine.state import ExecutorPhase
from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, framework, run, task

Kind = v1_executor.Event
PARTITION_AWARE = pb.FrameworkInfo.Capability.PARTITION_AWARE


def again() -> Driver:
    """An agent that has had one answer, and may get another one."""
    agent = Driver()
    agent.register()
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER))
    agent.feed(events.RegistrationDue(MASTER), events.RegistrationDue(MASTER))
    answer(agent)
    return agent


@pytest.fixture
def agent() -> Driver:
    return again()


def answer(agent: Driver, *asked: str) -> None:
    """Another answer, which asks for some tasks."""
    reconciliation = messages.ReconcileTasksMessage()
    reconciliation.framework_id.value = FRAMEWORK
    for name in asked:
        reconciliation.statuses.add(state=pb.TASK_STAGING).task_id.value = name
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (reconciliation,) if asked else ()))


def registration(agent: Driver) -> messages.ReregisterSlaveMessage:
    """What another attempt tells."""
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    return sent


def test_a_task_that_the_master_asks_for_goes_on(agent: Driver) -> None:
    agent.run_task(run())
    agent.launched()
    agent.subscribed()
    answer(agent, "t1")
    assert agent.updates() == []
    agent.reports(pb.TASK_RUNNING, 1)
    assert [status.state for status in agent.updates()] == [pb.TASK_RUNNING]


def test_a_task_that_an_attempt_told_of_goes_on(agent: Driver) -> None:
    agent.run_task(run())
    agent.launched()
    agent.subscribed()
    assert [each.task_id.value for each in registration(agent).tasks] == ["t1"]
    answer(agent)
    answer(agent)
    assert agent.executor().phase is ExecutorPhase.RUNNING


@pytest.mark.parametrize("aware", [False, True])
def test_nobody_hears_of_a_task_that_the_master_has_forgotten(agent: Driver, aware: bool) -> None:
    of = framework(*([PARTITION_AWARE] if aware else []))
    agent.run_task(run(of=of))
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_RUNNING, 1)
    answer(agent)
    assert Kind.SHUTDOWN in [event.type for event in agent.to_executor()]
    assert not agent.state.streams
    agent.reports(pb.TASK_KILLED, 2)
    assert [event.acknowledged.uuid for event in agent.to_executor()] == [bytes([2]) * 16]
    assert agent.updates() == []
    agent.terminated()
    assert agent.updates() == []
    assert not agent.state.frameworks
    (completed,) = agent.state.completed_frameworks
    (over,) = completed.completed_executors[0].completed
    assert over.state == (pb.TASK_GONE if aware else pb.TASK_LOST)
    assert over.statuses[-1].state == over.state


def test_an_executor_that_has_not_come_yet_is_ended(agent: Driver) -> None:
    agent.run_task(run())
    agent.launched()
    answer(agent)
    assert agent.executor().phase is ExecutorPhase.TERMINATING
    agent.terminated()
    assert agent.updates() == []
    assert not agent.state.frameworks


def test_an_end_that_was_not_acknowledged_is_forgotten(agent: Driver) -> None:
    agent.run_task(run())
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_FINISHED, 1)
    agent.terminated()
    answer(agent)
    assert not agent.state.frameworks
    assert not agent.state.streams


def test_an_update_on_its_way_to_the_disk_is_not_told(agent: Driver) -> None:
    of = framework()
    of.checkpoint = True
    agent.run_task(run(of=of))
    agent.launched()
    agent.subscribed()
    agent.settle()
    status = pb.TaskStatus(state=pb.TASK_FINISHED, uuid=bytes(16), timestamp=1.0)
    status.task_id.value = status.executor_id.value = "t1"
    under_way = agent.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    answer(agent)
    agent.effects = under_way
    agent.settle()
    assert not agent.state.streams
    assert agent.updates() == []
    agent.terminated()
    assert not agent.state.frameworks


def test_other_tasks_of_the_executor_go_on(agent: Driver) -> None:
    agent.run_task(run(task("old", executor="e")))
    agent.launched("e")
    agent.subscribed("e")
    registration(agent)
    answer(agent)
    agent.run_task(run(task("new", executor="e"), launch_executor=False))
    agent.settle()
    agent.reports(pb.TASK_RUNNING, 1, "new", "e")
    answer(agent)
    (kill,) = agent.to_executor()
    assert (kill.type, kill.kill.task_id.value) == (Kind.KILL, "new")
    assert [each.task_id.value for each in registration(agent).tasks] == ["old"]
    answer(agent)
    agent.reports(pb.TASK_KILLED, 2, "new", "e")
    assert agent.updates() == []
    agent.reports(pb.TASK_RUNNING, 3, "old", "e")
    assert [status.task_id.value for status in agent.updates()] == ["old"]


def test_what_is_not_delivered_yet_never_is(agent: Driver) -> None:
    agent.run_task(run(task("old", executor="e")))
    agent.launched("e")
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    answer(agent)
    agent.run_task(run(task("new", executor="e"), launch_executor=False))
    answer(agent)
    agent.settle()
    assert list(agent.state.frameworks[FRAMEWORK].homes) == ["old"]
    agent.subscribed("e")
    agent.settle()
    launched = [e.launch.task.task_id.value for e in told(agent) if e.type == Kind.LAUNCH]
    assert launched == ["old"]
    assert agent.updates() == []


@pytest.mark.parametrize("asked", [(), ("refused",)])
def test_refusals_are_forgotten_or_asked_for(agent: Driver, asked: tuple[str, ...]) -> None:
    agent.run_task(run(task("old", executor="e")))
    agent.run_task(run(task("refused", executor="e"), launch_executor=True))
    assert [status.task_id.value for status in agent.updates()] == ["refused"]
    answer(agent, "old", *asked)
    told_of = {task_id for _, task_id in agent.state.streams}
    assert told_of == set(asked)


def told(agent: Driver) -> list[v1_executor.Event]:
    """All that was sent to executors so far."""
    return [each.event for each in agent.all if isinstance(each, effects.SendToExecutor)]


def test_whoever_waits_for_an_authorization_does_not_any_more() -> None:
    agent = Driver(authorizes_tasks=True)
    agent.register()
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER))
    agent.feed(events.RegistrationDue(MASTER), events.RegistrationDue(MASTER))
    answer(agent)
    agent.run_task(run())
    (asked,) = agent.every(effects.Authorize)
    assert agent.state.frameworks[FRAMEWORK].knows(TaskId("t1"))
    answer(agent)
    assert not agent.state.frameworks
    agent.feed(TasksAuthorized(FRAMEWORK, ExecutorId("t1"), asked.number, TaskVerdict()))
    assert not agent.state.frameworks
    assert agent.updates() == []
