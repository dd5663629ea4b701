# SPDX-License-Identifier: Apache-2.0
"""Status updates: pipeline, streams, acknowledgements, ends of executors."""

from __future__ import annotations

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import ExecutorPhase
from mesos_compat.agent.meta.writes import RecordFile, TextFile
from mesos_compat.model.ids import AgentId, ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, framework, run, task

Kind = v1_executor.Event


@pytest.fixture
def agent() -> Driver:
    """A registered agent with a subscribed command executor."""
    driver = Driver()
    driver.register()
    driver.run_task(run())
    driver.launched()
    driver.subscribed()
    return driver


def kinds(agent: Driver) -> list[int]:
    """Types of the events that executors got."""
    return [event.type for event in agent.to_executor()]


def test_subscription_brings_the_task(agent: Driver) -> None:
    assert kinds(agent) == [Kind.SUBSCRIBED, Kind.LAUNCH]
    subscribed, launch = agent.to_executor()
    assert subscribed.subscribed.agent_info.id.value == AGENT
    assert subscribed.subscribed.container_id.value == agent.executor().container_id.value
    assert launch.launch.task.task_id.value == "t1"
    assert list(agent.executor().launched) == ["t1"]


def test_a_status_without_container_status_gets_the_agents_address(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1, container=pb.ContainerStatus(executor_pid=7))
    (status,) = agent.updates()
    assert status.container_status.executor_pid == 7
    (info,) = status.container_status.network_infos
    assert info.ip_addresses[0].ip_address == "127.0.0.1"


