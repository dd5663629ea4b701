# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import Iterator

import pytest

from containerizer.api import LaunchOutcome
from mesos_compat.agent.machine.events import Event, ExecutorSubscribed, ExecutorUpdate
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from mesos_compat.simulate.executors import SimulatedExecutors
from mesos_compat.simulate.script import Behaviour, Rules, Script, parse_kill

KINDS = v1_executor.Event
ID = ContainerId("run")


class World:
    """An agent that launches one executor and notes what it tells."""

    def __init__(self, script: str = "STARTING:0,RUNNING:1s,FINISHED:2s", kill: str = "0") -> None:
        self.clock = FakeClock()
        rules = Rules(Behaviour(Script.parse(script), kill=parse_kill(kill)))
        self.executors = SimulatedExecutors(self.clock, rules, "seed")
        self.executors.attach(self.take)
        self.stream_id = 0
        self.updates: list[pb.TaskStatus] = []

    def take(self, event: Event) -> None:
        match event:
            case ExecutorSubscribed():
                self.stream_id = event.stream_id
            case ExecutorUpdate():
                self.updates.append(event.status)

    async def launch(self, *, once: bool = True, killing: bool = False) -> None:
        config = slave.ContainerConfig()
        if once:
            config.task_info.name = "t"
        names = {"MESOS_FRAMEWORK_ID": "f", "MESOS_EXECUTOR_ID": "e"}
        assert await self.executors.launch(ID, config, names) is LaunchOutcome.SUCCESS
        self.clock.advance(0)
        subscribed = KINDS(type=KINDS.SUBSCRIBED)
        if killing:
            subscribed.subscribed.framework_info.capabilities.add(
                type=v1.FrameworkInfo.Capability.TASK_KILLING_STATE
            )
        self.send(subscribed)

    def send(self, event: v1_executor.Event) -> None:
        self.executors.streams.send(self.stream_id, event)

    def task(self, task_id: str, **labels: str) -> None:
        event = KINDS(type=KINDS.LAUNCH)
        event.launch.task.task_id.value = task_id
        for key, value in labels.items():
            event.launch.task.labels.labels.add(key=f"simulate.{key}", value=value)
        self.send(event)

    def group(self, *task_ids: str) -> None:
        event = KINDS(type=KINDS.LAUNCH_GROUP)
        for task_id in task_ids:
            event.launch_group.task_group.tasks.add().task_id.value = task_id
        self.send(event)

    def kill(self, task_id: str) -> None:
        event = KINDS(type=KINDS.KILL)
        event.kill.task_id.value = task_id
        self.send(event)

    def acknowledge_all(self) -> None:
        for status in self.updates:
            event = KINDS(type=KINDS.ACKNOWLEDGED)
            event.acknowledged.uuid = status.uuid
            self.send(event)

    def states(self, task_id: str = "t") -> list[str]:
        return [
            pb.TaskState.Name(status.state).removeprefix("TASK_")
            for status in self.updates
            if status.task_id.value == task_id
        ]

    def alive(self) -> bool:
        return bool(self.executors.containers())


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.executors.crash()
    assert not made.clock.pending


async def test_a_task_plays_its_script_and_its_executor_ends_with_it(world: World) -> None:
    await world.launch()
    ended = asyncio.ensure_future(world.executors.wait(ID))
    await asyncio.sleep(0)
    world.task("t")
    assert world.states() == ["STARTING"]
    world.clock.advance(0.9)
    assert world.states() == ["STARTING"]
    world.clock.advance(0.1)
    assert world.states() == ["STARTING", "RUNNING"]
    world.clock.advance(2)
    assert world.states() == ["STARTING", "RUNNING", "FINISHED"]
    assert world.alive(), "the last update is not acknowledged"
    assert len({status.uuid for status in world.updates}) == 3
    world.acknowledge_all()
    assert not world.alive()
    termination = await ended
    assert termination is not None
    assert termination.status == 0
    assert await world.executors.wait(ID) is None


async def test_a_killed_task(world: World) -> None:
    await world.launch()
    world.task("t", kill="5s")
    world.kill("t")
    world.kill("t")
    world.clock.advance(4)
    assert world.states() == ["STARTING"]
    world.clock.advance(1)
    assert world.states() == ["STARTING", "KILLED"]
    world.clock.advance(100)
    assert world.states() == ["STARTING", "KILLED"]


async def test_a_framework_that_wants_to_know_of_kills(world: World) -> None:
    await world.launch(killing=True)
    world.task("t", kill="1s")
    world.kill("t")
    world.clock.advance(1)
    assert world.states() == ["STARTING", "KILLING", "KILLED"]


async def test_a_task_that_does_not_die_is_destroyed(world: World) -> None:
    await world.launch()
    world.task("t", kill="never", script="RUNNING")
    world.kill("t")
    world.send(KINDS(type=KINDS.SHUTDOWN))
    world.clock.advance(100)
    assert world.states() == ["RUNNING"]
    ended = await world.executors.destroy(ID)
    assert ended is not None
    assert ended.status == 9
    assert not world.alive()


async def test_tasks_of_a_group_end_together(world: World) -> None:
    await world.launch()
    world.group("a", "b")
    world.clock.advance(1)
    world.kill("a")
    assert world.states("a")[-1] == "KILLED"
    assert world.states("b")[-1] == "KILLED"
    world.acknowledge_all()
    assert not world.alive()


async def test_an_executor_of_a_framework_stays_until_it_is_told(world: World) -> None:
    await world.launch(once=False)
    world.task("t")
    world.clock.advance(10)
    world.acknowledge_all()
    assert world.alive()
    world.task("u")
    world.send(KINDS(type=KINDS.SHUTDOWN))
    assert world.states("u") == ["STARTING", "KILLED"]
    world.acknowledge_all()
    assert not world.alive()


async def test_an_executor_that_exits(world: World) -> None:
    await world.launch()
    world.task("t", script="RUNNING,EXIT:1s")
    ended = asyncio.ensure_future(world.executors.wait(ID))
    await asyncio.sleep(0)
    world.clock.advance(1)
    termination = await ended
    assert termination is not None
    assert termination.status == 256
    assert world.states() == ["RUNNING"]


async def test_an_unusable_script_of_a_task_is_told(world: World) -> None:
    await world.launch()
    world.task("t", script="HUH")
    assert world.states() == ["FAILED"]
    assert "HUH" in world.updates[0].message


async def test_the_same_task_fails_in_every_run() -> None:
    ends = []
    for _ in range(2):
        world = World()
        await world.launch(once=False)
        for number in range(30):
            world.task(f"t{number}", fail="0.5")
        world.clock.advance(10)
        ends.append([world.states(f"t{number}")[-1] for number in range(30)])
        world.executors.crash()
    assert ends[0] == ends[1]
    assert set(ends[0]) == {"FINISHED", "FAILED"}


async def test_what_is_asked_of_containers(world: World) -> None:
    await world.launch()
    executors = world.executors
    given = [pb.Resource(name="cpus", type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=2))]
    await executors.update(ID, given, {})
    assert (await executors.usage(ID)).cpus_limit == 2
    assert (await executors.status(ID)).container_id.value == "run"
    other = ContainerId("other")
    for call in (executors.usage(other), executors.status(other), executors.remove(ID)):
        with pytest.raises(ContainerError):
            await call
    assert await executors.destroy(other) is None
    assert not await executors.kill(other, 9)
    assert await executors.kill(ID, 15)
