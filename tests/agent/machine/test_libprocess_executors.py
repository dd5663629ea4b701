# SPDX-License-Identifier: Apache-2.0
"""Executors that register by libprocess messages: what they get, who is turned away."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from google.protobuf.message import Message

from mesos_compat.agent.inbox import Inbox
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase, FrameworkPhase
from mesos_compat.agent.meta import layout
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model.ids import AgentId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
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
from tests.agent.machine.test_golden import lines
from tests.agent.machine.test_recovery import Writer, checkpointing, restarted

EXECUTOR = ExecutorId("e")
PID = "executor(1)@127.0.0.1:40000"
FOREIGN = "executor(1)@127.0.0.1:40001"


def registers(driver: Driver, pid: str = PID) -> None:
    driver.feed(events.RegisterExecutor(pid, FRAMEWORK, EXECUTOR))


def comes_back(
    driver: Driver, pid: str = PID, tasks: tuple[str, ...] = (), *updates: messages.StatusUpdate
) -> None:
    known = frozenset(map(TaskId, tasks))
    driver.feed(events.ReregisterExecutor(pid, FRAMEWORK, EXECUTOR, known, updates))


def update(state: pb.TaskState, token: int, name: str = "t1") -> messages.StatusUpdate:
    """An update as a driver makes it."""
    made = messages.StatusUpdate(timestamp=float(token), uuid=bytes([token]) * 16)
    made.framework_id.value = FRAMEWORK
    made.executor_id.value = EXECUTOR
    made.slave_id.value = AGENT
    made.status.task_id.value = name
    made.status.slave_id.value = AGENT
    made.status.state = state
    made.status.timestamp = float(token)
    return made


def reports(driver: Driver, sent: messages.StatusUpdate, pid: str = PID) -> list[effects.Effect]:
    """Somebody sends an update and the containerizer answers what it is asked."""
    collected = driver.feed(events.StatusUpdateSent(sent, pid))
    driver.effects = collected + driver.settle()
    return driver.effects


def told(driver: Driver) -> list[tuple[str, str]]:
    """Whom the last event made us tell what, the master left out."""
    return [
        (sent.target, type(sent.message).__name__)
        for sent in driver.every(effects.Send)
        if sent.target != MASTER
    ]


def acknowledged(driver: Driver) -> list[tuple[str, bytes]]:
    """Who got an acknowledgement of which update."""
    return [
        (sent.target, sent.message.uuid)
        for sent in driver.every(effects.Send)
        if isinstance(sent.message, messages.StatusUpdateAcknowledgementMessage)
    ]


@pytest.fixture
def agent() -> Driver:
    """An agent with an executor that is launched and has two tasks waiting."""
    driver = Driver()
    driver.register()
    driver.run_task(run(task("t1", executor="e")))
    driver.run_task(run(task("t2", executor="e"), launch_executor=False))
    driver.launched("e")
    return driver


@pytest.fixture
def running(agent: Driver) -> Driver:
    """The same; the executor has its tasks."""
    registers(agent)
    agent.settle()
    return agent


def test_registration(agent: Driver) -> None:
    registers(agent)
    assert told(agent) == [(PID, "ExecutorRegisteredMessage"), *[(PID, "RunTaskMessage")] * 2]
    assert agent.every(effects.Link) == [effects.Link(PID)]
    assert effects.CancelTimer(("subscribe", agent.key("e")[2].value)) in agent.effects
    (registered,) = agent.sent(messages.ExecutorRegisteredMessage)
    assert registered.executor_info == agent.executor("e").info
    assert registered.framework_info == framework()
    assert registered.framework_id.value == FRAMEWORK
    assert registered.slave_id.value == registered.slave_info.id.value == AGENT
    launched = agent.sent(messages.RunTaskMessage)
    assert [message.task for message in launched] == [
        given.message.task for given in agent.fed if isinstance(given, events.RunTask)
    ]
    assert {message.pid for message in launched} == {"@0.0.0.0:0"}
    assert launched[0].framework == framework()


def test_a_registration_in_time(agent: Driver) -> None:
    registers(agent)
    agent.feed(events.RegistrationTimeout(*agent.key("e")))
    assert agent.executor("e").phase is ExecutorPhase.RUNNING


def test_a_second_one_is_turned_away(running: Driver) -> None:
    registers(running, FOREIGN)
    assert told(running) == [(FOREIGN, "ShutdownExecutorMessage")]
    assert not running.every(effects.Link)
    assert running.executor("e").pid == PID
    comes_back(running, FOREIGN)
    assert told(running) == [(FOREIGN, "ShutdownExecutorMessage")]
    assert running.executor("e").phase is ExecutorPhase.RUNNING


def test_who_is_told_to_end(agent: Driver) -> None:
    for stranger in (
        events.RegisterExecutor(PID, FrameworkId("other"), EXECUTOR),
        events.RegisterExecutor(PID, FRAMEWORK, ExecutorId("other")),
        events.ReregisterExecutor(PID, FrameworkId("other"), EXECUTOR, frozenset(), ()),
    ):
        agent.feed(stranger)
        assert told(agent) == [(PID, "ShutdownExecutorMessage")]
    agent.state.phase = AgentPhase.RECOVERING
    agent.state.streams_paused = True
    registers(agent)
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]
    assert agent.executor("e").phase is ExecutorPhase.REGISTERING


def test_nobody_registers_with_what_ends(agent: Driver) -> None:
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    assert agent.state.frameworks[FRAMEWORK].phase is FrameworkPhase.TERMINATING
    for _ in range(2):
        registers(agent)
        assert told(agent) == [(PID, "ShutdownExecutorMessage")]
        comes_back(agent)
        assert told(agent) == [(PID, "ShutdownExecutorMessage")]
        agent.feed(events.UnregisterRequested("root"))


def test_nothing_to_do(agent: Driver) -> None:
    """All tasks were killed before."""
    for name in ("t1", "t2"):
        agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId(name), None))
    registers(agent)
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]
    assert agent.executor("e").phase is ExecutorPhase.TERMINATING


def test_an_update(running: Driver) -> None:
    sent = update(pb.TASK_RUNNING, 1)
    sent.status.source = pb.TaskStatus.SOURCE_MASTER
    sent.status.uuid = b"x" * 16
    sent.status.executor_id.value = "other"
    sent.latest_state = pb.TASK_FINISHED
    reports(running, sent)
    assert acknowledged(running) == [(PID, sent.uuid)]
    (status,) = running.updates()
    assert status.source == pb.TaskStatus.SOURCE_EXECUTOR
    assert status.uuid == sent.uuid
    assert status.executor_id.value == EXECUTOR
    (ack,) = running.sent(messages.StatusUpdateAcknowledgementMessage)
    assert (ack.slave_id.value, ack.framework_id.value) == (AGENT, FRAMEWORK)
    assert ack.task_id.value == "t1"


def test_the_acknowledgement_goes_where_it_is_wanted(running: Driver) -> None:
    reports(running, update(pb.TASK_RUNNING, 1), FOREIGN)
    assert acknowledged(running) == [(FOREIGN, bytes([1]) * 16)]
    reports(running, update(pb.TASK_RUNNING, 2), "")
    assert not acknowledged(running)
    running.acknowledge()
    (status,) = running.updates()
    assert status.source == pb.TaskStatus.SOURCE_SLAVE


def test_it_is_repeated_for_who_missed_it(running: Driver) -> None:
    for _ in range(2):
        reports(running, update(pb.TASK_RUNNING, 1))
        assert acknowledged(running) == [(PID, bytes([1]) * 16)]
    running.acknowledge()
    reports(running, update(pb.TASK_FINISHED, 2))
    running.acknowledge()
    reports(running, update(pb.TASK_FINISHED, 2))
    assert acknowledged(running) == [(PID, bytes([2]) * 16)]
    assert not running.updates()


def test_an_unknown_task(running: Driver) -> None:
    reports(running, update(pb.TASK_RUNNING, 1, "t9"))
    assert acknowledged(running) == [(PID, bytes([1]) * 16)]
    assert [status.task_id.value for status in running.updates()] == ["t9"]


def test_what_is_no_update(running: Driver) -> None:
    before = running.state.counters.get("slave/invalid_status_updates", 0)
    bad = [update(pb.TASK_RUNNING, number) for number in range(1, 10)]
    bad[8].status.ClearField("slave_id")
    bad[0].uuid = b""
    bad[1].ClearField("uuid")
    bad[2].uuid = b"x" * 17
    bad[3].slave_id.value = "other"
    bad[4].status.slave_id.value = "other"
    bad[5].framework_id.value = "other"
    bad[6].status.state = pb.TASK_UNREACHABLE
    bad[7].ClearField("slave_id")
    for sent in bad:
        reports(running, sent)
        assert not told(running)
        assert not running.updates()
    assert running.state.counters["slave/invalid_status_updates"] == before + len(bad)


def test_impossible_times(running: Driver) -> None:
    sent = update(pb.TASK_RUNNING, 1)
    sent.timestamp = math.nan
    sent.status.timestamp = math.inf
    reports(running, sent)
    (passed,) = running.sent(messages.StatusUpdateMessage)
    assert math.isfinite(passed.update.timestamp)
    assert math.isfinite(passed.update.status.timestamp)


def test_staging_ends_the_executor(running: Driver) -> None:
    running.feed(events.StatusUpdateSent(update(pb.TASK_STAGING, 1), PID))
    assert told(running) == [(PID, "ShutdownExecutorMessage")]
    assert running.executor("e").phase is ExecutorPhase.TERMINATING


def test_an_update_of_an_ending_framework_is_not_acknowledged(running: Driver) -> None:
    running.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    assert told(running) == [(PID, "ShutdownExecutorMessage")]
    reports(running, update(pb.TASK_KILLED, 1))
    assert not told(running)


def test_a_late_update_of_an_executor_that_is_gone(running: Driver) -> None:
    reports(running, update(pb.TASK_FINISHED, 1))
    running.terminated("e")
    running.settle()
    assert running.executor("e").phase is ExecutorPhase.TERMINATED
    reports(running, update(pb.TASK_FINISHED, 1))
    assert acknowledged(running) == [(PID, bytes([1]) * 16)]


def test_kill(running: Driver) -> None:
    policy = pb.KillPolicy()
    policy.grace_period.nanoseconds = 5
    for given in (policy, None):
        running.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("t1"), given))
        (sent,) = running.sent(messages.KillTaskMessage)
        assert told(running) == [(PID, "KillTaskMessage")]
        assert (sent.framework_id.value, sent.task_id.value) == (FRAMEWORK, "t1")
        assert (sent.kill_policy if sent.HasField("kill_policy") else None) == given


def test_data_in_both_directions(running: Driver) -> None:
    running.feed(events.FrameworkToExecutor(FRAMEWORK, EXECUTOR, b"hello"))
    (sent,) = running.sent(messages.FrameworkToExecutorMessage)
    assert told(running) == [(PID, "FrameworkToExecutorMessage")]
    assert (sent.slave_id.value, sent.framework_id.value) == (AGENT, FRAMEWORK)
    assert (sent.executor_id.value, sent.data) == (EXECUTOR, b"hello")
    running.feed(events.ExecutorMessage(FRAMEWORK, EXECUTOR, b"hi"))
    (passed,) = running.sent(messages.ExecutorToFrameworkMessage)
    assert passed.data == b"hi"


def test_a_new_task_for_a_running_one(running: Driver) -> None:
    running.run_task(run(task("t3", executor="e"), launch_executor=False))
    running.last(effects.UpdateContainer)
    assert not told(running)
    running.settle()
    assert told(running) == [(PID, "RunTaskMessage")]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_group_is_refused(checkpoint: bool) -> None:
    agent = Driver()
    agent.register()
    of = framework()
    of.checkpoint = checkpoint
    agent.run_group(run_group("g1", "g2", of=of))
    agent.launched("e")
    registers(agent)
    agent.settle()
    states = [(s.task_id.value, s.state, s.reason) for s in agent.updates()]
    reason = pb.TaskStatus.REASON_TASK_GROUP_INVALID
    assert states == [("g1", pb.TASK_ERROR, reason), ("g2", pb.TASK_ERROR, reason)]
    assert agent.executor("e").phase is ExecutorPhase.TERMINATING


def test_the_connection_breaks(running: Driver) -> None:
    """Executors are missed when their container ends, and not before."""
    assert running.feed(events.LinkExited(PID)) == []
    running.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("t1"), None))
    assert told(running) == [(PID, "KillTaskMessage")]


def test_the_executor_dies(running: Driver) -> None:
    reports(running, update(pb.TASK_RUNNING, 1))
    running.acknowledge()
    ended = slave.ContainerTermination(status=9)
    running.feed(events.ContainerTerminated(*running.key("e"), ended, ""))
    (exited,) = running.sent(messages.ExitedExecutorMessage, running.all)
    assert exited.status == 9
    failed = {status.task_id.value: status.message for status in running.updates()}
    assert failed == {"t1": "Executor terminated", "t2": "Executor terminated"}


def test_one_that_changes_its_mind(running: Driver) -> None:
    """Who subscribes is spoken to there."""
    running.subscribed("e")
    assert running.executor("e").pid == ""
    running.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("t1"), None))
    assert not told(running)
    assert [event.type for event in running.to_executor()] == [v1_executor.Event.KILL]


@pytest.mark.parametrize("authenticate", [False, True])
def test_in_the_name_of_one_that_showed_its_token(authenticate: bool) -> None:
    agent = Driver(authenticate_executors=authenticate)
    agent.register()
    agent.run_task(run(task("t1", executor="e")))
    agent.launched("e")
    agent.subscribed("e")
    agent.settle()
    unowned, nobodys = update(pb.TASK_RUNNING, 2, "t9"), update(pb.TASK_RUNNING, 3, "t9")
    nobodys.ClearField("executor_id")
    for sent in (update(pb.TASK_FINISHED, 1), unowned, nobodys):
        reports(agent, sent, FOREIGN)
        assert acknowledged(agent) == ([] if authenticate else [(FOREIGN, sent.uuid)])
    for name in (EXECUTOR, ExecutorId("other")):
        agent.feed(events.ExecutorMessage(FRAMEWORK, name, b"hi", unproven=True))
        assert len(agent.sent(messages.ExecutorToFrameworkMessage)) == (0 if authenticate else 1)
    agent.feed(events.ExecutorMessage(FRAMEWORK, EXECUTOR, b"hi"))
    assert agent.sent(messages.ExecutorToFrameworkMessage)


def test_before_it_showed_its_token() -> None:
    """Nobody reports what an executor that is awaited would."""
    agent = Driver(authenticate_executors=True)
    agent.register()
    agent.run_task(run(task("t1", executor="e")))
    agent.launched("e")
    reports(agent, update(pb.TASK_FAILED, 1), FOREIGN)
    assert not told(agent)
    assert not agent.updates()
    registers(agent)
    agent.settle()
    reports(agent, update(pb.TASK_RUNNING, 2))
    assert acknowledged(agent) == [(PID, bytes([2]) * 16)]


def test_the_default_executor_does_not_register(agent: Driver) -> None:
    agent.executor("e").info.type = pb.ExecutorInfo.DEFAULT
    for come in (registers, comes_back):
        come(agent, FOREIGN)
        assert told(agent) == [(FOREIGN, "ShutdownExecutorMessage")]
        assert agent.executor("e").phase is ExecutorPhase.REGISTERING


def test_the_recorded_executor() -> None:
    """An executor is told what the real agent told it, field by field."""
    agent = Driver(
        command_executor="/usr/libexec/mesos/./mesos-executor", launcher_dir="/usr/libexec/mesos"
    )
    given = next(m for m in of_master() if isinstance(m, messages.RunTaskMessage))
    agent.state.resource_version_uuid = given.resource_version_uuids[0].uuid.value
    agent.register()
    theirs = list(lines("agent-to-executor.tsv"))

    def submit(event: events.Event) -> None:
        agent.feed(event)

    inbox = Inbox("slave(1)", submit)
    agent.run_task(given)
    (executor,) = agent.state.executors()
    key = executor.framework_id, executor.executor_id, executor.container_id
    agent.feed(events.SandboxMade(*key, ""), events.ContainerLaunched(*key, "", True))
    start = len(agent.all)
    for sender, path, message in lines("executor-to-agent.tsv"):
        name = path.rpartition("/")[2]
        assert inbox(UPID.parse(sender), "slave(1)", name, message.SerializeToString())
        agent.settle(pb.ContainerStatus())
        stream = agent.state.streams.get((executor.framework_id, TaskId("test_mesos")))
        if stream is not None and stream.queue:
            head = stream.queue[0]
            agent_id = AgentId(head.slave_id.value)
            agent.feed(
                events.UpdateAcknowledged(
                    MASTER, agent_id, executor.framework_id, TaskId("test_mesos"), head.uuid
                )
            )
    agent.feed(events.ShutdownFramework(MASTER, executor.framework_id))
    pid = theirs_pid()
    ours: list[Message] = [
        effect.message
        for effect in agent.all[start:]
        if isinstance(effect, effects.Send) and effect.target == pid
    ]
    assert ours == [message for _, _, message in theirs]


def of_master() -> list[Message]:
    return [message for _, _, message in lines("master-to-agent.tsv")]


def theirs_pid() -> str:
    return next(sender for sender, _, _ in lines("executor-to-agent.tsv"))


# -- restarts ---------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Writer:
    """An agent that keeps what it does; its executor has two tasks, one of them reported."""
    made = Writer(str(tmp_path))
    made.register()
    made.run_task(run(task("t1", executor="e"), of=checkpointing()))
    made.run_task(run(task("t2", executor="e"), launch_executor=False, of=checkpointing()))
    made.launched("e")
    registers(made)
    made.settle()
    reports(made, update(pb.TASK_RUNNING, 1))
    made.acknowledge()
    return made


def test_the_pid_is_kept(old: Writer) -> None:
    work_dir = Path(old.state.config.work_dir)
    [file] = (work_dir / "meta").rglob("libprocess.pid")
    assert file.read_bytes() == PID.encode()
    assert str(file) == layout.libprocess_pid(str(file.parent.parent))
    assert not list((work_dir / "meta").rglob("http.marker"))


def test_it_is_asked_to_come_back(old: Writer) -> None:
    agent = restarted(old)
    assert told(agent) == [(PID, "ReconnectExecutorMessage")]
    (asked,) = agent.sent(messages.ReconnectExecutorMessage)
    assert asked.slave_id.value == AGENT
    assert not any(key.key == ("reconnect",) for key in agent.every(effects.StartTimer))
    comes_back(agent, PID, ("t2",), update(pb.TASK_FINISHED, 2, "t2"))
    agent.settle()
    assert effects.Link(PID) in agent.all
    assert (PID, "ExecutorReregisteredMessage") in told_ever(agent)
    assert acknowledged_ever(agent) == [(PID, bytes([2]) * 16)]
    assert agent.executor("e").phase is ExecutorPhase.RUNNING
    agent.feed(events.ReregistrationTimeout())
    assert agent.executor("e").phase is ExecutorPhase.RUNNING
    assert not agent.every(effects.DestroyContainer)
    assert list(agent.executor("e").launched) == ["t1"]


def told_ever(driver: Driver) -> list[tuple[str, str]]:
    driver.effects = driver.all
    return told(driver)


def acknowledged_ever(driver: Driver) -> list[tuple[str, bytes]]:
    driver.effects = driver.all
    return acknowledged(driver)


@pytest.mark.parametrize("authenticate", [False, True])
def test_one_that_subscribed_does_not_come_back_by_messages(
    tmp_path: Path, authenticate: bool
) -> None:
    before = Writer(str(tmp_path), authenticate_executors=authenticate)
    before.register()
    before.run_task(run(task("t1", executor="e"), of=checkpointing()))
    before.launched("e")
    before.subscribed("e")
    before.settle()
    agent = restarted(before, authenticate_executors=authenticate)
    assert not told(agent)
    comes_back(agent, FOREIGN, ("t1",), update(pb.TASK_FAILED, 1))
    assert told(agent) == [(FOREIGN, "ShutdownExecutorMessage")]
    agent.feed(events.ReregistrationTimeout())
    for come in (registers, comes_back):
        come(agent, FOREIGN)
        assert not agent.every(effects.Link)


def test_a_pid_of_before_is_nothing_once_it_subscribed(old: Writer) -> None:
    agent = restarted(old, authenticate_executors=True)
    call = v1_executor.Call.Subscribe()
    for name in ("t1", "t2"):
        call.unacknowledged_tasks.add().task_id.value = name
    agent.feed(events.ExecutorSubscribed(FRAMEWORK, EXECUTOR, call, 1))
    agent.settle()
    for pid in (PID, FOREIGN):
        reports(agent, update(pb.TASK_FAILED, 2), pid)
        assert not acknowledged(agent)


def test_a_task_that_it_never_got(old: Writer) -> None:
    agent = restarted(old)
    comes_back(agent)
    agent.settle()
    lost = agent.executor("e").terminated[TaskId("t2")]
    assert lost.state == pb.TASK_DROPPED
    assert lost.statuses[-1].message == "Task launched during agent restart"
    assert list(agent.executor("e").launched) == ["t1"]


def test_who_pretends_to_be_it(old: Writer) -> None:
    agent = restarted(old)
    comes_back(agent, FOREIGN)
    assert told(agent) == [(FOREIGN, "ShutdownExecutorMessage")]
    registers(agent, FOREIGN)
    assert told(agent) == [(FOREIGN, "ShutdownExecutorMessage")]
    assert agent.executor("e").phase is ExecutorPhase.REGISTERING
    comes_back(agent, PID, ("t2",))
    assert told(agent)[0] == (PID, "ExecutorReregisteredMessage")


def test_it_is_asked_again(old: Writer) -> None:
    agent = restarted(old, executor_reregistration_retry_interval_s=0.5)
    timer = next(t for t in agent.every(effects.StartTimer) if t.key == ("reconnect",))
    assert timer.delay_s == 0.5
    agent.feed(timer.event)
    assert told(agent) == [(PID, "ReconnectExecutorMessage")]
    comes_back(agent, PID, ("t2",))
    agent.settle()
    agent.feed(timer.event)
    assert not told(agent)
    # It got both requests.
    comes_back(agent, PID, ("t2",))
    assert not told(agent)
    comes_back(agent, FOREIGN)
    assert told(agent) == [(FOREIGN, "ShutdownExecutorMessage")]
    agent.feed(events.ReregistrationTimeout())
    assert effects.CancelTimer(("reconnect",)) in agent.effects
    agent.feed(timer.event)
    assert not agent.effects


def test_asked_twice_without_need(old: Writer) -> None:
    agent = restarted(old)
    comes_back(agent, PID, ("t2",))
    agent.settle()
    comes_back(agent, PID, ("t2",))
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]
    assert agent.executor("e").phase is ExecutorPhase.RUNNING


def test_it_does_not_come_back(old: Writer) -> None:
    agent = restarted(old)
    agent.feed(events.ReregistrationTimeout())
    assert agent.last(effects.DestroyContainer).container_id == agent.key("e")[2]
    assert agent.executor("e").phase is ExecutorPhase.TERMINATING
    comes_back(agent)
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]


def test_clean_up(old: Writer) -> None:
    agent = restarted(old, clean_up=True)
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]
    assert not agent.every(effects.DestroyContainer)
    comes_back(agent)
    assert told(agent) == [(PID, "ShutdownExecutorMessage")]


def test_who_never_spoke_is_not_asked(tmp_path: Path) -> None:
    silent = Writer(str(tmp_path))
    silent.register()
    silent.run_task(run(task("t1", executor="e"), of=checkpointing()))
    silent.launched("e")
    agent = restarted(silent)
    assert not told(agent)
    agent = restarted(silent, clean_up=True)
    assert not told(agent)
    assert agent.last(effects.DestroyContainer).container_id == agent.key("e")[2]