def test_an_unknown_container_status_leaves_the_update_as_it_is(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    (status,) = agent.updates()
    assert not status.HasField("container_status")


def test_only_the_head_is_in_flight_and_tells_the_latest_state(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    agent.reports(pb.TASK_FINISHED, 2)
    assert agent.updates() == []
    assert kinds(agent) == [Kind.ACKNOWLEDGED]
    agent.feed(events.RetryDue(FRAMEWORK, TaskId("t1"), b"\1" * 16))
    (sent,) = agent.sent(messages.StatusUpdateMessage)
    assert sent.update.status.state == pb.TASK_RUNNING
    assert sent.update.latest_state == pb.TASK_FINISHED
    agent.acknowledge()
    assert [s.state for s in agent.updates()] == [pb.TASK_FINISHED]


def test_retries_double_up_to_ten_minutes(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    due = events.RetryDue(FRAMEWORK, TaskId("t1"), b"\1" * 16)
    delays = [agent.last(effects.StartTimer).delay_s]
    for _ in range(8):
        agent.feed(due)
        assert len(agent.updates()) == 1
        delays.append(agent.last(effects.StartTimer).delay_s)
    assert delays == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_stale_and_wrong_acknowledgements_are_ignored(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    for sender, agent_id, uuid in (
        (MASTER, AGENT, b"x" * 16),
        (MASTER, AgentId("other"), b"\1" * 16),
        ("master@10.0.0.1:5050", AGENT, b"\1" * 16),
    ):
        agent.feed(events.UpdateAcknowledged(sender, agent_id, FRAMEWORK, TaskId("t1"), uuid))
        assert len(agent.state.streams[FRAMEWORK, TaskId("t1")].queue) == 1
    agent.acknowledge()
    agent.feed(events.UpdateAcknowledged(MASTER, AGENT, FRAMEWORK, TaskId("t1"), b"\1" * 16))
    assert not agent.every(effects.Send)


def test_a_repeated_update_is_acknowledged_and_not_forwarded(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    agent.acknowledge()
    agent.reports(pb.TASK_RUNNING, 1)
    assert kinds(agent) == [Kind.ACKNOWLEDGED]
    assert agent.updates() == []


def test_a_repeated_last_update_is_not_forwarded_after_its_acknowledgement(agent: Driver) -> None:
    agent.reports(pb.TASK_FINISHED, 1)
    agent.acknowledge()
    agent.reports(pb.TASK_FINISHED, 1)
    assert kinds(agent) == [Kind.ACKNOWLEDGED]
    assert agent.updates() == []


def test_the_first_terminal_update_wins(agent: Driver) -> None:
    agent.reports(pb.TASK_FINISHED, 1)
    agent.reports(pb.TASK_FAILED, 2)
    assert kinds(agent) == [Kind.ACKNOWLEDGED]
    assert len(agent.state.streams[FRAMEWORK, TaskId("t1")].queue) == 1
    assert agent.state.counters["slave/tasks_finished"] == 1
    assert "slave/tasks_failed" not in agent.state.counters


def test_a_terminal_update_waits_for_the_container(agent: Driver) -> None:
    status = pb.TaskStatus(state=pb.TASK_FINISHED, uuid=b"\1" * 16)
    status.task_id.value = "t1"
    agent.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    agent.feed(events.ContainerStatusRead(*agent.key(), None))
    update = agent.last(effects.UpdateContainer)
    assert {r.name: r.scalar.value for r in update.requests} == {"cpus": 0.1, "mem": 32.0}
    assert agent.updates() == []
    agent.feed(events.ContainerUpdated(*agent.key(), ""))
    assert [s.state for s in agent.updates()] == [pb.TASK_FINISHED]


def test_a_container_that_cannot_be_updated_is_destroyed(agent: Driver) -> None:
    agent.run_task(run(task("t2", executor="e")))
    agent.launched("e")
    agent.subscribed("e", 2)
    agent.run_task(run(task("t3", executor="e"), launch_executor=False))
    assert len(agent.every(effects.UpdateContainer)) == 1
    agent.feed(events.ContainerUpdated(*agent.key("e"), "cgroup is gone"))
    assert len(agent.every(effects.DestroyContainer)) == 1
    assert kinds(agent) == []
    agent.terminated("e", 9)
    assert [(s.task_id.value, s.state, s.message) for s in agent.updates()] == [
        ("t2", pb.TASK_LOST, "Failed to update resources for container: cgroup is gone"),
        ("t3", pb.TASK_LOST, "Failed to update resources for container: cgroup is gone"),
    ]
    assert agent.sent(messages.ExitedExecutorMessage)[0].status == 9


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"uuid": b""}, "no uuid"),
        ({"uuid": b"short"}, "no uuid"),
        ({"state": pb.TASK_UNREACHABLE}, "no executor can know TASK_UNREACHABLE"),
        ({"state": pb.TASK_UNKNOWN}, "no executor can know TASK_UNKNOWN"),
    ],
)
def test_unusable_updates_are_dropped(agent: Driver, change: dict[str, object], why: str) -> None:
    fields: dict[str, object] = {"state": pb.TASK_RUNNING, "uuid": b"\1" * 16, **change}
    status = pb.TaskStatus(**fields)  # type: ignore[arg-type]  # chosen above
    status.task_id.value = "t1"
    agent.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    assert why in agent.last(effects.Log).text
    assert agent.state.counters["slave/invalid_status_updates"] == 1


def test_updates_for_another_agent_are_dropped(agent: Driver) -> None:
    status = pb.TaskStatus(state=pb.TASK_RUNNING, uuid=b"\1" * 16)
    status.task_id.value = "t1"
    status.slave_id.value = "other"
    agent.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    assert "another agent" in agent.last(effects.Log).text


def test_staging_ends_the_executor(agent: Driver) -> None:
    agent.reports(pb.TASK_STAGING, 1)
    assert kinds(agent) == [Kind.SHUTDOWN]
    assert agent.executor().phase is ExecutorPhase.TERMINATING


def test_the_end_of_an_executor_fails_its_tasks(agent: Driver) -> None:
    agent.terminated(status=9)
    (status,) = agent.updates()
    assert status.state == pb.TASK_FAILED
    assert status.reason == pb.TaskStatus.REASON_EXECUTOR_TERMINATED
    assert status.message == "Executor terminated"
    assert not agent.sent(messages.ExitedExecutorMessage)
    agent.acknowledge()
    assert not agent.state.frameworks
    (collected,) = [e.paths for e in agent.every(effects.CollectGarbage) if len(e.paths) == 2]
    assert collected[1].endswith("/executors/t1")


def test_a_limitation_tells_its_resources(agent: Driver) -> None:
    limited = pb.Resource(name="mem", type=pb.Value.SCALAR)
    limited.scalar.value = 96.0
    agent.terminated(
        status=9,
        state=pb.TASK_FAILED,
        reason=pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY,
        message="Memory limit exceeded: …",
        limited_resources=[limited],
    )
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert status.message == "Memory limit exceeded: …"
    assert list(status.limitation.resources) == [limited]


def test_a_failed_launch_fails_the_task() -> None:
    agent = Driver()
    agent.register()
    agent.run_task(run())
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""), events.ContainerLaunched(*key, "no image", True))
    assert not agent.every(effects.DestroyContainer), "the runner does that"
    agent.terminated(status=None)
    (status,) = agent.updates()
    assert status.state == pb.TASK_FAILED
    assert status.reason == pb.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    assert status.message == "Failed to launch container: no image"
    assert agent.state.counters["slave/container_launch_errors"] == 1


