# SPDX-License-Identifier: Apache-2.0
"""The agent goes on where an earlier process stopped.

Executors are taken for running, and have some time to come back. Whoever does not is ended, and
so is whoever has no container any more. Only then the agent looks for its master.

Source: spec ``state-and-recovery`` 10.3, 10.4, 10.7, 10.8 to 10.10.
"""

from __future__ import annotations

from mesos_compat.agent import paths
from mesos_compat.agent.machine import (
    checkpoints,
    draining,
    frameworks,
    libprocess_executors,
    operations,
    registration,
    status,
)
from mesos_compat.agent.machine.effects import (
    CancelTimer,
    Checkpoint,
    CollectGarbage,
    DestroyContainer,
    Exit,
    ShowSandbox,
    StartTimer,
    WatchContainer,
)
from mesos_compat.agent.machine.events import Recovered, ReregistrationTimeout
from mesos_compat.agent.machine.state import (
    AgentPhase,
    Drain,
    Executor,
    ExecutorPhase,
    Framework,
    Task,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import UpdateStream
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.recovered import (
    AgentFound,
    ExecutorFound,
    ExecutorProtocol,
    FrameworkFound,
    RunFound,
    TaskFound,
)
from mesos_compat.agent.meta.writes import TextFile
from mesos_compat.model import reasons
from mesos_compat.model.ids import AgentId, ContainerId
from mesos_compat.model.quantity import SECOND_NS, format_duration
from mesos_compat.pb.mesos import mesos_pb2 as pb

_TIMEOUT = ("reregistration",)


def recovered(turn: Turn, event: Recovered) -> None:
    """Take up what was found, and wait for the executors that may still be there."""
    state = turn.state
    state.boot_id = event.boot_id
    state.changed = event.changed
    for _ in range(event.found.errors):
        turn.count("slave/recovery_errors")
    _collect_other_agents(turn, event)
    if event.strays:
        turn.do(CollectGarbage(event.strays, aged=True))
    agent = event.found.agent
    if agent is not None:
        state.agent_id = agent.agent_id
        if agent.drain_config is not None:
            state.drain = Drain(agent.drain_config, turn.now)
    operations.recover(turn, event.found)
    if agent is not None:
        for framework in agent.frameworks:
            _take_up_framework(turn, agent, framework)
    if not state.frameworks:
        _finish(turn)
        return
    for executor in list(state.executors()):
        key = executor.framework_id, executor.executor_id, executor.container_id
        turn.do(WatchContainer(*key))
    state.reconnecting = True
    if state.config.clean_up:
        _clean_up(turn, event)
        return
    turn.info("Waiting for executors to come back")
    libprocess_executors.ask_back(turn)
    delay_s = state.config.executor_reregistration_timeout_s
    turn.do(StartTimer(_TIMEOUT, delay_s, ReregistrationTimeout()))


def timeout(turn: Turn, event: ReregistrationTimeout) -> None:
    """End the executors that did not come back; look for a master."""
    state = turn.state
    if state.phase is not AgentPhase.RECOVERING:
        return
    duration = format_duration(round(state.config.executor_reregistration_timeout_s * SECOND_NS))
    cause = reasons.REREGISTRATION_TIMEOUT
    for executor in list(state.executors()):
        if executor.phase is ExecutorPhase.REGISTERING:
            turn.info(
                f"Killing un-reregistered executor '{executor.executor_id}' of framework"
                f" {executor.framework_id}"
            )
            executor.phase = ExecutorPhase.TERMINATING
            executor.pending_termination = cause.saying(f"{cause.message} {duration}")
            turn.do(DestroyContainer(executor.container_id))
    _finish(turn)


def _finish(turn: Turn) -> None:
    state = turn.state
    state.reconnecting = False
    libprocess_executors.stop_asking(turn)
    state.recovery_time_s = max(0.0, turn.now - state.start_time)
    turn.do(CancelTimer(_TIMEOUT))
    if state.boot_id is not None:
        path = layout.boot_id(paths.meta(state.config.work_dir))
        turn.do(Checkpoint((TextFile(path, state.boot_id),)))
    turn.info("Finished recovery")
    if state.config.clean_up:
        turn.do(Exit())
    else:
        registration.begin(turn)
        draining.replay(turn)


def _clean_up(turn: Turn, event: Recovered) -> None:
    """End all that is there; the agent ends with the last framework. Who never told how to reach
    it gets no time for that.
    """
    state = turn.state
    state.phase = AgentPhase.TERMINATING
    turn.info("Ending everything that an earlier agent left")
    unreachable = _unreachable(event)
    for framework in list(state.frameworks.values()):
        frameworks.shut_down(turn, framework)
    for executor in list(state.executors()):
        if executor.container_id in unreachable:
            turn.do(DestroyContainer(executor.container_id))


def _unreachable(event: Recovered) -> set[ContainerId]:
    """The containers of executors that never spoke to an agent."""
    agent = event.found.agent
    return {
        executor.latest.container_id
        for framework in (() if agent is None else agent.frameworks)
        for executor in framework.executors
        if executor.latest is not None and executor.latest.connection is ExecutorProtocol.UNKNOWN
    }


def _collect_other_agents(turn: Turn, event: Recovered) -> None:
    agent = event.found.agent
    work_dir = turn.state.config.work_dir
    old = [name for name in event.agent_ids if agent is None or name != agent.agent_id]
    for name in old:
        turn.info(f"Garbage collecting old agent {name}")
        agent_id = AgentId(name)
        both = paths.agent(work_dir, agent_id), paths.agent(paths.meta(work_dir), agent_id)
        turn.do(CollectGarbage(both))


def _take_up_framework(turn: Turn, agent: AgentFound, found: FrameworkFound) -> None:
    state = turn.state
    work_dir = state.config.work_dir
    both = (
        paths.framework(work_dir, agent.agent_id, found.framework_id),
        paths.framework(paths.meta(work_dir), agent.agent_id, found.framework_id),
    )
    if found.info is None or not found.executors:
        turn.do(CollectGarbage(both, aged=True))
        return
    framework = Framework(found.info, found.pid or "", stored=True)
    state.frameworks[found.framework_id] = framework
    for executor in found.executors:
        _take_up_executor(turn, framework, executor)
    if framework.idle:
        del state.frameworks[found.framework_id]
        state.completed_frameworks.append(framework)
        turn.do(CollectGarbage(both, aged=True))


def _take_up_executor(turn: Turn, framework: Framework, found: ExecutorFound) -> None:
    state = turn.state
    assert state.agent_id is not None
    work_dir = state.config.work_dir
    ids = state.agent_id, framework.framework_id, found.executor_id
    homes = paths.executor(work_dir, *ids), paths.executor(paths.meta(work_dir), *ids)
    run = found.latest
    if found.info is None or run is None:
        turn.warn(f"Executor '{found.executor_id}' cannot be recovered: nothing tells of its run")
        turn.do(CollectGarbage(homes, aged=True))
        return
    for name in found.old_runs:
        old = tuple(paths.sandbox(home, ContainerId(name)) for home in homes)
        turn.do(CollectGarbage(old, aged=True))
    executor = Executor(
        info=found.info,
        framework_id=framework.framework_id,
        container_id=run.container_id,
        directory=paths.sandbox(homes[0], run.container_id),
        user=None,
        generated=found.generated,
        recovered_pid=run.libprocess_pid,
        uses_http=run.connection is ExecutorProtocol.HTTP,
        launch_requested=True,
        sandbox_requested=False,
        created_at=turn.now,
    )
    for task in run.tasks:
        if framework.executor_of(task.task_id) is None:
            _take_up_task(turn, executor, run, task)
        else:
            # Masters abort when they are told of a task twice.
            turn.warn(f"Task '{task.task_id}' is on disk twice: that of another executor counts")
    turn.do(ShowSandbox(framework.framework_id, found.executor_id, executor.directory))
    if run.completed:
        executor.phase = ExecutorPhase.TERMINATED
        for left in executor.launched.values():
            left.place = TaskPlace.COMPLETED
            executor.completed.append(left)
        executor.launched.clear()
        framework.completed_executors.append(executor)
        runs = tuple(paths.sandbox(home, run.container_id) for home in homes)
        turn.do(CollectGarbage((*runs, *homes), aged=True))
        return
    framework.add_executor(executor)


def _take_up_task(turn: Turn, executor: Executor, run: RunFound, found: TaskFound) -> None:
    """Play the updates of a task again; open its stream, unless its end was acknowledged."""
    task = Task(_task_info(executor, found.info), TaskPlace.LAUNCHED, pb.TASK_STAGING)
    over = False
    for update in found.updates:
        status.record(task, update.status)
        if task.terminal:
            over = update.uuid in found.acknowledged
            break
    if over or (task.terminal and run.completed):
        task.place = TaskPlace.COMPLETED
        executor.completed.append(task)
    elif task.terminal:
        task.place = TaskPlace.TERMINATED
        executor.terminated[found.task_id] = task
    else:
        executor.launched[found.task_id] = task
    if over or run.completed or not found.updates:
        return
    directory = checkpoints.task_dir(turn.state, executor, found.task_id)
    stream = UpdateStream(executor.framework_id, found.task_id, path=layout.task_updates(directory))
    for update in found.updates:
        if update.uuid in stream.received:
            continue
        stream.received.add(update.uuid)
        stream.queue.append(update)
        if update.uuid in found.acknowledged:
            head = stream.queue.popleft()
            stream.acknowledged[head.uuid] = None
    stream.queued_bytes = sum(update.ByteSize() for update in stream.queue)
    turn.state.streams[executor.framework_id, found.task_id] = stream


def _task_info(executor: Executor, found: pb.Task) -> pb.TaskInfo:
    """Return what can be known of the task that the master sent."""
    made = pb.TaskInfo(name=found.name)
    made.task_id.CopyFrom(found.task_id)
    made.slave_id.CopyFrom(found.slave_id)
    made.resources.extend(found.resources)
    for name, limit in found.limits.items():
        made.limits[name].CopyFrom(limit)
    for name in ("labels", "discovery", "container", "health_check", "kill_policy"):
        if found.HasField(name):
            getattr(made, name).CopyFrom(getattr(found, name))
    if found.HasField("executor_id"):
        made.executor.CopyFrom(executor.info)
    elif found.HasField("user"):
        made.command.user = found.user
    return made
