# SPDX-License-Identifier: Apache-2.0
"""What a process wrote, another goes on with: at any moment, and whatever is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.agent import paths, recover
from mesos_compat.agent.machine import checkpoints, effects, events
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.load import load
from mesos_compat.agent.meta.recovered import Found
from mesos_compat.agent.meta.writes import AppendedRecord, carry_out
from mesos_compat.base import checkpoint
from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
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
from tests.agent.machine.test_random import Move, check_messages, moves


class Writer(Driver):
    """An agent whose checkpoints are written, and answered at once as the runner does."""

    def __init__(self, work_dir: str, **changes: Any) -> None:
        super().__init__(work_dir=work_dir, **changes)
        self.checkpoint = True
        self.disk_is_full = False
        #: UUIDs that executors were told to be safe.
        self.promised: set[bytes] = set()
        #: UUIDs of updates on disk.
        self.written: set[bytes] = set()

    def feed(self, *happened: events.Event) -> list[effects.Effect]:
        collected: list[effects.Effect] = []
        queue = list(happened)
        while queue:
            made = super().feed(queue.pop(0))
            collected += made
            answers = [event for effect in made if (event := self._write(effect)) is not None]
            queue[:0] = answers
        self.effects = collected
        return collected

    def _answers(
        self, asked: Iterable[effects.Effect], container: pb.ContainerStatus | None
    ) -> list[events.Event]:
        rest = (effect for effect in asked if not isinstance(effect, effects.Checkpoint))
        return super()._answers(rest, container)

    def _write(self, effect: effects.Effect) -> events.Event | None:
        match effect:
            case effects.Checkpoint(writes, stored, failed):
                if self.disk_is_full:
                    return failed
                for write in writes:
                    carry_out(write)
                    match write:
                        case AppendedRecord(_, messages.StatusUpdateRecord() as record):
                            self.written.add(record.update.uuid)
                return stored
            case effects.MakeSandbox():
                os.makedirs(effect.directory, exist_ok=True)
                for write in effect.writes:
                    carry_out(write)
            case effects.Launch(pid_path=str(path)):
                checkpoint.write_text(path, "4711")
            case effects.SendToExecutor(_, event) if event.HasField("acknowledged"):
                self.promised.add(event.acknowledged.uuid)
            case effects.Send(_, messages.StatusUpdateAcknowledgementMessage() as told):
                framework = self.state.frameworks[FRAMEWORK]
                if framework.executor_of(TaskId(told.task_id.value)) is not None:
                    self.promised.add(told.uuid)
        return None


def restarted(old: Writer, **changes: Any) -> Writer:
    """Start an agent on what is there."""
    work_dir = old.state.config.work_dir
    driver = Writer(work_dir, **changes)
    # No random number comes twice.
    driver.steps = old.steps
    found = load(work_dir, None, strict=True)
    sandboxes = paths.agents(work_dir)
    names = tuple(os.listdir(sandboxes)) if os.path.isdir(sandboxes) else ()
    driver.feed(events.Recovered(found, names, "this boot"))
    return driver


def checkpointing() -> pb.FrameworkInfo:
    made = framework(pb.FrameworkInfo.Capability.PARTITION_AWARE)
    made.checkpoint = True
    return made


@pytest.fixture
def driver(tmp_path: Path) -> Writer:
    """An agent that runs a command task."""
    made = Writer(str(tmp_path))
    made.register()
    made.run_task(run(of=checkpointing()))
    made.launched()
    made.subscribed()
    made.reports(pb.TASK_STARTING, 1)
    made.acknowledge()
    made.reports(pb.TASK_RUNNING, 2)
    return made


def back(driver: Writer, *known: str, token: int | None = None) -> None:
    """The executor subscribes again."""
    call = v1_executor.Call.Subscribe()
    for name in known:
        call.unacknowledged_tasks.add().task_id.value = name
    if token is not None:
        status = call.unacknowledged_updates.add().status
        status.task_id.value, status.state = "t1", v1.TASK_RUNNING
        status.uuid = bytes([token]) * 16
    driver.feed(events.ExecutorSubscribed(FRAMEWORK, ExecutorId("t1"), call, 7))


def registered(driver: Writer) -> None:
    driver.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    driver.feed(events.AgentReregistered(MASTER, AGENT, 75.0, ()))


def test_everything_is_as_before(driver: Writer) -> None:
    again = restarted(driver)
    assert again.state.agent_id == AGENT
    assert again.state.phase is AgentPhase.RECOVERING
    assert again.state.reconnecting
    old, new = driver.executor(), again.executor()
    assert (new.container_id, new.directory, new.generated) == (
        old.container_id,
        old.directory,
        True,
    )
    assert new.phase is ExecutorPhase.REGISTERING
    (one,), (other,) = old.launched.values(), new.launched.values()
    assert (one.state, one.info.resources) == (other.state, other.info.resources)
    assert [s.state for s in other.statuses] == [pb.TASK_STARTING, pb.TASK_RUNNING]
    stream = again.state.streams[FRAMEWORK, TaskId("t1")]
    assert [u.status.state for u in stream.queue] == [pb.TASK_RUNNING]
    watched = again.last(effects.WatchContainer)
    assert watched.container_id == old.container_id
    assert again.last(effects.ShowSandbox).directory == old.directory
    assert not again.every(effects.Detect)


def test_the_executor_comes_back_before_the_master_is_asked(driver: Writer) -> None:
    again = restarted(driver)
    back(again)
    assert [e.type for e in again.to_executor()] == [v1_executor.Event.SUBSCRIBED]
    assert not again.every(effects.Detect)
    again.feed(events.ReregistrationTimeout())
    assert again.every(effects.Detect)
    assert not again.every(effects.DestroyContainer)
    registered(again)
    (message,) = again.sent(messages.StatusUpdateMessage)
    assert message.update.status.state == pb.TASK_RUNNING
    (told,) = again.sent(messages.ReregisterSlaveMessage, again.all)
    assert [(t.task_id.value, t.state) for t in told.tasks] == [("t1", pb.TASK_RUNNING)]


def test_updates_of_the_time_without_an_agent_are_no_news_twice(driver: Writer) -> None:
    again = restarted(driver)
    back(again, "t1", token=2)
    again.settle()
    stream = again.state.streams[FRAMEWORK, TaskId("t1")]
    assert [u.uuid[0] for u in stream.queue] == [2]
    assert again.promised == {bytes([2]) * 16}


def test_an_executor_that_does_not_come_back(driver: Writer) -> None:
    again = restarted(driver)
    again.feed(events.ReregistrationTimeout())
    assert again.last(effects.DestroyContainer).container_id == again.executor().container_id
    registered(again)
    again.acknowledge()
    again.terminated(status=9)
    (status,) = again.updates()
    assert (status.state, status.reason, status.message) == (
        pb.TASK_GONE,
        pb.TaskStatus.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
        "Executor did not reregister within 2secs",
    )


def test_a_container_that_nobody_knows(driver: Writer) -> None:
    again = restarted(driver)
    again.feed(events.ContainerTerminated(*again.key(), None, ""))
    again.settle()
    (queued,) = list(again.state.streams[FRAMEWORK, TaskId("t1")].queue)[1:]
    assert queued.status.message == "Abnormal executor termination: unknown container"
    assert queued.status.reason == pb.TaskStatus.REASON_EXECUTOR_TERMINATED
    # and that survives, too
    third = restarted(again)
    states = [u.status.state for u in third.state.streams[FRAMEWORK, TaskId("t1")].queue]
    assert states == [pb.TASK_RUNNING, pb.TASK_FAILED]


def test_a_task_that_never_reached_its_executor(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    driver.run_task(run(of=checkpointing()))
    driver.launched()
    again = restarted(driver)
    back(again)
    again.settle()
    (queued,) = again.state.streams[FRAMEWORK, TaskId("t1")].queue
    assert queued.status.state == pb.TASK_DROPPED
    assert queued.status.reason == pb.TaskStatus.REASON_SLAVE_RESTARTED


def test_a_task_that_reached_it(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    driver.run_task(run(of=checkpointing()))
    driver.launched()
    again = restarted(driver)
    back(again, "t1")
    assert not again.state.streams
    assert again.executor().phase is ExecutorPhase.RUNNING


def test_the_file_of_a_task_that_is_over(driver: Writer) -> None:
    driver.acknowledge()
    driver.reports(pb.TASK_FINISHED, 3)
    directory = checkpoints.task_dir(driver.state, driver.executor(), TaskId("t1"))
    driver.acknowledge()
    records = [
        messages.StatusUpdateRecord.FromString(content)
        for content in checkpoint.read_records(layout.task_updates(directory))
    ]
    kinds = messages.StatusUpdateRecord
    assert [record.type for record in records] == [kinds.UPDATE, kinds.ACK] * 3
    assert not any(record.update.HasField("latest_state") for record in records)
    assert [effect.paths for effect in driver.every(effects.CollectGarbage)] == [(directory,)]


def test_a_run_that_is_over(driver: Writer) -> None:
    driver.acknowledge()
    driver.reports(pb.TASK_FINISHED, 3)
    driver.acknowledge()
    directory = checkpoints.run_dir(driver.state, driver.executor())
    driver.terminated()
    assert os.path.exists(layout.sentinel(directory))
    again = restarted(driver)
    assert not again.state.frameworks
    assert not again.state.streams
    assert again.every(effects.Detect)
    (completed,) = again.state.completed_frameworks
    (executor,) = completed.completed_executors
    assert [t.state for t in executor.completed] == [pb.TASK_FINISHED]
    collected = {path for effect in again.every(effects.CollectGarbage) for path in effect.paths}
    assert {executor.directory, directory} <= collected


def test_a_framework_that_does_not_want_it_leaves_nothing(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    driver.run_task(run())
    driver.launched()
    driver.subscribed()
    driver.reports(pb.TASK_RUNNING, 1)
    assert not list(tmp_path.rglob("framework*.info"))
    assert not restarted(driver).state.frameworks


def test_old_agents_are_collected(driver: Writer) -> None:
    os.unlink(layout.latest_agent(paths.meta(driver.state.config.work_dir)))
    again = restarted(driver)
    assert again.state.agent_id is None
    work_dir = again.state.config.work_dir
    (collected,) = again.every(effects.CollectGarbage)
    assert collected.paths == (
        paths.agent(work_dir, AGENT),
        paths.agent(paths.meta(work_dir), AGENT),
    )
    assert not collected.aged


def test_sandboxes_without_checkpoints_are_collected(driver: Writer) -> None:
    """Those of frameworks that do not checkpoint, and of launches that had just begun."""
    work_dir, info = driver.state.config.work_dir, driver.state.config.info
    directory = driver.executor().directory
    home = os.path.dirname(os.path.dirname(directory))
    other = os.path.join(paths.frameworks(work_dir, AGENT), "other")
    run = os.path.join(paths.runs(os.path.join(paths.executors(other), "e")), "c")
    early = os.path.join(paths.runs(home), "early")
    for each in (directory, run, early):
        os.makedirs(each, exist_ok=True)
    os.symlink(directory, os.path.join(os.path.dirname(run), "latest"))
    found = recover.read(work_dir, info, policy="equal", strict=True)
    parents = os.path.dirname(os.path.dirname(run)), other
    assert set(found.strays) == {early, run, *parents}
    assert found.strays.index(run) < found.strays.index(parents[0]) < found.strays.index(other)
    again = Writer(work_dir)
    again.feed(events.Recovered(found.found, found.agent_ids, "b", strays=found.strays))
    collected = again.every(effects.CollectGarbage)[0]
    assert (collected.paths, collected.aged) == (found.strays, True)


def test_cleaning_up(driver: Writer) -> None:
    again = restarted(driver, clean_up=True)
    assert again.state.phase is AgentPhase.TERMINATING
    assert not again.every(effects.Detect)
    timer = next(t for t in again.every(effects.StartTimer) if t.key[0] == "shutdown")
    again.feed(timer.event)
    again.terminated(status=9)
    assert again.every(effects.Exit)
    assert not restarted(again, clean_up=True).state.frameworks


def test_a_full_disk_holds_updates_up(driver: Writer) -> None:
    driver.acknowledge()
    driver.disk_is_full = True
    driver.reports(pb.TASK_FINISHED, 3)
    assert not driver.updates()
    assert bytes([3]) * 16 not in driver.promised
    due = next(t for t in driver.every(effects.StartTimer) if t.key[0] == "store")
    driver.feed(due.event)
    assert not driver.updates()
    driver.disk_is_full = False
    driver.feed(due.event)
    assert [s.state for s in driver.updates()] == [pb.TASK_FINISHED]
    assert bytes([3]) * 16 in driver.promised


def test_a_task_is_written_when_the_disk_has_room_again(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    driver.run_task(run(task("a", executor="e"), of=checkpointing()))
    driver.disk_is_full = True
    driver.run_task(run(task("b", executor="e"), launch_executor=None, of=checkpointing()))
    due = next(t for t in driver.every(effects.StartTimer) if t.key[0] == "task")
    driver.disk_is_full = False
    driver.feed(due.event)
    assert {p.parent.name for p in tmp_path.rglob("task.info")} == {"a", "b"}


def test_tasks_of_a_refused_executor_are_not_recovered(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    driver.run_task(run(task("a", executor="e"), of=checkpointing()))
    driver.run_task(run(task("b", executor="f"), of=checkpointing()))
    driver.feed(events.SandboxMade(*driver.key("e"), "no room"))
    driver.run_task(run(task("a", executor="f"), launch_executor=False, of=checkpointing()))
    again = restarted(driver)
    (executor,) = again.state.executors()
    assert (executor.executor_id, sorted(executor.launched)) == ("f", ["a", "b"])


def test_a_task_that_is_on_disk_twice_is_told_once(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.register()
    for name in ("e", "f"):
        driver.run_task(run(task(f"of-{name}", executor=name), of=checkpointing()))
    one, other = (
        checkpoints.task_dir(driver.state, driver.executor(name), TaskId(f"of-{name}"))
        for name in ("e", "f")
    )
    shutil.copytree(one, os.path.join(os.path.dirname(other), "of-e"))
    again = restarted(driver)
    again.feed(events.ReregistrationTimeout(), events.MasterDetected(MASTER))
    again.feed(events.RegistrationDue(MASTER))
    (told,) = again.sent(messages.ReregisterSlaveMessage)
    assert sorted(each.task_id.value for each in told.tasks) == ["of-e", "of-f"]


def test_a_group_goes_on(tmp_path: Path) -> None:
    """Those tasks that reached the executor; those that did not are lost, each told."""
    driver = Writer(str(tmp_path))
    driver.register()
    group = run_group("a", "b", of=checkpointing(), kind=pb.ExecutorInfo.DEFAULT)
    driver.run_group(group)
    driver.launched("e")
    driver.subscribed("e")
    driver.reports(pb.TASK_RUNNING, 1, task="a", executor="e")
    again = restarted(driver)
    executor = again.executor("e")
    assert executor.info.type == pb.ExecutorInfo.DEFAULT
    assert sorted(executor.launched) == ["a", "b"]
    call = v1_executor.Call.Subscribe()
    call.unacknowledged_tasks.add().task_id.value = "nobody"
    again.feed(events.ExecutorSubscribed(FRAMEWORK, ExecutorId("e"), call, 1))
    again.settle()
    again.feed(events.ReregistrationTimeout(), events.MasterDetected(MASTER))
    again.feed(events.RegistrationDue(MASTER))
    (told,) = again.sent(messages.ReregisterSlaveMessage)
    assert [each.executor_id.value for each in told.tasks] == ["e", "e"]
    assert [info.executor_id.value for info in told.executor_infos] == ["e"]
    again.feed(events.AgentReregistered(MASTER, AGENT, 75.0, ()))
    assert {(s.task_id.value, s.state) for s in again.updates()} == {
        ("a", pb.TASK_RUNNING),
        ("b", pb.TASK_DROPPED),
    }


def test_an_id_that_cannot_be_kept(tmp_path: Path) -> None:
    driver = Writer(str(tmp_path))
    driver.disk_is_full = True
    driver.register()
    assert driver.last(effects.Exit).error == "Failed to checkpoint the agent's id"


def test_an_id_that_is_used_again_in_the_same_run(tmp_path: Path) -> None:
    """What was acknowledged of the first task is not taken for the end of the second."""
    driver = Writer(str(tmp_path))
    driver.checkpoint = True
    driver.register()
    of = framework()
    of.checkpoint = True
    driver.run_group(run_group("t0", of=of))
    driver.feed(events.SandboxMade(*driver.key("e"), ""))
    for _ in range(2):
        driver.run_group(run_group("t1", launch_executor=False, of=of))
        driver.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("t1"), None))
        driver.settle()
        stream = driver.state.streams[FRAMEWORK, TaskId("t1")]
        again = restarted(driver)
        assert list(again.state.streams[FRAMEWORK, TaskId("t1")].queue) == list(stream.queue)
        driver.acknowledge("t1")


def test_the_checkpoint_of_an_id_that_is_used_again_is_not_collected(tmp_path: Path) -> None:
    """Neither while the second task runs, nor forgotten when it is over, too."""
    driver = Writer(str(tmp_path))
    driver.checkpoint = True
    driver.register()
    of = framework()
    of.checkpoint = True
    driver.run_group(run_group("t0", of=of))
    driver.feed(events.SandboxMade(*driver.key("e"), ""))
    directory = checkpoints.task_dir(driver.state, driver.executor("e"), TaskId("t1"))
    for _ in range(2):
        driver.run_group(run_group("t1", launch_executor=False, of=of))
        assert [each.kept for each in driver.every(effects.Checkpoint) if each.kept] == [
            (directory,)
        ]
        driver.feed(events.KillTask(MASTER, FRAMEWORK, TaskId("t1"), None))
        driver.settle()
        driver.acknowledge("t1")
        assert driver.last(effects.CollectGarbage).paths == (directory,)


@settings(max_examples=100, deadline=None)
@given(st.lists(moves, min_size=10, max_size=60), st.lists(moves, max_size=20))
def test_nothing_that_was_promised_is_lost(first: list[Move], then: list[Move]) -> None:
    """Whenever the process is killed, what it acknowledged is known to the next one."""
    with tempfile.TemporaryDirectory() as work_dir:
        driver = Writer(work_dir)
        driver.register()
        for move in first:
            move(driver)
        again = restarted(driver)
        assert again.state.agent_id == AGENT
        for key, stream in driver.state.streams.items():
            if not stream.path or driver.state.phase is AgentPhase.TERMINATING:
                continue
            framework = driver.state.frameworks.get(key[0])
            if framework is None or framework.executor_of(key[1]) is None:
                continue  # refused with its executor, which is over: nothing was promised
            recovered = again.state.streams[key]
            # a refusal of a task whose id is taken says nothing of the task that is kept
            kept = [update for update in stream.queue if update.uuid in driver.written]
            assert list(recovered.queue) == kept
            promised = driver.promised & stream.received
            assert promised <= recovered.received
        again.feed(events.ReregistrationTimeout(), events.MasterDetected(MASTER))
        again.feed(events.RegistrationDue(MASTER))
        again.feed(events.AgentReregistered(MASTER, AGENT, 75.0, ()))
        for move in then:
            move(again)
        check_messages(again)
        restarted(again)


def agent_info(**fields: object) -> pb.SlaveInfo:
    made = pb.SlaveInfo(hostname="h", port=5051, checkpoint=True)
    made.resources.add(name="cpus", type=pb.Value.SCALAR).scalar.value = 2
    attribute = made.attributes.add(name="rack", type=pb.Value.SCALAR)
    attribute.scalar.value = 1
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def with_cpus(amount: float) -> pb.SlaveInfo:
    made = agent_info()
    made.resources[0].scalar.value = amount
    return made


def with_rack(amount: float) -> pb.SlaveInfo:
    made = agent_info()
    made.attributes[0].scalar.value = amount
    return made


def with_zone(region: str) -> pb.SlaveInfo:
    made = agent_info()
    made.domain.fault_domain.region.name = region
    made.domain.fault_domain.zone.name = "z"
    return made


def with_ports(*ranges: tuple[int, int]) -> pb.SlaveInfo:
    made = agent_info()
    for kind in (
        made.attributes.add(name="ports", type=pb.Value.RANGES),
        made.resources.add(name="ports", type=pb.Value.RANGES),
    ):
        for begin, end in ranges:
            kind.ranges.range.add(begin=begin, end=end)
    return made


@pytest.mark.parametrize(
    ("before", "now", "equal", "additive"),
    [
        (agent_info(), agent_info(), True, True),
        (agent_info(), agent_info(hostname="other"), False, False),
        (agent_info(), agent_info(port=1), False, False),
        (agent_info(), with_cpus(3), False, True),
        (agent_info(), with_cpus(1.5), False, False),
        (agent_info(), with_rack(2), False, False),
        (agent_info(), with_zone("r"), False, True),
        (with_zone("r"), with_zone("s"), False, False),
        (with_zone("r"), agent_info(), False, False),
        (agent_info(), with_ports((1, 9)), False, True),
        (with_ports((1, 9)), with_ports((1, 10)), False, True),
        (with_ports((1, 9)), with_ports((2, 10)), False, False),
        (with_ports((1, 9)), agent_info(), False, False),
    ],
)
def test_who_is_the_same_agent(
    before: pb.SlaveInfo, now: pb.SlaveInfo, equal: bool, additive: bool
) -> None:
    assert (recover.difference(before, now, "equal") == "") is equal
    why = recover.difference(before, now, "additive")
    assert (why == "") is additive
    assert additive or why.startswith("Configuration change not permitted under")


def test_an_agent_that_changed(driver: Writer) -> None:
    work_dir, info = driver.state.config.work_dir, driver.state.config.info
    same = recover.read(work_dir, info, policy="equal", strict=True)
    assert same.found.agent is not None
    (container,) = same.containers
    assert container.pid == 4711
    assert container.directory == driver.executor().directory
    other = pb.SlaveInfo()
    other.CopyFrom(info)
    other.hostname = "other"
    with pytest.raises(recover.RecoveryError, match="Incompatible agent info detected") as caught:
        recover.read(work_dir, other, policy="equal", strict=True)
    assert f"rm -f {work_dir}/meta/slaves/latest" in str(caught.value)
    checkpoint.write_text(layout.boot_id(paths.meta(work_dir)), "another")
    new = recover.read(work_dir, other, policy="equal", strict=True)
    assert new.found.agent is None
    assert new.agent_ids == (AGENT,)
    assert not os.path.lexists(layout.latest_agent(paths.meta(work_dir)))


def test_nothing_to_recover(tmp_path: Path) -> None:
    found = recover.read(str(tmp_path), agent_info(), policy="equal", strict=True)
    assert (found.found, found.agent_ids, found.containers) == (Found(), (), ())
