# SPDX-License-Identifier: Apache-2.0
"""What the containers of executors are and use, and the pace at which that may be asked.

Used by ``/containers``, ``/monitor/statistics`` and the call GET_CONTAINERS.

Source: spec ``operator-api`` 3.5, 5.3, 5.4.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from containerizer.api import Containerizer
from mesos_compat.agent.machine.state import AgentState, ExecutorPhase
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import ApiError, ContainerError
from mesos_compat.http.view import EVERYTHING, View
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import JsonObject, text_of, to_value
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

#: Requests that may wait for their turn; more are refused.
MAX_WAITING: Final = 1000

_BAD_FILTER: Final = (
    "Supported query parameters are container_id only, framework_id only, "
    "or executor_id and framework_id only"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """A container and, for that of an executor, whose it is."""

    container_id: ContainerId
    framework_id: str | None = None
    executor_id: str | None = None
    executor_name: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """A container as it is now; what could not be found out is ``None``."""

    subject: Subject
    status: pb.ContainerStatus | None
    statistics: pb.ResourceStatistics | None


def executor_containers(state: AgentState, view: View = EVERYTHING) -> list[Subject]:
    """Return the containers of all executors that have not terminated and are shown."""
    return [
        Subject(
            executor.container_id,
            executor.framework_id,
            executor.executor_id,
            text_of(executor.info.name),
            text_of(executor.info.source),
        )
        for framework in state.frameworks.values()
        for executor in framework.executors.values()
        if executor.phase is not ExecutorPhase.TERMINATED and view.container(framework, executor)
    ]


def chosen(subjects: Iterable[Subject], query: Mapping[str, str]) -> list[Subject]:
    """Apply the filters of ``/containers``. Raises ApiError 400 for an unknown combination."""
    names = ("container_id", "framework_id", "executor_id")
    wanted = {name: query[name] for name in names if name in query}
    if tuple(wanted) not in (
        (),
        ("container_id",),
        ("framework_id",),
        ("framework_id", "executor_id"),
    ):
        raise ApiError(400, _BAD_FILTER)
    return [
        subject
        for subject in subjects
        if all(str(getattr(subject, name)) == value for name, value in wanted.items())
    ]


async def observe(containerizer: Containerizer, subjects: Iterable[Subject]) -> list[Observed]:
    """Ask for status and statistics of all containers at once."""
    return await asyncio.gather(*(_observe(containerizer, subject) for subject in subjects))


async def _observe(containerizer: Containerizer, subject: Subject) -> Observed:
    container_id = subject.container_id
    status, statistics = await asyncio.gather(
        _known(containerizer.status(container_id), "status", container_id),
        _known(containerizer.usage(container_id), "usage", container_id),
    )
    return Observed(subject, status, statistics)


async def _known(answer: Awaitable[T], what: str, container_id: ContainerId) -> T | None:
    try:
        return await answer
    except ContainerError as error:
        log.warning("Container %s: no %s: %s", container_id, what, error)
        return None


async def statistics(containerizer: Containerizer, subjects: Iterable[Subject]) -> list[JsonObject]:
    """Return what ``/monitor/statistics`` shows: only containers whose usage is known."""
    asked = list(subjects)
    found = await asyncio.gather(
        *(_known(containerizer.usage(s.container_id), "usage", s.container_id) for s in asked)
    )
    return [
        {
            "executor_id": subject.executor_id,
            "executor_name": subject.executor_name,
            "framework_id": subject.framework_id,
            "source": subject.source,
            "statistics": to_value(usage),
        }
        for subject, usage in zip(asked, found, strict=True)
        if usage is not None
    ]


def container_value(observed: Observed) -> JsonObject:
    """Return an element of ``/containers``."""
    subject = observed.subject
    made: JsonObject = {
        "container_id": subject.container_id.value,
        "executor_id": subject.executor_id,
        "executor_name": subject.executor_name,
        "framework_id": subject.framework_id,
        "source": subject.source,
    }
    if observed.statistics is not None:
        made["statistics"] = to_value(observed.statistics)
    if observed.status is not None:
        made["status"] = to_value(observed.status)
    return made


class Pace:
    """Lets requests through one by one, ``interval_s`` apart; they wait, in order of arrival."""

    def __init__(self, interval_s: float, clock: Clock) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._next = clock.now()

    async def turn(self) -> None:
        """Return when it is this request's turn. Raises ApiError 503 if too many wait."""
        now = self._clock.now()
        due = max(self._next, now)
        if due - now > MAX_WAITING * self._interval_s:
            raise ApiError(503, "503 Service Unavailable.")
        self._next = due + self._interval_s
        if due > now:
            await self._clock.sleep(due - now)
