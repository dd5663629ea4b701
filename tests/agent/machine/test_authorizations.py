# SPDX-License-Identifier: Apache-2.0
"""Tasks whose authorization is asked for: answers in any order, ends before them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.agent import gauges
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
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

YES = TaskVerdict()
KILLED = "Killed before delivery to the executor"
GROUP_KILLED = "A task within the task group was killed before delivery to the executor"
#: With another executor, which is not what the tests are about.
OTHER = "other"


@pytest.fixture
def agent() -> Driver:
    """A registered agent with an authorizer."""
    driver = Driver(authorizes_tasks=True)
    driver.register()
    return driver


def asked(agent: Driver) -> effects.Authorize:
    """The last question."""
    return [effect for effect in agent.all if isinstance(effect, effects.Authorize)][-1]


def answer(agent: Driver, question: effects.Authorize, verdict: TaskVerdict = YES) -> None:
    agent.feed(
        events.TasksAuthorized(
            question.framework_id, question.executor_id, question.number, verdict
        )
    )


def send(
    agent: Driver, name: str, executor: str | None = "e", launch: bool = True
) -> effects.Authorize:
    """Get a task from the master, about which the agent asks."""
    agent.run_task(run(task(name, executor=executor), launch_executor=launch))
    return asked(agent)


def queued(agent: Driver, executor: str = "e") -> list[str]:
    found = agent.state.find_executor(FRAMEWORK, ExecutorId(executor))
    return [] if found is None else list(found.queued)


def kill(agent: Driver, name: str) -> None:
    agent.feed(events.KillTask(MASTER, FRAMEWORK, TaskId(name), None))


def exited(agent: Driver) -> list[str]:
    found = agent.sent(messages.ExitedExecutorMessage)
    assert all(message.status == -1 for message in found)
    return [message.executor_id.value for message in found]


def test_nobody_is_asked_without_an_authorizer() -> None:
    driver = Driver()
    driver.register()
    driver.run_task(run())
    assert not driver.every(effects.Authorize)
    assert queued(driver, "t1") == ["t1"]


def test_a_task_waits_for_its_authorization(agent: Driver) -> None:
    question = send(agent, "t1", executor=None)
    assert question.framework == framework()
    assert [info.task_id.value for info in question.tasks] == ["t1"]
    assert not agent.every(effects.MakeSandbox)
    answer(agent, question)
    assert agent.last(effects.MakeSandbox).executor_id == "t1"
    assert queued(agent, "t1") == ["t1"]
    answer(agent, question)
    answer(agent, question, TaskVerdict(denied=TaskId("t1")))
    assert agent.effects == []


def test_a_task_that_is_not_authorized(agent: Driver) -> None:
    message = run(task("t1"))
    secret = message.task.command.environment.variables.add(
        name="TOKEN", type=pb.Environment.Variable.SECRET
    )
    secret.secret.type = pb.Secret.VALUE
    secret.secret.value.data = b"hunter2"
    agent.run_task(message)
    answer(agent, asked(agent), TaskVerdict(denied=TaskId("t1")))
    (status,) = agent.updates()
    assert status.state == pb.TASK_ERROR
    assert status.source == pb.TaskStatus.SOURCE_SLAVE
    assert status.reason == pb.TaskStatus.REASON_TASK_UNAUTHORIZED
    assert not status.HasField("executor_id")
    start = f'Framework {FRAMEWORK} is not authorized to launch task name: "t1"\ntask_id {{\n'
    assert status.message.startswith(start)
    assert "hunter2" not in status.message
    assert exited(agent) == ["t1"]
    assert not agent.state.frameworks


def test_a_task_is_not_shown_whole_if_it_is_long(agent: Driver) -> None:
    message = run(task("t1"))
    message.task.data = b"x" * 100_000
    agent.run_task(message)
    answer(agent, asked(agent), TaskVerdict(denied=TaskId("t1")))
    assert len(agent.updates()[0].message) < 11_000


def test_an_authorizer_that_failed(agent: Driver) -> None:
    answer(agent, send(agent, "t1"), TaskVerdict(error="it broke"))
    (status,) = agent.updates()
    assert status.state == pb.TASK_ERROR
    assert status.reason == pb.TaskStatus.REASON_TASK_UNAUTHORIZED
    assert status.message == "Failed to authorize task 't1': it broke"
    assert exited(agent) == ["e"]


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (
            TaskVerdict(denied=TaskId("t2")),
            f'Framework {FRAMEWORK} is not authorized to launch task name: "t2"',
        ),
        (
            TaskVerdict(error="it broke"),
            "Failed to authorize task group containing tasks [ t1, t2 ]: it broke",
        ),
    ],
)
def test_a_group_runs_whole_or_not(agent: Driver, verdict: TaskVerdict, text: str) -> None:
    agent.run_group(run_group("t1", "t2"))
    question = asked(agent)
    assert [info.task_id.value for info in question.tasks] == ["t1", "t2"]
    answer(agent, question, verdict)
    assert [status.task_id.value for status in agent.updates()] == ["t1", "t2"]
    for status in agent.updates():
        assert status.state == pb.TASK_ERROR
        assert status.reason == pb.TaskStatus.REASON_TASK_GROUP_UNAUTHORIZED
        assert status.message.startswith(text)
        assert not status.HasField("executor_id")
    assert exited(agent) == ["e"]


def test_an_authorized_group(agent: Driver) -> None:
    agent.run_group(run_group("t1", "t2"))
    answer(agent, asked(agent))
    assert queued(agent) == ["t1", "t2"]


def test_what_is_wrong_anyhow_is_refused_before_anybody_is_asked(agent: Driver) -> None:
    driver = Driver(authorizes_tasks=True, isolation=frozenset())
    driver.register()
    message = run()
    message.task.limits["cpus"].value = 1.0
    driver.run_task(message)
    assert not driver.every(effects.Authorize)
    assert driver.updates()[0].reason == pb.TaskStatus.REASON_GC_ERROR
    assert not driver.state.frameworks


def test_tasks_of_an_executor_go_on_in_the_order_in_which_they_came(agent: Driver) -> None:
    first = send(agent, "t1", launch=True)
    second = send(agent, "t2", launch=False)
    third = send(agent, "t3", launch=False)
    other = send(agent, "t4", executor=OTHER)
    answer(agent, other)
    assert queued(agent, OTHER) == ["t4"]
    answer(agent, third)
    answer(agent, second)
    assert agent.effects == []
    assert queued(agent) == []
    answer(agent, first)
    assert queued(agent) == ["t1", "t2", "t3"]
    assert len(agent.every(effects.MakeSandbox)) == 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_the_order_of_answers_and_kills_is(data: st.DataObject) -> None:
    agent = Driver(authorizes_tasks=True)
    agent.register()
    questions: dict[str, effects.Authorize] = {}
    fates: dict[str, TaskVerdict | None] = {}
    for number in range(data.draw(st.integers(2, 6))):
        name = f"t{number}"
        # old masters leave it to the agent
        agent.run_task(run(task(name, executor="e"), launch_executor=None))
        questions[name] = asked(agent)
        denied = TaskVerdict(denied=TaskId(name))
        fates[name] = data.draw(st.sampled_from((YES, YES, denied, None)))
    for name in data.draw(st.permutations(list(questions))):
        verdict = fates[name]
        if verdict is None:
            kill(agent, name)
        else:
            answer(agent, questions[name], verdict)
    assert queued(agent) == [name for name, fate in fates.items() if fate == YES]
    told = agent.sent(messages.StatusUpdateMessage, agent.all)
    assert {message.update.status.task_id.value for message in told} == {
        name for name, fate in fates.items() if fate != YES
    }


def test_who_came_later_is_told_later_too(agent: Driver) -> None:
    first = send(agent, "t1", launch=True)
    second = send(agent, "t2", launch=False)
    answer(agent, second, TaskVerdict(denied=TaskId("t2")))
    assert agent.updates() == []
    answer(agent, first)
    assert [status.task_id.value for status in agent.updates()] == ["t2"]
    assert queued(agent) == ["t1"]


def test_one_that_is_denied_leaves_the_others_without_executor(agent: Driver) -> None:
    first = send(agent, "t1", launch=True)
    second = send(agent, "t2", launch=False)
    answer(agent, second)
    answer(agent, first, TaskVerdict(denied=TaskId("t1")))
    assert [status.state for status in agent.updates()] == [pb.TASK_ERROR, pb.TASK_LOST]
    assert agent.updates()[1].message == (
        "No executor is expected to launch and there is none running"
    )
    assert exited(agent) == ["e"]
    assert not agent.state.frameworks


def test_the_last_checks_are_made_when_the_answer_is_there(agent: Driver) -> None:
    answer(agent, send(agent, "t0", executor=OTHER))
    question = send(agent, "t1")
    agent.feed(events.DrainAgent(MASTER, pb.DrainConfig()))
    assert [status.task_id.value for status in agent.updates()] == ["t1", "t0"]
    assert agent.updates()[0].reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    answer(agent, question)
    assert agent.effects == []
    late = send(agent, "t2", executor="late")
    answer(agent, late)
    assert agent.updates()[0].reason == pb.TaskStatus.REASON_SLAVE_DRAINING
    assert agent.updates()[0].state == pb.TASK_LOST


def test_killed_while_pending(agent: Driver) -> None:
    question = send(agent, "t1", executor=None)
    kill(agent, "t1")
    (status,) = agent.updates()
    assert status.state == pb.TASK_KILLED
    assert status.source == pb.TaskStatus.SOURCE_SLAVE
    assert status.reason == pb.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH
    assert status.message == KILLED
    assert status.executor_id.value == "t1"
    assert exited(agent) == ["t1"]
    assert not agent.state.frameworks
    answer(agent, question)
    assert agent.effects == []
    # the framework is gone, the update is repeated until it is acknowledged
    assert len(agent.state.streams) == 1
    agent.acknowledge("t1")
    assert not agent.state.streams


def test_a_group_killed_while_pending(agent: Driver) -> None:
    agent.run_group(run_group("t1", "t2", launch_executor=False))
    question = asked(agent)
    kill(agent, "t2")
    assert [status.task_id.value for status in agent.updates()] == ["t1", "t2"]
    for status in agent.updates():
        assert status.state == pb.TASK_KILLED
        assert status.reason == pb.TaskStatus.REASON_TASK_KILLED_DURING_LAUNCH
        assert status.message == GROUP_KILLED
        assert status.executor_id.value == "e"
    assert exited(agent) == []
    answer(agent, question)
    assert agent.effects == []
    kill(agent, "t1")
    assert agent.updates() == []


def test_killed_while_others_are_pending(agent: Driver) -> None:
    first = send(agent, "t1", launch=True)
    second = send(agent, "t2", launch=True)
    answer(agent, second)
    kill(agent, "t1")
    assert [status.message for status in agent.updates()] == [KILLED]
    assert queued(agent) == ["t2"]
    answer(agent, first)
    assert agent.effects == []
    assert queued(agent) == ["t2"]


def test_an_id_that_is_pending_is_taken(agent: Driver) -> None:
    question = send(agent, "t1")
    agent.run_task(run(task("t1", executor=OTHER), launch_executor=False))
    agent.run_group(run_group("t3", "t1", executor="g", launch_executor=False))
    assert asked(agent) is question
    answer(agent, question)
    assert queued(agent) == ["t1"]


def test_a_command_task_that_is_there_already_is_refused_at_once(agent: Driver) -> None:
    answer(agent, send(agent, "t1", executor=None))
    agent.run_task(run(task("t1")))
    assert not agent.every(effects.Authorize)
    assert agent.updates()[0].reason == pb.TaskStatus.REASON_TASK_INVALID


def test_an_id_can_be_used_again_while_the_old_answer_is_outstanding(agent: Driver) -> None:
    old = send(agent, "t1")
    kill(agent, "t1")
    agent.acknowledge("t1")
    new = send(agent, "t1")
    assert new.number != old.number
    answer(agent, old)
    assert queued(agent) == []
    answer(agent, new)
    assert queued(agent) == ["t1"]


def test_a_framework_that_ends_has_nothing_pending(agent: Driver) -> None:
    question = send(agent, "t1")
    agent.feed(events.ShutdownFramework(MASTER, FRAMEWORK))
    assert agent.updates() == []
    assert exited(agent) == ["e"]
    assert not agent.state.frameworks
    answer(agent, question)
    assert agent.effects == []


def test_an_agent_that_ends_does_not_wait(agent: Driver) -> None:
    send(agent, "t1")
    agent.feed(events.ShutdownReceived(MASTER, "x"))
    assert agent.every(effects.Exit)
    assert exited(agent) == []


def test_an_agent_that_leaves_kills_what_is_pending(agent: Driver) -> None:
    send(agent, "t1")
    agent.feed(events.LeaveRequested(1.0))
    assert [status.state for status in agent.updates()] == [pb.TASK_KILLED]
    question = send(agent, "t2")
    agent.acknowledge("t1")
    assert agent.state.phase is AgentPhase.RUNNING
    answer(agent, question)
    assert agent.updates()[0].reason == pb.TaskStatus.REASON_SLAVE_DRAINING


def test_a_draining_agent_kills_what_is_pending_first(agent: Driver) -> None:
    first = send(agent, "t1", launch=True)
    second = send(agent, "t2", launch=False)
    answer(agent, second)
    agent.feed(events.DrainAgent(MASTER, pb.DrainConfig(mark_gone=False)))
    found = {status.task_id.value: status for status in agent.updates()}
    assert {name: status.state for name, status in found.items()} == {
        "t1": pb.TASK_KILLED,
        "t2": pb.TASK_LOST,
    }
    assert {status.reason for status in found.values()} == {pb.TaskStatus.REASON_SLAVE_DRAINING}
    assert agent.state.drain is None, "nothing is left"
    answer(agent, first)
    assert agent.effects == []


def test_masters_are_told_of_what_is_pending(agent: Driver) -> None:
    send(agent, "t1")
    agent.feed(events.PingTimeout(), events.MasterDetected(MASTER, version="1.11.0"))
    agent.feed(events.RegistrationDue(MASTER))
    (told,) = agent.sent(messages.ReregisterSlaveMessage)
    assert [(t.task_id.value, t.state) for t in told.tasks] == [("t1", pb.TASK_STAGING)]
    assert not told.executor_infos
    reconciled = messages.ReconcileTasksMessage()
    reconciled.framework_id.value = FRAMEWORK
    reconciled.statuses.add(state=pb.TASK_STAGING).task_id.value = "t1"
    agent.feed(events.AgentReregistered(MASTER, AGENT, None, (reconciled,)))
    assert agent.updates() == []


def test_what_is_pending_uses_resources(agent: Driver) -> None:
    def cpus() -> float:
        used = Resources.of(agent.state.allocated_resources()).unallocated()
        return used.scalar("cpus") or 0.0

    agent.run_group(run_group("t1", "t2"))
    assert cpus() == pytest.approx(2.1)
    agent.run_group(run_group("t3", launch_executor=False))
    assert cpus() == pytest.approx(3.1)
    kill(agent, "t1")
    assert cpus() == pytest.approx(1.1)


def test_what_is_pending_is_staging(agent: Driver) -> None:
    metrics = Metrics()
    gauges.register(metrics, agent.state, FakeClock())
    agent.run_group(run_group("t1", "t2"))
    assert metrics.snapshot()["slave/tasks_staging"] == 2.0
    answer(agent, asked(agent))
    assert metrics.snapshot()["slave/tasks_staging"] == 2.0


def test_a_framework_with_a_pending_task_is_not_idle(agent: Driver) -> None:
    first = send(agent, "t1", executor=OTHER)
    answer(agent, first)
    agent.feed(events.SandboxMade(*agent.key(OTHER), ""))
    second = send(agent, "t2")
    agent.terminated(OTHER)
    agent.acknowledge("t1")
    assert FRAMEWORK in agent.state.frameworks
    answer(agent, second)
    assert queued(agent) == ["t2"]
