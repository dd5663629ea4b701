# SPDX-License-Identifier: Apache-2.0
"""Whatever an authorizer does, the agent gets a yes, a no or an AuthorizationError."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest

from mesos_compat.authorization.api import Action, AuthorizationObject, Principal
from mesos_compat.authorization.gate import Gate, open_gate
from mesos_compat.base.errors import AuthorizationError, FlagError, InvariantError
from mesos_compat.base.scope import Scope

WHAT = AuthorizationObject(value="x")
OPS = Principal("ops")


class Plugin:
    """Does as it is told, for both verbs."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act

    def authorized(self, *arguments: Any) -> Any:
        return self._act(*arguments)

    def approver(self, *arguments: Any) -> Any:
        return self._act(*arguments)


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    async with Scope("test") as made:
        yield made


def gate(
    scope: Scope, act: Callable[..., Any], limit_s: float = 60.0, blocking_s: float = 60.0
) -> Gate:
    return Gate(Plugin(act), scope, limit_s=limit_s, blocking_s=blocking_s)


def later(answer: Any) -> Callable[..., Any]:
    async def act(*_: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return act


def now(answer: Any) -> Callable[..., Any]:
    def act(*_: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return act


@pytest.mark.parametrize("how", [now, later])
@pytest.mark.parametrize("answer", [True, False])
async def test_answers(scope: Scope, how: Callable[..., Any], answer: bool) -> None:
    made = gate(scope, how(answer))
    assert await made.authorized(OPS, Action.VIEW_FLAGS, WHAT) is answer
    decided = made.decide(OPS, Action.VIEW_FLAGS, WHAT)
    assert isinstance(decided, bool) == (how is now)
    assert (decided if isinstance(decided, bool) else await decided) is answer


async def test_what_it_is_asked(scope: Scope) -> None:
    asked: list[Any] = []

    def act(*arguments: Any) -> bool:
        asked.append(arguments)
        return True

    await gate(scope, act).authorized(None, Action.RUN_TASK, WHAT)
    assert asked == [(None, Action.RUN_TASK, WHAT)]


BROKEN: list[Any] = [
    None,
    1,
    "yes",
    ValueError("no idea"),
    AuthorizationError("no idea"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    TimeoutError(),
    RecursionError(),
]


@pytest.mark.parametrize("answer", BROKEN, ids=repr)
async def test_nonsense_that_comes_later(scope: Scope, answer: Any) -> None:
    with pytest.raises(AuthorizationError):
        await gate(scope, later(answer)).authorized(OPS, Action.VIEW_FLAGS, WHAT)
    with pytest.raises(AuthorizationError):
        await gate(scope, later(answer)).approver(OPS, Action.VIEW_FLAGS)


@pytest.mark.parametrize("answer", BROKEN, ids=repr)
async def test_nonsense_at_once(scope: Scope, answer: Any) -> None:
    with pytest.raises(AuthorizationError):
        await gate(scope, now(answer)).authorized(OPS, Action.VIEW_FLAGS, WHAT)
    with pytest.raises(AuthorizationError):
        await gate(scope, now(answer)).approver(OPS, Action.VIEW_FLAGS)


async def test_our_own_bugs_are_not_hidden(scope: Scope) -> None:
    with pytest.raises(InvariantError):
        await gate(scope, now(InvariantError("x"))).authorized(OPS, Action.VIEW_FLAGS, WHAT)


async def test_one_that_never_answers(scope: Scope) -> None:
    async def act(*_: Any) -> bool:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            if scope.closed:
                return True

    with pytest.raises(AuthorizationError, match="did not answer within"):
        await gate(scope, act, limit_s=0.05).authorized(OPS, Action.VIEW_FLAGS, WHAT)


async def test_one_that_blocks(scope: Scope) -> None:
    def at_once(*_: Any) -> bool:
        time.sleep(3600)
        return True

    async def by_and_by(*_: Any) -> bool:
        await asyncio.sleep(0)
        return at_once()

    for act in (at_once, by_and_by):
        with pytest.raises(AuthorizationError, match="did not return within"):
            await gate(scope, act, blocking_s=0.2).authorized(OPS, Action.VIEW_FLAGS, WHAT)


class Odd:
    """Something to await that is no coroutine."""

    def __await__(self) -> Generator[Any, Any, Any]:
        yield
        yield "not a future"
        return True


async def test_something_odd_to_await(scope: Scope) -> None:
    with pytest.raises(AuthorizationError):
        await gate(scope, lambda *_: Odd()).authorized(OPS, Action.VIEW_FLAGS, WHAT)
    future = asyncio.get_running_loop().create_future()
    future.set_result(True)
    assert await gate(scope, lambda *_: future).authorized(OPS, Action.VIEW_FLAGS, WHAT)


async def test_who_asks_no_more_is_not_answered(scope: Scope) -> None:
    ended = asyncio.Event()
    began = asyncio.Event()

    async def act(*_: Any) -> bool:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return True

    asking = gate(scope, act).authorized(OPS, Action.VIEW_FLAGS, WHAT)
    task = scope.spawn(asking, "a client")
    await began.wait()
    task.cancel()
    await ended.wait()


async def test_nobody_is_asked_at_the_end(scope: Scope) -> None:
    made = gate(scope, later(True))
    await scope.close()
    with pytest.raises(AuthorizationError, match="ending"):
        await made.authorized(OPS, Action.VIEW_FLAGS, WHAT)


@pytest.mark.parametrize("how", [now, later])
async def test_approvers(scope: Scope, how: Callable[..., Any]) -> None:
    approve = await gate(scope, how(lambda what: what.value == "x")).approver(OPS, Action.VIEW_ROLE)
    assert approve(WHAT)
    assert not approve(AuthorizationObject(value="y"))


@pytest.mark.parametrize("answer", [None, 1, ValueError("x"), SystemExit(1)], ids=repr)
async def test_an_approver_that_fails_approves_nothing(
    scope: Scope, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    approve = await gate(scope, now(now(answer))).approver(OPS, Action.VIEW_ROLE)
    assert not approve(WHAT)
    assert "The authorizer cannot decide about VIEW_ROLE: " in caplog.text


async def test_an_approver_has_so_much_time_for_all_objects(scope: Scope) -> None:
    calls = []

    def slow(what: AuthorizationObject) -> bool:
        calls.append(what)
        time.sleep(3600)
        return True

    approve = await gate(scope, now(slow), blocking_s=1.0).approver(OPS, Action.VIEW_ROLE)
    assert not any(approve(WHAT) for _ in range(1000))
    assert len(calls) == 1


async def test_opened_by_flags(scope: Scope) -> None:
    assert open_gate("local", None, {}, scope) is None
    made = open_gate("local", {}, {}, scope)
    assert made is not None
    assert made.decide(OPS, Action.VIEW_FLAGS, WHAT) is True
    denying = {"permissive": False}
    made = open_gate("local", denying, {}, scope)
    assert made is not None
    assert made.decide(OPS, Action.VIEW_FLAGS, WHAT) is False
    with pytest.raises(
        FlagError, match=r"^Could not create 'local' authorizer: .*GetEndpoint|path"
    ):
        open_gate(
            "local",
            {"get_endpoints": [{"principals": {"type": "ANY"}, "paths": {"values": ["/x"]}}]},
            {},
            scope,
        )
    with pytest.raises(FlagError, match=r"^Could not create 'mine' authorizer: Unknown plug-in"):
        open_gate("mine", None, {}, scope)


async def test_parameters_of_modules_make_it_active_too(scope: Scope) -> None:
    made = open_gate("local", None, {"local": (("acls", '{"permissive":false}'),)}, scope)
    assert made is not None
    assert made.decide(OPS, Action.VIEW_FLAGS, WHAT) is False
