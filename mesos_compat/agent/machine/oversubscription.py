# SPDX-License-Identifier: Apache-2.0
"""What the resource estimator and the QoS controller say, and what becomes of it.

Source: spec ``agent-master`` 6.8, 10 (row E7), 15.
"""

from __future__ import annotations

from mesos_compat.agent.machine.effects import DestroyContainer, Send
from mesos_compat.agent.machine.events import Corrected, Estimated
from mesos_compat.agent.machine.state import AgentPhase, ExecutorPhase, FrameworkPhase
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.base.errors import WireError
from mesos_compat.model import reasons
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription


def estimated(turn: Turn, event: Estimated) -> None:
    """Tell the master what can be offered once more, if that has changed."""
    state = turn.state
    try:
        estimate = Resources.of(event.resources)
    except WireError as error:
        turn.warn(f"Ignoring an estimate that is none: {error}")
        return
    if estimate.nonrevocable():
        turn.warn(f"Ignoring an estimate with resources that are not revocable: {estimate}")
        return
    used = Resources.of(state.allocated_resources()).unallocated().revocable()
    total = estimate.unallocated() + used
    known = None if state.oversubscribed is None else Resources.of(state.oversubscribed)
    state.oversubscribed = total.messages()
    if state.phase is AgentPhase.RUNNING and total != known and state.agent_id is not None:
        turn.info(f"Forwarding total oversubscribed resources {total}")
        made = messages.UpdateSlaveMessage(update_oversubscribed_resources=True)
        made.slave_id.value = state.agent_id
        made.oversubscribed_resources.extend(state.oversubscribed)
        turn.do(Send(state.master, made))


def corrected(turn: Turn, event: Corrected) -> None:
    """End the executors that have to go for others."""
    if turn.state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING):
        return
    for correction in event.corrections:
        if correction.type != oversubscription.QoSCorrection.KILL:
            turn.warn("Ignoring a QoS correction of unknown type")
            continue
        _kill(turn, correction.kill)


def _kill(turn: Turn, kill: oversubscription.QoSCorrection.Kill) -> None:
    state = turn.state
    framework_id = FrameworkId(kill.framework_id.value)
    executor_id = ExecutorId(kill.executor_id.value)
    framework = state.frameworks.get(framework_id)
    executor = state.find_executor(framework_id, executor_id)
    where = f"executor '{executor_id}' of framework {framework_id}"
    if framework is None or executor is None:
        turn.warn(f"Ignoring QoS correction KILL on unknown {where}")
        return
    if kill.HasField("container_id") and (
        kill.container_id.HasField("parent")
        or ContainerId(kill.container_id.value) != executor.container_id
    ):
        turn.warn(f"Ignoring QoS correction KILL on {where}: its container is another one")
        return
    if framework.phase is FrameworkPhase.TERMINATING or executor.phase not in (
        ExecutorPhase.REGISTERING,
        ExecutorPhase.RUNNING,
    ):
        return
    turn.info(f"Killing container '{executor.container_id}' for {where} as QoS correction")
    executor.phase = ExecutorPhase.TERMINATING
    executor.pending_termination = reasons.PREEMPTED
    turn.count("slave/executors_preempted")
    turn.do(DestroyContainer(executor.container_id))
