# SPDX-License-Identifier: Apache-2.0
"""The agent gets rid of its tasks, because the master or a signal wants that.

What the master wants survives the process: it is kept until nothing is left, and begins again at
recovery. What a signal wants does not: the agent leaves its cluster as soon as no task is left.

Source: spec ``agent-master`` 14.1.
"""

from __future__ import annotations

from mesos_compat.agent.machine import authorizations, checkpoints, masters, stopping
from mesos_compat.agent.machine.effects import Checkpoint, StartTimer
from mesos_compat.agent.machine.events import DrainAgent, LeaveRequested, LeaveTimeout
from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Drain,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.writes import RecordFile, RemovedFile
from mesos_compat.model.ids import TaskId
from mesos_compat.model.quantity import SECOND_NS, format_duration
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

_LEAVE = ("leave",)
_LIVE = (ExecutorPhase.REGISTERING, ExecutorPhase.RUNNING)
_KILLED = frozenset({pb.TASK_KILLING, pb.TASK_KILLED})


def drain_agent(turn: Turn, event: DrainAgent) -> None:
    """The master wants the agent without tasks; this may replace what it wanted before."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "drain"):
        return
    if state.agent_id is None:
        turn.warn("Ignoring a message to drain: this agent has no id")
        return
    if _is_done(state):
        turn.info("Nothing to drain: the agent has neither frameworks nor operations")
        return
    path = layout.drain_config(checkpoints.agent_dir(state))
    turn.do(Checkpoint((RecordFile(path, event.config),)))
    begin(turn, event.config)


def begin(turn: Turn, config: pb.DrainConfig) -> None:
    """Kill all tasks, and take no more."""
    state = turn.state
    state.drain = Drain(config, turn.now)
    grace = "of each task"
    if config.HasField("max_grace_period"):
        grace = f"of at most {format_duration(config.max_grace_period.nanoseconds)}"
    gone = ", after which the agent is gone" if config.mark_gone else ""
    turn.info(f"Draining: killing all tasks with a grace period {grace}{gone}")
    if state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING):
        return
    for framework in list(state.frameworks.values()):
        if framework.phase is FrameworkPhase.RUNNING:
            _kill_all(turn, framework, config)


def replay(turn: Turn) -> None:
    """Go on where an earlier process stopped."""
    drain = turn.state.drain
    if drain is None:
        return
    if not finish(turn):
        begin(turn, drain.config)


def finish(turn: Turn) -> bool:
    """Forget the order of the master if nothing is left to do; say so."""
    state = turn.state
    if state.drain is None or state.leaving or not _is_done(state):
        return False
    if state.phase is AgentPhase.RECOVERING:
        # More may come to light.
        return False
    turn.info("Draining is complete: the agent has neither frameworks nor operations")
    state.drain = None
    turn.do(Checkpoint((RemovedFile(layout.drain_config(checkpoints.agent_dir(state))),)))
    return True


def rewrite(turn: Turn, framework: Framework, update: messages.StatusUpdate) -> None:
    """Tell in an update of ours that its task is killed because of us."""
    drain, status = turn.state.drain, update.status
    if drain is None or status.state not in _KILLED:
        return
    status.reason = pb.TaskStatus.REASON_SLAVE_DRAINING
    if drain.config.mark_gone and framework.partition_aware:
        status.state = pb.TASK_GONE_BY_OPERATOR


# -- on the way out ---------------------------------------------------------------------------


def leave_requested(turn: Turn, event: LeaveRequested) -> None:
    """A signal wants the agent gone, and its tasks ended in good order before."""
    state = turn.state
    if state.leaving or state.phase is AgentPhase.TERMINATING:
        return
    state.leaving = True
    config = pb.DrainConfig()
    config.max_grace_period.nanoseconds = round(event.grace_s * SECOND_NS)
    if state.drain is not None:
        config.mark_gone = state.drain.config.mark_gone
    begin(turn, config)
    # The rest is for the executors and the way of their last updates to their schedulers.
    limit_s = event.grace_s + state.config.executor_shutdown_grace_period_s
    turn.do(StartTimer(_LEAVE, limit_s, LeaveTimeout()))


def leave_timeout(turn: Turn, event: LeaveTimeout) -> None:
    """Some tasks are still there."""
    if turn.state.leaving:
        turn.warn("Leaving although some tasks have not ended or not been acknowledged")
        stopping.leave(turn)


def leave_if_done(turn: Turn) -> None:
    """Leave once all tasks have ended and their schedulers know."""
    state = turn.state
    if not state.leaving or state.phase in (AgentPhase.RECOVERING, AgentPhase.TERMINATING):
        return
    if any(executor.incomplete for executor in state.executors()):
        return
    if any(framework.pending for framework in state.frameworks.values()):
        return
    if any(stream.queue for stream in state.streams.values()):
        return
    turn.info("All tasks have ended")
    stopping.leave(turn)


def _is_done(state: AgentState) -> bool:
    return not (state.frameworks or state.operations)


def _kill_all(turn: Turn, framework: Framework, config: pb.DrainConfig) -> None:
    for pending in framework.pending:
        if framework.pending.find(pending.request.task_ids[0]) is pending:
            authorizations.kill(turn, framework, pending)
    for executor in list(framework.executors.values()):
        killed: set[TaskId] = set()
        for task in (*executor.queued.values(), *executor.launched.values()):
            if executor.phase not in _LIVE:
                break
            if task.task_id in killed:
                continue
            if task.place is TaskPlace.QUEUED:
                killed.update(each.task_id for each in executor.group_of(task))
            stopping.kill(turn, framework, executor, task.task_id, _policy(task, config))


def _policy(task: Task, config: pb.DrainConfig) -> pb.KillPolicy | None:
    """Return what overrides the policy of a task: the greatest grace period, if its is greater."""
    if not config.HasField("max_grace_period"):
        return None
    own = task.info.kill_policy
    limit_ns = config.max_grace_period.nanoseconds
    if own.HasField("grace_period") and own.grace_period.nanoseconds <= limit_ns:
        return None
    made = pb.KillPolicy()
    made.grace_period.CopyFrom(config.max_grace_period)
    return made