def test_a_container_that_nobody_supports() -> None:
    agent = Driver()
    agent.register()
    agent.run_task(run())
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""), events.ContainerLaunched(*key, "", False))
    agent.feed(events.ContainerTerminated(*key, None, ""))
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_EXECUTOR_TERMINATED
    assert status.message == "Abnormal executor termination: unknown container"


def test_registration_timeout() -> None:
    agent = Driver(executor_registration_timeout_s=300.0)
    agent.register()
    agent.run_task(run())
    key = agent.key()
    agent.feed(events.SandboxMade(*key, ""))
    timer = agent.last(effects.StartTimer)
    assert timer.delay_s == 300.0
    agent.feed(events.ContainerLaunched(*key, "", True), timer.event)
    assert len(agent.every(effects.DestroyContainer)) == 1
    agent.terminated(status=9)
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_EXECUTOR_REGISTRATION_TIMEOUT
    assert status.message == "Executor did not register within 5mins"


def test_timers_of_an_earlier_run_are_stale(agent: Driver) -> None:
    old = agent.key()
    agent.reports(pb.TASK_FINISHED, 1)
    agent.terminated()
    agent.acknowledge()
    agent.run_task(run())
    for stale in (
        events.RegistrationTimeout(*old),
        events.ShutdownTimeout(*old),
        events.ContainerTerminated(*old, None, ""),
        events.ContainerUpdated(*old, "no"),
        events.ContainerStatusRead(*old, None),
        events.SandboxMade(*old, "no"),
    ):
        assert agent.feed(stale) == []
    assert agent.executor().phase is ExecutorPhase.REGISTERING


def test_a_launch_lost_on_a_broken_stream_is_reported(agent: Driver) -> None:
    agent.subscribed(stream_id=2)
    assert effects.CloseExecutorStream(1) in agent.effects
    agent.settle()
    status = [s for s in _statuses(agent) if s.state == pb.TASK_LOST]
    assert [s.message for s in status] == ["Task launched during agent restart"]


def _statuses(agent: Driver) -> list[pb.TaskStatus]:
    return [m.update.status for m in agent.sent(messages.StatusUpdateMessage, agent.all)]


def test_an_executor_that_knows_its_task_goes_on(agent: Driver) -> None:
    subscribe = v1_executor.Call.Subscribe()
    subscribe.unacknowledged_tasks.add().task_id.value = "t1"
    update = subscribe.unacknowledged_updates.add().status
    update.task_id.value = "t1"
    update.uuid = b"\5" * 16
    update.state = 0x1  # type: ignore[assignment]  # TASK_RUNNING in both dialects
    agent.feed(events.ExecutorSubscribed(FRAMEWORK, ExecutorId("t1"), subscribe, 2))
    assert kinds(agent) == [Kind.SUBSCRIBED]
    agent.settle()
    assert kinds(agent) == [Kind.ACKNOWLEDGED]
    assert [s.state for s in agent.updates()] == [pb.TASK_RUNNING]


def test_a_second_task_waits_for_resources_of_the_container(agent: Driver) -> None:
    agent.run_task(run(task("t2", executor="e")))
    agent.launched("e")
    agent.subscribed("e", 2)
    assert kinds(agent) == [Kind.SUBSCRIBED, Kind.LAUNCH]
    agent.run_task(run(task("t3", executor="e"), launch_executor=False))
    assert kinds(agent) == []
    update = agent.last(effects.UpdateContainer)
    assert {r.name: r.scalar.value for r in update.requests} == {"cpus": 2.0, "mem": 128.0}
    agent.feed(events.ContainerUpdated(*agent.key("e"), ""))
    assert [e.launch.task.task_id.value for e in agent.to_executor()] == ["t3"]


