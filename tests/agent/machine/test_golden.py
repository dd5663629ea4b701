# SPDX-License-Identifier: Apache-2.0
"""A recorded session: fed with what the real master sent, the machine sends what the real agent
sent, field by field.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.model.ids import AgentId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import MASTER, Driver

GOLDEN = Path(__file__).parents[2] / "golden" / "agent"


def lines(name: str) -> Iterator[tuple[str, str, Message]]:
    """Sender, path and message, in order."""
    for line in (GOLDEN / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        sender, path, body = line.split("\t")
        kind = getattr(messages, path.rpartition(".")[2])
        yield sender, path, kind.FromString(bytes.fromhex(body))


def recorded(name: str) -> Iterator[tuple[str, Message]]:
    """Sender and message, in order."""
    return ((sender, message) for sender, _, message in lines(name))


def of_kind(name: str, kind: type[Message]) -> list[Message]:
    """The recorded messages of a kind."""
    return [message for _, message in recorded(name) if isinstance(message, kind)]


@pytest.fixture
def agent() -> Driver:
    """An agent that is about to register."""
    driver = Driver()
    register = of_kind("agent-to-master.tsv", messages.RegisterSlaveMessage)[0]
    assert isinstance(register, messages.RegisterSlaveMessage)
    driver.state.resource_version_uuid = register.resource_version_uuid.value
    driver.feed(events.Recovered(), events.MasterDetected(MASTER, version="1.12.0"))
    return driver


def test_registration_is_what_the_real_agent_sends(agent: Driver) -> None:
    agent.feed(events.RegistrationDue(MASTER))
    (mine,) = agent.sent(messages.RegisterSlaveMessage)
    theirs = of_kind("agent-to-master.tsv", messages.RegisterSlaveMessage)[0]
    assert isinstance(theirs, messages.RegisterSlaveMessage)
    assert mine == theirs
    assert mine.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )


def test_a_session_is_reported_as_the_real_agent_does(agent: Driver) -> None:
    """A command task and a task group, from registration to the end of the executors."""
    agent.feed(events.RegistrationDue(MASTER))
    start = len(agent.all)
    updates = [
        message
        for message in of_kind("agent-to-master.tsv", messages.StatusUpdateMessage)
        if isinstance(message, messages.StatusUpdateMessage)
    ]
    stage = Stage(agent, updates)
    for sender, message in recorded("master-to-agent.tsv"):
        stage.take(sender, message)
    assert not stage.pending
    mine = [
        (effect.target.split("@")[0], effect.message)
        for effect in agent.all[start:]
        if isinstance(effect, effects.Send)
    ]
    theirs = [(path.split("/")[1], message) for _, path, message in lines("agent-to-master.tsv")]
    # Each kind by itself: what is sent when depends on how fast executors and scheduler are.
    compared = (
        messages.StatusUpdateMessage,
        messages.ExitedExecutorMessage,
        messages.PongSlaveMessage,
        messages.UpdateSlaveMessage,
    )
    for kind in compared:
        assert [sent for sent in mine if isinstance(sent[1], kind)] == [
            sent for sent in theirs if isinstance(sent[1], kind)
        ]
    assert all(isinstance(message, compared) for _, message in mine)


class Stage:
    """Gives the machine what the master sent, and what executors and containerizer did meanwhile.

    An executor reports as soon as the scheduler has its last report of the same task.
    """

    def __init__(self, agent: Driver, pending: list[messages.StatusUpdateMessage]) -> None:
        self.agent = agent
        self.pending = pending
        self.launched: set[str] = set()

    def take(self, sender: str, message: Message) -> None:
        """Feed one message of the master."""
        agent = self.agent
        match message:
            case messages.PingSlaveMessage():
                agent.feed(events.Ping(sender, message.connected))
            case messages.SlaveRegisteredMessage():
                timeout_s = message.connection.total_ping_timeout_seconds
                agent.feed(
                    events.AgentRegistered(sender, AgentId(message.slave_id.value), timeout_s)
                )
                assert agent.state.phase is AgentPhase.RUNNING
            case messages.RunTaskMessage():
                agent.feed(events.RunTask(sender, message))
                kinds = self._launch(message.framework.id.value, message.task.task_id.value)
                assert kinds == [v1_executor.Event.SUBSCRIBED, v1_executor.Event.LAUNCH]
            case messages.RunTaskGroupMessage():
                agent.feed(events.RunTaskGroup(sender, message))
                executor = message.executor.executor_id.value
                kinds = self._launch(message.framework.id.value, executor)
                assert kinds == [v1_executor.Event.SUBSCRIBED, v1_executor.Event.LAUNCH_GROUP]
            case messages.StatusUpdateAcknowledgementMessage():
                agent.feed(
                    events.UpdateAcknowledged(
                        sender,
                        AgentId(message.slave_id.value),
                        FrameworkId(message.framework_id.value),
                        TaskId(message.task_id.value),
                        message.uuid,
                    )
                )
            case messages.ShutdownFrameworkMessage():
                self._shut_down(sender, FrameworkId(message.framework_id.value))
            case _:
                raise AssertionError(f"nobody plays {type(message).__name__}")
        while self.pending and self._ready(self.pending[0].update):
            self._report(self.pending.pop(0).update)

    def _launch(self, framework: str, executor: str) -> list[int]:
        """Launch and subscribe; return what the executor is told."""
        agent, framework_id = self.agent, FrameworkId(framework)
        run = agent.state.frameworks[framework_id].executors[ExecutorId(executor)]
        key = framework_id, run.executor_id, run.container_id
        agent.feed(events.SandboxMade(*key, ""))
        agent.feed(events.ContainerLaunched(*key, "", True))
        agent.feed(
            events.ExecutorSubscribed(
                framework_id, run.executor_id, v1_executor.Call.Subscribe(), len(self.launched)
            )
        )
        kinds = [int(event.type) for event in agent.to_executor()]
        self.launched.add(framework)
        return kinds

    def _ready(self, update: messages.StatusUpdate) -> bool:
        key = FrameworkId(update.framework_id.value), TaskId(update.status.task_id.value)
        stream = self.agent.state.streams.get(key)
        return key[0] in self.launched and (stream is None or not stream.queue)

    def _report(self, update: messages.StatusUpdate) -> None:
        """The executor reports what it did in the recording."""
        agent = self.agent
        status = pb.TaskStatus()
        status.CopyFrom(update.status)
        recorded_status = update.status.container_status
        container = pb.ContainerStatus()
        container.CopyFrom(recorded_status)
        container.ClearField("network_infos")
        status.ClearField("container_status")
        if container.container_id.HasField("parent"):
            # The executor of a group tells which container it is about.
            status.container_status.container_id.CopyFrom(container.container_id)
        status.ClearField("slave_id")
        status.ClearField("source")
        executor_id = ExecutorId(update.executor_id.value)
        seen = agent.feed(
            events.ExecutorUpdate(FrameworkId(update.framework_id.value), executor_id, status)
        )
        seen = seen + agent.settle(container if recorded_status.network_infos else None)
        told = [e.event for e in seen if isinstance(e, effects.SendToExecutor)]
        assert [event.acknowledged.uuid for event in told] == [update.uuid]

    def _shut_down(self, sender: str, framework_id: FrameworkId) -> None:
        agent = self.agent
        agent.feed(events.ShutdownFramework(sender, framework_id))
        for executor in list(agent.state.frameworks[framework_id].executors.values()):
            key = framework_id, executor.executor_id, executor.container_id
            ended = slave.ContainerTermination(status=0)
            agent.feed(events.ContainerTerminated(*key, ended, ""))
        assert framework_id not in agent.state.frameworks
