# SPDX-License-Identifier: Apache-2.0
"""Masters hear of what is oversubscribed when that changes; corrections end executors."""

from __future__ import annotations

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import ExecutorPhase
from mesos_compat.model.resources import parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, framework, run


def estimate(text: str, *, revocable: bool = True) -> events.Estimated:
    made = parse_resources(text)
    if revocable:
        for resource in made:
            resource.revocable.SetInParent()
    return events.Estimated(tuple(made))


def kill(executor: str, container: str | None = None) -> oversubscription.QoSCorrection:
    made = oversubscription.QoSCorrection(type=oversubscription.QoSCorrection.KILL)
    made.kill.framework_id.value = FRAMEWORK
    made.kill.executor_id.value = executor
    if container is not None:
        made.kill.container_id.value = container
    return made


def test_only_changes_are_told_and_only_while_running() -> None:
    agent = Driver()
    agent.feed(estimate("cpus:4"))
    assert not agent.every(effects.Send)
    agent.register()
    (full,) = agent.sent(messages.UpdateSlaveMessage)
    assert full.update_oversubscribed_resources
    assert full.HasField("operations")
    agent.feed(estimate("cpus:4"))
    assert not agent.every(effects.Send)
    agent.feed(estimate("cpus:5"))
    (short,) = agent.sent(messages.UpdateSlaveMessage)
    assert short.slave_id.value == AGENT
    assert short.update_oversubscribed_resources
    assert [r.scalar.value for r in short.oversubscribed_resources] == [5.0]
    names = {field.name for field, _ in short.ListFields()}
    assert names == {"slave_id", "update_oversubscribed_resources", "oversubscribed_resources"}
    agent.feed(events.PingTimeout(), estimate("cpus:6"))
    assert not agent.every(effects.Send)
    agent.feed(events.MasterDetected(MASTER, version="1.4.3"), events.RegistrationDue(MASTER))
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, ()))
    (short,) = agent.sent(messages.UpdateSlaveMessage)
    assert {field.name for field, _ in short.ListFields()} == names
    assert [r.scalar.value for r in short.oversubscribed_resources] == [6.0]


def test_estimates_that_are_none() -> None:
    agent = Driver()
    agent.register()
    agent.feed(estimate("cpus:4", revocable=False))
    agent.feed(events.Estimated((pb.Resource(name="cpus", type=pb.Value.SCALAR),)))
    assert not agent.every(effects.Send)
    assert agent.state.oversubscribed is None


@pytest.mark.parametrize(
    ("capabilities", "state"),
    [((), pb.TASK_LOST), ((pb.FrameworkInfo.Capability.PARTITION_AWARE,), pb.TASK_GONE)],
)
def test_corrections(capabilities: tuple[int, ...], state: int) -> None:
    agent = Driver()
    agent.register()
    agent.run_task(run(of=framework(*capabilities)))
    agent.launched()
    agent.subscribed()
    agent.feed(events.Corrected((kill("unknown"), kill("t1", "another"))))
    assert not agent.every(effects.DestroyContainer)
    container_id = agent.executor().container_id
    agent.feed(events.Corrected((kill("t1", container_id.value), kill("t1"))))
    assert agent.last(effects.DestroyContainer).container_id == container_id
    assert agent.executor().phase is ExecutorPhase.TERMINATING
    assert agent.state.counters["slave/executors_preempted"] == 1
    agent.terminated(status=9)
    agent.settle()
    (status,) = agent.sent(messages.StatusUpdateMessage, agent.all)
    assert status.update.status.state == state
    assert status.update.status.reason == pb.TaskStatus.REASON_CONTAINER_PREEMPTED
    assert status.update.status.message.startswith("Container preempted by QoS correction")
