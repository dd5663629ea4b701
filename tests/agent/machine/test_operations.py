# SPDX-License-Identifier: Apache-2.0
"""Reservations and volumes: stored before anybody is told, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from mesos_compat.agent import recover
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.agent.meta import layout, writes
from mesos_compat.base import checkpoint
from mesos_compat.base.beneath import RemovalStopped
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.internal.slave import state_pb2
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, VERSION_UUID, run, task
from tests.agent.machine.test_recovery import Writer
from tests.model.test_operations import (
    Operation,
    create,
    destroy,
    grow,
    reserve,
    reserved,
    shrink,
    unreserve,
    volume,
)

Update = messages.UpdateOperationStatusMessage
OLD, SILENT, NEW = "1.4.3", "1.7.3", "1.11.0"


class Cut(Exception):
    """The process is killed."""


class Agent(Writer):
    """One that can be killed after some number of writes."""

    left = -1
    #: Whether removals of volumes wait for ``end_removal``.
    slow = False
    removal: effects.Checkpoint | None = None

    def _write(self, effect: effects.Effect) -> events.Event | None:
        if not isinstance(effect, effects.Checkpoint) or self.disk_is_full:
            return super()._write(effect)
        if self.slow and any(isinstance(w, writes.DestroyedVolume) for w in effect.writes):
            assert self.removal is None
            self.removal = effect
            return None
        for write in effect.writes:
            if self.left == 0:
                raise Cut
            self.left -= 1
            writes.carry_out(write)
        return effect.stored

    def end_removal(self, success: bool = True) -> None:
        """The removal of volumes is over."""
        assert self.removal is not None
        effect, self.removal = self.removal, None
        for write in effect.writes if success else ():
            writes.carry_out(write)
        answer = effect.stored if success else effect.failed
        assert answer is not None
        self.feed(answer)

    def operation(self, info: Operation, key: int, framework: bool = True) -> None:
        """An operation comes from the master."""
        message = messages.ApplyOperationMessage(operation_info=info)
        if framework:
            message.framework_id.value = FRAMEWORK
            message.operation_info.id.value = f"o{key}"
        message.operation_uuid.value = bytes([key]) * 16
        message.resource_version_uuid.uuid.value = b"old" * 5 + b"x"
        self.feed(events.ApplyOperation(MASTER, message))

    def acknowledge_operation(self, update: Update) -> None:
        """Its end is known."""
        uuid, status = update.operation_uuid.value, update.status.uuid.value
        self.feed(events.OperationAcknowledged(MASTER, uuid, status, provider=False))

    def volume_path(self, name: str = "v") -> str:
        return f"{self.state.config.work_dir}/volumes/roles/db/{name}"


def began(folder: Path, version: str = NEW) -> Agent:
    made = Agent(str(folder))
    made.version = version
    made.register()
    return made


def again(folder: Path, version: str = NEW, **changes: Any) -> Agent:
    """The next process, recovered and registered."""
    made = Agent(str(folder), **changes)
    found = recover.read(str(folder), made.state.config.info, policy="equal", strict=True)
    assert set(found.volumes) == {str(path) for path in folder.glob("volumes/roles/*/*")}
    made.feed(events.Recovered(found.found, found.agent_ids, "b", found.changed))
    made.feed(events.MasterDetected(MASTER, version=version), events.RegistrationDue(MASTER))
    made.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    assert made.state.phase is AgentPhase.RUNNING
    return made


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return began(tmp_path)


def prepared(agent: Agent) -> Agent:
    """It has a reservation and a volume, all of it acknowledged."""
    for key, info in enumerate((reserve(reserved("disk", 64.0, "db")), create(volume(32.0, "db")))):
        agent.operation(info, 100 + key)
        agent.acknowledge_operation(agent.sent(Update)[0])
    return agent


def files(agent: Agent) -> set[str]:
    return set(os.listdir(f"{agent.state.config.work_dir}/meta/resources"))


def test_an_operation_from_end_to_end(agent: Agent, tmp_path: Path) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    (update,) = agent.sent(Update)
    status = update.status
    assert (update.framework_id.value, update.slave_id.value) == (FRAMEWORK, AGENT)
    assert update.operation_uuid.value == b"\1" * 16
    assert (status.state, status.operation_id.value) == (pb.OPERATION_FINISHED, "o1")
    assert status.slave_id.value == AGENT
    assert len(status.uuid.value) == 16
    assert update.latest_status == status
    meta = f"{tmp_path}/meta"
    content = checkpoint.read_record(layout.resources_state(meta))
    stored = state_pb2.ResourceState.FromString(content or b"")
    assert stored.resources[0].reservations[0].role == "db"
    assert stored.operations[0].latest_status == status
    assert list(stored.operations[0].statuses) == [status]
    (old_form,) = checkpoint.read_records(layout.resources_info(meta))
    assert pb.Resource.FromString(old_form).role == "db"
    assert not pb.Resource.FromString(old_form).reservations
    directory = Path(meta, "slaves", AGENT, "operations", "01010101-0101-0101-0101-010101010101")
    (record,) = checkpoint.read_records(str(directory / "operation.updates"))
    kept = messages.UpdateOperationStatusRecord.FromString(record).update
    assert not kept.HasField("latest_status")
    agent.acknowledge_operation(update)
    assert not agent.state.operations
    assert not directory.exists()
    content = checkpoint.read_record(layout.resources_state(meta))
    stored = state_pb2.ResourceState.FromString(content or b"")
    assert not stored.operations
    assert files(agent) == {"resources.info", "resources_and_operations.state"}


def test_a_volume_is_there_before_it_is_written_down(agent: Agent) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    agent.operation(create(volume(32.0, "db")), 2)
    stored = agent.every(effects.Checkpoint)[-1].writes
    made = next(n for n, write in enumerate(stored) if isinstance(write, writes.MadeVolume))
    info = layout.resources_info(f"{agent.state.config.work_dir}/meta")
    renamed = [
        n for n, w in enumerate(stored) if isinstance(w, writes.RenamedFile) and w.to == info
    ]
    assert renamed
    assert made < min(renamed)
    assert files(agent) == {"resources.info", "resources_and_operations.state"}
    assert os.path.isdir(agent.volume_path())


def test_volumes_come_and_go(agent: Agent) -> None:
    prepared(agent)
    path = Path(agent.volume_path())
    (path / "d").mkdir()
    (path / "d" / "file").write_text("x")
    (path / "link").symlink_to("/")
    agent.operation(grow(volume(32.0, "db"), reserved("disk", 8.0, "db")), 3)
    assert (path / "d" / "file").exists()
    agent.operation(shrink(volume(40.0, "db"), 20.0), 4)
    assert (path / "d" / "file").exists()
    agent.operation(destroy(volume(20.0, "db")), 5)
    assert not path.exists()
    agent.operation(unreserve(reserved("disk", 64.0, "db")), 6)
    assert not agent.state.checkpointed_resources
    assert len(agent.state.operations) == 4


def test_the_head_is_repeated(agent: Agent) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    (first,) = agent.sent(Update)
    delays = []
    for _ in range(8):
        timer = next(t for t in agent.every(effects.StartTimer) if t.key[0] == "operation")
        delays.append(timer.delay_s)
        agent.feed(timer.event)
        assert agent.sent(Update) == [first]
    assert delays == [10, 20, 40, 80, 160, 320, 600, 600]
    agent.feed(events.OperationAcknowledged(MASTER, b"\1" * 16, b"other", provider=False))
    agent.feed(events.OperationAcknowledged(MASTER, b"\2" * 16, b"other", provider=False))
    assert agent.state.operations
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER, version=NEW))
    assert not agent.sent(Update)
    agent.feed(events.RegistrationDue(MASTER), events.AgentReregistered(MASTER, AGENT, None, ()))
    assert agent.sent(Update) == [first]


@pytest.mark.parametrize("version", [OLD, "1.5.2", "", "what"])
def test_old_masters_are_told_of_nothing(tmp_path: Path, version: str) -> None:
    agent = began(tmp_path, version)
    (sent,) = agent.sent(messages.RegisterSlaveMessage, agent.all)
    assert {each.type for each in sent.agent_capabilities} == {1, 2, 3, 7, 8}
    assert not sent.HasField("resource_version_uuid")
    assert not agent.sent(messages.UpdateSlaveMessage, agent.all)
    disk = reserved("disk", 64.0, "db")
    vol = volume(32.0, "db")
    agent.feed(events.CheckpointResources(MASTER, (disk, vol)))
    assert os.path.isdir(agent.volume_path())
    agent.feed(events.CheckpointResources(MASTER, (disk,)))
    assert not os.path.exists(agent.volume_path())
    assert not agent.sent(Update, agent.all)


@pytest.mark.parametrize("version", ["1.6.1", SILENT])
def test_masters_that_abort_on_uuids_get_none(tmp_path: Path, version: str) -> None:
    agent = began(tmp_path, version)
    (sent,) = agent.sent(messages.RegisterSlaveMessage, agent.all)
    assert {each.type for each in sent.agent_capabilities} == {1, 2, 3, 4, 5, 7, 8}
    assert sent.resource_version_uuid.value == VERSION_UUID
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1, framework=False)
    (update,) = agent.sent(Update)
    assert update.status.state == pb.OPERATION_FINISHED
    assert not update.status.HasField("uuid")
    assert not update.HasField("latest_status")
    assert not agent.state.operations
    assert not agent.state.operation_streams


def test_what_is_left_of_a_newer_master_is_kept_back(agent: Agent, tmp_path: Path) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    (update,) = agent.sent(Update)
    older = again(tmp_path, SILENT)
    assert not older.sent(Update, older.all)
    (told,) = older.sent(messages.UpdateSlaveMessage, older.all)
    assert not told.operations.operations
    newer = again(tmp_path)
    assert newer.sent(Update, newer.all) == [update]
    (told,) = newer.sent(messages.UpdateSlaveMessage, newer.all)
    assert [each.uuid.value for each in told.operations.operations] == [b"\1" * 16]


def test_what_is_told_after_registration(agent: Agent) -> None:
    (told,) = agent.sent(messages.UpdateSlaveMessage, agent.all)
    assert told.slave_id.value == AGENT
    assert told.HasField("operations")
    assert told.HasField("resource_providers")
    assert told.resource_version_uuid.value == VERSION_UUID
    assert told.update_oversubscribed_resources is False
    agent.feed(events.AgentRegistered(MASTER, AGENT, 75.0))
    assert agent.sent(messages.UpdateSlaveMessage) == [told]
    kinds = [type(effect.message) for effect in agent.all if isinstance(effect, effects.Send)]
    assert kinds == [
        messages.RegisterSlaveMessage,
        messages.UpdateSlaveMessage,
        messages.UpdateSlaveMessage,
    ]


@pytest.mark.parametrize(
    "info",
    [
        reserve(reserved("disk", 1e9, "db")),
        create(volume(1.0, "db")),
        Operation(type=Operation.LAUNCH),
        reserve(),
    ],
)
def test_what_cannot_be_applied_is_dropped(agent: Agent, info: Operation) -> None:
    agent.operation(info, 1)
    (update,) = agent.sent(Update)
    assert update.status.state == pb.OPERATION_DROPPED
    assert not update.status.HasField("uuid")
    assert not agent.state.operations
    assert not agent.state.checkpointed_resources


@pytest.mark.parametrize("name", ["../../x", "..", "/etc", "a/b"])
def test_volumes_stay_below(agent: Agent, tmp_path: Path, name: str) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    hostile = volume(32.0, "db", name=name)
    agent.operation(create(hostile), 2)
    assert agent.sent(Update)[0].status.state == pb.OPERATION_DROPPED
    agent.feed(events.CheckpointResources(MASTER, (reserved("disk", 64.0, "db"), hostile)))
    assert not agent.state.total().persistent_volumes()
    assert not (tmp_path / "volumes").exists()


def test_a_known_or_odd_uuid_is_ignored(agent: Agent) -> None:
    agent.operation(reserve(reserved("disk", 1.0, "db")), 1)
    agent.operation(reserve(reserved("disk", 1.0, "db")), 1)
    assert not agent.sent(Update)
    message = messages.ApplyOperationMessage(operation_info=reserve(reserved("disk", 1.0, "db")))
    message.operation_uuid.value = b"short"
    message.resource_version_uuid.uuid.value = VERSION_UUID
    agent.feed(events.ApplyOperation(MASTER, message))
    message.operation_uuid.value = b"\3" * 16
    agent.feed(events.ApplyOperation("other@127.0.0.1:1", message))
    assert len(agent.state.operations) == 1
    assert agent.state.total().reserved("db").scalar("disk") == 1.0


def test_a_full_disk_delays_the_news(agent: Agent) -> None:
    prepared(agent)
    agent.disk_is_full = True
    agent.operation(destroy(volume(32.0, "db")), 1)
    agent.operation(create(volume(16.0, "db", name="w")), 2)
    assert not agent.sent(Update, agent.effects)
    assert os.path.isdir(agent.volume_path())
    agent.disk_is_full = False
    agent.feed(events.ResourcesStoreDue())
    assert [update.operation_uuid.value[0] for update in agent.sent(Update)] == [1, 2]
    assert not os.path.exists(agent.volume_path())
    assert os.path.isdir(agent.volume_path("w"))


def using(name: str, *volumes: pb.Resource) -> messages.RunTaskMessage:
    """A task with volumes."""
    info = task(name)
    for resource in volumes:
        added = info.resources.add()
        added.CopyFrom(resource)
        added.allocation_info.role = "db"
    return run(info)


def test_a_removal_holds_up_who_needs_it_and_nobody_else(agent: Agent) -> None:
    prepared(agent)
    path = Path(agent.volume_path())
    (path / "old").touch()
    agent.slow = True
    agent.operation(destroy(volume(32.0, "db")), 1)
    agent.operation(create(volume(16.0, "db")), 2)
    agent.operation(reserve(reserved("cpus", 1.0, "db")), 3)
    assert not agent.sent(Update)
    assert agent.state.total().reserved("db").scalar("cpus") == 1.0
    asked = messages.ReconcileOperationsMessage()
    asked.framework_id.value = FRAMEWORK
    asked.operations.add().operation_id.value = "o1"
    agent.feed(events.ReconcileOperations(MASTER, asked))
    (answer,) = agent.sent(Update)
    assert answer.status.state == pb.OPERATION_PENDING
    agent.feed(events.AgentRegistered(MASTER, AGENT, 75.0))
    (told,) = agent.sent(messages.UpdateSlaveMessage)
    known = [(each.latest_status.state, len(each.statuses)) for each in told.operations.operations]
    assert known == [(pb.OPERATION_PENDING, 0)] * 3

    agent.run_task(using("without"))
    agent.feed(events.SandboxMade(*agent.key("without"), ""))
    assert agent.every(effects.Launch)
    agent.run_task(using("with", volume(16.0, "db")))
    key = agent.key("with")
    agent.feed(events.SandboxMade(*key, ""))
    assert not agent.every(effects.Launch)
    assert not [t for t in agent.every(effects.StartTimer) if t.key[0] == "subscribe"]

    agent.end_removal()
    assert [update.operation_uuid.value[0] for update in agent.sent(Update)] == [1, 2, 3]
    assert agent.last(effects.Launch).container_id == key[2]
    assert os.listdir(path) == []
    timers = [t for t in agent.every(effects.StartTimer) if t.key[0] == "subscribe"]
    assert len(timers) == 1
    assert agent.effects.index(agent.last(effects.Launch)) < agent.effects.index(timers[0])
    for update in agent.sent(Update):
        agent.acknowledge_operation(update)
    consistent(agent)


def test_who_has_a_volume_goes_on_while_another_is_removed(agent: Agent) -> None:
    prepared(agent)
    agent.operation(create(volume(8.0, "db", name="w")), 1)
    agent.slow = True
    agent.operation(destroy(volume(8.0, "db", name="w")), 2)
    agent.run_task(using("t1", volume(32.0, "db")))
    agent.feed(events.SandboxMade(*agent.key(), ""))
    assert agent.every(effects.Launch)


def test_what_waits_for_a_volume_can_be_ended(agent: Agent) -> None:
    """In the order in which it was asked for."""
    prepared(agent)
    agent.slow = True
    agent.operation(destroy(volume(32.0, "db")), 1)
    agent.operation(create(volume(16.0, "db")), 2)
    agent.run_task(using("t1", volume(16.0, "db")))
    container_id = agent.key()[2]
    agent.feed(events.SandboxMade(*agent.key(), ""))
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    timeouts = [t.event for t in agent.every(effects.StartTimer)]
    assert events.ShutdownTimeout in map(type, timeouts)
    agent.feed(*timeouts)
    agent.end_removal()
    ended = [e for e in agent.effects if isinstance(e, effects.Launch | effects.DestroyContainer)]
    assert [type(effect) for effect in ended] == [effects.Launch, effects.DestroyContainer]
    assert {effect.container_id for effect in ended} == {container_id}


def test_a_removal_that_fails_comes_before_all_else(agent: Agent) -> None:
    """What takes the place of a volume has nothing of it."""
    prepared(agent)
    path = Path(agent.volume_path())
    (path / "old").touch()
    agent.slow = True
    agent.operation(destroy(volume(32.0, "db")), 1)
    agent.operation(create(volume(16.0, "db")), 2)
    agent.end_removal(success=False)
    assert agent.removal is None
    assert (path / "old").exists()
    assert agent.last(effects.StartTimer).event == events.ResourcesStoreDue()
    agent.feed(events.ResourcesStoreDue())
    agent.end_removal()
    assert os.listdir(path) == []
    assert len(agent.sent(Update)) == 2


def test_operations_end_while_a_volume_is_removed(agent: Agent) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    (reserved_,) = agent.sent(Update)
    agent.operation(create(volume(32.0, "db")), 2)
    (created,) = agent.sent(Update)
    agent.slow = True
    agent.operation(destroy(volume(32.0, "db")), 3)
    agent.acknowledge_operation(reserved_)
    agent.acknowledge_operation(created)
    assert len(agent.state.operations) == 1
    agent.end_removal()
    agent.acknowledge_operation(agent.sent(Update)[0])
    consistent(agent)
    assert not agent.state.operations


@pytest.mark.parametrize("cut", range(12))
def test_a_crash_amid_a_removal(agent: Agent, tmp_path: Path, cut: int) -> None:
    prepared(agent)
    path = Path(agent.volume_path())
    for name in ("a", "b"):
        (path / name).touch()
    agent.left = cut
    try:
        agent.operation(destroy(volume(32.0, "db")), 1)
    except Cut:
        if path.exists():
            (path / "a").unlink()  # half of it is done
    else:
        assert cut >= 8
    next_one = again(tmp_path)
    consistent(next_one)
    resent = next_one.sent(Update, next_one.all)
    if not resent:
        assert os.listdir(path) == ["b"]
    for update in resent:
        assert not path.exists()
        next_one.acknowledge_operation(update)
    consistent(next_one)
    assert not next_one.state.operations


def test_who_ends_amid_a_removal_at_its_start_leaves_it_to_the_next(
    agent: Agent, tmp_path: Path
) -> None:
    prepared(agent)
    path = Path(agent.volume_path())
    (path / "d").mkdir()
    (path / "d" / "file").touch()
    agent.left = 4
    with pytest.raises(Cut):
        agent.operation(destroy(volume(32.0, "db")), 1)
    info = agent.state.config.info
    with pytest.raises(RemovalStopped):
        recover.read(str(tmp_path), info, policy="equal", strict=True, stop=lambda: True)
    assert path.exists()
    consistent(again(tmp_path))
    assert not path.exists()


def test_reconciliation(agent: Agent) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    asked = messages.ReconcileOperationsMessage()
    for key in (1, 2):
        asked.operations.add().operation_uuid.value = bytes([key]) * 16
    agent.feed(events.ReconcileOperations(MASTER, asked))
    (answer,) = agent.sent(Update)
    assert answer.operation_uuid.value == b"\2" * 16
    assert answer.slave_id.value == answer.status.slave_id.value == AGENT
    assert answer.status.state == pb.OPERATION_DROPPED
    assert not answer.status.HasField("uuid")

    asked = messages.ReconcileOperationsMessage()
    asked.framework_id.value = FRAMEWORK
    asked.operations.add().operation_id.value = "o1"
    asked.operations.add().operation_id.value = "o2"
    unknown = asked.operations.add()
    unknown.operation_id.value, unknown.resource_provider_id.value = "o3", "p"
    agent.feed(events.ReconcileOperations(MASTER, asked))
    known, missing = agent.sent(Update)
    assert known.status.state == pb.OPERATION_FINISHED
    assert known.operation_uuid.value == b"\1" * 16
    assert not known.status.HasField("uuid")
    assert missing.status.state == pb.OPERATION_UNKNOWN
    assert missing.status.operation_id.value == "o3"
    assert missing.status.resource_provider_id.value == "p"
    assert (missing.framework_id.value, missing.slave_id.value) == (FRAMEWORK, AGENT)
    assert not missing.HasField("operation_uuid")
    assert agent.state.operations[b"\1" * 16].latest_status.HasField("uuid")


def consistent(agent: Agent) -> None:
    """Disk, state and the master's view are one."""
    work_dir = agent.state.config.work_dir
    assert not {name for name in files(agent) if name.endswith(".target")}
    content = checkpoint.read_record(layout.resources_state(f"{work_dir}/meta"))
    stored = state_pb2.ResourceState.FromString(content or b"")
    resources = Resources.of(agent.state.checkpointed_resources)
    assert Resources.of(stored.resources) == resources
    assert Resources.of(agent.state.stored_resources) == resources
    has_volume = bool(agent.state.total().persistent_volumes())
    assert os.path.isdir(agent.volume_path()) == has_volume
    directory = f"{work_dir}/meta/slaves/{AGENT}/operations"
    names = os.listdir(directory) if os.path.isdir(directory) else []
    assert len(names) == len(agent.state.operations)


