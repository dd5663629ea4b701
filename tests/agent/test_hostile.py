# SPDX-License-Identifier: Apache-2.0
"""Mutations of what real masters and executors sent, through inbox and machine: nothing raises,
the state stays sound, no name leaves its directory, and nothing goes out that a real master does
not survive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesos_compat.agent.inbox import _READERS, Inbox
from mesos_compat.agent.machine import effects, events, streams
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import MAX_STATUSES, ExecutorPhase, Waiting
from mesos_compat.base.errors import ApiError
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model.evolve import devolve
from mesos_compat.model.ids import ExecutorId, TaskId, id_error
from mesos_compat.model.resources import Resources, upgrade
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from mesos_compat.v1 import codec
from mesos_compat.v1.executor_api import call_error, parse_call
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, run, task
from tests.agent.machine.test_random import QUESTIONS, answers, check_messages
from tests.agent.mutations import mutated

GOLDEN = Path(__file__).parent.parent / "golden" / "agent" / "master-to-agent.tsv"
SENDERS = ("master@127.0.0.1:5050", "master@10.0.0.9:5050", "x@127.0.0.1:9", "@0.0.0.0:0")


def golden() -> list[Message]:
    """Each message of the recording once."""
    found: dict[str, Message] = {}
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        _, path, *body = line.split("\t")
        name = path.rpartition(".")[2]
        kind = getattr(messages, name)
        message = kind.FromString(bytes.fromhex(body[0] if body else ""))
        found.setdefault(f"{name} {len(body)}", message)
    return list(found.values())


def others() -> Iterable[Message]:
    """Messages of which there is no recording."""
    custom = run(task("t2", executor="e"))
    again = messages.SlaveReregisteredMessage()
    again.slave_id.value = AGENT
    asked = again.reconciliations.add()
    asked.framework_id.value = FRAMEWORK
    asked.framework.CopyFrom(run().framework)
    asked.statuses.add(state=pb.TASK_RUNNING).task_id.value = "t9"
    kill = messages.KillTaskMessage()
    kill.framework_id.value, kill.task_id.value = FRAMEWORK, "t1"
    kill.kill_policy.grace_period.nanoseconds = 5
    stop = messages.ShutdownExecutorMessage()
    stop.framework_id.value, stop.executor_id.value = FRAMEWORK, "t1"
    framework = messages.UpdateFrameworkMessage(pid="s@127.0.0.1:1")
    framework.framework_id.value = FRAMEWORK
    framework.framework_info.CopyFrom(run().framework)
    data = messages.FrameworkToExecutorMessage(data=b"x")
    data.slave_id.value, data.framework_id.value, data.executor_id.value = AGENT, FRAMEWORK, "t1"
    checkpoint = messages.CheckpointResourcesMessage()
    for name, kind in (("cpus", pb.Value.SCALAR), ("ports", pb.Value.RANGES)):
        resource = checkpoint.resources.add(name=name, type=kind)
        resource.reservations.add(type=pb.Resource.ReservationInfo.DYNAMIC, role="r")
        if kind == pb.Value.SCALAR:
            resource.scalar.value = 1.0
        else:
            resource.ranges.range.add(begin=31000, end=31001)
    ack = messages.StatusUpdateAcknowledgementMessage(uuid=b"u" * 16)
    ack.slave_id.value, ack.framework_id.value, ack.task_id.value = AGENT, FRAMEWORK, "t1"
    yield from (run(), custom, again, kill, stop, framework, data, checkpoint, ack)
    drain = messages.DrainSlaveMessage()
    drain.config.mark_gone = True
    drain.config.max_grace_period.nanoseconds = 5
    yield drain
    yield from operations()
    yield from executors()
    yield messages.ShutdownMessage(message="go")


def executors() -> Iterable[Message]:
    """Messages of executors."""
    for kind in (messages.RegisterExecutorMessage, messages.ReregisterExecutorMessage):
        for name in ("t1", "t2"):
            register = kind()
            register.framework_id.value, register.executor_id.value = FRAMEWORK, name
            if isinstance(register, messages.ReregisterExecutorMessage):
                register.tasks.append(task("t1"))
                register.updates.append(status_update("t1", pb.TASK_RUNNING).update)
            yield register
    for state in (pb.TASK_STAGING, pb.TASK_STARTING, pb.TASK_RUNNING, pb.TASK_FINISHED):
        yield status_update("t1", state)
    data = messages.ExecutorToFrameworkMessage(data=b"x")
    data.slave_id.value, data.framework_id.value, data.executor_id.value = AGENT, FRAMEWORK, "t1"
    yield data


def status_update(name: str, state: pb.TaskState) -> messages.StatusUpdateMessage:
    made = messages.StatusUpdateMessage(pid="x@127.0.0.1:9")
    made.update.framework_id.value, made.update.executor_id.value = FRAMEWORK, name
    made.update.slave_id.value = AGENT
    made.update.timestamp = 5.0
    made.update.uuid = bytes([state]) * 16
    made.update.status.task_id.value = name
    made.update.status.state = state
    return made


def operations() -> Iterable[Message]:
    """Messages about operations."""
    reserve = messages.ApplyOperationMessage()
    reserve.operation_uuid.value = b"r" * 16
    reserve.resource_version_uuid.uuid.value = b"v" * 16
    reserve.operation_info.type = pb.Offer.Operation.RESERVE
    reserve.operation_info.reserve.resources.append(reserved_disk())
    create = messages.ApplyOperationMessage()
    create.CopyFrom(reserve)
    create.operation_uuid.value = b"c" * 16
    create.operation_info.Clear()
    create.operation_info.type = pb.Offer.Operation.CREATE
    create.operation_info.id.value = "o1"
    volume = create.operation_info.create.volumes.add()
    volume.CopyFrom(reserved_disk())
    volume.disk.persistence.id = "v1"
    volume.disk.volume.container_path = "data"
    volume.disk.volume.mode = pb.Volume.RW
    ack = messages.AcknowledgeOperationStatusMessage()
    ack.status_uuid.value, ack.operation_uuid.value = b"s" * 16, b"c" * 16
    asked = messages.ReconcileOperationsMessage()
    asked.operations.add().operation_uuid.value = b"x" * 16
    yield from (reserve, create, ack, asked)


def reserved_disk() -> pb.Resource:
    made = pb.Resource(name="disk", type=pb.Value.SCALAR)
    made.scalar.value = 64.0
    made.reservations.add(type=pb.Resource.ReservationInfo.DYNAMIC, role="r")
    return made


MESSAGES = [*golden(), *others()]
#: Messages that end the agent by design stay rare, or little would be tested.
_ENDING = (messages.ShutdownMessage, messages.SlaveRegisteredMessage)


def test_every_message_is_among_them() -> None:
    assert {type(message).__name__ for message in MESSAGES} >= _READERS.keys()


def update(name: str, random: Random) -> v1_executor.Call:
    """What an executor reports, before mutation."""
    states = [value.number for value in v1.TaskState.DESCRIPTOR.values]
    call = v1_executor.Call(type=v1_executor.Call.UPDATE)
    call.framework_id.value, call.executor_id.value = FRAMEWORK, name
    status = call.update.status
    status.task_id.value = name
    status.state = random.choice(states)  # type: ignore[assignment]  # any of them
    status.source = v1.TaskStatus.SOURCE_EXECUTOR
    status.uuid = random.randbytes(6) + b"\x40" + random.randbytes(9)
    status.timestamp = 5.0
    status.executor_id.value = name
    return call


class Scene:
    """An agent with a task, a master that went mad, and executors that did, too."""

    def __init__(self) -> None:
        #: One after the other: some messages end an agent.
        self.agents: list[Driver] = []
        self.inbox = Inbox("slave(1)", self.take)
        self.start()

    def start(self) -> None:
        """Begin as an agent that runs a task."""
        self.driver = Driver()
        self.agents.append(self.driver)
        self.driver.register()
        self.driver.run_task(run())
        self.driver.launched()
        self.driver.subscribed()

    def take(self, event: Event) -> None:
        self.driver.feed(event)
        if any(isinstance(effect, effects.Exit) for effect in self.driver.effects):
            self.start()

    def deliver(self, message: Message, data: bytes, sender: str) -> None:
        name = message.DESCRIPTOR.full_name
        assert self.inbox(UPID.parse(sender), "slave(1)", name, data)

    def report(self, random: Random, changes: int) -> None:
        """An executor's call, checked as the HTTP handler does."""
        executors = list(self.driver.state.executors())
        if not executors:
            return
        name = random.choice(executors).executor_id
        try:
            call = parse_call(mutated(update(name, random), random, changes), codec.PROTOBUF)
        except ApiError:
            return
        if call_error(call) is None and call.type == v1_executor.Call.UPDATE:
            status = devolve(call.update.status, pb.TaskStatus)
            framework_id = random.choice(executors).framework_id
            self.take(events.ExecutorUpdate(framework_id, name, status))

    def settle(self, random: Random) -> None:
        """Answer some of what was asked."""
        asked = [effect for effect in self.driver.effects if isinstance(effect, QUESTIONS)]
        for effect in asked:
            for event in answers(self.driver, effect, random.random() < 0.9):
                self.take(event)
        for executor in list(self.driver.state.executors()):
            if executor.launch_requested and not executor.connected and random.random() < 0.5:
                call = v1_executor.Call.Subscribe()
                self.take(
                    events.ExecutorSubscribed(executor.framework_id, executor.executor_id, call, 7)
                )


