# SPDX-License-Identifier: Apache-2.0
"""Scopes own their tasks: siblings are strangers, and leaving ends all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mesos_compat.base.errors import InvariantError
from mesos_compat.base.scope import Scope, ScopeClosed


async def forever() -> None:
    await asyncio.Event().wait()


async def fail(error: BaseException) -> None:
    raise error


async def test_a_failing_child_is_reported_and_its_siblings_go_on() -> None:
    errors: list[tuple[str, Exception]] = []
    error = ValueError("x")
    async with Scope("s", on_error=lambda name, e: errors.append((name, e))) as scope:
        sibling = scope.spawn(forever(), "sibling")
        scope.spawn(fail(error), "bad")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert errors == [("bad", error)]
        assert scope.names() == ["sibling"]
        assert repr(scope) == "<Scope s: sibling>"
    assert sibling.cancelled()
    assert len(scope) == 0


async def test_without_a_callback_the_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with Scope("s") as scope:
        task = scope.spawn(fail(ValueError("why")), "bad")
        with pytest.raises(ValueError):
            await task
        await asyncio.sleep(0)
    assert "s: bad failed: why" in caplog.text


async def test_our_own_bug_goes_to_the_loop() -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    async with Scope("s", on_error=lambda *_: pytest.fail("not for the callback")) as scope:
        scope.spawn(fail(InvariantError("broken")), "bad")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert isinstance(seen[0]["exception"], InvariantError)


async def test_results_are_awaitable() -> None:
    async def answer() -> int:
        return 42

    async with Scope("s") as scope:
        assert await scope.spawn(answer(), "answer") == 42


async def test_close_names_what_would_not_stop(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    scope = Scope("s", close_timeout_s=0.01)
    task = scope.spawn(stubborn(), "stubborn")
    await asyncio.sleep(0)
    assert await scope.close() == ["stubborn"]
    assert "did not stop" in caplog.text
    release.set()
    await task
    assert await scope.close() == []


async def test_nothing_starts_on_a_closed_scope() -> None:
    scope = Scope("s")
    await scope.close()
    with pytest.raises(ScopeClosed, match="cannot start late"):
        scope.spawn(forever(), "late")


async def test_a_child_may_close_its_scope() -> None:
    scope = Scope("s")
    other = scope.spawn(forever(), "other")
    closer = scope.spawn(scope.close(), "closer")
    assert await closer == []
    assert other.cancelled()