@pytest.mark.parametrize("cut", range(9))
@pytest.mark.parametrize("info", [create(volume(32.0, "db")), unreserve(reserved("disk", 8, "db"))])
def test_a_crash_between_two_writes(
    agent: Agent, tmp_path: Path, info: Operation, cut: int
) -> None:
    """What was begun is finished or was never begun, and the master hears the same."""
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    agent.acknowledge_operation(agent.sent(Update)[0])
    agent.left = cut
    try:
        agent.operation(info, 2)
    except Cut:
        pass
    else:
        assert cut >= 5
    told = agent.sent(Update)
    next_one = again(tmp_path)
    consistent(next_one)
    done = Resources.of(next_one.state.checkpointed_resources).scalar("disk") != 64.0 or bool(
        next_one.state.total().persistent_volumes()
    )
    resent = next_one.sent(Update, next_one.all)
    assert [update.status.state for update in resent] == [pb.OPERATION_FINISHED] * done
    assert done or not told
    for update in resent:
        next_one.acknowledge_operation(update)
    consistent(next_one)
    assert not next_one.state.operations


@pytest.mark.parametrize("cut", range(5))
def test_a_crash_while_the_end_is_acknowledged(agent: Agent, tmp_path: Path, cut: int) -> None:
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    agent.left = cut
    try:
        agent.acknowledge_operation(agent.sent(Update)[0])
    except Cut:
        assert cut < 4
    next_one = again(tmp_path)
    for update in next_one.sent(Update, next_one.all):
        next_one.acknowledge_operation(update)
    consistent(next_one)
    assert not next_one.state.operations