def check_effects(done: Iterable[Effect]) -> None:
    """No effect does more than it may."""
    for effect in done:
        match effect:
            case effects.MakeSandbox(directory=directory):
                parts = directory.split("/")
                assert parts[:3] == ["", "work", "slaves"]
                assert len(parts) == 10
                assert all(id_error(part) is None for part in parts[1:])
            case effects.CollectGarbage(paths=paths):
                for path in paths:
                    parts = path.split("/")
                    assert parts[:3] == ["", "work", "slaves"]
                    assert len(parts) >= 6
                    assert all(id_error(part) is None for part in parts[1:])
            case effects.StartTimer(delay_s=delay_s):
                assert 0 <= delay_s < 1e11
            case effects.Launch(config=config, environment=environment):
                assert config.SerializeToString()
                assert all(type(v) is str and "\0" not in v for v in environment.values())
                check_resources(config.resources)
            case effects.UpdateContainer(requests=requests, limits=limits):
                check_resources(requests)
                assert not any(math.isnan(limit) or limit < 0 for limit in limits.values())
            case effects.Send(message=message):
                assert message.IsInitialized()
                assert message.SerializeToString() is not None
                if isinstance(message, messages.StatusUpdateMessage):
                    assert math.isfinite(message.update.timestamp)
                    assert math.isfinite(message.update.status.timestamp)
            case effects.SendToExecutor(event=event):
                event.SerializeToString()


