# SPDX-License-Identifier: Apache-2.0
"""Where the agent asks its authorizer, which may be a plug-in and do anything.

One that fails, answers nonsense, takes too long or blocks has not said yes; the agent goes on.

Source: spec ``operator-api`` 8.1, 8.2.

Deviation: a question that is not answered in time counts as failed; upstream waits for ever.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from mesos_compat.authorization.api import (
    Action,
    Approver,
    AuthorizationObject,
    Authorizer,
    Principal,
)
from mesos_compat.authorization.local import ACLS, LocalAuthorizer
from mesos_compat.base.errors import (
    AuthorizationError,
    FlagError,
    InvariantError,
    MesosCompatError,
)
from mesos_compat.base.log import Complaints
from mesos_compat.base.plugins import Group, Parameters, time_limit
from mesos_compat.base.scope import Scope, ScopeClosed
from mesos_compat.model import jsonpb

log = logging.getLogger(__name__)

T = TypeVar("T")

GROUP = "mesos_compat.authorizers"
#: What is used if nothing else is named; without ACLs it stands for no authorizer at all.
LOCAL: Final = "local"

#: Seconds until a question counts as failed.
LIMIT_S: Final = 60.0
#: Seconds that an authorizer may keep the agent from doing anything else: for one step of an
#: answer that takes time, and for all objects of one request.
BLOCKING_S: Final = 5.0


class Gate:
    """Asks an authorizer."""

    def __init__(
        self,
        authorizer: Authorizer,
        scope: Scope,
        *,
        limit_s: float = LIMIT_S,
        blocking_s: float = BLOCKING_S,
    ) -> None:
        """What is abandoned ends with ``scope``. Times as LIMIT_S and BLOCKING_S."""
        self._authorizer = authorizer
        #: Whether it is ours, which decides at once.
        self._trusted = isinstance(authorizer, LocalAuthorizer)
        self._scope = scope
        self._limit_s = limit_s
        self._blocking_s = blocking_s
        self._complaints = Complaints(log)

    def decide(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool | Awaitable[bool]:
        """Say whether ``subject`` may do that, or return what has to be awaited for the answer.

        Raises AuthorizationError now or then.
        """
        verb = partial(self._authorizer.authorized, subject, action, what)
        return self._ask(verb, _truth)

    async def authorized(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool:
        """Say whether ``subject`` may do that. Raises AuthorizationError."""
        answer = self.decide(subject, action, what)
        return answer if isinstance(answer, bool) else await answer

    async def approver(self, subject: Principal | None, action: Action) -> Approver:
        """Return what filters lists; it never raises. Raises AuthorizationError."""
        verb = partial(self._authorizer.approver, subject, action)
        answer = self._ask(verb, _function)
        approver: Approver = await answer if inspect.isawaitable(answer) else answer
        if self._trusted:
            return approver
        return _Guarded(approver, action, self._blocking_s, self._complaints).approved

    def _ask(self, verb: Callable[[], Any], check: Callable[[Any], T]) -> T | Awaitable[T]:
        answer = verb() if self._trusted else _guarded(verb, self._blocking_s)
        if not inspect.isawaitable(answer):
            return check(answer)
        return self._wait(answer, check)

    async def _wait(self, answer: Awaitable[Any], check: Callable[[Any], T]) -> T:
        """Wait for an answer in a task of its own: it may not heed that it is cancelled."""
        try:
            asked = self._scope.spawn(_taken(answer, self._blocking_s), "ask authorizer")
        except ScopeClosed as error:
            if inspect.iscoroutine(answer):
                answer.close()
            raise AuthorizationError("the agent is ending") from error
        try:
            done, _ = await asyncio.wait({asked}, timeout=self._limit_s)
        finally:
            asked.cancel("nobody waits any more")
        if not done:
            raise AuthorizationError(f"it did not answer within {self._limit_s:g} s")
        if asked.cancelled():
            raise AuthorizationError("it gave up")
        broken = asked.exception()
        if broken is not None:
            raise broken if isinstance(broken, InvariantError) else _failed(broken)
        outcome = asked.result()
        if isinstance(outcome, AuthorizationError):
            raise outcome
        return check(outcome)


class _Guarded:
    """An approver of a plug-in; what it cannot decide in time is not approved."""

    def __init__(
        self, approver: Approver, action: Action, budget_s: float, complaints: Complaints
    ) -> None:
        self._approver = approver
        self._action = action
        self._left_s = budget_s
        self._complaints = complaints

    def approved(self, what: AuthorizationObject) -> bool:
        """Implements ``Approver``."""
        if self._left_s <= 0:
            return False
        began = time.monotonic()
        try:
            return _truth(_guarded(partial(self._approver, what), self._left_s))
        except AuthorizationError as error:
            name = Action.Name(self._action)
            self._complaints.warn("The authorizer cannot decide about %s: %s", name, error)
            return False
        finally:
            self._left_s -= time.monotonic() - began


class _Stepwise(Generic[T]):
    """Awaits something, none of whose steps may take long."""

    def __init__(self, answer: Awaitable[T], blocking_s: float) -> None:
        self._answer = answer
        self._blocking_s = blocking_s

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._answer.__await__()
        resume: Callable[[], Any] = partial(next, steps)
        while True:
            with time_limit(self._blocking_s):
                over, value = _step(resume)
            if over:
                return value
            try:
                sent = yield value
            except BaseException as error:
                resume = partial(_throwing(steps), error)
            else:
                resume = partial(next, steps) if sent is None else partial(steps.send, sent)


def _throwing(steps: Any) -> Callable[[BaseException], Any]:
    """Generators have this verb, whatever else is awaited need not."""
    throw: Callable[[BaseException], Any] = steps.throw
    return throw


def _step(resume: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        return False, resume()
    except StopIteration as done:
        return True, done.value


def _guarded(function: Callable[[], Any], limit_s: float) -> Any:
    """Call foreign code. Raises AuthorizationError, whatever happens."""
    try:
        with time_limit(limit_s):
            return function()
    except InvariantError:
        raise
    except BaseException as error:
        # nothing is awaited here: whatever it is, it is the authorizer's
        raise _failed(error) from error


async def _taken(answer: Awaitable[Any], blocking_s: float) -> Any:
    """Await foreign code; its failure, an AuthorizationError, is a result."""
    try:
        return await _Stepwise(answer, blocking_s)
    except InvariantError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return _failed(error)


def _failed(error: BaseException) -> AuthorizationError:
    if isinstance(error, AuthorizationError):
        return error
    if isinstance(error, MesosCompatError | TimeoutError) and str(error):
        return AuthorizationError(str(error))
    log.debug("The authorizer failed", exc_info=error)
    return AuthorizationError(f"{type(error).__name__}: {error}")


def _truth(answer: Any) -> bool:
    if not isinstance(answer, bool):
        raise AuthorizationError(f"it answered with {type(answer).__name__}")
    return answer


def _function(answer: Any) -> Approver:
    if not callable(answer):
        raise AuthorizationError(f"it answered with {type(answer).__name__}")
    approver: Approver = answer
    return approver


def open_gate(
    name: str,
    acls: Mapping[str, Any] | None,
    parameters: Mapping[str, Parameters],
    scope: Scope,
) -> Gate | None:
    """Make what ``--authorizer`` and ``--acls`` ask for; ``None`` if everything is allowed.

    Raises FlagError.
    """
    given = parameters.get(name, ())
    if acls is not None and name == LOCAL:
        given = ((ACLS, jsonpb.dumps(dict(acls)).decode("utf-8", "surrogateescape")),)
    elif acls is not None:
        log.warning("--acls is ignored: it is for --authorizer=%s, not for '%s'", LOCAL, name)
    elif name == LOCAL and not given:
        return None
    try:
        made: Authorizer = Group(GROUP).make(
            name, lambda create: create(given), ("authorized", "approver")
        )
    except FlagError as error:
        raise FlagError(f"Could not create '{name}' authorizer: {error}") from error
    log.info("Authorizer is '%s'", name)
    return Gate(made, scope)
