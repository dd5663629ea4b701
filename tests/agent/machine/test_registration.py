# SPDX-License-Identifier: Apache-2.0
"""Detection, registration with back-off, pings, re-registration."""

from __future__ import annotations

import dataclasses

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.model.ids import AgentId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
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

OTHER = "master@127.0.0.2:5050"


@pytest.fixture
def agent() -> Driver:
    """An agent that was just started."""
    return Driver()


def timer(agent: Driver, name: str) -> effects.StartTimer:
    """The one timer of a name that was started."""
    (found,) = [t for t in agent.every(effects.StartTimer) if t.key[0] == name]
    return found


def test_looks_for_a_master_after_recovery(agent: Driver) -> None:
    agent.feed(events.Recovered())
    assert agent.last(effects.Detect).previous == ""
    assert agent.state.phase is AgentPhase.DISCONNECTED


def test_waits_a_random_moment_before_the_first_attempt(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.MasterDetected(MASTER))
    assert 0 <= timer(agent, "registration").delay_s < 1
    assert not agent.sent(messages.RegisterSlaveMessage)


def test_attempts_follow_each_other_with_growing_bounds(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.MasterDetected(MASTER))
    for attempt in range(1, 200):
        agent.feed(events.RegistrationDue(MASTER))
        bound = min(2.0**attempt, 60.0)
        assert 0 <= timer(agent, "registration").delay_s <= bound
        assert agent.last(effects.Link).target == MASTER
        assert len(agent.sent(messages.RegisterSlaveMessage)) == 1


def test_an_attempt_for_another_master_is_stale(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.MasterDetected(MASTER), events.MasterDetected(OTHER))
    assert agent.feed(events.RegistrationDue(MASTER)) == []


