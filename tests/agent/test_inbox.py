# SPDX-License-Identifier: Apache-2.0
"""Messages become events, or a line in the log."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.agent import inbox as module
from mesos_compat.agent.inbox import Inbox
from mesos_compat.agent.machine import events
from mesos_compat.agent.machine.events import Event
from mesos_compat.libprocess.upid import EMPTY, UPID
from mesos_compat.model.ids import AgentId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.authentication import authentication_pb2 as authentication
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from tests.agent.machine.driver import run

SENDER = UPID("master", "10.0.0.1", 5050)
ME = "slave(1)"


def deliver(name: str, body: bytes, target: str = ME, sender: UPID = SENDER) -> list[Event]:
    """What one message becomes."""
    taken: list[Event] = []
    known = Inbox(ME, taken.append)(sender, target, name, body)
    assert known == (target == ME)
    return taken


def send(message: Message) -> Event | None:
    """The event that a message becomes."""
    taken = deliver(message.DESCRIPTOR.full_name, message.SerializePartialToString())
    return taken[0] if taken else None


def registered(seconds: float | None) -> messages.SlaveRegisteredMessage:
    message = messages.SlaveRegisteredMessage()
    message.slave_id.value = "a"
    if seconds is not None:
        message.connection.total_ping_timeout_seconds = seconds
    return message


@pytest.mark.parametrize(
    ("told", "understood"),
    [(75.0, 75.0), (None, None), (-1.0, None), (float("nan"), None), (float("inf"), None)],
)
def test_registered(told: float | None, understood: float | None) -> None:
    expected = events.AgentRegistered(str(SENDER), AgentId("a"), understood)
    assert send(registered(told)) == expected


def test_reregistered() -> None:
    message = messages.SlaveReregisteredMessage()
    message.slave_id.value = "a"
    message.reconciliations.add().framework_id.value = "f"
    event = send(message)
    assert isinstance(event, events.AgentReregistered)
    assert event.reconciliations == tuple(message.reconciliations)


def test_run_task() -> None:
    message = run()
    assert send(message) == events.RunTask(str(SENDER), message)


def test_a_task_of_20_mib() -> None:
    message = run()
    message.task.data = bytes(20 << 20)
    assert send(message) == events.RunTask(str(SENDER), message)


def test_kill_task() -> None:
    message = messages.KillTaskMessage()
    message.framework_id.value = "f"
    message.task_id.value = "t"
    expected = events.KillTask(str(SENDER), FrameworkId("f"), TaskId("t"), None)
    assert send(message) == expected
    message.kill_policy.grace_period.nanoseconds = 5
    event = send(message)
    assert isinstance(event, events.KillTask)
    assert event.kill_policy == message.kill_policy


def test_shutdowns() -> None:
    executor = messages.ShutdownExecutorMessage()
    executor.framework_id.value = "f"
    executor.executor_id.value = "e"
    expected = events.ShutdownExecutor(str(SENDER), FrameworkId("f"), ExecutorId("e"))
    assert send(executor) == expected
    framework = messages.ShutdownFrameworkMessage()
    framework.framework_id.value = "f"
    assert send(framework) == events.ShutdownFramework(str(SENDER), FrameworkId("f"))
    assert send(messages.ShutdownMessage(message="go")) == events.ShutdownReceived(
        str(SENDER), "go"
    )


def test_framework_messages() -> None:
    update = messages.UpdateFrameworkMessage(pid="")
    update.framework_id.value = "f"
    assert send(update) == events.UpdateFramework(str(SENDER), FrameworkId("f"), "", None)
    update.framework_info.id.value = "other"
    update.framework_info.user = update.framework_info.name = "x"
    assert send(update) is None
    data = messages.FrameworkToExecutorMessage(data=b"x")
    data.slave_id.value, data.framework_id.value, data.executor_id.value = "a", "f", "e"
    assert send(data) == events.FrameworkToExecutor(FrameworkId("f"), ExecutorId("e"), b"x")


def test_acknowledgement() -> None:
    message = messages.StatusUpdateAcknowledgementMessage(uuid=b"u")
    message.slave_id.value, message.framework_id.value, message.task_id.value = "a", "f", "t"
    assert send(message) == events.UpdateAcknowledged(
        str(SENDER), AgentId("a"), FrameworkId("f"), TaskId("t"), b"u"
    )


def test_others_have_no_mailbox() -> None:
    name = messages.PingSlaveMessage.DESCRIPTOR.full_name
    assert deliver(name, b"\x08\x01", target="master") == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("mesos.internal.PingSlaveMessage", b"\xff\xff"),
        ("mesos.internal.PingSlaveMessage", b""),
        ("mesos.internal.RunTaskMessage", b"\x0a"),
        ("mesos.internal.NoSuchMessage", b""),
        ("mesos.internal.RegisterExecutorMessage", b"\0"),
        ("PingSlaveMessage", b"\x08\x01"),
        ("", b""),
        ("mesos.internal.", b"x"),
    ],
)
def test_the_unusable_is_dropped(name: str, body: bytes) -> None:
    assert deliver(name, body) == []


def test_a_ping_without_sender_is_dropped() -> None:
    name = messages.PingSlaveMessage.DESCRIPTOR.full_name
    assert deliver(name, b"\x08\x01", sender=UPID("", "0.0.0.0", 0)) == []


@pytest.mark.parametrize("text", ["", "..", "a/b", "x" * 256, "a\nb"])
def test_ids_are_checked(text: str) -> None:
    message = messages.KillTaskMessage()
    message.framework_id.value = "f"
    message.task_id.value = text
    assert send(message) is None


def test_text_that_is_not_utf8_is_dropped() -> None:
    message = run()
    message.task.name = "a-name-to-spoil"
    message.task.container.type = pb.ContainerInfo.MESOS
    for place in (message.task.name, "t1"):
        body = message.SerializeToString().replace(place.encode(), b"\xff" * len(place))
        assert deliver(message.DESCRIPTOR.full_name, body) == []
    message.task.name = "häß"
    assert send(message) is not None


def test_every_reader_has_a_message() -> None:
    for name in module._READERS:
        assert issubclass(getattr(messages, name), Message)


@given(st.sampled_from(sorted(module._READERS)), st.binary(max_size=200))
def test_noise_never_raises(name: str, body: bytes) -> None:
    deliver(f"mesos.internal.{name}", body)


def test_text_that_is_no_utf8_is_dropped_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    message = run()
    message.task.task_id.value = "MARK"
    body = message.SerializeToString()
    assert deliver(message.DESCRIPTOR.full_name, body)
    assert not deliver(message.DESCRIPTOR.full_name, body.replace(b"MARK", b"\xff\xfe\xfd\xfc"))
    assert caplog.messages == [
        f"Dropping RunTaskMessage from {SENDER}: mesos.TaskID.value is not valid UTF-8"
    ]


def test_only_the_process_that_authenticates_now_gets_replies() -> None:
    taken: list[Event] = []
    now = "crammd5-authenticatee(2)"
    inbox = Inbox(ME, taken.append, lambda: now)
    step = authentication.AuthenticationStepMessage(data=b"challenge")
    name, body = step.DESCRIPTOR.full_name, step.SerializeToString()
    assert not inbox(SENDER, "crammd5-authenticatee(1)", name, body)
    assert taken == []
    assert inbox(SENDER, now, name, body)
    assert taken == [events.AuthenticationReply(str(SENDER), now, step)]
    for other, data in (
        ("mesos.internal.PingSlaveMessage", b""),
        (name, b""),
        (name, b"\xff"),
        (name.removeprefix("mesos.internal."), body),
    ):
        assert inbox(SENDER, now, other, data)
    assert len(taken) == 1
    now = ""
    assert not inbox(SENDER, "", name, body)
    # And none of them for the agent itself.
    assert deliver(name, body) == []


def status_update(pid: str) -> messages.StatusUpdateMessage:
    made = messages.StatusUpdateMessage(pid=pid)
    update = made.update
    update.framework_id.value, update.executor_id.value, update.slave_id.value = "f", "e", "a"
    update.timestamp, update.uuid = 1.0, b"u" * 16
    update.status.task_id.value, update.status.state = "t", pb.TASK_RUNNING
    return made


def test_registrations_of_executors() -> None:
    message = messages.RegisterExecutorMessage()
    message.framework_id.value, message.executor_id.value = "f", "e"
    key = FrameworkId("f"), ExecutorId("e")
    assert send(message) == events.RegisterExecutor(str(SENDER), *key)
    again = messages.ReregisterExecutorMessage()
    again.framework_id.value, again.executor_id.value = "f", "e"
    again.tasks.add(name="n").task_id.value = "t"
    again.tasks[0].slave_id.value = "a"
    again.updates.append(status_update("").update)
    assert send(again) == events.ReregisterExecutor(
        str(SENDER), *key, frozenset([TaskId("t")]), tuple(again.updates)
    )
    for bad in (message, again):
        body = bad.SerializeToString()
        assert deliver(bad.DESCRIPTOR.full_name, body, sender=EMPTY) == []
        bad.executor_id.value = "../e"
        assert send(bad) is None


def test_updates_of_executors() -> None:
    message = status_update("executor(1)@10.0.0.1:7")
    assert send(message) == events.StatusUpdateSent(message.update, "executor(1)@10.0.0.1:7")
    for nobody in ("", "executor(1)", "e@a.host:1", "@0.0.0.0:0"):
        message.pid = nobody
        assert send(message) == events.StatusUpdateSent(message.update, "")
    message.update.status.task_id.value = "a/b"
    assert send(message) is None


def test_data_of_executors() -> None:
    message = messages.ExecutorToFrameworkMessage(data=b"x")
    message.slave_id.value, message.framework_id.value, message.executor_id.value = "a", "f", "e"
    expected = events.ExecutorMessage(FrameworkId("f"), ExecutorId("e"), b"x", unproven=True)
    assert send(message) == expected