def test_an_operation_that_was_just_begun_is_finished(agent: Agent, tmp_path: Path) -> None:
    """As upstream's agent may leave it."""
    prepared(agent)
    pending = pb.Operation(info=destroy(volume(32.0, "db")))
    pending.slave_id.value = AGENT
    pending.uuid.value = b"\7" * 16
    pending.latest_status.state = pb.OPERATION_PENDING
    path = layout.resources_state(f"{tmp_path}/meta")
    state = state_pb2.ResourceState.FromString(checkpoint.read_record(path) or b"")
    state.operations.append(pending)
    writes.carry_out(writes.RecordFile(path, state, as_is=True))
    next_one = again(tmp_path)
    (update,) = next_one.sent(Update, next_one.all)
    assert update.operation_uuid.value == b"\7" * 16
    assert not os.path.exists(next_one.volume_path())
    consistent(next_one)


def test_the_old_form_alone(agent: Agent, tmp_path: Path) -> None:
    """An agent before 1.8 was killed amid a change."""
    meta = f"{tmp_path}/meta"
    old, new = reserved("disk", 64.0, "db"), volume(32.0, "db")
    writes.carry_out(writes.RecordsFile(layout.resources_info(meta), (old,)))
    writes.carry_out(writes.RecordsFile(layout.resources_target(meta), (old, new)))
    next_one = again(tmp_path)
    assert os.path.isdir(next_one.volume_path())
    assert len(next_one.state.checkpointed_resources) == 2
    assert files(next_one) == {"resources.info"}


