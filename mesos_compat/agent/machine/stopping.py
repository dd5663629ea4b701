# SPDX-License-Identifier: Apache-2.0
"""Ends on demand: of a task, an executor, a framework, the agent.

Deviation: kills of unknown tasks are ignored while the agent is not registered. A master that still
knows such a task asks for it in its answer, one that does not has said that it is gone. Upstream
tells that the task was dropped.

Source: spec ``agent-master`` 6.11, 9.1, 9.2.
"""

from __future__ import annotations

from mesos_compat.agent.machine import (
    authorizations,
    executors,
    frameworks,
    masters,
    status,
    tell,
)
from mesos_compat.agent.machine.effects import CancelTimer, Exit, Send
from mesos_compat.agent.machine.events import (
    KillTask,
    ShutdownExecutor,
    ShutdownFramework,
    ShutdownReceived,
    UnregisterRequested,
)
from mesos_compat.agent.machine.state import (
    AgentPhase,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model import reasons
from mesos_compat.model.ids import TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages


def kill_task(turn: Turn, event: KillTask) -> None:
    """Kill a task, wherever it is."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "kill task"):
        return
    if state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING):
        return
    framework = state.frameworks.get(event.framework_id)
    if framework is None or framework.phase is FrameworkPhase.TERMINATING:
        turn.warn(
            f"Ignoring kill task {event.task_id} of framework {event.framework_id}: the framework"
            " is unknown or terminating"
        )
        return
    turn.info(f"Asked to kill task {event.task_id} of framework {event.framework_id}")
    pending = framework.pending.find(event.task_id)
    if pending is not None:
        authorizations.kill(turn, framework, pending)
        return
    executor = framework.executor_of(event.task_id)
    if executor is None and state.phase is AgentPhase.DISCONNECTED:
        turn.warn(f"Ignoring kill task {event.task_id}: the agent is not registered")
        return
    if executor is None:
        status.refuse(turn, framework, None, event.task_id, reasons.NO_EXECUTOR)
        return
    if executor.phase not in (ExecutorPhase.REGISTERING, ExecutorPhase.RUNNING):
        return
    kill(turn, framework, executor, event.task_id, event.kill_policy)


def kill(
    turn: Turn,
    framework: Framework,
    executor: Executor,
    task_id: TaskId,
    policy: pb.KillPolicy | None,
) -> None:
    """Kill a task that a live executor has, and its group with it if it is not delivered yet."""
    queued = executor.queued.get(task_id)
    if queued is not None:
        cause = reasons.KILLED_BEFORE_DELIVERY
        if queued.group is not None and executor.phase is ExecutorPhase.REGISTERING:
            cause = reasons.GROUP_KILLED_BEFORE_DELIVERY
        status.report(turn, framework, executor, executor.group_of(queued), cause)
        return
    if executor.phase is ExecutorPhase.RUNNING:
        tell.kill(turn, executor, task_id, policy)


def shutdown_executor(turn: Turn, event: ShutdownExecutor) -> None:
    """The scheduler wants an executor gone."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "shutdown executor"):
        return
    if state.phase not in (AgentPhase.RUNNING, AgentPhase.TERMINATING):
        return
    framework = state.frameworks.get(event.framework_id)
    executor = state.find_executor(event.framework_id, event.executor_id)
    if framework is None or framework.phase is FrameworkPhase.TERMINATING or executor is None:
        turn.warn(
            f"Ignoring shutdown of executor '{event.executor_id}' of framework"
            f" {event.framework_id}: it is unknown or its framework is terminating"
        )
        return
    executors.shut_down(turn, framework, executor)


def shutdown_framework(turn: Turn, event: ShutdownFramework) -> None:
    """A framework is gone for good."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "shutdown framework"):
        return
    if state.phase not in (AgentPhase.RUNNING, AgentPhase.TERMINATING):
        return
    turn.info(f"Asked to shut down framework {event.framework_id} by {event.sender}")
    framework = state.frameworks.get(event.framework_id)
    if framework is None:
        turn.info(f"Cannot shut down unknown framework {event.framework_id}")
    elif framework.phase is FrameworkPhase.RUNNING:
        frameworks.shut_down(turn, framework)


def shutdown_received(turn: Turn, event: ShutdownReceived) -> None:
    """The master wants the agent gone."""
    if not masters.from_master(turn, event.sender, "shutdown"):
        return
    why = f" because '{event.message}'" if event.message else ""
    turn.info(f"Agent asked to shut down by {event.sender}{why}")
    _shut_down_agent(turn)


def unregister_requested(turn: Turn, event: UnregisterRequested) -> None:
    """An operator wants the agent to leave the cluster."""
    turn.info(f"Received SIGUSR1 signal from user {event.user}; unregistering and shutting down")
    leave(turn)


def leave(turn: Turn) -> None:
    """Tell the master that the agent goes, and go."""
    state = turn.state
    if state.agent_id is not None and state.master and state.phase is not AgentPhase.TERMINATING:
        made = messages.UnregisterSlaveMessage()
        made.slave_id.value = state.agent_id
        turn.do(Send(state.master, made))
    _shut_down_agent(turn)


def _shut_down_agent(turn: Turn) -> None:
    state = turn.state
    if state.phase is AgentPhase.TERMINATING:
        return
    state.phase = AgentPhase.TERMINATING
    turn.do(CancelTimer(("registration",)), CancelTimer(("ping",)))
    if not state.frameworks:
        turn.do(Exit())
    for framework in list(state.frameworks.values()):
        if framework.phase is FrameworkPhase.RUNNING:
            frameworks.shut_down(turn, framework)