def check_registration(
    sent: messages.RegisterSlaveMessage | messages.ReregisterSlaveMessage,
) -> None:
    """The agent's resources can take its checkpointed ones in; a master aborts otherwise."""
    total = Resources.of(map(upgraded, sent.slave.resources))
    total.with_checkpointed(Resources.of(map(upgraded, sent.checkpointed_resources)))


def upgraded(resource: pb.Resource) -> pb.Resource:
    made = pb.Resource()
    made.CopyFrom(resource)
    upgrade(made)
    return made


def check_resources(resources: Iterable[pb.Resource]) -> None:
    for resource in resources:
        if resource.type == pb.Value.SCALAR:
            assert math.isfinite(resource.scalar.value)
            assert resource.scalar.value >= 0


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(st.integers(0, 2**32), st.integers(10, 40))
def test_nothing_from_outside_breaks_the_machine(seed: int, steps: int) -> None:
    random = Random(seed)
    scene = Scene()
    for _ in range(steps):
        if random.random() < 0.3:
            scene.report(random, random.randrange(3))
        else:
            message = random.choice(MESSAGES)
            if isinstance(message, _ENDING) and random.random() < 0.9:
                continue
            data = mutated(message, random, random.randrange(4))
            sender = MASTER if random.random() < 0.8 else random.choice(SENDERS)
            scene.deliver(message, data, sender)
        scene.settle(random)
    for driver in scene.agents:
        check_effects(driver.all)
        check_messages(driver)
        for first in driver.sent(messages.RegisterSlaveMessage, driver.all):
            check_registration(first)
        for again in driver.sent(messages.ReregisterSlaveMessage, driver.all):
            check_registration(again)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0b", "..", "", "x" * 256])
