# SPDX-License-Identifier: Apache-2.0
"""Which message counts in which phase of the agent, and who may send it.

Source: spec ``agent-master`` 5.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.model.ids import AgentId, ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
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

STRANGER = "master@10.0.0.9:5050"
SCHEDULER = "scheduler-1@10.0.0.9:9000"
RECOVERING, DISCONNECTED = AgentPhase.RECOVERING, AgentPhase.DISCONNECTED
RUNNING, TERMINATING = AgentPhase.RUNNING, AgentPhase.TERMINATING
ALL = frozenset(AgentPhase)


def agent_in(phase: AgentPhase) -> Driver:
    """An agent with an executor that runs a task, whose last update waits for the scheduler."""
    agent = Driver()
    agent.register()
    agent.run_task(run(task("t", executor="e")))
    agent.launched("e")
    agent.subscribed("e")
    agent.reports(pb.TASK_RUNNING, 1, task="t", executor="e")
    match phase:
        case AgentPhase.DISCONNECTED:
            agent.feed(events.MasterDetected(MASTER))
        case AgentPhase.TERMINATING:
            # The framework goes on as if it had come later.
            agent.feed(events.ShutdownReceived(MASTER, ""))
        case AgentPhase.RECOVERING:
            agent.feed(events.MasterDetected(MASTER))
            agent.state.phase = AgentPhase.RECOVERING
    assert agent.state.phase is phase
    return agent


def counts(phase: AgentPhase, event: Event) -> bool:
    """Whether anything but a line in the log comes of an event."""
    agent = agent_in(phase)
    before = summary(agent)
    agent.feed(event)
    told = [effect for effect in agent.effects if not isinstance(effect, effects.Log)]
    return bool(told) or summary(agent) != before


def summary(agent: Driver) -> tuple[object, ...]:
    """What messages can change."""
    state = agent.state
    return (
        state.phase,
        state.drain,
        [(each.framework_id, each.pid, each.phase) for each in state.frameworks.values()],
        [(each.executor_id, each.phase, list(each.launched)) for each in state.executors()],
        [len(stream.queue) for stream in state.streams.values()],
    )


def registered(sender: str) -> Event:
    return events.AgentRegistered(sender, AgentId("another"), None)


def reregistered(sender: str) -> Event:
    return events.AgentReregistered(sender, AGENT, None, ())


def one_task(sender: str) -> Event:
    other = framework()
    other.id.value = "another"
    return events.RunTask(sender, run(of=other))


def one_group(sender: str) -> Event:
    other = framework()
    other.id.value = "another"
    return events.RunTaskGroup(sender, run_group("a", of=other))


def kill(sender: str) -> Event:
    return events.KillTask(sender, FRAMEWORK, TaskId("t"), None)


def shutdown_framework(sender: str) -> Event:
    return events.ShutdownFramework(sender, FRAMEWORK)


def shutdown_executor(sender: str) -> Event:
    return events.ShutdownExecutor(sender, FRAMEWORK, ExecutorId("e"))


def shutdown(sender: str) -> Event:
    return events.ShutdownReceived(sender, "")


def acknowledgement(sender: str) -> Event:
    return events.UpdateAcknowledged(sender, AGENT, FRAMEWORK, TaskId("t"), bytes([1]) * 16)


def data(sender: str) -> Event:
    return events.FrameworkToExecutor(FRAMEWORK, ExecutorId("e"), b"x")


def update_framework(sender: str) -> Event:
    return events.UpdateFramework(sender, FRAMEWORK, SCHEDULER, None)


def drain(sender: str) -> Event:
    return events.DrainAgent(sender, pb.DrainConfig())


def ping(sender: str) -> Event:
    return events.Ping(sender, True)


@pytest.mark.parametrize("phase", AgentPhase)
@pytest.mark.parametrize(
    ("event", "phases"),
    [
        (registered, {DISCONNECTED, RUNNING}),
        (reregistered, {DISCONNECTED, RUNNING}),
        (one_task, {DISCONNECTED, RUNNING}),
        (one_group, {DISCONNECTED, RUNNING}),
        (kill, {DISCONNECTED, RUNNING}),
        # All frameworks are told to end already when the agent is.
        (shutdown_framework, {RUNNING}),
        (shutdown_executor, {RUNNING}),
        (shutdown, ALL - {TERMINATING}),
        (acknowledgement, {RUNNING}),
        (data, {RUNNING}),
        (update_framework, {RUNNING}),
        (drain, ALL),
        (ping, ALL),
    ],
)
def test_phases(
    event: Callable[[str], Event], phases: frozenset[AgentPhase], phase: AgentPhase
) -> None:
    assert counts(phase, event(MASTER)) == (phase in phases)


@pytest.mark.parametrize(
    "event",
    [
        registered,
        reregistered,
        one_task,
        one_group,
        kill,
        shutdown_framework,
        shutdown_executor,
        shutdown,
        acknowledgement,
        update_framework,
        drain,
    ],
)
@pytest.mark.parametrize("phase", [DISCONNECTED, RUNNING])
def test_other_masters(event: Callable[[str], Event], phase: AgentPhase) -> None:
    assert not counts(phase, event(STRANGER))


@pytest.mark.parametrize("phase", [DISCONNECTED, RUNNING])
def test_old_schedulers_acknowledge_by_themselves(phase: AgentPhase) -> None:
    assert counts(phase, acknowledgement(SCHEDULER))
