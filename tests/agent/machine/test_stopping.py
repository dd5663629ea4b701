# SPDX-License-Identifier: Apache-2.0
"""Kills and shutdowns in every phase."""

from __future__ import annotations

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase
from mesos_compat.model.ids import ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, run, task

Kind = v1_executor.Event


@pytest.fixture
def agent() -> Driver:
    """A registered agent with one accepted task."""
    driver = Driver()
    driver.register()
    driver.run_task(run())
    return driver


def kill(agent: Driver, name: str = "t1", policy: pb.KillPolicy | None = None) -> None:
    agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId(name), policy))


def test_kill_before_the_executor_registered(agent: Driver) -> None:
    agent.launched()
    kill(agent)
    (status,) = agent.updates()
    assert status.state == pb.TASK_KILLED
    assert status.reason == pb.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH
    assert status.message == "Killed before delivery to the executor"
    agent.subscribed()
    assert [e.type for e in agent.to_executor()] == [Kind.SHUTDOWN]
    assert agent.executor().phase is ExecutorPhase.TERMINATING


def test_kill_before_the_sandbox_is_made(agent: Driver) -> None:
    kill(agent)
    assert [s.state for s in agent.updates()] == [pb.TASK_KILLED]
    agent.acknowledge()
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("t1")))
    agent.feed(events.SandboxMade(*agent.key(), ""))
    assert not agent.every(effects.Launch)
    assert not agent.state.frameworks


def test_shutdown_before_the_sandbox_is_made_fails_the_task(agent: Driver) -> None:
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("t1")))
    agent.feed(events.SandboxMade(*agent.key(), ""))
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    assert status.message == "Executor terminating"


def test_kill_of_a_launched_task_is_passed_on_with_its_policy(agent: Driver) -> None:
    agent.launched()
    agent.subscribed()
    policy = pb.KillPolicy()
    policy.grace_period.nanoseconds = 1
    kill(agent, policy=policy)
    (event,) = agent.to_executor()
    assert event.type == Kind.KILL
    assert event.kill.task_id.value == "t1"
    assert event.kill.kill_policy.grace_period.nanoseconds == 1
    kill(agent)
    assert not agent.to_executor()[0].kill.HasField("kill_policy")


def test_kill_of_an_unknown_task(agent: Driver) -> None:
    kill(agent, "nobody")
    (status,) = agent.updates()
    assert status.state == pb.TASK_LOST
    assert status.reason == pb.TaskStatus.REASON_EXECUTOR_TERMINATED
    assert status.message == "Cannot find executor"
    assert not status.HasField("executor_id")


def test_kill_of_an_unknown_task_waits_for_what_the_master_answers(agent: Driver) -> None:
    agent.feed(events.MasterDetected(MASTER))
    kill(agent, "other")
    agent.feed(events.RegistrationDue(MASTER))
    kill(agent, "other")
    assert not agent.state.streams
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    kill(agent, "other")
    (status,) = agent.updates()
    assert status.message == "Cannot find executor"


def test_kill_for_an_unknown_framework_is_ignored(agent: Driver) -> None:
    agent.feed(events.KillTask(MASTER, FrameworkId("nobody"), TaskId("t1"), None))
    assert not agent.updates()


def test_kill_from_a_stranger_is_ignored(agent: Driver) -> None:
    agent.feed(events.KillTask("master@9.9.9.9:1", FRAMEWORK, TaskId("t1"), None))
    assert "t1" in agent.executor().queued


def test_kill_of_a_task_queued_at_a_running_executor(agent: Driver) -> None:
    agent.run_task(run(task("t2", executor="e")))
    agent.launched("e")
    agent.subscribed("e", 2)
    agent.run_task(run(task("t3", executor="e"), launch_executor=False))
    kill(agent, "t3")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    assert list(agent.executor("e").terminated) == ["t3"]
    assert not any(e.type == Kind.LAUNCH for e in agent.to_executor())
    assert agent.executor("e").phase is ExecutorPhase.RUNNING


def test_an_executor_whose_tasks_were_all_killed_has_nothing_to_wait_for(agent: Driver) -> None:
    agent.run_task(run(task("t2", executor="e")))
    agent.launched("e")
    agent.run_task(run(task("t3", executor="e"), launch_executor=False))
    agent.subscribed("e", 2)
    kill(agent, "t2")
    kill(agent, "t3")
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    agent.settle()
    assert [e.type for e in agent.to_executor()] == [Kind.SHUTDOWN]


def test_shutdown_gives_the_executor_time(agent: Driver) -> None:
    agent.launched()
    agent.subscribed()
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("t1")))
    assert [e.type for e in agent.to_executor()] == [Kind.SHUTDOWN]
    timer = agent.last(effects.StartTimer)
    assert timer.delay_s == 5.0
    agent.feed(timer.event)
    assert agent.last(effects.DestroyContainer).container_id == agent.executor().container_id
    agent.terminated(status=9)
    assert [s.state for s in agent.updates()] == [pb.TASK_FAILED]


def test_shutdown_of_a_framework_is_silent_and_complete(agent: Driver) -> None:
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_RUNNING, 1)
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    agent.reports(pb.TASK_KILLED, 2)
    assert agent.updates() == []
    assert agent.to_executor() == [], "updates of a terminating framework are not acknowledged"
    agent.terminated(status=0)
    assert agent.updates() == []
    assert not agent.state.frameworks
    assert not agent.state.streams


def test_a_terminated_executor_goes_at_once_with_its_framework(agent: Driver) -> None:
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_FINISHED, 1)
    agent.terminated()
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    assert not agent.state.frameworks


def test_an_idle_agent_ends_at_once() -> None:
    agent = Driver()
    agent.register()
    agent.feed(events.UnregisterRequested("root"))
    (sent,) = agent.sent(messages.UnregisterSlaveMessage)
    assert sent.slave_id.value == agent.state.agent_id
    assert agent.last(effects.Exit).error == ""
    assert "Received SIGUSR1 signal from user root; unregistering and shutting down" in [
        e.text for e in agent.every(effects.Log)
    ]


def test_an_unregistered_agent_just_ends() -> None:
    agent = Driver()
    agent.feed(events.Recovered(), events.UnregisterRequested("root"))
    assert not agent.every(effects.Send)
    assert agent.last(effects.Exit).error == ""


def test_shutdown_of_the_agent_waits_for_executors(agent: Driver) -> None:
    agent.launched()
    agent.subscribed()
    agent.feed(events.ShutdownReceived(MASTER, "Machine is `DOWN`"))
    assert agent.state.phase is AgentPhase.TERMINATING
    assert not agent.every(effects.Exit)
    agent.run_task(run(task("t9")))
    assert not agent.every(effects.MakeSandbox)
    agent.terminated(status=0)
    assert agent.last(effects.Exit).error == ""


def test_shutdown_from_a_stranger_is_ignored(agent: Driver) -> None:
    agent.feed(events.ShutdownReceived("master@9.9.9.9:1", "go"))
    assert agent.state.phase is AgentPhase.RUNNING


def test_a_late_launch_of_a_removed_executor_is_destroyed(agent: Driver) -> None:
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""))
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    agent.feed(events.ContainerLaunched(*key, "", True))
    assert agent.last(effects.DestroyContainer).container_id == key[2]
