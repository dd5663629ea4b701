# SPDX-License-Identifier: Apache-2.0
"""Executors that register by libprocess messages, as the drivers of upstream's libraries do.

Whoever can reach the agent can send such messages. An executor that waits for its registration is
given to the first who knows its ids; one that runs is nobody else's any more. A driver registers
once and comes back only when it is asked to, so whoever is not expected is told to end.

Deviation: an executor that an earlier process of the agent knew comes back from the address that
it had then, or by HTTP if it did so before; upstream takes whoever says so first. The default
executor never registers here.

Source: spec ``executors`` 2.1 to 2.3; ``state-and-recovery`` 10.7.
"""

from __future__ import annotations

from mesos_compat.agent.machine import checkpoints, executors, reports, status, tell
from mesos_compat.agent.machine.effects import CancelTimer, Link, StartTimer
from mesos_compat.agent.machine.events import (
    ReconnectDue,
    RegisterExecutor,
    ReregisterExecutor,
    StatusUpdateSent,
)
from mesos_compat.agent.machine.state import AgentPhase, Executor, ExecutorPhase, Framework
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.pb.mesos import mesos_pb2 as pb

_RECONNECT = ("reconnect",)


def register(turn: Turn, event: RegisterExecutor) -> None:
    """An executor is there for the first time."""
    found = executors.live(turn, event.framework_id, event.executor_id)
    if turn.state.phase is AgentPhase.RECOVERING:
        _turn_away(turn, event, "the agent recovers")
    elif found is None:
        _turn_away(turn, event, "it is not known here, or ends")
    elif found[1].phase is not ExecutorPhase.REGISTERING:
        _turn_away(turn, event, "it is registered already")
    elif _subscribes(found[1]):
        _turn_away(turn, event, "it subscribes by HTTP")
    else:
        framework, executor = found
        turn.info(
            f"Got registration for executor '{event.executor_id}' of framework"
            f" {event.framework_id} from {event.sender}"
        )
        _connect(turn, framework, executor, event.sender)
        if executors.go_on(turn, framework, executor, ()):
            tell.registered(turn, framework, executor)
            status.advance(turn, framework, executor)


def reregister(turn: Turn, event: ReregisterExecutor) -> None:
    """An executor is there again, with what it knows and the agent may not."""
    found = executors.live(turn, event.framework_id, event.executor_id)
    if found is None:
        _turn_away(turn, event, "it is not known here, or ends")
        return
    framework, executor = found
    known = executor.recovered_pid
    if executor.phase is not ExecutorPhase.REGISTERING:
        again = turn.state.config.executor_reregistration_retry_interval_s is not None
        if again and event.sender == executor.pid:
            turn.info(f"Executor '{event.executor_id}' is registered already")
        else:
            _turn_away(turn, event, "it is registered already")
    elif known and event.sender != known:
        _turn_away(turn, event, f"it was {known}")
    elif _subscribes(executor):
        _turn_away(turn, event, "it subscribes by HTTP")
    else:
        turn.info(
            f"Received re-registration of executor '{event.executor_id}' of framework"
            f" {event.framework_id} from {event.sender}"
        )
        _connect(turn, framework, executor, event.sender)
        tell.reregistered(turn, executor)
        if not executors.go_on(turn, framework, executor, event.tasks):
            return
        for update in event.updates:
            reports.status_update(turn, StatusUpdateSent(update, event.sender))
        if event.executor_id in framework.executors:
            status.advance(turn, framework, executor)


def ask_back(turn: Turn) -> None:
    """Ask those that an earlier process knew to come back, again and again if that is wanted."""
    for executor in turn.state.executors():
        if executor.phase is ExecutorPhase.REGISTERING and executor.recovered_pid:
            turn.info(
                f"Sending reconnect request to executor '{executor.executor_id}' of framework"
                f" {executor.framework_id} at {executor.recovered_pid}"
            )
            tell.reconnect(turn, executor)
    interval_s = turn.state.config.executor_reregistration_retry_interval_s
    if interval_s is not None:
        turn.do(StartTimer(_RECONNECT, interval_s, ReconnectDue()))


def reconnect_due(turn: Turn, event: ReconnectDue) -> None:
    """Some may not have got the first request."""
    if turn.state.phase is AgentPhase.RECOVERING:
        ask_back(turn)


def stop_asking(turn: Turn) -> None:
    """The time to come back is over."""
    turn.do(CancelTimer(_RECONNECT))


def _subscribes(executor: Executor) -> bool:
    """Whether whoever speaks libprocess cannot be this executor."""
    return executor.uses_http or executor.info.type == pb.ExecutorInfo.DEFAULT


def _connect(turn: Turn, framework: Framework, executor: Executor, pid: str) -> None:
    executor.pid = pid
    executors.begin(turn, executor)
    turn.do(Link(pid))
    checkpoints.libprocess_executor(turn, framework, executor)


def _turn_away(turn: Turn, event: RegisterExecutor | ReregisterExecutor, why: str) -> None:
    turn.warn(
        f"Shutting down executor '{event.executor_id}' of framework {event.framework_id} at"
        f" {event.sender}: {why}"
    )
    tell.turned_away(turn, event.sender)
