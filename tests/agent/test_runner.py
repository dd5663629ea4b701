# SPDX-License-Identifier: Apache-2.0
"""Effects become actions; long ones end as exactly one event."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from google.protobuf.message import Message

from containerizer.api import Containerizer, LaunchOutcome
from mesos_compat.agent.gc import GarbageCollector
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.meta.writes import DestroyedVolume, FileWrite, MarkFile, carry_out
from mesos_compat.agent.runner import (
    CarryOut,
    Disk,
    Leader,
    Runner,
    Surroundings,
    VolumeHook,
    no_volume,
)
from mesos_compat.agent.sandbox import make_sandbox
from mesos_compat.base.beneath import RemovalStopped, Stop, never
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.model.volumes import Home
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor

CONTAINER = ContainerId("c")
KEY = FrameworkId("f"), ExecutorId("e"), CONTAINER


class FakeContainerizer:
    """Answers as it is told; ``gone`` ends every wait."""

    def __init__(self) -> None:
        self.outcome: LaunchOutcome | Exception = LaunchOutcome.SUCCESS
        self.failure: Exception | None = None
        self.gone = asyncio.Event()
        self.destroyed: list[ContainerId] = []

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        await self.gone.wait()
        if self.failure is not None:
            raise self.failure
        return slave.ContainerTermination(status=9)

    async def destroy(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        self.destroyed.append(container_id)
        self.gone.set()
        return await self.wait(container_id)

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        if self.failure is not None:
            raise self.failure

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        if self.failure is not None:
            raise self.failure
        return pb.ContainerStatus(executor_pid=7)


class World:
    """All that a runner acts on, faked; implements Peers and ExecutorEvents."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.carry_out: CarryOut = carry_out
        self.hook: VolumeHook = no_volume
        self.scope = Scope("test")
        self.containerizer = FakeContainerizer()
        self.events: list[Event] = []
        self.done: list[object] = []
        self.files: dict[str, str] = {}
        self.leaders: asyncio.Queue[Leader | Exception] = asyncio.Queue()
        self.gc = GarbageCollector(
            self.scope, self.clock, 100.0, Metrics(self.clock), lambda path: None
        )
        around = Surroundings(
            self,
            self.detect,
            cast(Containerizer, self.containerizer),
            self.streams,
            self.gc,
            self.files,
            self.scope,
            self.clock,
            lambda error: self.done.append(("exit", error)),
            disk=Disk(make_sandbox, lambda write, stop=never: self.carry_out(write, stop)),
            volume_removed=lambda path: self.hook(path),
        )
        self.runner = Runner(around, self.events.append)

    @property
    def streams(self) -> Streams:
        """Executors' streams."""
        return Streams(self.done)

    def send(self, target: str, message: Message, process_id: str = "") -> None:
        self.done.append((target, message, process_id) if process_id else (target, message))

    def link(self, target: str) -> None:
        self.done.append(("link", target))

    async def detect(self, previous: str) -> Leader:
        self.done.append(("detect", previous))
        found = await self.leaders.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def settle(self) -> None:
        """Let tasks run until they wait."""
        for _ in range(10):
            await asyncio.sleep(0)


class Streams:
    """Executors' streams that write down what they are asked."""

    def __init__(self, done: list[object]) -> None:
        self.done = done

    def send(self, stream_id: int, event: v1_executor.Event) -> None:
        self.done.append((stream_id, event.type))

    def close(self, stream_id: int) -> None:
        self.done.append(("close", stream_id))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    made.runner.close()
    await made.scope.close()


def launch() -> effects.Launch:
    return effects.Launch(*KEY, slave.ContainerConfig(), {})


async def test_messages_links_and_streams(world: World) -> None:
    pong = messages.PongSlaveMessage()
    for effect in (
        effects.Send("m@1.2.3.4:5", pong),
        effects.Send("m@1.2.3.4:5", pong, "other(1)"),
        effects.Link("m@1.2.3.4:5"),
        effects.SendToExecutor(3, v1_executor.Event(type=v1_executor.Event.SHUTDOWN)),
        effects.CloseExecutorStream(3),
        effects.Exit("why"),
    ):
        assert world.runner.run(effect) is None
    assert world.done == [
        ("m@1.2.3.4:5", pong),
        ("m@1.2.3.4:5", pong, "other(1)"),
        ("link", "m@1.2.3.4:5"),
        (3, v1_executor.Event.SHUTDOWN),
        ("close", 3),
        ("exit", "why"),
    ]


async def test_warnings_that_others_provoke_do_not_fill_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        world.runner.run(effects.Log(logging.WARNING, f"not the expected master {number}"))
    assert sum(text.startswith("not the expected") for text in caplog.messages) == 100
    caplog.set_level(logging.INFO)
    world.runner.run(effects.Log(logging.INFO, "others are not held up"))
    assert caplog.messages[-1] == "others are not held up"


