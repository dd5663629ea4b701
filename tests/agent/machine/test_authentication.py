# SPDX-License-Identifier: Apache-2.0
"""The agent authenticates before it registers; every message of the master, good and bad."""

from __future__ import annotations

import hmac

import pytest

from mesos_compat.agent.authenticatee import CramMd5
from mesos_compat.agent.credentials import AgentCredential
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.config import AuthenticationConfig
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.pb.mesos.authentication import authentication_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from tests.agent.machine.driver import AGENT, MASTER, PID, Driver

OTHER = "master@127.0.0.2:5050"
SESSION = "crammd5-authenticator-session(7)@127.0.0.1:5050"
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"


def config(**changes: float) -> AuthenticationConfig:
    """The defaults of the flags."""
    times = {"backoff_factor_s": 1.0, "timeout_min_s": 5.0, "timeout_max_s": 60.0} | changes
    return AuthenticationConfig(CramMd5(AgentCredential("tim", "tanstaaftanstaaf")), **times)


@pytest.fixture
def agent() -> Driver:
    """An agent with a credential that found its master and waited."""
    driver = Driver(authentication=config())
    driver.feed(events.Recovered(), events.MasterDetected(MASTER))
    assert driver.sent(pb.AuthenticateMessage) == []
    driver.feed(events.RegistrationDue(MASTER))
    return driver


def reply(
    agent: Driver, message: events.AuthenticationMessage, sender: str = SESSION, number: int = 0
) -> list[effects.Effect]:
    """Feed a message of the master for an attempt, by default the last one."""
    number = number or agent.state.authentication_attempts
    process_id = f"crammd5-authenticatee({number})"
    return agent.feed(events.AuthenticationReply(sender, process_id, message))


def mechanisms(*names: str) -> pb.AuthenticationMechanismsMessage:
    return pb.AuthenticationMechanismsMessage(mechanisms=names or ("CRAM-MD5",))


def timer(agent: Driver, name: str) -> effects.StartTimer:
    """The one timer of a name that the last event started."""
    (found,) = [t for t in agent.every(effects.StartTimer) if t.key[0] == name]
    return found


def fail(agent: Driver) -> None:
    """Let an attempt end with an error and begin the next."""
    reply(agent, pb.AuthenticationErrorMessage(error="x"), sender=MASTER)
    agent.feed(events.RegistrationDue(MASTER))


def test_the_whole_exchange_comes_before_the_registration(agent: Driver) -> None:
    sent = agent.last(effects.Send)
    assert (sent.target, sent.process_id) == (MASTER, "crammd5-authenticatee(1)")
    assert sent.message == pb.AuthenticateMessage(pid=PID)
    assert agent.last(effects.Link).target == MASTER

    reply(agent, mechanisms("PLAIN", "CRAM-MD5"))
    sent = agent.last(effects.Send)
    assert (sent.target, sent.process_id) == (SESSION, "crammd5-authenticatee(1)")
    assert sent.message == pb.AuthenticationStartMessage(mechanism="CRAM-MD5", data=b"")

    reply(agent, pb.AuthenticationStepMessage(data=CHALLENGE))
    sent = agent.last(effects.Send)
    assert sent.target == SESSION
    # The example of RFC 2195.
    answer = b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert sent.message == pb.AuthenticationStepMessage(data=answer)

    reply(agent, pb.AuthenticationCompletedMessage())
    assert effects.CancelTimer(("authentication",)) in agent.effects
    assert timer(agent, "registration").delay_s == 0
    agent.feed(events.RegistrationDue(MASTER))
    assert len(agent.sent(messages.RegisterSlaveMessage)) == 1
    assert 0 <= timer(agent, "registration").delay_s <= 2.0
    agent.feed(events.AgentRegistered(MASTER, AGENT, 75.0))
    assert agent.state.phase is AgentPhase.RUNNING


def test_a_refusal_ends_the_process_and_nothing_else(agent: Driver) -> None:
    reply(agent, mechanisms())
    reply(agent, pb.AuthenticationFailedMessage())
    assert agent.last(effects.Exit).error == f"Master {MASTER} refused authentication"
    assert agent.effects == [agent.last(effects.Exit)]


@pytest.mark.parametrize(
    "message",
    [
        pb.AuthenticationFailedMessage(),
        pb.AuthenticationErrorMessage(error="x"),
        mechanisms(),
        pb.AuthenticationCompletedMessage(),
    ],
)
def test_others_than_the_master_are_not_heard(
    agent: Driver, message: events.AuthenticationMessage
) -> None:
    reply(agent, message, sender=OTHER)
    assert [type(effect) for effect in agent.effects] == [effects.Log]
    reply(agent, mechanisms())
    assert agent.sent(pb.AuthenticationStartMessage)


def test_messages_for_an_earlier_attempt_change_nothing(agent: Driver) -> None:
    fail(agent)
    assert reply(agent, pb.AuthenticationFailedMessage(), number=1) == []
    assert agent.feed(events.AuthenticationTimeout(1)) == []
    reply(agent, mechanisms(), number=2)
    assert agent.sent(pb.AuthenticationStartMessage)