def test_only_the_detected_master_can_register_us(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    agent.feed(events.AgentRegistered(OTHER, AGENT, 75.0))
    assert not agent.state.agent_id
    agent.feed(events.AgentRegistered(MASTER, AGENT, 40.7))
    assert agent.state.phase is AgentPhase.RUNNING
    assert agent.state.agent_id == AGENT
    assert timer(agent, "ping").delay_s == 40.0
    assert effects.CancelTimer(("registration",)) in agent.effects


def test_ping_timeout_defaults_to_75_seconds(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.MasterDetected(MASTER))
    agent.feed(events.AgentRegistered(MASTER, AGENT, None))
    assert timer(agent, "ping").delay_s == 75.0


def test_another_id_ends_the_process(agent: Driver) -> None:
    agent.register()
    agent.feed(events.AgentRegistered(MASTER, AgentId("other"), None))
    assert "Registered but got wrong id: other" in agent.last(effects.Exit).error


@pytest.mark.parametrize("before", [events.Recovered(), events.MasterDetected(MASTER)])
def test_pings_are_answered_in_every_phase(agent: Driver, before: events.Event) -> None:
    agent.feed(before)
    observer = "slave-observer(3)@127.0.0.1:5050"
    agent.feed(events.Ping(observer, True))
    sent = agent.last(effects.Send)
    assert sent.target == observer
    assert sent.message == messages.PongSlaveMessage()


def test_a_ping_restarts_the_timer(agent: Driver) -> None:
    agent.register()
    agent.feed(events.Ping("slave-observer(1)@127.0.0.1:5050", True))
    assert timer(agent, "ping").delay_s == 75.0


def test_silence_leads_to_detection_and_reregistration(agent: Driver) -> None:
    agent.register()
    agent.feed(events.PingTimeout())
    assert agent.state.phase is AgentPhase.DISCONNECTED
    assert agent.last(effects.Detect).previous == ""
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    assert sent.slave.id.value == AGENT


def test_a_ping_to_a_disconnected_agent_forces_detection(agent: Driver) -> None:
    agent.register()
    agent.feed(events.Ping("slave-observer(1)@127.0.0.1:5050", False))
    assert agent.state.phase is AgentPhase.DISCONNECTED
    assert len(agent.sent(messages.PongSlaveMessage)) == 1


def test_nobody_else_forces_detection(agent: Driver) -> None:
    """Everybody is answered."""
    agent.register()
    for stranger in ("slave-observer(1)@127.0.0.2:5050", "master@127.0.0.1:5051"):
        agent.feed(events.Ping(stranger, False))
        assert agent.state.phase is AgentPhase.RUNNING
        assert agent.last(effects.Send).target == stranger


def test_a_broken_link_changes_nothing(agent: Driver) -> None:
    agent.register()
    agent.feed(events.LinkExited(MASTER))
    assert agent.state.phase is AgentPhase.RUNNING
    assert not agent.every(effects.Detect)


def test_no_leader_means_waiting_for_one(agent: Driver) -> None:
    agent.register()
    agent.feed(events.MasterDetected(""))
    assert agent.state.phase is AgentPhase.DISCONNECTED
    assert agent.last(effects.Detect).previous == ""
    assert not agent.every(effects.StartTimer)


def test_a_detector_that_gave_up_ends_the_process(agent: Driver) -> None:
    agent.feed(events.Recovered(), events.DetectionFailed("no quorum"))
    assert agent.last(effects.Exit).error == "Failed to detect a master: no quorum"


def test_reregistration_tells_tasks_frameworks_and_executors(agent: Driver) -> None:
    agent.register()
    agent.run_task(run())
    agent.run_task(run(task("t2", executor="e2")))
    agent.launched("t1")
    agent.subscribed("t1")
    agent.reports(pb.TASK_RUNNING, 7)
    agent.feed(events.MasterDetected(OTHER), events.RegistrationDue(OTHER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    assert [f.id.value for f in sent.frameworks] == [FRAMEWORK]
    assert [e.executor_id.value for e in sent.executor_infos] == ["e2"]
    tasks = {t.task_id.value: t for t in sent.tasks}
    assert set(tasks) == {"t1", "t2"}
    assert tasks["t1"].state == pb.TASK_RUNNING
    assert not tasks["t1"].HasField("executor_id")
    assert tasks["t1"].status_update_state == pb.TASK_RUNNING
    assert tasks["t1"].status_update_uuid == b"\7" * 16
    assert tasks["t2"].state == pb.TASK_STAGING
    assert tasks["t2"].executor_id.value == "e2"
    assert not tasks["t2"].HasField("status_update_uuid")
    for resource in [r for t in sent.tasks for r in t.resources]:
        assert resource.allocation_info.role == "*"
        assert resource.role == "*"


def test_completed_frameworks_are_told(agent: Driver) -> None:
    agent.register()
    agent.run_task(run())
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_FINISHED, 1)
    agent.terminated()
    agent.acknowledge()
    assert not agent.state.frameworks
    agent.feed(events.MasterDetected(OTHER), events.RegistrationDue(OTHER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    assert not sent.frameworks
    (completed,) = sent.completed_frameworks
    assert completed.framework_info.id.value == FRAMEWORK
    assert [t.state for t in completed.tasks] == [pb.TASK_FINISHED]


def test_updates_wait_for_reregistration(agent: Driver) -> None:
    agent.register()
    agent.run_task(run())
    agent.launched()
    agent.subscribed()
    agent.feed(events.PingTimeout())
    agent.reports(pb.TASK_RUNNING, 1)
    assert agent.updates() == []
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    assert [s.state for s in agent.updates()] == [pb.TASK_RUNNING]


def test_tasks_that_only_the_master_knows_are_reported_lost(agent: Driver) -> None:
    agent.register()
    agent.run_task(run())
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = FRAMEWORK
    for name in ("t1", "gone"):
        status = asked.statuses.add(state=pb.TASK_STAGING)
        status.task_id.value = name
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER))
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (asked,)))
    (status,) = agent.updates()
    assert status.task_id.value == "gone"
    assert status.state == pb.TASK_LOST
    assert status.reason == pb.TaskStatus.REASON_RECONCILIATION
    assert status.message == "Reconciliation: task unknown to the agent"
    assert status.source == pb.TaskStatus.SOURCE_SLAVE


def test_partition_aware_frameworks_hear_of_dropped_tasks(agent: Driver) -> None:
    agent.register()
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = "unknown"
    asked.framework.CopyFrom(framework(pb.FrameworkInfo.Capability.PARTITION_AWARE))
    asked.statuses.add(state=pb.TASK_RUNNING).task_id.value = "gone"
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (asked,)))
    (status,) = agent.updates()
    assert status.state == pb.TASK_DROPPED
    assert (FrameworkId("unknown"), TaskId("gone")) in agent.state.streams


