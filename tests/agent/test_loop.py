# SPDX-License-Identifier: Apache-2.0
"""Events in order, answers first, failures contained."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from containerizer.api import Containerizer
from mesos_compat.agent import loop as module
from mesos_compat.agent.loop import AgentLoop
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import AgentPhase, AgentState
from mesos_compat.agent.machine.step import step as real_step
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import InvariantError
from mesos_compat.base.metrics import Metrics
from tests.agent.machine.driver import FRAMEWORK, MASTER, VERSION_UUID, config, run


class Scene:
    """A loop whose effects are collected."""

    def __init__(self) -> None:
        self.ran: list[Effect] = []
        self.failures: list[InvariantError] = []
        self.state = AgentState(config(), VERSION_UUID, start_time=0.0)
        self.loop = AgentLoop(
            self.state,
            cast(Containerizer, None),
            {"port": "5051"},
            Metrics(FakeClock()),
            {},
            FakeClock(),
            self.failures.append,
        )

    def run(self, effect: Effect) -> Event | None:
        """Answer MakeSandbox at once, as the runner does."""
        self.ran.append(effect)
        if isinstance(effect, effects.MakeSandbox):
            return events.SandboxMade(
                effect.framework_id, effect.executor_id, effect.container_id, ""
            )
        return None

    async def turn(self, *submitted: Event) -> None:
        """Submit, and let the loop work."""
        for event in submitted:
            self.loop.submit(event)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_events_wait_for_the_start() -> None:
    scene = Scene()
    await scene.turn(events.Recovered())
    assert scene.state.phase is AgentPhase.RECOVERING
    scene.loop.start(scene.run)
    await scene.turn()
    assert any(isinstance(effect, effects.Detect) for effect in scene.ran)


async def test_a_quick_answer_goes_before_what_waits() -> None:
    scene = Scene()
    scene.loop.start(scene.run)
    registered = events.AgentRegistered(MASTER, run().task.slave_id.value, None)  # type: ignore[arg-type]  # an id
    await scene.turn(
        events.Recovered(),
        events.MasterDetected(MASTER),
        registered,
        events.RunTask(MASTER, run()),
        events.ShutdownFramework(MASTER, FRAMEWORK),
    )
    kinds = [type(effect) for effect in scene.ran]
    assert kinds.index(effects.Launch) > kinds.index(effects.MakeSandbox)
    (executor,) = scene.state.frameworks[FRAMEWORK].executors.values()
    assert executor.launch_requested


async def test_a_step_that_fails_drops_its_event(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.loop.start(scene.run)

    def step(state: AgentState, event: Event, now: float, entropy: bytes) -> list[Effect]:
        if isinstance(event, events.PingTimeout):
            raise ValueError("no")
        return real_step(state, event, now, entropy)

    monkeypatch.setattr(module, "step", step)
    await scene.turn(events.PingTimeout(), events.Recovered())
    assert "Event 1 (PingTimeout) cannot be handled and is dropped" in caplog.text
    assert scene.state.phase is AgentPhase.DISCONNECTED
    assert scene.failures == []


async def test_a_broken_state_stops_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.loop.start(scene.run)

    def step(state: AgentState, event: Event, now: float, entropy: bytes) -> list[Effect]:
        state.phase = AgentPhase.RUNNING
        raise ValueError("half done")

    monkeypatch.setattr(module, "step", step)
    await scene.turn(events.Recovered(), events.PingTimeout())
    assert len(scene.failures) == 1


async def test_nothing_happens_after_stop() -> None:
    scene = Scene()
    scene.loop.start(scene.run)
    scene.loop.stop()
    await scene.turn(events.Recovered())
    assert scene.ran == []


def test_what_handlers_see() -> None:
    scene = Scene()
    assert scene.loop.flags == {"port": "5051"}
    assert scene.loop.state is scene.state
    assert scene.loop.files == {}


async def test_an_effect_that_fails_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()

    def run(effect: Effect) -> Event | None:
        if isinstance(effect, effects.CancelTimer):
            raise RuntimeError("broken")
        return scene.run(effect)

    scene.loop.start(run)
    await scene.turn(events.Recovered(), events.MasterDetected(MASTER))
    assert any(isinstance(effect, effects.StartTimer) for effect in scene.ran)
    assert "Event 2 (MasterDetected): CancelTimer failed and is left out" in caplog.messages
    assert scene.failures == []


async def test_an_effect_that_finds_a_contradiction_stops_the_loop() -> None:
    scene = Scene()

    def run(effect: Effect) -> Event | None:
        raise InvariantError("broken")

    scene.loop.start(run)
    await scene.turn(events.Recovered())
    assert [str(error) for error in scene.failures] == ["broken"]