async def test_lines(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.runner.run(effects.Log(logging.WARNING, "50% of it"))
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, "50% of it")]


async def test_timers(world: World) -> None:
    world.runner.run(effects.StartTimer(("a",), 5.0, events.PingTimeout()))
    world.runner.run(effects.StartTimer(("a",), 9.0, events.PingTimeout()))
    world.runner.run(effects.StartTimer(("b",), 5.0, events.Recovered()))
    world.runner.run(effects.CancelTimer(("b",)))
    world.runner.run(effects.CancelTimer(("unknown",)))
    world.clock.advance(8.0)
    assert world.events == []
    world.clock.advance(1.0)
    assert world.events == [events.PingTimeout()]
    assert world.clock.pending == []


async def test_a_new_detection_replaces_the_open_one(world: World) -> None:
    world.runner.run(effects.Detect(""))
    await world.settle()
    world.runner.run(effects.Detect("m@1.2.3.4:5"))
    await world.settle()
    assert len(world.scope) == 1
    world.leaders.put_nowait(Leader("n@1.2.3.4:5", "name"))
    await world.settle()
    assert world.events == [events.MasterDetected("n@1.2.3.4:5", "name")]


async def test_a_detector_that_gives_up(world: World) -> None:
    world.leaders.put_nowait(FlagError("no"))
    world.runner.run(effects.Detect(""))
    await world.settle()
    assert world.events == [events.DetectionFailed("no")]


async def test_a_launch_is_watched_to_its_end(world: World) -> None:
    world.runner.run(launch())
    await world.settle()
    assert world.events == [events.ContainerLaunched(*KEY, "", True)]
    world.containerizer.gone.set()
    await world.settle()
    ended = world.events[1]
    assert isinstance(ended, events.ContainerTerminated)
    assert ended.termination is not None
    assert ended.termination.status == 9


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (ContainerError("no image"), "no image"),
        (LaunchOutcome.ALREADY_LAUNCHED, "Container already started"),
        (KeyError("bug"), "KeyError: 'bug'"),
    ],
)
async def test_what_a_failed_launch_leaves_is_destroyed(
    world: World, outcome: LaunchOutcome | Exception, text: str
) -> None:
    world.containerizer.outcome = outcome
    world.runner.run(launch())
    await world.settle()
    assert world.events[0] == events.ContainerLaunched(*KEY, text, True)
    assert isinstance(world.events[1], events.ContainerTerminated)
    assert world.containerizer.destroyed == [CONTAINER]


async def test_a_container_that_nobody_takes(world: World) -> None:
    world.containerizer.outcome = LaunchOutcome.NOT_SUPPORTED
    world.containerizer.gone.set()
    world.runner.run(launch())
    await world.settle()
    assert world.events[0] == events.ContainerLaunched(*KEY, "", False)


async def test_an_end_that_fails_is_told(world: World) -> None:
    world.containerizer.failure = ContainerError("cgroup is busy")
    world.containerizer.gone.set()
    world.runner.run(launch())
    world.runner.run(effects.DestroyContainer(CONTAINER))
    await world.settle()
    assert world.events[-1] == events.ContainerTerminated(*KEY, None, "cgroup is busy")


@pytest.mark.parametrize("failure", [None, ContainerError("no"), OSError("odd")])
async def test_updates_and_statuses_always_answer(world: World, failure: Exception | None) -> None:
    world.containerizer.failure = failure
    world.runner.run(effects.UpdateContainer(*KEY, (), {}))
    world.runner.run(effects.ReadContainerStatus(*KEY, CONTAINER))
    await world.settle()
    updated, status = world.events
    assert isinstance(updated, events.ContainerUpdated)
    assert isinstance(status, events.ContainerStatusRead)
    assert bool(updated.error) == (failure is not None)
    assert (status.status is None) == (failure is not None)


async def settled(world: World, count: int) -> None:
    """Threads take their time."""
    async with asyncio.timeout(60):
        while len(world.events) < count:  # noqa: ASYNC110 - a thread works
            await asyncio.sleep(0.01)


def sandbox(tmp_path: Path) -> effects.MakeSandbox:
    directory = tmp_path / "frameworks" / "f" / "executors" / "e" / "runs" / "c"
    return effects.MakeSandbox(*KEY, str(directory), None)


async def test_a_sandbox_is_made_at_once_and_shown(world: World, tmp_path: Path) -> None:
    effect = sandbox(tmp_path)
    assert world.runner.run(effect) == events.SandboxMade(*KEY, "")
    assert Path(effect.directory).is_dir()
    runs = Path(effect.directory).parent
    assert world.files == {
        effect.directory: effect.directory,
        f"{runs}/latest": effect.directory,
        "/frameworks/f/executors/e/runs/latest": effect.directory,
    }


