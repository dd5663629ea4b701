# SPDX-License-Identifier: Apache-2.0
"""The agent proves to a master who it is, before it registers. Pure.

Each attempt is a process of its own, so that late replies of an earlier one reach nobody. What a
mechanism says is made by the ``Authenticatee`` of the configuration.

Deviation: only replies from the address of the master count, as a refusal ends the agent; upstream
takes those of anybody. After an error there is a short, growing pause before the next attempt;
upstream starts it at once. A link to the master that breaks before the registration is over makes
the next attempt to register begin with authentication; upstream repeats registrations that a
restarted master drops.

Source: spec ``agent-master`` 4.2.
"""

from __future__ import annotations

from mesos_compat.agent.machine import masters
from mesos_compat.agent.machine.config import AuthenticationConfig
from mesos_compat.agent.machine.effects import CancelTimer, Exit, Link, Send, StartTimer
from mesos_compat.agent.machine.events import (
    AuthenticationReply,
    AuthenticationTimeout,
    RegistrationDue,
)
from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Authentication,
    AuthenticationStep,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.base.errors import InvariantError
from mesos_compat.pb.mesos.authentication import authentication_pb2 as pb

#: The timer of the next attempt to register, which begins with authentication if that is missing.
REGISTRATION = ("registration",)

#: Seconds before the next attempt after the first error, doubling up to the second number.
_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0
_MAX_DOUBLINGS = 16

_TIMER = ("authentication",)


def missing(state: AgentState) -> bool:
    """Whether the agent has to authenticate before it can register."""
    return state.config.authentication is not None and not state.authenticated


def begin(turn: Turn) -> None:
    """Begin an attempt, unless one is going on."""
    state = turn.state
    config = _config(state)
    if state.authentication is not None:
        return
    state.authentication_attempts += 1
    state.authentication = Authentication(state.authentication_attempts)
    low_s = config.timeout_min_s
    range_s = _range_s(config, state.authentication_failures)
    turn.info(f"Authenticating with master {state.master}")
    turn.do(
        Link(state.master),
        Send(
            state.master,
            pb.AuthenticateMessage(pid=state.config.pid),
            state.authentication.process_id,
        ),
        StartTimer(
            _TIMER,
            low_s + turn.random() * range_s,
            AuthenticationTimeout(state.authentication.number),
        ),
    )


def settle(turn: Turn) -> None:
    """The master took us: an attempt that is still going on has no purpose."""
    _end(turn)


def forget(turn: Turn) -> None:
    """Another master, or none, or one that does not know us any more: begin from nothing."""
    _end(turn)
    turn.state.authenticated = False
    turn.state.authentication_failures = 0


def link_exited(turn: Turn) -> None:
    """The master may have been restarted before it took us."""
    turn.state.authenticated = False


def timed_out(turn: Turn, event: AuthenticationTimeout) -> None:
    """Nothing came, or not all of it: once more, with more patience."""
    attempt = turn.state.authentication
    if attempt is not None and attempt.number == event.number:
        _fail(turn, "it timed out", 0.0)


def replied(turn: Turn, event: AuthenticationReply) -> None:
    """Take the master's next message."""
    state = turn.state
    attempt = state.authentication
    if attempt is None or event.process_id != attempt.process_id:
        return
    if state.phase is not AgentPhase.DISCONNECTED:
        return
    if not masters.from_its_program(turn, event.sender):
        turn.warn(f"Ignoring an authentication message of {event.sender}, who is not the master")
        return
    match event.message:
        case pb.AuthenticationMechanismsMessage():
            _mechanisms(turn, attempt, event.sender, event.message)
        case pb.AuthenticationStepMessage():
            _step(turn, attempt, event.sender, event.message)
        case pb.AuthenticationCompletedMessage():
            _completed(turn, attempt, event.sender)
        case pb.AuthenticationFailedMessage():
            turn.do(Exit(f"Master {state.master} refused authentication"))
        case pb.AuthenticationErrorMessage():
            _retry(turn, f"Authentication error: {event.message.error}")


def _mechanisms(
    turn: Turn,
    attempt: Authentication,
    sender: str,
    message: pb.AuthenticationMechanismsMessage,
) -> None:
    authenticatee = _config(turn.state).authenticatee
    if attempt.step is not AuthenticationStep.STARTING:
        _retry(turn, "Unexpected authentication 'mechanisms' received")
        return
    if authenticatee.mechanism not in message.mechanisms:
        offered = ", ".join(message.mechanisms) or "nothing"
        _retry(turn, f"the master offers {offered}, not {authenticatee.mechanism}")
        return
    try:
        data = authenticatee.start()
    except InvariantError:
        raise
    except Exception as error:
        _retry(turn, f"{type(error).__name__}: {error}")
        return
    attempt.step = AuthenticationStep.STEPPING
    attempt.session = sender
    answer = pb.AuthenticationStartMessage(mechanism=authenticatee.mechanism, data=data)
    turn.do(Send(sender, answer, attempt.process_id))


def _step(
    turn: Turn, attempt: Authentication, sender: str, message: pb.AuthenticationStepMessage
) -> None:
    if attempt.step is not AuthenticationStep.STEPPING or sender != attempt.session:
        _retry(turn, "Unexpected authentication 'step' received")
        return
    try:
        data = _config(turn.state).authenticatee.respond(message.data)
    except InvariantError:
        raise
    except Exception as error:
        _retry(turn, f"{type(error).__name__}: {error}")
        return
    turn.do(Send(sender, pb.AuthenticationStepMessage(data=data), attempt.process_id))


def _completed(turn: Turn, attempt: Authentication, sender: str) -> None:
    state = turn.state
    if attempt.step is not AuthenticationStep.STEPPING or sender != attempt.session:
        _retry(turn, "Unexpected authentication 'completed' received")
        return
    forget(turn)
    state.authenticated = True
    turn.info(f"Successfully authenticated with master {state.master}")
    turn.do(StartTimer(REGISTRATION, 0.0, RegistrationDue(state.master)))


def _retry(turn: Turn, why: str) -> None:
    doublings = min(turn.state.authentication_failures, _MAX_DOUBLINGS)
    _fail(turn, why, min(_PAUSE_S * 2.0**doublings, _MAX_PAUSE_S))


def _fail(turn: Turn, why: str, pause_s: float) -> None:
    state = turn.state
    turn.warn(f"Failed to authenticate with master {state.master}: {why}")
    _end(turn)
    state.authentication_failures += 1
    turn.do(StartTimer(REGISTRATION, pause_s, RegistrationDue(state.master)))


def _end(turn: Turn) -> None:
    if turn.state.authentication is not None:
        turn.state.authentication = None
        turn.do(CancelTimer(_TIMER))


def _range_s(config: AuthenticationConfig, failures: int) -> float:
    """How far the timeout may be above its minimum: doubles with each failure."""
    doublings = min(failures + 1, _MAX_DOUBLINGS)
    widest_s = max(0.0, config.timeout_max_s - config.timeout_min_s)
    return min(config.backoff_factor_s * 2.0**doublings, widest_s)


def _config(state: AgentState) -> AuthenticationConfig:
    config = state.config.authentication
    if config is None:
        raise InvariantError("authentication without a credential")
    return config
