# SPDX-License-Identifier: Apache-2.0
"""Carries out the effects of the machine, in their order.

Quick effects are done at once; the answer of some (MakeSandbox) is given back and handled before
any other event. Long ones become tasks of the agent's scope, named after their subject, and end as
exactly one event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from google.protobuf.message import Message

from containerizer.api import Containerizer, LaunchOutcome
from mesos_compat.agent import paths
from mesos_compat.agent.authorizing import TaskAuthorizer
from mesos_compat.agent.gc import GarbageCollector
from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.effects import Effect, TimerKey
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.meta.writes import DestroyedVolume, FileWrite, carry_out
from mesos_compat.agent.port import ExecutorEvents
from mesos_compat.agent.sandbox import SandboxError, make_sandbox
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.beneath import Stop, never
from mesos_compat.base.clock import Clock, PendingCall
from mesos_compat.base.errors import (
    CheckpointError,
    ContainerError,
    InvariantError,
    MesosCompatError,
)
from mesos_compat.base.log import Complaints
from mesos_compat.base.scope import Scope
from mesos_compat.base.threads import stoppable
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Warnings of the machine in ten seconds; the others are counted.
_WARNINGS = 100

_RunKey = tuple[FrameworkId, ExecutorId, ContainerId]


class Peers(Protocol):
    """Outgoing libprocess messages, in order per address. Targets are UPID texts."""

    def send(self, target: str, message: Message, process_id: str = "") -> None:
        """Send from the agent's own process id, or from another one of ours; messages for
        unusable addresses are dropped.
        """

    def link(self, target: str) -> None:
        """Open, if there is none, the connection that tells when ``target`` is gone."""


@dataclass(frozen=True, slots=True)
class Leader:
    """A detected master; ``pid`` is empty if there is none."""

    pid: str
    hostname: str = ""
    #: As in ``MasterDetected``.
    capabilities: frozenset[int] | None = None
    version: str = ""


#: Returns the leading master once it is another than that with the given UPID text; the empty
#: text makes it return the current one. Waits without limit; raises MesosCompatError for good.
Detector = Callable[[str], Awaitable[Leader]]


#: Called when an executor is about to be forgotten.
RemovedHook = Callable[[pb.FrameworkInfo, pb.ExecutorInfo], None]


def tell_nobody(framework: pb.FrameworkInfo, executor: pb.ExecutorInfo) -> None:
    """The hook of an agent without hooks."""


class CarryOut(Protocol):
    """Makes one change of the meta directory; that of ``agent.meta.writes``."""

    def __call__(self, write: FileWrite, stop: Stop = never) -> None:
        """Raises CheckpointError, or RemovalStopped if ``stop`` ended the removal of a volume."""


@dataclass(frozen=True, slots=True)
class Disk:
    """How the agent's own files are made; blocks for some operations."""

    #: Makes a directory and gives it to a user. Raises SandboxError.
    make_sandbox: Callable[[str, str | None], None]
    carry_out: CarryOut


#: Called with the path of a persistent volume that was removed.
VolumeHook = Callable[[str], Awaitable[None]]


async def no_volume(path: str) -> None:
    """The hook of an agent that knows nothing of volumes but their directories."""


