# SPDX-License-Identifier: Apache-2.0
"""Which isolators are called, and what becomes of their failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

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


class ShapelessIsolator(Isolator):
    """Keeps to none of the shapes of the contract."""

    supports_nesting = True

    def isolate(self, container_id: ContainerId, pid: int) -> Any:
        raise RuntimeError("not even a coroutine")

    def update(self, *_: object) -> Any:
        return 3

    async def prepare(self, *_: object) -> Any:
        return {"environment": {}}

    async def watch(self, *_: object) -> Any:
        return None

    async def usage(self, *_: object) -> Any:
        return 0.5

    async def status(self, *_: object) -> Any:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        return await gone

    async def cleanup(self, *_: object) -> Any:
        return "done"


@pytest.mark.parametrize("number", [1, 2])
async def test_isolators_of_any_shape(
    scope: Scope, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    shapeless = caller(scope, *[ShapelessIsolator() for _ in range(number)])
    broke = "Isolator 'i0' broke in"
    with pytest.raises(IsolatorError, match=rf"^{broke} prepare: .*returned dict"):
        await shapeless.prepare(C, slave.ContainerConfig())
    with pytest.raises(IsolatorError, match=rf"^Collect failed: {broke} isolate: RuntimeError"):
        await shapeless.isolate(C, 1)
    with pytest.raises(IsolatorError, match=rf"^Collect failed: {broke} update: TypeError"):
        await shapeless.update(C, (), {})
    for _, watch in shapeless.watches(C):
        with pytest.raises(IsolatorError, match=r"broke in watch: .*returned NoneType"):
            await watch(C)
    assert await shapeless.usage(C) == []
    assert await shapeless.status(C) == []
    assert "Isolator 'i0' was cancelled in status" in caplog.text
    assert await shapeless.cleanup(C) == []
    assert shapeless.pending() == []


async def test_recovery_is_filtered_and_parallel(scope: Scope) -> None:
    steps = Steps()
    seen: dict[str, tuple[list[str], set[str]]] = {}

    class Recovering(FakeIsolator):
        async def recover(
            self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
        ) -> None:
            shown = [str(ContainerId.of(state.container_id)) for state in states]
            seen[self.name] = shown, {str(orphan) for orphan in orphans}
            await steps.take(f"{self.name} recover")

    class TopOnly(Recovering):
        supports_nesting = False
        supports_standalone = False

    class NestingOnly(Recovering):
        supports_standalone = False

    def state(container_id: ContainerId) -> slave.ContainerState:
        return slave.ContainerState(container_id=container_id.message(), pid=1, directory="/")

    standalone = ContainerId("s")
    isolators = [
        NamedIsolator("top", TopOnly("top", steps)),
        NamedIsolator("nesting", NestingOnly("nesting", steps)),
        NamedIsolator("any", Recovering("any", steps)),
    ]
    asked = IsolatorCaller(isolators, scope, lambda c: c.root == standalone)
    steps.hold("top recover")
    steps.fail("nesting recover", IsolatorError("x"))
    states = [state(C), state(N), state(standalone)]
    orphans = [ContainerId("o"), ContainerId("o", N), ContainerId("o", standalone)]
    recovering = asyncio.ensure_future(asked.recover(states, orphans))
    await steps.reached("any recover")
    assert not recovering.done()
    steps.release("top recover")
    with pytest.raises(IsolatorError, match=r"^Collect failed: x$"):
        await recovering
    assert seen == {
        "top": (["c"], {"o"}),
        "nesting": (["c", "c.n"], {"o", "c.n.o"}),
        "any": (["c", "c.n", "s"], {"o", "c.n.o", "s.o"}),
    }


async def test_preparing_is_sequential_and_stops(scope: Scope) -> None:
    steps = Steps()
    three = [FakeIsolator(name, steps) for name in ("one", "two", "three")]
    steps.fail("two prepare c", IsolatorError("x"))
    with pytest.raises(IsolatorError, match=r"^x$"):
        await caller(scope, *three).prepare(C, slave.ContainerConfig())
    assert steps.done == ["one prepare c", "two prepare c"]


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