@pytest.mark.parametrize(
    ("before", "message", "why"),
    [
        ([], pb.AuthenticationStepMessage(data=b"x"), "Unexpected authentication 'step' received"),
        (
            [],
            pb.AuthenticationCompletedMessage(),
            "Unexpected authentication 'completed' received",
        ),
        ([mechanisms()], mechanisms(), "Unexpected authentication 'mechanisms' received"),
        ([], mechanisms("GSSAPI"), "the master offers GSSAPI, not CRAM-MD5"),
        ([], pb.AuthenticationErrorMessage(error="No"), "Authentication error: No"),
    ],
)
def test_what_is_out_of_order_begins_a_new_attempt(
    agent: Driver,
    before: list[events.AuthenticationMessage],
    message: events.AuthenticationMessage,
    why: str,
) -> None:
    for earlier in before:
        reply(agent, earlier)
    reply(agent, message)
    assert why in agent.last(effects.Log).text
    assert not agent.every(effects.Exit)
    agent.feed(events.RegistrationDue(MASTER))
    assert agent.last(effects.Send).process_id == "crammd5-authenticatee(2)"
    assert agent.sent(pb.AuthenticateMessage)


def test_steps_of_another_session_are_out_of_order(agent: Driver) -> None:
    reply(agent, mechanisms())
    other = SESSION.replace("(7)", "(8)")
    reply(agent, pb.AuthenticationStepMessage(data=b"x"), sender=other)
    assert not agent.sent(pb.AuthenticationStepMessage)
    assert not agent.state.authenticated


def test_patience_grows_with_each_failure() -> None:
    agent = Driver(authentication=config(timeout_max_s=20.0))
    agent.feed(events.Recovered(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    seen: dict[float, list[float]] = {}
    for failures in range(200):
        widest_s = min(2.0 ** min(failures + 1, 10), 15.0)
        delay_s = timer(agent, "authentication").delay_s
        assert 5.0 <= delay_s <= 5.0 + widest_s
        seen.setdefault(widest_s, []).append(delay_s)
        agent.feed(events.AuthenticationTimeout(failures + 1))
        assert timer(agent, "registration").delay_s == 0
        agent.feed(events.RegistrationDue(MASTER))
    assert max(seen[15.0]) > 16
    assert min(seen[15.0]) < 8


def test_a_maximum_below_the_minimum_means_the_minimum() -> None:
    agent = Driver(authentication=config(timeout_max_s=1.0))
    agent.feed(events.Recovered(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    assert timer(agent, "authentication").delay_s == 5.0


def test_errors_do_not_make_a_busy_loop(agent: Driver) -> None:
    pauses = []
    for _ in range(30):
        reply(agent, pb.AuthenticationErrorMessage(error="no authenticator"), sender=MASTER)
        pauses.append(timer(agent, "registration").delay_s)
        agent.feed(events.RegistrationDue(MASTER))
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert pauses[-1] == 5.0


def authenticate(agent: Driver) -> None:
    """Complete the exchange."""
    reply(agent, mechanisms())
    reply(agent, pb.AuthenticationCompletedMessage())


def test_another_master_is_another_authentication(agent: Driver) -> None:
    agent.feed(events.MasterDetected(OTHER))
    assert effects.CancelTimer(("authentication",)) in agent.effects
    agent.feed(events.RegistrationDue(OTHER))
    assert agent.last(effects.Send).target == OTHER
    authenticate_at = SESSION.replace("127.0.0.1", "127.0.0.2")
    reply(agent, mechanisms(), sender=authenticate_at)
    reply(agent, pb.AuthenticationCompletedMessage(), sender=authenticate_at)
    assert agent.state.authenticated
    agent.feed(
        events.MasterDetected(""), events.MasterDetected(MASTER), events.RegistrationDue(MASTER)
    )
    assert agent.sent(pb.AuthenticateMessage)
    assert not agent.sent(messages.RegisterSlaveMessage)


def test_a_registered_agent_that_the_master_forgot_authenticates_again(agent: Driver) -> None:
    authenticate(agent)
    agent.feed(events.RegistrationDue(MASTER), events.AgentRegistered(MASTER, AGENT, 75.0))
    agent.feed(events.Ping("slave-observer(1)@127.0.0.1:5050", connected=False))
    agent.feed(events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    assert agent.sent(pb.AuthenticateMessage)
    authenticate(agent)
    agent.feed(events.RegistrationDue(MASTER))
    assert agent.sent(messages.ReregisterSlaveMessage)


def test_a_master_that_was_restarted_before_it_took_us(agent: Driver) -> None:
    authenticate(agent)
    agent.feed(events.RegistrationDue(MASTER), events.LinkExited(MASTER))
    agent.feed(events.RegistrationDue(MASTER))
    assert agent.sent(pb.AuthenticateMessage)


def test_being_taken_ends_an_attempt(agent: Driver) -> None:
    agent.feed(events.AgentRegistered(MASTER, AGENT, 75.0))
    assert agent.state.authentication is None
    assert agent.feed(events.AuthenticationTimeout(1)) == []


def test_a_plug_in_that_breaks_fails_the_attempt() -> None:
    class Broken(CramMd5):
        def respond(self, challenge: bytes) -> bytes:
            raise ValueError("no digest today")

    broken = AuthenticationConfig(Broken(AgentCredential("a", "b")), 1.0, 5.0, 60.0)
    agent = Driver(authentication=broken)
    agent.feed(events.Recovered(), events.MasterDetected(MASTER), events.RegistrationDue(MASTER))
    reply(agent, mechanisms())
    reply(agent, pb.AuthenticationStepMessage(data=CHALLENGE))
    assert "ValueError: no digest today" in agent.last(effects.Log).text
    assert timer(agent, "registration").delay_s > 0


def test_answers_are_keyed_digests() -> None:
    answer = CramMd5(AgentCredential("a b", "schlüssel")).respond(CHALLENGE)
    digest = hmac.new("schlüssel".encode(), CHALLENGE, "md5").hexdigest()
    assert answer == b"a b " + digest.encode()
