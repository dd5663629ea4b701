# SPDX-License-Identifier: Apache-2.0
"""Executors that play scripts, within the agent's process: no container, no program, no disk.

To the agent they are a containerizer and the streams of executors, so that its state machine does
all that it does for real ones: launches, subscriptions, updates, acknowledgements, kills, ends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from containerizer.api import InputAnswer, LaunchOutcome, OutputStream
from mesos_compat.agent.machine.events import Event, ExecutorSubscribed, ExecutorUpdate
from mesos_compat.agent.machine.state import TERMINAL
from mesos_compat.base.clock import Clock, PendingCall
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor
from mesos_compat.simulate.script import EXIT, Behaviour, Rules, ScriptError

log = logging.getLogger(__name__)

_NO_CONTAINERS = "The containers of this agent are simulated"
_SIGKILL = 9
_FAILED_EXIT = 1 << 8
_SUBSCRIBE = v1_executor.Call.Subscribe()


@dataclass(slots=True)
class _Task:
    """A task that has not ended."""

    task_id: str
    behaviour: Behaviour
    random: Random
    #: States and delays to come, the next one last.
    rest: list[tuple[int, float]]
    #: Ids of the tasks that end together with this one, itself included.
    group: tuple[str, ...]
    timer: PendingCall | None = None
    killing: bool = False
    said: str = ""


class SimulatedExecutors:
    """All executors of one agent; implements ``Containerizer``.

    ``seed`` and the id of a task decide what it does, not when it was launched.
    """

    def __init__(self, clock: Clock, rules: Rules, seed: str) -> None:
        self.clock = clock
        self.rules = rules
        self.seed = seed
        self.submit: Callable[[Event], None] = _nobody
        #: Below zero: they are not those of executors that come over HTTP.
        self._stream_ids = itertools.count(-1, -1)
        self._runs: dict[ContainerId, _Run] = {}
        #: What the agent says to them.
        self.streams = _Streams()

    def attach(self, submit: Callable[[Event], None]) -> None:
        """Say where events go."""
        self.submit = submit

    # -- Containerizer --------------------------------------------------------------------------

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        """There is nothing to recover."""

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        """Start an executor, which subscribes a moment later."""
        if container_id in self._runs:
            return LaunchOutcome.ALREADY_LAUNCHED
        if container_id.parent is not None:
            raise ContainerError(_NO_CONTAINERS)
        run = _Run(
            self,
            next(self._stream_ids),
            FrameworkId(environment["MESOS_FRAMEWORK_ID"]),
            ExecutorId(environment["MESOS_EXECUTOR_ID"]),
            container_id,
            once=config.HasField("task_info")
            or config.executor_info.type == pb.ExecutorInfo.DEFAULT,
            requests=tuple(config.resources),
        )
        self._runs[container_id] = run
        self.streams.runs[run.stream_id] = run
        self.clock.call_later(0.0, run.subscribe)
        return LaunchOutcome.SUCCESS

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Remember what the container is given."""
        run = self._runs.get(container_id)
        if run is not None:
            run.requests = tuple(requests)

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        """Tell the limits; nothing is used."""
        run = self._run(container_id)
        given = Resources.of(run.requests)
        return pb.ResourceStatistics(
            timestamp=self.clock.time(),
            cpus_limit=given.scalar("cpus") or 0.0,
            mem_limit_bytes=int((given.scalar("mem") or 0.0) * (1 << 20)),
        )

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        """Tell the id; there is no process."""
        self._run(container_id.root)
        return pb.ContainerStatus(container_id=container_id.message())

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        """Return once the executor ended; at once if it is unknown."""
        run = self._runs.get(container_id)
        return None if run is None else await asyncio.shield(run.ended)

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        """End an executor without its consent."""
        run = self._runs.get(container_id)
        if run is None:
            return None
        run.end(_SIGKILL, termination)
        return await run.ended

    async def kill(self, container_id: ContainerId, signal: int) -> bool:
        """Any signal ends an executor."""
        run = self._runs.get(container_id)
        if run is not None:
            run.end(signal)
        return run is not None

    def containers(self) -> frozenset[ContainerId]:
        """Return the executors that live."""
        return frozenset(self._runs)

    def pending(self) -> Sequence[tuple[str, ContainerId | None]]:
        """Nothing takes time."""
        return ()

    def is_standalone(self, container_id: ContainerId) -> bool:
        """All have executors."""
        return False

    async def attach_output(self, container_id: ContainerId, media_type: str) -> OutputStream:
        """There is no output."""
        raise ContainerError(_NO_CONTAINERS)

    async def attach_input(
        self, container_id: ContainerId, media_type: str, calls: AsyncIterable[bytes]
    ) -> InputAnswer:
        """There is nobody to read it."""
        raise ContainerError(_NO_CONTAINERS)

    async def remove(self, container_id: ContainerId) -> None:
        """There are no nested containers."""
        raise ContainerError(_NO_CONTAINERS)

    async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
        """There are no images."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _run(self, container_id: ContainerId) -> _Run:
        run = self._runs.get(container_id)
        if run is None:
            raise ContainerError(f"Unknown container {container_id}")
        return run

    def crash(self) -> None:
        """Forget all executors without a word, as a host does that loses its power."""
        for run in list(self._runs.values()):
            run.vanish()

    def forget(self, run: _Run) -> None:
        """Forget an executor that ended."""
        self._runs.pop(run.container_id, None)
        self.streams.runs.pop(run.stream_id, None)


class _Streams:
    """What the agent says to executors; implements ``ExecutorEvents``."""

    def __init__(self) -> None:
        self.runs: dict[int, _Run] = {}

    def send(self, stream_id: int, event: v1_executor.Event) -> None:
        """Give an event of the agent to an executor; dropped if that is gone."""
        run = self.runs.get(stream_id)
        if run is not None:
            run.take(event)

    def close(self, stream_id: int) -> None:
        """The agent has nothing more to say on a stream."""


def _nobody(event: Event) -> None:
    raise AssertionError(f"{type(event).__name__} before attach()")


class _Run:
    """One executor."""

    def __init__(
        self,
        home: SimulatedExecutors,
        stream_id: int,
        framework_id: FrameworkId,
        executor_id: ExecutorId,
        container_id: ContainerId,
        *,
        once: bool,
        requests: tuple[pb.Resource, ...],
    ) -> None:
        self.stream_id = stream_id
        self.container_id = container_id
        self.requests = requests
        self.ended: asyncio.Future[slave.ContainerTermination] = (
            asyncio.get_running_loop().create_future()
        )
        self._home = home
        self._framework_id = framework_id
        self._executor_id = executor_id
        #: Ends with its tasks, as those that come with Mesos do.
        self._once = once
        self._tells_killing = False
        self._shutting_down = False
        self._tasks: dict[str, _Task] = {}
        #: UUIDs of updates that the agent has not acknowledged.
        self._unacknowledged: set[bytes] = set()

    # -- the agent's side -----------------------------------------------------------------------

    def subscribe(self) -> None:
        """Open the stream."""
        if not self.ended.done():
            self._home.submit(
                ExecutorSubscribed(
                    self._framework_id, self._executor_id, _SUBSCRIBE, self.stream_id
                )
            )

    def take(self, event: v1_executor.Event) -> None:
        """Handle an event of the agent."""
        kinds = v1_executor.Event
        match event.type:
            case kinds.SUBSCRIBED:
                self._tells_killing = any(
                    capability.type == v1.FrameworkInfo.Capability.TASK_KILLING_STATE
                    for capability in event.subscribed.framework_info.capabilities
                )
            case kinds.LAUNCH:
                self._launch([event.launch.task], grouped=False)
            case kinds.LAUNCH_GROUP:
                self._launch(event.launch_group.task_group.tasks, grouped=True)
            case kinds.KILL:
                self._kill(event.kill.task_id.value)
            case kinds.ACKNOWLEDGED:
                self._unacknowledged.discard(event.acknowledged.uuid)
                self._end_if_done()
            case kinds.SHUTDOWN:
                self._shutting_down = True
                for task_id in list(self._tasks):
                    self._kill(task_id)
                self._end_if_done()
            case kinds.ERROR:
                self.end(_FAILED_EXIT)
            case _:
                log.debug("Executor %s has no use for event %d", self._executor_id, event.type)

    def end(self, status: int, termination: slave.ContainerTermination | None = None) -> None:
        """End, with a status as of waitpid; the agent learns that from ``ended``."""
        if self.ended.done():
            return
        made = slave.ContainerTermination(status=status)
        if termination is not None:
            made.MergeFrom(termination)
        self._forget_tasks()
        self._home.forget(self)
        self.ended.set_result(made)

    def vanish(self) -> None:
        """End so that nobody learns of it."""
        self._forget_tasks()
        self._home.forget(self)
        self.ended.cancel()

    # -- tasks ----------------------------------------------------------------------------------

    def _launch(self, infos: Sequence[v1.TaskInfo], *, grouped: bool) -> None:
        group = tuple(info.task_id.value for info in infos) if grouped else ()
        for info in infos:
            task_id = info.task_id.value
            # The same task does the same in every run of the same seed.
            random = Random(f"{self._home.seed}/{task_id}")
            labels = {label.key: label.value for label in info.labels.labels}
            said = ""
            try:
                behaviour = self._home.rules.behaviour(info.name, info.command.value, labels)
                played = behaviour.play(random)
            except ScriptError as error:
                behaviour = self._home.rules.default
                played, said = [(int(pb.TASK_FAILED), 0.0)], f"Unusable script: {error}"
            task = _Task(task_id, behaviour, random, played[::-1], group, said=said)
            self._tasks[task_id] = task
            self._next(task)

    def _next(self, task: _Task) -> None:
        """Do all that is due now, then wait for what comes next."""
        while task.rest:
            state, delay_s = task.rest[-1]
            if delay_s > 0:
                task.timer = self._home.clock.call_later(delay_s, lambda: self._due(task))
                return
            task.rest.pop()
            self._enter(task, state)

    def _due(self, task: _Task) -> None:
        state, _ = task.rest.pop()
        self._enter(task, state)
        self._next(task)

    def _enter(self, task: _Task, state: int) -> None:
        task.timer = None
        if state == EXIT:
            self.end(_FAILED_EXIT)
            return
        self._tell(task, state)
        if state not in TERMINAL:
            return
        task.rest.clear()
        del self._tasks[task.task_id]
        if state != pb.TASK_FINISHED:
            # A group lives and dies together.
            for task_id in task.group:
                self._kill(task_id)

    def _kill(self, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.killing or task.behaviour.kill is None:
            return
        task.killing = True
        if task.timer is not None:
            task.timer.cancel()
        delay_s = task.behaviour.kill.draw(task.random)
        if self._tells_killing:
            self._tell(task, pb.TASK_KILLING)
        task.rest = [(int(pb.TASK_KILLED), delay_s)]
        self._next(task)

    def _tell(self, task: _Task, state: int) -> None:
        token = uuid.uuid4().bytes
        self._unacknowledged.add(token)
        status = pb.TaskStatus(
            state=state,  # type: ignore[arg-type]
            source=pb.TaskStatus.SOURCE_EXECUTOR,
            timestamp=self._home.clock.time(),
            uuid=token,
        )
        status.task_id.value = task.task_id
        status.executor_id.value = self._executor_id
        if state == pb.TASK_FAILED:
            status.message = task.said or "The simulated task failed"
        self._home.submit(ExecutorUpdate(self._framework_id, self._executor_id, status))

    def _end_if_done(self) -> None:
        idle = not self._tasks and not self._unacknowledged
        if idle and (self._once or self._shutting_down):
            self.end(0)

    def _forget_tasks(self) -> None:
        for task in self._tasks.values():
            task.rest.clear()
            if task.timer is not None:
                task.timer.cancel()
        self._tasks.clear()