async def test_a_sandbox_that_cannot_be_made(world: World, tmp_path: Path) -> None:
    (tmp_path / "frameworks").write_text("in the way")
    answer = world.runner.run(sandbox(tmp_path))
    assert isinstance(answer, events.SandboxMade)
    assert answer.error.startswith("Failed to create executor directory '")
    assert world.files == {}


async def test_old_directories_are_collected_unless_used_again(
    world: World, tmp_path: Path
) -> None:
    effect = sandbox(tmp_path)
    world.runner.run(effect)
    home = Path(effect.directory).parents[1]
    meta, other = tmp_path / "meta" / "frameworks" / "f", tmp_path / "other"
    meta.mkdir(parents=True)
    other.mkdir()
    world.runner.run(effects.CollectGarbage((str(home), str(meta), str(other))))
    world.clock.advance(60)
    kept = (str(home), str(meta))
    world.runner.run(effects.MakeSandbox(*KEY, str(home / "runs" / "c2"), None, kept=kept))
    world.clock.advance(1000)
    async with asyncio.timeout(60):
        await world.gc.settled(str(other))
    await world.settle()
    assert home.is_dir()
    assert meta.is_dir()
    assert not other.exists()


async def test_a_checkpoint_in_a_directory_that_was_to_go(world: World, tmp_path: Path) -> None:
    """It stays, unless its removal has begun: then the checkpoint has to be made again."""
    directory = tmp_path / "task"
    directory.mkdir()
    failed = events.TaskNotStored(*KEY, TaskId("t"))
    effect = effects.Checkpoint(
        (MarkFile(f"{directory}/info"),), failed=failed, kept=(str(directory),)
    )
    collect = effects.CollectGarbage((str(directory),))
    world.runner.run(collect)
    assert world.runner.run(effect) is None
    world.clock.advance(1000)
    assert not world.gc.busy(str(directory))
    world.runner.run(collect)
    world.clock.advance(1000)
    assert world.runner.run(effect) == failed
    async with asyncio.timeout(60):
        await world.gc.settled(str(directory))
    assert not directory.exists()
    assert world.runner.run(effect) is None
    assert (directory / "info").exists()


async def test_a_sandbox_waits_for_a_removal_above_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = sandbox(tmp_path)
    world.runner.run(effect)
    home, meta = str(Path(effect.directory).parents[1]), str(tmp_path / "meta")
    Path(meta, "executors").mkdir(parents=True)
    world.runner.run(effects.CollectGarbage((home, meta)))
    world.clock.advance(1000)
    assert world.gc.busy(home)
    assert world.gc.busy(meta)
    new = f"{home}/runs/c2"
    info = MarkFile(f"{meta}/info")
    assert world.runner.run(effects.MakeSandbox(*KEY, new, None, (info,), (home, meta))) is None
    async with asyncio.timeout(60):
        await world.gc.settled(home)
        await world.gc.settled(meta)
    await settled(world, 1)
    assert world.events == [events.SandboxMade(*KEY, "")]
    assert Path(new).is_dir()
    assert Path(info.path).exists()
    assert not Path(effect.directory).exists()
    assert not Path(meta, "executors").exists()


async def test_volumes_are_removed_beside_all_else(world: World, tmp_path: Path) -> None:
    """The answer comes when nothing is left of them, and of the gids that were theirs."""
    (tmp_path / "v" / "below").mkdir(parents=True)
    (tmp_path / "v" / "below" / "file").touch()
    gone: list[str] = []

    async def removed(path: str) -> None:
        assert not (tmp_path / "v").exists()
        gone.append(path)

    world.hook = removed
    mark = str(tmp_path / "mark")
    removal = DestroyedVolume(Home(str(tmp_path), "v"))
    effect = effects.Checkpoint(
        (removal, MarkFile(mark)), events.ResourcesStored(True), events.ResourcesStored(False)
    )
    assert world.runner.run(effect) is None
    await settled(world, 1)
    assert world.events == [events.ResourcesStored(True)]
    assert gone == [str(tmp_path / "v")]
    assert Path(mark).exists()
    missing = DestroyedVolume(Home(str(tmp_path / "mark"), "v"))
    world.runner.run(effects.Checkpoint((missing,), None, events.ResourcesStored(False)))
    await settled(world, 2)
    assert world.events[1:] == [events.ResourcesStored(False)]
    assert len(gone) == 1


async def test_a_removal_ends_with_the_agent(world: World, tmp_path: Path) -> None:
    """What is left is removed by the next one."""
    begun, stopped = threading.Event(), threading.Event()

    def carry_out(write: FileWrite, stop: Stop = never) -> None:
        begun.set()
        while not stop():
            pass
        stopped.set()
        raise RemovalStopped

    world.carry_out = carry_out
    removal = DestroyedVolume(Home(str(tmp_path), "v"))
    world.runner.run(effects.Checkpoint((removal,), events.ResourcesStored(True)))
    await asyncio.to_thread(begun.wait)
    await world.scope.close()
    assert stopped.is_set()
    assert world.events == []