def test_an_id_never_names_another_directory(name: str) -> None:
    scene = Scene()
    for field in ("framework", "task", "executor"):
        message = run(task("t5", executor="e5"))
        if field == "framework":
            message.framework.id.value = name
        elif field == "task":
            message.task.task_id.value = name
        else:
            message.task.executor.executor_id.value = name
        scene.deliver(message, message.SerializeToString(), MASTER)
        assert not scene.driver.every(effects.MakeSandbox)


def pending(scene: Scene, name: str, number: int, data: bytes = b"") -> None:
    """One more update that nobody acknowledges."""
    states = (pb.TASK_STARTING, pb.TASK_RUNNING)
    status = pb.TaskStatus(state=states[number % 2], uuid=number.to_bytes(16, "big"), data=data)
    status.task_id.value = name
    scene.driver.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    scene.driver.settle()


@pytest.mark.parametrize("known", [True, False])
def test_unacknowledged_updates_are_bounded(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_UPDATES", 20)
    monkeypatch.setattr(streams, "MAX_STREAMS", 20)
    scene = Scene()
    for number in range(1, 60):
        pending(scene, "t1" if known else f"made-up-{number}", number)
    held = scene.driver.state.streams.values()
    assert sum(len(stream.queue) for stream in held) == 20
    executor = scene.driver.executor()
    assert executor.phase is ExecutorPhase.RUNNING
    assert not executor.incoming


def test_large_updates_are_bounded() -> None:
    scene = Scene()
    for number in range(1, 40):
        pending(scene, "t1", number, bytes(4 * 1024 * 1024))
    (stream,) = scene.driver.state.streams.values()
    assert stream.queued_bytes < streams.MAX_UPDATE_BYTES + 5 * 1024 * 1024
    statuses = scene.driver.executor().launched[TaskId("t1")].statuses
    assert not any(status.HasField("data") for status in statuses)
    assert stream.queue[0].status.data, "the scheduler gets it"


def test_a_long_life_leaves_little_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_ACKNOWLEDGED", 10)
    scene = Scene()
    for number in range(1, 200):
        pending(scene, "t1", number)
        scene.driver.acknowledge()
    (stream,) = scene.driver.state.streams.values()
    assert len(stream.received) == len(stream.acknowledged) == 10
    assert len(scene.driver.executor().launched[TaskId("t1")].statuses) <= MAX_STATUSES


@pytest.mark.parametrize("told", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_does_not_reach_the_master(told: float) -> None:
    scene = Scene()
    status = pb.TaskStatus(state=pb.TASK_RUNNING, uuid=b"u" * 16, timestamp=told)
    status.task_id.value = "t1"
    scene.driver.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    scene.driver.settle()
    (sent,) = scene.driver.sent(messages.StatusUpdateMessage)
    assert math.isfinite(sent.update.timestamp)
    assert math.isfinite(sent.update.status.timestamp)


def test_updates_that_wait_for_the_containerizer_are_bounded_by_size() -> None:
    scene = Scene()
    executor = scene.driver.executor()
    executor.waiting = Waiting.STATUS
    for number in range(1, 40):
        status = pb.TaskStatus(
            state=pb.TASK_RUNNING, uuid=number.to_bytes(16, "big"), data=bytes(4 << 20)
        )
        status.task_id.value = "t1"
        scene.driver.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId("t1"), status))
    queue = executor.incoming
    assert streams.MAX_UPDATE_BYTES <= queue.bytes < streams.MAX_UPDATE_BYTES + (5 << 20)
    while queue:
        queue.popleft()
    assert queue.bytes == 0