DISK: Final = Disk(make_sandbox, carry_out)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that the runner acts on."""

    peers: Peers
    detect: Detector
    containerizer: Containerizer
    executors: ExecutorEvents
    gc: GarbageCollector
    #: Virtual paths of ``/files``; changed by the runner.
    files: dict[str, str]
    scope: Scope
    clock: Clock
    #: Called once when the process is to end; the text is empty if that is no error.
    exit: Callable[[str], None]
    #: Called when an executor is about to be forgotten, if there are hooks.
    removed: RemovedHook = tell_nobody
    #: Asked about tasks, if ``AgentConfig.authorizes_tasks``.
    gate: Gate | None = None
    disk: Disk = DISK
    volume_removed: VolumeHook = no_volume


class Runner:
    """One method per kind of effect."""

    def __init__(self, around: Surroundings, submit: Callable[[Event], None]) -> None:
        self._around = around
        self._submit = submit
        self._timers: dict[TimerKey, PendingCall] = {}
        self._authorizer: TaskAuthorizer | None = None
        if around.gate is not None:
            self._authorizer = TaskAuthorizer(around.gate, around.scope, submit)
        #: Most warnings of the machine are about what others send, which may be anybody.
        self._complaints = Complaints(log, burst=_WARNINGS)
        #: The question after the master that is open; a new one takes its place.
        self._detection: asyncio.Task[None] | None = None

    def run(self, effect: Effect) -> Event | None:
        """Carry out or start ``effect``; return its answer if it is there already."""
        around = self._around
        match effect:
            case effects.Log(logging.WARNING, text):
                self._complaints.warn("%s", text)
            case effects.Log(level, text):
                log.log(level, "%s", text)
            case effects.StartTimer():
                self._start_timer(effect)
            case effects.CancelTimer(key):
                self._cancel_timer(key)
            case effects.Send(target, message, process_id):
                around.peers.send(target, message, process_id)
            case effects.Link(target):
                around.peers.link(target)
            case effects.SendToExecutor(stream_id, event):
                around.executors.send(stream_id, event)
            case effects.CloseExecutorStream(stream_id):
                around.executors.close(stream_id)
            case effects.Checkpoint(writes):
                if any(isinstance(write, DestroyedVolume) for write in writes):
                    around.scope.spawn(self._store_later(effect), "store resources")
                    return None
                return self._store(effect)
            case effects.Authorize():
                if self._authorizer is None:
                    raise InvariantError("tasks are to be authorized, but there is no authorizer")
                return self._authorizer.ask(effect)
            case effects.MakeSandbox():
                return self._sandbox(effect)
            case effects.ShowSandbox(framework_id, executor_id, directory):
                self._show(framework_id, executor_id, directory)
            case effects.CollectGarbage(old, aged):
                for path in old:
                    if aged:
                        around.gc.schedule_aged(*os.path.split(path))
                    else:
                        around.gc.schedule(path)
            case effects.TellRemoved(framework, executor):
                around.removed(framework, executor)
            case effects.Exit(error):
                around.exit(error)
            case _:
                self._start(effect)
        return None

    def close(self) -> None:
        """Forget all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # -- long effects -------------------------------------------------------------------------

    def _start(
        self,
        effect: (
            effects.Detect
            | effects.Launch
            | effects.WatchContainer
            | effects.UpdateContainer
            | effects.ReadContainerStatus
            | effects.DestroyContainer
        ),
    ) -> None:
        scope = self._around.scope
        match effect:
            case effects.Detect(previous):
                if self._detection is not None:
                    self._detection.cancel("a new detection begins")
                self._detection = scope.spawn(self._detect(previous), "detect master")
            case effects.Launch():
                scope.spawn(self._launch(effect), f"container {effect.container_id}")
            case effects.WatchContainer():
                scope.spawn(self._watch(effect), f"container {effect.container_id}")
            case effects.UpdateContainer():
                scope.spawn(self._update(effect), f"update container {effect.container_id}")
            case effects.ReadContainerStatus():
                scope.spawn(self._status(effect), f"status of container {effect.target}")
            case effects.DestroyContainer(container_id):
                scope.spawn(self._destroy(container_id), f"destroy container {container_id}")
            case _:
                assert_never(effect)

    async def _detect(self, previous: str) -> None:
        try:
            leader = await self._around.detect(previous)
        except MesosCompatError as error:
            self._submit(events.DetectionFailed(str(error)))
        else:
            self._submit(
                events.MasterDetected(
                    leader.pid, leader.hostname, leader.capabilities, leader.version
                )
            )

    async def _launch(self, effect: effects.Launch) -> None:
        """Launch and wait for the end, however long that takes."""
        key = effect.framework_id, effect.executor_id, effect.container_id
        containerizer = self._around.containerizer
        try:
            outcome = await containerizer.launch(
                effect.container_id, effect.config, effect.environment, effect.pid_path
            )
            if outcome is LaunchOutcome.ALREADY_LAUNCHED:
                raise ContainerError("Container already started")
        except Exception as error:
            self._submit(events.ContainerLaunched(*key, _reason(error), True))
            await self._until_gone(key, containerizer.destroy(effect.container_id))
            return
        supported = outcome is LaunchOutcome.SUCCESS
        self._submit(events.ContainerLaunched(*key, "", supported))
        await self._until_gone(key, containerizer.wait(effect.container_id))

    async def _watch(self, effect: effects.WatchContainer) -> None:
        key = effect.framework_id, effect.executor_id, effect.container_id
        await self._until_gone(key, self._around.containerizer.wait(effect.container_id))

    async def _until_gone(
        self, key: _RunKey, end: Awaitable[slave.ContainerTermination | None]
    ) -> None:
        try:
            termination = await end
        except Exception as error:
            self._submit(events.ContainerTerminated(*key, None, _reason(error)))
        else:
            self._submit(events.ContainerTerminated(*key, termination, ""))

    async def _update(self, effect: effects.UpdateContainer) -> None:
        key = effect.framework_id, effect.executor_id, effect.container_id
        text = ""
        try:
            await self._around.containerizer.update(
                effect.container_id, effect.requests, effect.limits
            )
        except Exception as error:
            text = _reason(error)
        self._submit(events.ContainerUpdated(*key, text))

    async def _status(self, effect: effects.ReadContainerStatus) -> None:
        key = effect.framework_id, effect.executor_id, effect.container_id
        status: pb.ContainerStatus | None = None
        try:
            status = await self._around.containerizer.status(effect.target)
        except Exception as error:
            log.debug("No status of container %s: %s", effect.target, _reason(error))
        self._submit(events.ContainerStatusRead(*key, status))

    async def _destroy(self, container_id: ContainerId) -> None:
        try:
            await self._around.containerizer.destroy(container_id)
        except Exception as error:
            # Whoever waits for the container is told, too.
            log.error("Failed to destroy container %s: %s", container_id, _reason(error))

    # -- timers -------------------------------------------------------------------------------

    def _start_timer(self, effect: effects.StartTimer) -> None:
        self._cancel_timer(effect.key)

        def due() -> None:
            del self._timers[effect.key]
            self._submit(effect.event)

        self._timers[effect.key] = self._around.clock.call_later(effect.delay_s, due)

    def _cancel_timer(self, key: TimerKey) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    # -- files ----------------------------------------------------------------------------------

    async def _store_later(self, effect: effects.Checkpoint) -> None:
        """Store what may take long, because volumes are removed, beside all else."""
        answer = await stoppable(lambda stop: self._store(effect, stop))
        if answer == effect.stored:
            for write in effect.writes:
                if isinstance(write, DestroyedVolume):
                    try:
                        await self._around.volume_removed(write.home.path)
                    except MesosCompatError as error:
                        log.error("Persistent volume '%s': %s", write.home.path, error)
        if answer is not None:
            self._submit(answer)

    def _store(self, effect: effects.Checkpoint, stop: Stop = never) -> Event | None:
        for path in effect.kept:
            self._around.gc.unschedule(path)
            if self._around.gc.busy(path):
                log.warning("'%s' is being removed: not writing to it yet", path)
                return effect.failed
        try:
            for write in effect.writes:
                self._around.disk.carry_out(write, stop)
        except CheckpointError as error:
            log.error("Failed to checkpoint: %s", error)
            return effect.failed
        return effect.stored

    # -- sandboxes ----------------------------------------------------------------------------

    def _sandbox(self, effect: effects.MakeSandbox) -> Event | None:
        gc = self._around.gc
        for path in effect.kept:
            gc.unschedule(path)
        if any(gc.busy(path) for path in effect.kept):
            self._around.scope.spawn(
                self._sandbox_later(effect), f"sandbox of container {effect.container_id}"
            )
            return None
        return self._make_sandbox(effect)

    async def _sandbox_later(self, effect: effects.MakeSandbox) -> None:
        for path in effect.kept:
            await self._around.gc.settled(path)
        self._submit(self._make_sandbox(effect))

    def _make_sandbox(self, effect: effects.MakeSandbox) -> Event:
        error = ""
        disk = self._around.disk
        try:
            disk.make_sandbox(effect.directory, effect.user)
            for write in effect.writes:
                disk.carry_out(write)
        except (SandboxError, CheckpointError) as failure:
            error = str(failure)
            if isinstance(failure, CheckpointError):
                error = f"Failed to checkpoint the executor: {failure}"
                with contextlib.suppress(OSError):
                    os.rmdir(effect.directory)
        else:
            self._show(effect.framework_id, effect.executor_id, effect.directory)
        return events.SandboxMade(
            effect.framework_id, effect.executor_id, effect.container_id, error
        )

    def _show(self, framework_id: FrameworkId, executor_id: ExecutorId, directory: str) -> None:
        files = self._around.files
        files[directory] = directory
        files[paths.latest_run(_home(directory))] = directory
        files[paths.virtual_latest(framework_id, executor_id)] = directory


def _home(path: str) -> str:
    """The directory of an executor for a sandbox."""
    return os.path.dirname(os.path.dirname(path))


def _reason(error: Exception) -> str:
    """The text of a failure for operators and frameworks."""
    if isinstance(error, InvariantError):
        raise error
    if not isinstance(error, ContainerError):
        log.error("Unexpected failure of the containerizer", exc_info=error)
        return f"{type(error).__name__}: {error}"
    return str(error)
