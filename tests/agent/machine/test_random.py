# SPDX-License-Identifier: Apache-2.0
"""Any sequence of events keeps the invariants, and every answer that is asked for may come late,
twice or never.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.model.ids import ExecutorId, FrameworkId, TaskId
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

TASKS = ("t1", "t2", "t3")
EXECUTORS = ("t1", "t2", "e")
PIDS = ("executor(1)@127.0.0.1:1", "executor(1)@127.0.0.1:2")
STATES = (
    pb.TASK_STAGING,
    pb.TASK_STARTING,
    pb.TASK_RUNNING,
    pb.TASK_KILLING,
    pb.TASK_FINISHED,
    pb.TASK_FAILED,
    pb.TASK_KILLED,
)

QUESTIONS = (
    effects.Authorize,
    effects.MakeSandbox,
    effects.Launch,
    effects.UpdateContainer,
    effects.ReadContainerStatus,
    effects.DestroyContainer,
    effects.StartTimer,
    effects.Checkpoint,
)

Move = Callable[[Driver], None]


def answers(driver: Driver, asked: Effect, good: bool) -> list[Event]:
    """What may come of an effect."""
    error = "" if good else "it broke"
    match asked:
        case effects.Authorize(f, e, number, _, tasks):
            denied = TaskId(tasks[-1].task_id.value)
            verdict = TaskVerdict() if good else TaskVerdict(denied=denied)
            return [events.TasksAuthorized(f, e, number, verdict)]
        case effects.MakeSandbox(f, e, c, _, _):
            return [events.SandboxMade(f, e, c, error)]
        case effects.Launch(f, e, c, _, _):
            return [events.ContainerLaunched(f, e, c, error, True)]
        case effects.UpdateContainer(f, e, c, _, _):
            return [events.ContainerUpdated(f, e, c, error)]
        case effects.ReadContainerStatus(f, e, c, _):
            return [events.ContainerStatusRead(f, e, c, pb.ContainerStatus() if good else None)]
        case effects.StartTimer(_, _, event):
            return [event]
        case effects.Checkpoint(_, stored, failed):
            come = stored if good else failed
            return [] if come is None else [come]
        case effects.DestroyContainer(container_id):
            executor = driver.state.executor_by_container(container_id)
            if executor is None:
                return []
            termination = slave.ContainerTermination(status=9) if good else None
            return [
                events.ContainerTerminated(
                    executor.framework_id,
                    executor.executor_id,
                    container_id,
                    termination,
                    error,
                )
            ]
    return []


def answer(back: int, good: bool) -> Move:
    """Answer one of the latest questions, whether it was answered before or not."""

    def move(driver: Driver) -> None:
        asked = [effect for effect in driver.all if isinstance(effect, QUESTIONS)]
        if asked:
            driver.feed(*answers(driver, asked[-1 - back % len(asked)], good))

    return move


def feed(event: Event) -> Move:
    """Feed a fixed event."""

    def move(driver: Driver) -> None:
        driver.feed(event)

    return move


def accept(name: str, executor: str | None, launch: bool | None) -> Move:
    def move(driver: Driver) -> None:
        of = framework()
        of.checkpoint = driver.checkpoint
        driver.run_task(run(task(name, executor=executor), launch_executor=launch, of=of))

    return move


def accept_group(members: list[str], launch: bool | None) -> Move:
    def move(driver: Driver) -> None:
        of = framework()
        of.checkpoint = driver.checkpoint
        driver.run_group(run_group(*members, launch_executor=launch, of=of))

    return move


def subscribe(executor: str, known: list[str]) -> Move:
    def move(driver: Driver) -> None:
        call = v1_executor.Call.Subscribe()
        for name in known:
            call.unacknowledged_tasks.add().task_id.value = name
        number = 1 + sum(isinstance(e, effects.SendToExecutor) for e in driver.all)
        driver.feed(events.ExecutorSubscribed(FRAMEWORK, ExecutorId(executor), call, number))

    return move


def register(executor: str, sender: str, known: list[str] | None) -> Move:
    def move(driver: Driver) -> None:
        executor_id = ExecutorId(executor)
        if known is None:
            driver.feed(events.RegisterExecutor(sender, FRAMEWORK, executor_id))
        else:
            tasks = frozenset(map(TaskId, known))
            driver.feed(events.ReregisterExecutor(sender, FRAMEWORK, executor_id, tasks, ()))

    return move


def send(executor: str, sender: str, name: str, state: pb.TaskState, token: int) -> Move:
    def move(driver: Driver) -> None:
        made = messages.StatusUpdate(timestamp=1.0, uuid=bytes([token]) * 16)
        made.framework_id.value, made.executor_id.value = FRAMEWORK, executor
        made.slave_id.value = made.status.slave_id.value = AGENT
        made.status.task_id.value, made.status.state = name, state
        driver.feed(events.StatusUpdateSent(made, sender))

    return move


def report(executor: str, name: str, state: pb.TaskState, token: int) -> Move:
    def move(driver: Driver) -> None:
        status = pb.TaskStatus(state=state, uuid=bytes([token]) * 16)
        status.task_id.value = name
        driver.feed(events.ExecutorUpdate(FRAMEWORK, ExecutorId(executor), status))

    return move


def acknowledge(name: str) -> Move:
    def move(driver: Driver) -> None:
        stream = driver.state.streams.get((FRAMEWORK, TaskId(name)))
        if stream is not None and stream.queue:
            driver.acknowledge(name)

    return move


def end(executor: str) -> Move:
    def move(driver: Driver) -> None:
        found = driver.state.find_executor(FRAMEWORK, ExecutorId(executor))
        if found is not None and found.launch_requested:
            driver.terminated(executor)

    return move


def reconcile(*names: str) -> Event:
    asked = messages.ReconcileTasksMessage()
    asked.framework_id.value = FRAMEWORK
    for name in names:
        asked.statuses.add(state=pb.TASK_RUNNING).task_id.value = name
    return events.AgentReregistered(MASTER, AGENT, None, (asked,))


def drain(mark_gone: bool) -> Event:
    config = pb.DrainConfig(mark_gone=mark_gone)
    config.max_grace_period.nanoseconds = 1
    return events.DrainAgent(MASTER, config)


names = st.sampled_from(TASKS)
executors = st.sampled_from(EXECUTORS)
pids = st.sampled_from(PIDS)
moves = st.one_of(
    st.builds(answer, st.integers(0, 2), st.sampled_from((True, True, True, False))),
    st.builds(answer, st.integers(0, 6), st.booleans()),
    st.builds(answer, st.just(0), st.just(True)),
    st.builds(accept, names, st.sampled_from((None, "e")), st.sampled_from((True, False, None))),
    st.builds(
        accept_group,
        st.lists(names, min_size=1, max_size=3, unique=True),
        st.sampled_from((True, False, None)),
    ),
    st.builds(subscribe, executors, st.lists(names, max_size=2)),
    st.builds(register, executors, pids, st.none() | st.lists(names, max_size=2)),
    st.builds(send, executors, pids, names, st.sampled_from(STATES), st.integers(1, 9)),
    st.builds(report, executors, names, st.sampled_from(STATES), st.integers(1, 9)),
    st.builds(acknowledge, names),
    st.builds(end, executors),
    st.builds(lambda n: feed(events.KillTask(MASTER, FRAMEWORK, TaskId(n), None)), names),
    st.builds(lambda e: feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId(e))), executors),
    st.sampled_from(
        (
            feed(events.ShutdownFramework(MASTER, FRAMEWORK)),
            feed(events.UpdateFramework(MASTER, FRAMEWORK, "", None)),
            feed(events.UpdateFramework(MASTER, FrameworkId("other"), "", None)),
            feed(events.PingTimeout()),
            feed(events.Ping("slave-observer(1)@127.0.0.1:5050", False)),
            feed(events.MasterDetected(MASTER)),
            feed(events.MasterDetected("")),
            feed(events.RegistrationDue(MASTER)),
            feed(reconcile(*TASKS)),
            feed(reconcile(TASKS[0])),
            feed(reconcile()),
            feed(events.UnregisterRequested("root")),
            feed(drain(mark_gone=False)),
            feed(drain(mark_gone=True)),
            feed(events.LeaveRequested(1.0)),
        )
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(moves, min_size=20, max_size=80), st.booleans(), st.booleans())
def test_invariants_hold(sequence: list[Move], checkpoint: bool, authorizes: bool) -> None:
    driver = Driver(authorizes_tasks=authorizes)
    driver.checkpoint = checkpoint
    driver.register()
    for move in sequence:
        move(driver)
    check_messages(driver)
    check_groups(driver)
    check_authorized(driver)


def check_authorized(driver: Driver) -> None:
    """No executor got a task that was never authorized."""
    asked: dict[int, effects.Authorize] = {
        told.number: told for told in driver.all if isinstance(told, effects.Authorize)
    }
    allowed = {
        event.number
        for event in driver.fed
        if isinstance(event, events.TasksAuthorized) and event.verdict == TaskVerdict()
    }
    if driver.state.config.authorizes_tasks:
        may_run = {task.task_id.value for number in allowed for task in asked[number].tasks}
        assert delivered(driver) <= may_run


def delivered(driver: Driver) -> set[str]:
    """Ids of all tasks that executors got."""
    found = set()
    for told in driver.all:
        if isinstance(told, effects.SendToExecutor):
            found.add(told.event.launch.task.task_id.value)
            for task_info in told.event.launch_group.task_group.tasks:
                found.add(task_info.task_id.value)
    return found - {""}


def check_groups(driver: Driver) -> None:
    """A group is delivered whole: with the tasks that one message of the master had."""
    groups = {
        tuple(info.task_id.value for info in event.message.task_group.tasks)
        for event in driver.fed
        if isinstance(event, events.RunTaskGroup)
    }
    for told in driver.all:
        if isinstance(told, effects.SendToExecutor) and told.event.HasField("launch_group"):
            tasks = told.event.launch_group.task_group.tasks
            assert tuple(info.task_id.value for info in tasks) in groups


def check_messages(driver: Driver) -> None:
    """Nothing that was sent makes a real master abort."""
    for sent in driver.sent(messages.StatusUpdateMessage, driver.all):
        assert sent.pid
        assert len(sent.update.status.uuid) == 16
        assert sent.update.status.uuid == sent.update.uuid
        assert sent.update.status.state not in (pb.TASK_UNKNOWN, pb.TASK_UNREACHABLE)
    for again in driver.sent(messages.ReregisterSlaveMessage, driver.all):
        ids = [(t.framework_id.value, t.task_id.value) for t in again.tasks]
        assert len(ids) == len(set(ids))
        assert {f for f, _ in ids} <= {f.id.value for f in again.frameworks}
        for told in again.tasks:
            assert told.HasField("status_update_state") == told.HasField("status_update_uuid")
            assert all(r.HasField("allocation_info") for r in told.resources)
        infos = {(e.framework_id.value, e.executor_id.value) for e in again.executor_infos}
        for told in again.tasks:
            if told.HasField("executor_id") and told.state == pb.TASK_RUNNING:
                assert (told.framework_id.value, told.executor_id.value) in infos
