# SPDX-License-Identifier: Apache-2.0
"""Resource estimators and QoS controllers: their contracts, and how the agent asks them.

They are plug-ins, so whatever they raise is told to operators and asked again later.

Deviation: neither is asked more often than ten times a second.

Source: spec ``agent-master`` 15; upstream ``include/mesos/slave/{resource_estimator,
qos_controller}.hpp``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from containerizer.api import Containerizer
from mesos_compat.agent.machine.events import Corrected, Estimated, Event
from mesos_compat.agent.machine.state import AgentState, Executor, ExecutorPhase
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import ContainerError, InvariantError
from mesos_compat.base.plugins import Group, Parameters, call
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription

log = logging.getLogger(__name__)

#: Entry points: functions from ``base.plugins.Parameters`` to one of the objects below.
ESTIMATORS = "mesos_compat.resource_estimators"
CONTROLLERS = "mesos_compat.qos_controllers"

#: Least seconds between two questions to the same plug-in.
_LEAST_PAUSE_S = 0.1
#: Seconds before a plug-in that failed is asked again.
_AFTER_FAILURE_S = 15.0

#: Returns what all executors use now.
Usage: TypeAlias = Callable[[], Awaitable[pb.ResourceUsage]]


class ResourceEstimator(Protocol):
    """Knows what of the agent's resources can be offered once more."""

    def initialize(self, usage: Usage) -> None:
        """Begin; called once, before anything else."""

    async def oversubscribable(self) -> Sequence[pb.Resource]:
        """Return what can be offered beside that which is allocated; all of it revocable.

        Asked again ``--oversubscribed_resources_interval`` after each answer, which may take as
        long as it likes.
        """


class QoSController(Protocol):
    """Knows which executors have to go so that the others have what was promised."""

    def initialize(self, usage: Usage) -> None:
        """Begin; called once, before anything else."""

    async def corrections(self) -> Sequence[oversubscription.QoSCorrection]:
        """Return what has to be done; asked again once that was begun.

        May take as long as it likes.
        """


def load_estimator(name: str, parameters: Mapping[str, Parameters]) -> ResourceEstimator:
    """Make the estimator called ``name``. Raises FlagError."""
    made: ResourceEstimator = Group(ESTIMATORS).make(
        name, lambda create: create(parameters.get(name, ())), ("initialize", "oversubscribable")
    )
    return made


def load_controller(name: str, parameters: Mapping[str, Parameters]) -> QoSController:
    """Make the controller called ``name``. Raises FlagError."""
    made: QoSController = Group(CONTROLLERS).make(
        name, lambda create: create(parameters.get(name, ())), ("initialize", "corrections")
    )
    return made


class Oversubscription:
    """Asks both, as long as the scope lives; answers become events."""

    def __init__(
        self,
        state: AgentState,
        containerizer: Containerizer,
        scope: Scope,
        clock: Clock,
        submit: Callable[[Event], None],
    ) -> None:
        self._state = state
        self._containerizer = containerizer
        self._scope = scope
        self._clock = clock
        self._submit = submit

    def watch_estimator(self, estimator: ResourceEstimator, interval_s: float) -> None:
        """Begin to ask an estimator. Raises FlagError if it fails to begin."""

        async def ask() -> None:
            self._submit(Estimated(tuple(await estimator.oversubscribable())))

        call(estimator.initialize, self.usage)
        pause_s = max(interval_s, _LEAST_PAUSE_S)
        self._scope.spawn(self._repeat("resource estimator", ask, pause_s), "ask estimator")

    def watch_controller(self, controller: QoSController, pause_s: float) -> None:
        """Begin to ask a controller. Raises FlagError if it fails to begin."""

        async def ask() -> None:
            self._submit(Corrected(tuple(await controller.corrections())))

        call(controller.initialize, self.usage)
        pause_s = max(pause_s, _LEAST_PAUSE_S)
        self._scope.spawn(self._repeat("QoS controller", ask, pause_s), "ask controller")

    async def usage(self) -> pb.ResourceUsage:
        """Return what all executors use now; those without statistics are among them."""
        live = [e for e in self._state.executors() if e.phase is not ExecutorPhase.TERMINATED]
        made = pb.ResourceUsage(total=self._state.total())
        made.executors.extend(await asyncio.gather(*map(self._executor, live)))
        return made

    async def _executor(self, executor: Executor) -> pb.ResourceUsage.Executor:
        made = pb.ResourceUsage.Executor(executor_info=executor.info)
        made.allocated.extend(executor.allocated())
        made.container_id.value = executor.container_id.value
        for task in (*executor.queued.values(), *executor.launched.values()):
            added = made.tasks.add(id=task.info.task_id, name=task.info.name)
            added.resources.extend(task.info.resources)
            if task.info.HasField("labels"):
                added.labels.CopyFrom(task.info.labels)
        try:
            made.statistics.CopyFrom(await self._containerizer.usage(executor.container_id))
        except ContainerError as error:
            log.debug("No usage of container %s: %s", executor.container_id, error)
        return made

    async def _repeat(self, what: str, ask: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            wait_s = pause_s
            try:
                await ask()
            except InvariantError:
                raise
            except Exception as error:
                log.error("The %s failed: %s: %s", what, type(error).__name__, error)
                wait_s = max(pause_s, _AFTER_FAILURE_S)
            await self._clock.sleep(wait_s)