def test_limits_follow_their_tasks() -> None:
    agent = Driver()
    agent.register()
    limited = task("t2", executor="e")
    limited.limits["mem"].value = 256.0
    limited.limits["cpus"].value = float("inf")
    agent.run_task(run(limited))
    agent.launched("e")
    launch = next(e for e in agent.all if isinstance(e, effects.Launch))
    assert {n: v.value for n, v in launch.config.limits.items()} == {
        "mem": 256.0,
        "cpus": float("inf"),
    }
    agent.subscribed("e", 2)
    agent.run_task(run(task("t3", executor="e"), launch_executor=False))
    assert agent.last(effects.UpdateContainer).limits == {"mem": 320.0}


def test_a_failover_resends_pending_updates_at_once(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    changed = framework()
    changed.name = "after"
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "scheduler-1@10.0.0.1:9000", changed))
    assert [s.state for s in agent.updates()] == [pb.TASK_RUNNING]
    assert agent.state.frameworks[FRAMEWORK].pid == "scheduler-1@10.0.0.1:9000"
    assert agent.state.frameworks[FRAMEWORK].info.name == "after"


def test_a_failover_is_written_down() -> None:
    agent = Driver()
    agent.register()
    of = framework()
    of.checkpoint = True
    agent.run_task(run(of=of))
    agent.launched()
    changed = pb.FrameworkInfo()
    changed.CopyFrom(of)
    changed.name = "after"
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "scheduler-1@10.0.0.1:9000", changed))
    info, pid = agent.last(effects.Checkpoint).writes
    assert isinstance(info, RecordFile)
    assert isinstance(pid, TextFile)
    assert (info.path.split("/")[-1], info.message) == ("framework.info", changed)
    assert (pid.path.split("/")[-1], pid.text) == ("framework.pid", "scheduler-1@10.0.0.1:9000")
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "", None))
    pid = agent.last(effects.Checkpoint).writes[1]
    assert isinstance(pid, TextFile)
    assert pid.text == "@0.0.0.0:0"
    assert agent.state.frameworks[FRAMEWORK].info.name == "after"


def test_capabilities_may_change(agent: Driver) -> None:
    """A scheduler that failed over hears of lost tasks in its own words."""
    aware = framework(pb.FrameworkInfo.Capability.PARTITION_AWARE)
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "", aware))
    agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("nobody"), None))
    assert [s.state for s in agent.updates()] == [pb.TASK_DROPPED]


def test_a_framework_that_goes_is_not_changed(agent: Driver) -> None:
    agent.reports(pb.TASK_RUNNING, 1)
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "scheduler-1@10.0.0.1:9000", None))
    assert not agent.updates()
    assert agent.state.frameworks[FRAMEWORK].pid == ""


@pytest.mark.parametrize(
    ("pid", "target"),
    [
        ("scheduler-9@10.0.0.7:9999", "scheduler-9@10.0.0.7:9999"),
        ("@0.0.0.0:0", MASTER),
        ("", MASTER),
    ],
)
def test_data_for_a_scheduler_goes_where_that_is(pid: str, target: str) -> None:
    agent = Driver()
    agent.register()
    message = run(task("t", executor="e"))
    message.pid = pid
    agent.run_task(message)
    agent.launched("e")
    agent.subscribed("e")
    agent.feed(events.ExecutorMessage(FRAMEWORK, ExecutorId("e"), b"up"))
    assert agent.last(effects.Send).target == target
    agent.feed(events.UpdateFramework(MASTER, FRAMEWORK, "scheduler-1@10.0.0.1:9000", None))
    agent.feed(events.ExecutorMessage(FRAMEWORK, ExecutorId("e"), b"up"))
    assert agent.last(effects.Send).target == "scheduler-1@10.0.0.1:9000"
    agent.feed(events.MasterDetected(MASTER))
    agent.feed(events.ExecutorMessage(FRAMEWORK, ExecutorId("e"), b"up"))
    assert not agent.every(effects.Send)


def test_messages_pass_both_ways(agent: Driver) -> None:
    agent.feed(events.ExecutorMessage(FRAMEWORK, ExecutorId("t1"), b"up"))
    sent = agent.last(effects.Send)
    assert sent.target == MASTER
    assert isinstance(sent.message, messages.ExecutorToFrameworkMessage)
    assert sent.message.data == b"up"
    agent.feed(events.FrameworkToExecutor(FRAMEWORK, ExecutorId("t1"), b"down"))
    assert [e.message.data for e in agent.to_executor()] == [b"down"]
    agent.feed(events.FrameworkToExecutor(FRAMEWORK, ExecutorId("nobody"), b"down"))
    assert agent.state.counters["slave/invalid_framework_messages"] == 1