def test_launches_that_the_reregistration_does_not_tell_of_are_ignored(agent: Driver) -> None:
    agent.register()
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER))
    agent.run_task(run(task("before")))
    agent.feed(events.RegistrationDue(MASTER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    assert [each.task_id.value for each in sent.tasks] == ["before"]
    agent.run_task(run(task("between")))
    agent.run_group(run_group("grouped"))
    # The first attempt may have reached the master even if it is looked for again.
    agent.feed(events.MasterDetected(MASTER))
    agent.run_task(run(task("again")))
    known = agent.state.frameworks[FRAMEWORK]
    assert list(known.homes) == ["before"]
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    agent.run_task(run(task("after")))
    assert list(known.homes) == ["before", "after"]


def test_ignored_launches_are_dropped_when_the_master_asks(agent: Driver) -> None:
    agent.register()
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    agent.run_task(run(task("between")))
    assert not agent.state.frameworks
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = FRAMEWORK
    asked.framework.CopyFrom(framework(pb.FrameworkInfo.Capability.PARTITION_AWARE))
    asked.statuses.add(state=pb.TASK_STAGING).task_id.value = "between"
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (asked,)))
    (status,) = agent.updates()
    assert (status.task_id.value, status.state) == ("between", pb.TASK_DROPPED)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (pb.TASK_ERROR, pb.TASK_ERROR),
        (pb.TASK_KILLED, pb.TASK_KILLED),
        (pb.TASK_RUNNING, pb.TASK_DROPPED),
        (pb.TASK_UNREACHABLE, pb.TASK_DROPPED),
    ],
)
def test_a_task_whose_end_was_told_has_no_other_one(
    agent: Driver, known: pb.TaskState, told: pb.TaskState
) -> None:
    agent.register()
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = FRAMEWORK
    asked.framework.CopyFrom(framework(pb.FrameworkInfo.Capability.PARTITION_AWARE))
    asked.statuses.add(state=known).task_id.value = "t1"
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (asked,)))
    (status,) = agent.updates()
    assert (status.state, status.reason) == (told, pb.TaskStatus.REASON_RECONCILIATION)


def test_reservations_are_taken_over_and_told(agent: Driver) -> None:
    agent.register()
    reserved = pb.Resource(name="cpus", type=pb.Value.SCALAR, role="web")
    reserved.scalar.value = 1.0
    reserved.reservation.principal = "ops"
    agent.feed(events.CheckpointResources(MASTER, (reserved,)))
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    (sent,) = agent.sent(messages.ReregisterSlaveMessage)
    assert [r.role for r in sent.checkpointed_resources] == ["web"]
    assert sent.checkpointed_resources[0].reservation.principal == "ops"


def test_reservations_beyond_the_agent_are_ignored(agent: Driver) -> None:
    agent.register()
    reserved = pb.Resource(name="cpus", type=pb.Value.SCALAR, role="web")
    reserved.scalar.value = 1000.0
    reserved.reservation.principal = "ops"
    agent.feed(events.CheckpointResources(MASTER, (reserved,)))
    assert agent.state.checkpointed_resources == []


def test_configuration_is_constant() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Driver().state.config.port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("changed", "capabilities", "refused"),
    [
        (True, frozenset(), True),
        (True, frozenset({pb.MasterInfo.Capability.QUOTA_V2}), True),
        (True, frozenset({pb.MasterInfo.Capability.AGENT_UPDATE}), False),
        (True, None, False),
        (False, frozenset(), False),
    ],
)
def test_old_masters_take_no_agent_that_changed(
    agent: Driver, changed: bool, capabilities: frozenset[int] | None, refused: bool
) -> None:
    agent.feed(events.Recovered(changed=changed), events.MasterDetected(MASTER, "", capabilities))
    if refused:
        assert "lacks the AGENT_UPDATE capability" in agent.last(effects.Exit).error
    assert bool(agent.every(effects.Exit)) == refused
    assert bool(agent.every(effects.StartTimer)) != refused
