# SPDX-License-Identifier: Apache-2.0
"""Which isolators are called, and what becomes of their failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from containerizer.isolators.base import Isolator
from containerizer.isolators.caller import IsolatorCaller, NamedIsolator
from mesos_compat.base.errors import InvariantError, IsolatorError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import FakeIsolator, Steps, TopLevelOnlyIsolator

C = ContainerId("c")
N = ContainerId("n", C)


class BrokenIsolator(Isolator):
    """Raises whatever it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        raise self.error


@pytest_asyncio.fixture
async def scope() -> AsyncIterator[Scope]:
    async with Scope("test") as made:
        yield made
        assert len(made) == 0


def caller(scope: Scope, *isolators: Isolator, standalone: bool = False) -> IsolatorCaller:
    named = [NamedIsolator(f"i{n}", isolator) for n, isolator in enumerate(isolators)]
    return IsolatorCaller(named, scope, lambda _: standalone)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file or directory", "/x"), "No such file or directory: '/x'"),
        (IsolatorError("plain"), "plain"),
        (KeyError("k"), "Isolator 'i0' broke in prepare: KeyError('k')"),
    ],
)
async def test_what_a_failure_becomes(scope: Scope, error: Exception, text: str) -> None:
    with pytest.raises(IsolatorError) as caught:
        await caller(scope, BrokenIsolator(error)).prepare(C, slave.ContainerConfig())
    assert text in str(caught.value)


async def test_our_own_bugs_pass(scope: Scope) -> None:
    with pytest.raises(InvariantError):
        await caller(scope, BrokenIsolator(InvariantError("x"))).prepare(C, slave.ContainerConfig())


async def test_who_is_asked(scope: Scope) -> None:
    steps = Steps()
    top, any_ = TopLevelOnlyIsolator("top", steps), FakeIsolator("any", steps)
    await caller(scope, top, any_, Isolator()).isolate(C, 1)
    assert steps.done == ["top isolate c", "any isolate c"]
    steps.done.clear()
    await caller(scope, top, any_).isolate(N, 1)
    await caller(scope, top, any_, standalone=True).isolate(C, 1)
    assert steps.done == ["any isolate c.n", "any isolate c"]


async def test_parallel_calls_are_all_awaited(scope: Scope) -> None:
    steps = Steps()
    one, two = FakeIsolator("one", steps), FakeIsolator("two", steps)
    both = caller(scope, one, two)
    steps.hold("two update c")
    steps.fail("one update c", IsolatorError("first"))
    steps.fail("two update c", IsolatorError("second"))
    updating = asyncio.ensure_future(both.update(C, (), {}))
    await steps.reached("two update c")
    await asyncio.sleep(0)
    assert not updating.done()
    assert both.pending() == [("i1::update", C)]
    steps.release("two update c")
    with pytest.raises(IsolatorError, match=r"^Collect failed: first$"):
        await updating
    assert both.pending() == []


async def test_a_cancelled_call_has_ended(scope: Scope) -> None:
    steps = Steps()
    both = caller(scope, FakeIsolator("one", steps), FakeIsolator("two", steps))
    steps.hold("one isolate c")
    steps.hold("two isolate c")
    isolating = asyncio.ensure_future(both.isolate(C, 1))
    await steps.reached("two isolate c")
    isolating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await isolating
    assert {"one isolate c cancelled", "two isolate c cancelled"} <= set(steps.done)
    assert both.pending() == []


async def test_cleanup_goes_backwards_and_on(scope: Scope) -> None:
    steps = Steps()
    three = [FakeIsolator(name, steps) for name in ("one", "two", "three")]
    steps.fail("three cleanup c", IsolatorError("x"))
    steps.fail("one cleanup c", IsolatorError("y"))
    assert await caller(scope, *three).cleanup(C) == ["x", "y"]
    assert steps.done == ["three cleanup c", "two cleanup c", "one cleanup c"]
