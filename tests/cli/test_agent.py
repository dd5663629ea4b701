# SPDX-License-Identifier: Apache-2.0
"""The composition root: what becomes of errors that nobody caught."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from mesos_compat.base.errors import InvariantError
from mesos_compat.base.scope import Scope
from mesos_compat.cli import agent as module


async def break_with(error: Exception) -> asyncio.Future[module.Ending]:
    """Let a child of a scope fail in an event loop that is set up like the agent's."""

    async def child() -> None:
        raise error

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[module.Ending] = loop.create_future()
    loop.set_exception_handler(partial(module._broken, ended))
    try:
        async with Scope("agent") as scope:
            scope.spawn(child(), "the child")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    return ended


async def test_a_broken_invariant_ends_the_agent_with_the_story(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = InvariantError("broken: the story")
    ended = await break_with(error)
    assert ended.exception() is error
    assert caplog.messages == ["agent: the child broke: broken: the story"]


async def test_any_other_failure_of_a_part_does_not(caplog: pytest.LogCaptureFixture) -> None:
    ended = await break_with(RuntimeError("one container"))
    assert not ended.done()
    assert caplog.messages == ["agent: the child failed: one container"]
