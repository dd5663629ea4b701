# SPDX-License-Identifier: Apache-2.0
"""The agent and its master: detection, registration with back-off, pings.

Deviation: of a task that ended, but not in the eyes of a master whose framework's acknowledgement
was lost, the same end is told again when the agent has forgotten it; upstream says that it was
dropped.

Source: spec ``agent-master`` 3.3, 6, 7.
"""

from __future__ import annotations

from mesos_compat.agent.machine import (
    abilities,
    authentication,
    checkpoints,
    disowned,
    masters,
    operation_streams,
    resource_store,
    status,
    streams,
)
from mesos_compat.agent.machine.effects import (
    CancelTimer,
    Detect,
    Exit,
    Link,
    Send,
    StartTimer,
)
from mesos_compat.agent.machine.events import (
    AgentNotStored,
    AgentRegistered,
    AgentReregistered,
    DetectionFailed,
    LinkExited,
    MasterDetected,
    Ping,
    PingTimeout,
    RegistrationDue,
)
from mesos_compat.agent.machine.state import (
    TERMINAL,
    AgentPhase,
    AgentState,
    Framework,
    Task,
    TaskPlace,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model import reasons
from mesos_compat.model.ids import FrameworkId, TaskId
from mesos_compat.model.quantity import SECOND_NS, format_duration
from mesos_compat.model.resources import downgrade_all
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: Longest delay between two attempts to register.
MAX_REGISTRATION_DELAY_S = 60.0
#: Total ping timeout if the master does not tell its own.
DEFAULT_PING_TIMEOUT_S = 75.0
#: Doublings after which the delay has reached its maximum with any back-off factor in use.
_MAX_DOUBLINGS = 64


def begin(turn: Turn) -> None:
    """Begin to look for a master."""
    turn.state.phase = AgentPhase.DISCONNECTED
    turn.do(Detect(""))


def master_detected(turn: Turn, event: MasterDetected) -> None:
    """Begin to register with a new leader, or wait for one."""
    state = turn.state
    _disconnect(turn)
    state.master = event.master
    state.master_hostname = event.hostname
    state.master_version = abilities.parse_version(event.version)
    if state.phase is AgentPhase.TERMINATING:
        return
    if not event.master:
        turn.warn("Lost leading master: no master is known, waiting for a new one")
        turn.do(Detect(""))
        return
    turn.info(f"New master detected at {event.master}")
    if state.changed and event.capabilities is not None and _AGENT_UPDATE not in event.capabilities:
        turn.do(
            Exit(
                "Agent state changed on restart, but the detected master lacks the AGENT_UPDATE"
                " capability. Refusing to connect."
            )
        )
        return
    delay_s = turn.random() * state.config.registration_backoff_factor_s
    turn.do(StartTimer(_REGISTRATION, delay_s, RegistrationDue(event.master)), Detect(event.master))


def detection_failed(turn: Turn, event: DetectionFailed) -> None:
    """Give up: without a detector there is no way back."""
    turn.do(Exit(f"Failed to detect a master: {event.error}"))


def registration_due(turn: Turn, event: RegistrationDue) -> None:
    """Attempt to register and plan the next attempt."""
    state = turn.state
    if state.phase is not AgentPhase.DISCONNECTED or event.master != state.master:
        return
    if authentication.missing(state):
        authentication.begin(turn)
        return
    state.registration_attempts += 1
    state.registration_unanswered = True
    factor_s = state.config.registration_backoff_factor_s
    doublings = min(state.registration_attempts, _MAX_DOUBLINGS)
    delay_s = turn.random() * min(factor_s * 2.0**doublings, MAX_REGISTRATION_DELAY_S)
    disowned.told(state)
    turn.do(
        Link(state.master),
        Send(state.master, _registration(state)),
        StartTimer(_REGISTRATION, delay_s, RegistrationDue(state.master)),
    )


def registered(turn: Turn, event: AgentRegistered) -> None:
    """The master took us and gave us an id."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "registration"):
        return
    if state.phase not in (AgentPhase.DISCONNECTED, AgentPhase.RUNNING):
        return
    if state.agent_id not in (None, event.agent_id):
        turn.do(
            Exit(
                f"Registered but got wrong id: {event.agent_id} (expected: {state.agent_id})."
                " Committing suicide"
            )
        )
        return
    if state.phase is AgentPhase.RUNNING:
        _update_slave(turn)
    if state.phase is not AgentPhase.DISCONNECTED:
        return
    if state.agent_id is None:
        state.agent_id = event.agent_id
        checkpoints.agent(turn)
    turn.info(f"Registered with master {state.master}; given agent ID {event.agent_id}")
    _run(turn, event.ping_timeout_s)
    _update_slave(turn)


def not_stored(turn: Turn, event: AgentNotStored) -> None:
    """Give up: the next process would be another agent, and end what this one runs."""
    turn.do(Exit("Failed to checkpoint the agent's id"))


def reregistered(turn: Turn, event: AgentReregistered) -> None:
    """The master took us back; tasks that only it knows are reported as lost."""
    state = turn.state
    if not masters.from_master(turn, event.sender, "re-registration"):
        return
    if event.agent_id != state.agent_id:
        turn.do(
            Exit(
                f"Re-registered but got wrong id: {event.agent_id} (expected: {state.agent_id})."
                " Committing suicide"
            )
        )
        return
    again = state.phase is AgentPhase.RUNNING
    if state.phase is AgentPhase.DISCONNECTED:
        turn.info(f"Re-registered with master {state.master}")
        _run(turn, event.ping_timeout_s)
    if state.phase is AgentPhase.RUNNING:
        _update_slave(turn)
        if again:
            disowned.settle(turn, event.reconciliations)
        for reconciliation in event.reconciliations:
            _reconcile(turn, reconciliation)


def ping(turn: Turn, event: Ping) -> None:
    """Answer an observer; find a new master if this one does not hear us."""
    state = turn.state
    if state.phase is AgentPhase.RUNNING:
        if event.connected:
            _restart_ping_timer(turn)
        elif masters.from_its_program(turn, event.sender):
            turn.warn(
                "Master marked the agent as disconnected but the agent considers itself"
                " registered! Forcing re-registration."
            )
            _detect_again(turn)
    turn.do(Send(event.sender, messages.PongSlaveMessage()))


def ping_timeout(turn: Turn, event: PingTimeout) -> None:
    """The master is silent: look for it again."""
    state = turn.state
    if state.phase is not AgentPhase.RUNNING:
        return
    text = format_duration(round(state.ping_timeout_s * SECOND_NS))
    turn.info(f"No pings from master received within {text}")
    _detect_again(turn)


def link_exited(turn: Turn, event: LinkExited) -> None:
    """A connection broke. Only pings and the detector decide about the master."""
    if event.peer != turn.state.master:
        return
    if turn.state.phase is AgentPhase.DISCONNECTED:
        authentication.link_exited(turn)
    elif turn.state.phase is AgentPhase.RUNNING:
        turn.warn("Master disconnected! Waiting for a new master to be elected")


_REGISTRATION = authentication.REGISTRATION
_PING = ("ping",)
_AGENT_UPDATE = pb.MasterInfo.Capability.AGENT_UPDATE


def _run(turn: Turn, ping_timeout_s: float | None) -> None:
    state = turn.state
    state.phase = AgentPhase.RUNNING
    state.registered_at = turn.now
    state.registration_attempts = 0
    state.registration_unanswered = False
    state.ping_timeout_s = DEFAULT_PING_TIMEOUT_S
    if ping_timeout_s is not None and ping_timeout_s >= 1:
        state.ping_timeout_s = float(int(ping_timeout_s))
    authentication.settle(turn)
    turn.do(CancelTimer(_REGISTRATION))
    streams.resume(turn)
    operation_streams.resume(turn)
    _restart_ping_timer(turn)


def _restart_ping_timer(turn: Turn) -> None:
    turn.do(StartTimer(_PING, turn.state.ping_timeout_s, PingTimeout()))


def _detect_again(turn: Turn) -> None:
    _disconnect(turn)
    turn.state.master = ""
    turn.do(Detect(""))


def _disconnect(turn: Turn) -> None:
    state = turn.state
    state.registration_attempts = 0
    if state.phase is not AgentPhase.TERMINATING:
        state.phase = AgentPhase.DISCONNECTED
    streams.pause(turn)
    authentication.forget(turn)
    operation_streams.pause(turn)
    turn.do(CancelTimer(_REGISTRATION), CancelTimer(_PING))


def _registration(
    state: AgentState,
) -> messages.RegisterSlaveMessage | messages.ReregisterSlaveMessage:
    made: messages.RegisterSlaveMessage | messages.ReregisterSlaveMessage
    if state.agent_id is None:
        made = messages.RegisterSlaveMessage()
    else:
        made = messages.ReregisterSlaveMessage()
        _add_frameworks(made, state)
    made.slave.CopyFrom(state.info())
    made.checkpointed_resources.extend(state.checkpointed_resources)
    made.version = state.config.version
    for kind in abilities.told(state):
        made.agent_capabilities.add(type=kind)
    if abilities.operations(state):
        # Masters 1.5 abort on what was another kind of field for them.
        made.resource_version_uuid.value = state.resource_version_uuid
    downgrade_all(made)
    return made


def _update_slave(turn: Turn) -> None:
    """Tell what registration has no place for: operations and what is oversubscribed.

    Masters that send no operations get the form that all of them know.
    """
    state = turn.state
    all_of_it = abilities.operations(state)
    if state.agent_id is None or not (all_of_it or state.oversubscribed is not None):
        return
    made = messages.UpdateSlaveMessage()
    made.slave_id.value = state.agent_id
    made.update_oversubscribed_resources = state.oversubscribed is not None
    made.oversubscribed_resources.extend(state.oversubscribed or ())
    if all_of_it:
        made.resource_version_uuid.value = state.resource_version_uuid
        made.operations.SetInParent()
        made.resource_providers.SetInParent()
        made.operations.operations.extend(
            resource_store.as_stored(state, operation)
            for operation in state.operations.values()
            if abilities.feedback(state) or not operation.latest_status.HasField("uuid")
        )
    turn.do(Send(state.master, made))


def _add_frameworks(made: messages.ReregisterSlaveMessage, state: AgentState) -> None:
    for framework in state.frameworks.values():
        made.frameworks.append(framework.info)
        for info in (task for pending in framework.pending for task in pending.request.tasks):
            waiting = Task(info, TaskPlace.PENDING, pb.TASK_STAGING)
            made.tasks.append(waiting.message(framework.framework_id))
        for executor in framework.executors.values():
            if not executor.generated and executor.termination is None:
                made.executor_infos.append(executor.info)
            tasks = (executor.launched, executor.terminated, executor.queued)
            for task in (task for place in tasks for task in place.values() if not task.disowned):
                made.tasks.append(task.message(framework.framework_id))
    for framework in state.completed_frameworks:
        if framework.framework_id not in state.frameworks:
            _add_completed(made, framework)


def _add_completed(made: messages.ReregisterSlaveMessage, framework: Framework) -> None:
    archived = made.completed_frameworks.add()
    archived.framework_info.CopyFrom(framework.info)
    if framework.pid:
        archived.pid = framework.pid
    for executor in framework.completed_executors:
        for task in (*executor.terminated.values(), *executor.completed):
            archived.tasks.append(task.message(framework.framework_id))


def _reconcile(turn: Turn, asked: messages.ReconcileTasksMessage) -> None:
    framework_id = FrameworkId(asked.framework_id.value)
    known = turn.state.frameworks.get(framework_id)
    partition_aware = any(
        capability.type == pb.FrameworkInfo.Capability.PARTITION_AWARE
        for capability in asked.framework.capabilities
    )
    for asked_status in asked.statuses:
        task_id = TaskId(asked_status.task_id.value)
        if known is None or not known.knows(task_id):
            update = status.make(
                turn, reasons.UNKNOWN_TASK, framework_id, task_id, None, partition_aware
            )
            if asked_status.state in TERMINAL:
                update.status.state = asked_status.state
            streams.enqueue(turn, update)