def test_resources_outlive_the_id(agent: Agent, tmp_path: Path) -> None:
    prepared(agent)
    agent.operation(grow(volume(32.0, "db"), reserved("disk", 1.0, "db")), 9)
    os.unlink(f"{tmp_path}/meta/slaves/latest")
    other = Agent(str(tmp_path))
    found = recover.read(str(tmp_path), other.state.config.info, policy="equal", strict=True)
    other.feed(events.Recovered(found.found, (), "b"))
    other.feed(events.MasterDetected(MASTER, version=NEW), events.RegistrationDue(MASTER))
    (sent,) = other.sent(messages.RegisterSlaveMessage)
    assert len(sent.checkpointed_resources) == 2
    assert not other.state.operations


def test_resources_that_do_not_fit_any_more(agent: Agent, tmp_path: Path) -> None:
    prepared(agent)
    info = pb.SlaveInfo()
    info.CopyFrom(agent.state.config.info)
    for resource in info.resources:
        if resource.name == "disk":
            resource.scalar.value = 10.0
    with pytest.raises(recover.RecoveryError, match="are incompatible with agent resources"):
        recover.read(str(tmp_path), info, policy="additive", strict=True)


def test_tasks_use_what_is_there(agent: Agent) -> None:
    prepared(agent)
    wanted = task()
    wanted.resources.append(volume(32.0, "db"))
    wanted.resources[-1].allocation_info.role = "db"
    agent.run_task(run(wanted))
    assert not agent.updates()
    other = task("t2")
    other.resources.append(volume(32.0, "db", name="w"))
    agent.run_task(run(other))
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_RESOURCES_UNKNOWN


def test_nothing_is_taken_before_recovery_is_over(tmp_path: Path) -> None:
    driver = Agent(str(tmp_path))
    disk = reserved("disk", 64.0, "db")
    sent: list[Message] = []
    driver.feed(events.CheckpointResources("", (disk,)))
    driver.operation(reserve(disk), 1)
    assert driver.sent(Message) == sent
    assert not driver.state.checkpointed_resources


def test_draining_waits_for_what_has_not_been_acknowledged(agent: Agent, tmp_path: Path) -> None:
    """In the next process, too."""
    agent.operation(reserve(reserved("disk", 64.0, "db")), 1)
    agent.feed(events.DrainAgent(MASTER, pb.DrainConfig()))
    (config,) = Path(agent.state.config.work_dir, "meta").rglob("drain.config")
    next_one = again(tmp_path)
    assert config.exists()
    (update,) = next_one.sent(Update)
    next_one.acknowledge_operation(update)
    assert next_one.state.drain is None
    assert not config.exists()
