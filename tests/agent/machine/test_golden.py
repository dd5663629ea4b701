# SPDX-License-Identifier: Apache-2.0
"""A recorded command task: fed with what the real master sent, the machine sends what the real
agent sent, field by field.
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
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from tests.agent.machine.driver import MASTER, Driver

GOLDEN = Path(__file__).parents[2] / "golden" / "agent"


def recorded(name: str) -> Iterator[tuple[str, Message]]:
    """Sender and message, in order."""
    for line in (GOLDEN / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        sender, path, body = line.split("\t")
        kind = getattr(messages, path.rpartition(".")[2])
        yield sender, kind.FromString(bytes.fromhex(body))


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
    driver.feed(events.Recovered(), events.MasterDetected(MASTER))
    return driver


def test_registration_is_what_the_real_agent_sends(agent: Driver) -> None:
    agent.feed(events.RegistrationDue(MASTER))
    (mine,) = agent.sent(messages.RegisterSlaveMessage)
    theirs = of_kind("agent-to-master.tsv", messages.RegisterSlaveMessage)[0]
    assert isinstance(theirs, messages.RegisterSlaveMessage)
    # Capabilities are promises: ours are fewer.
    del mine.agent_capabilities[:], theirs.agent_capabilities[:]
    assert mine == theirs
    assert mine.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )


def test_a_command_task_is_reported_as_the_real_agent_does(agent: Driver) -> None:
    agent.feed(events.RegistrationDue(MASTER))
    expected = [
        message
        for message in of_kind("agent-to-master.tsv", messages.StatusUpdateMessage)
        if isinstance(message, messages.StatusUpdateMessage)
        and message.update.status.task_id.value == "test_mesos"
    ]
    pending = list(expected)
    sent: list[messages.StatusUpdateMessage] = []
    for sender, message in recorded("master-to-agent.tsv"):
        match message:
            case messages.PingSlaveMessage():
                agent.feed(events.Ping(sender, message.connected))
                assert [e.target for e in agent.every(effects.Send)] == [sender]
                assert len(agent.sent(messages.PongSlaveMessage)) == 1
            case messages.SlaveRegisteredMessage():
                agent.feed(
                    events.AgentRegistered(
                        sender.replace(sender.split("@")[0], "master"),
                        AgentId(message.slave_id.value),
                        message.connection.total_ping_timeout_seconds,
                    )
                )
                assert agent.state.phase is AgentPhase.RUNNING
            case messages.RunTaskMessage():
                agent.feed(events.RunTask(MASTER, message))
                sent += _play(agent, pending.pop(0))
            case messages.StatusUpdateAcknowledgementMessage():
                if message.task_id.value != "test_mesos":
                    continue
                agent.feed(
                    events.UpdateAcknowledged(
                        MASTER,
                        AgentId(message.slave_id.value),
                        FrameworkId(message.framework_id.value),
                        TaskId(message.task_id.value),
                        message.uuid,
                    )
                )
                if pending:
                    sent += _update(agent, pending.pop(0))
            case messages.ShutdownFrameworkMessage():
                agent.feed(
                    events.ShutdownFramework(MASTER, FrameworkId(message.framework_id.value))
                )
    assert not pending
    assert sent == expected


def _play(agent: Driver, first: messages.StatusUpdateMessage) -> list[messages.StatusUpdateMessage]:
    """Launch and subscribe, in a container with the recorded id."""
    framework_id = FrameworkId(first.update.framework_id.value)
    executor_id = ExecutorId(first.update.executor_id.value)
    executor = agent.state.frameworks[framework_id].executors[executor_id]
    key = framework_id, executor_id, executor.container_id
    agent.feed(events.SandboxMade(*key, ""))
    launch = agent.last(effects.Launch)
    assert launch.config.task_info.task_id.value == "test_mesos"
    agent.feed(events.ContainerLaunched(*key, "", True))
    agent.feed(
        events.ExecutorSubscribed(framework_id, executor_id, v1_executor.Call.Subscribe(), 1)
    )
    kinds = [event.type for event in agent.to_executor()]
    assert kinds == [v1_executor.Event.SUBSCRIBED, v1_executor.Event.LAUNCH]
    return _update(agent, first)


def _update(
    agent: Driver, theirs: messages.StatusUpdateMessage
) -> list[messages.StatusUpdateMessage]:
    """The executor reports what it did in the recording."""
    update = theirs.update
    status = pb.TaskStatus()
    status.CopyFrom(update.status)
    status.ClearField("container_status")
    status.ClearField("slave_id")
    status.ClearField("source")
    framework_id = FrameworkId(update.framework_id.value)
    executor_id = ExecutorId(update.executor_id.value)
    effects_seen = agent.feed(events.ExecutorUpdate(framework_id, executor_id, status))
    container = pb.ContainerStatus(executor_pid=update.status.container_status.executor_pid)
    container.container_id.CopyFrom(update.status.container_status.container_id)
    effects_seen = effects_seen + agent.settle(container)
    acks = _to_executor(effects_seen)
    assert [event.acknowledged.uuid for event in acks] == [update.uuid]
    return agent.sent(messages.StatusUpdateMessage, effects_seen)


def _to_executor(seen: list[effects.Effect]) -> list[v1_executor.Event]:
    return [e.event for e in seen if isinstance(e, effects.SendToExecutor)]
