# SPDX-License-Identifier: Apache-2.0
"""Estimators and controllers: the built-in ones, and how they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mesos_compat.agent import fixed_estimator, load_controller
from mesos_compat.agent.load_controller import LoadController
from mesos_compat.agent.machine import events
from mesos_compat.agent.oversubscription import Oversubscription, load_estimator
from mesos_compat.agent.oversubscription import load_controller as loaded
from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.agent.machine.driver import FRAMEWORK, Driver, run, task

FIXED, LOAD = "org_apache_mesos_FixedResourceEstimator", "org_apache_mesos_LoadQoSController"


def with_revocable(cpus: float) -> pb.TaskInfo:
    made = task()
    added = made.resources.add(name="cpus", type=pb.Value.SCALAR)
    added.scalar.value = cpus
    added.allocation_info.role = "*"
    added.revocable.SetInParent()
    return made


class Containers:
    """Knows nothing of what containers use."""

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        raise ContainerError("unknown")


class Pauses:
    """A clock that stands still after some pauses."""

    def __init__(self, count: int) -> None:
        self.taken: list[float] = []
        self._count = count
        self.over = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.taken.append(delay_s)
        if len(self.taken) >= self._count:
            self.over.set()
            await asyncio.get_running_loop().create_future()


@pytest.fixture
def agent() -> Driver:
    """An agent with a task that uses one revocable cpu."""
    made = Driver()
    made.register()
    made.run_task(run(with_revocable(1.0)))
    return made


def asking(
    agent: Driver, clock: Pauses, heard: list[events.Event]
) -> tuple[Oversubscription, Scope]:
    scope = Scope("test")
    made = Oversubscription(
        agent.state,
        Containers(),  # type: ignore[arg-type]  # all that is asked of it
        scope,
        clock,  # type: ignore[arg-type]  # all that is asked of it
        heard.append,
    )
    return made, scope


async def test_the_fixed_estimator(agent: Driver) -> None:
    heard: list[events.Event] = []
    clock = Pauses(2)
    oversubscription, scope = asking(agent, clock, heard)
    estimator = load_estimator(FIXED, {FIXED: (("resources", "cpus:4;mem:100"),)})
    oversubscription.watch_estimator(estimator, 15.0)
    await clock.over.wait()
    await scope.close()
    assert clock.taken == [15.0, 15.0]
    first, second = heard
    assert first == second
    assert isinstance(first, events.Estimated)
    left = Resources.of(first.resources)
    assert (left.revocable().scalar("cpus"), left.scalar("mem")) == (3.0, 100.0)
    agent.feed(first)
    assert Resources.of(agent.state.oversubscribed or ()).scalar("cpus") == 4.0


async def test_the_load_controller(agent: Driver) -> None:
    oversubscription, scope = asking(agent, Pauses(1), [])
    calm = LoadController(4.0, load=lambda: (9.0, 4.0, 9.0))
    calm.initialize(oversubscription.usage)
    assert await calm.corrections() == []
    for busy in (
        LoadController(4.0, load=lambda: (0.0, 4.1, 0.0)),
        LoadController(threshold_15min=2.0, load=lambda: (0.0, 0.0, 2.1)),
    ):
        busy.initialize(oversubscription.usage)
        (correction,) = await busy.corrections()
        assert correction.kill.framework_id.value == FRAMEWORK
        assert correction.kill.executor_id.value == "t1"
        assert correction.kill.container_id.value == agent.executor().container_id.value
    agent.executor().queued.clear()
    assert await busy.corrections() == []
    await scope.close()


async def test_plug_ins_that_fail_are_asked_again(
    agent: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def initialize(self, usage: object) -> None:
            """Nothing to do."""

        async def oversubscribable(self) -> Sequence[pb.Resource]:
            raise ValueError("no idea")

        async def corrections(self) -> Sequence[object]:
            return None  # type: ignore[return-value]  # that is the point

    clock = Pauses(4)
    oversubscription, scope = asking(agent, clock, [])
    oversubscription.watch_estimator(Broken(), 1.0)
    oversubscription.watch_controller(Broken(), 0.0)  # type: ignore[arg-type]  # see above
    await clock.over.wait()
    await scope.close()
    assert clock.taken[:4] == [15.0] * 4
    assert "The resource estimator failed: ValueError: no idea" in caplog.text
    assert "The QoS controller failed: TypeError" in caplog.text


def test_parameters_that_make_no_sense() -> None:
    for parameters in ((), (("resources", "cpus:x"),), (("resources", "nothing"),)):
        with pytest.raises(FlagError):
            fixed_estimator.create(parameters)
    for parameters in ((), (("load_threshold_5min", "x"),), (("load", "1"),)):
        with pytest.raises(FlagError):
            load_controller.create(parameters)
    with pytest.raises(FlagError, match="Unknown plug-in 'x'"):
        load_estimator("x", {})
    with pytest.raises(FlagError, match="No load thresholds are configured"):
        loaded(LOAD, {})
    assert isinstance(loaded(LOAD, {LOAD: (("load_threshold_5min", "6"),)}), LoadController)
