# SPDX-License-Identifier: Apache-2.0
"""Calls the verbs of all isolators: which ones, in which order, and what their failures mean.

A verb that an isolator does not override is not called, so a task is started only for work.

Source: spec ``containerizer`` 2.1, ``isolators-fs-net`` 1.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from containerizer.isolators.base import Isolator
from mesos_compat.base.errors import ContainerError, InvariantError, IsolatorError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How upstream's collect() introduces the first failure of calls made in parallel.
_COLLECT = "Collect failed: "


@dataclass(frozen=True, slots=True)
class NamedIsolator:
    """An isolator under its name in ``--isolation``."""

    name: str
    isolator: Isolator


class IsolatorCaller:
    """All isolators, in order.

    ``standalone`` says whether the root of a container has no executor.
    """

    def __init__(
        self,
        isolators: Sequence[NamedIsolator],
        scope: Scope,
        standalone: Callable[[ContainerId], bool],
    ) -> None:
        self._isolators = tuple(isolators)
        self._scope = scope
        self._standalone = standalone
        self._pending: dict[object, tuple[str, ContainerId | None]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the isolators, in order."""
        return tuple(named.name for named in self._isolators)

    def pending(self) -> list[tuple[str, ContainerId | None]]:
        """Return what runs now, as ``<isolator>::<verb>`` and container, oldest first."""
        return list(self._pending.values())

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Let all isolators recover in parallel. Raises ContainerError if one cannot."""

        def call(isolator: Isolator) -> Coroutine[Any, Any, None]:
            mine = [s for s in states if self._shown(isolator, ContainerId.of(s.container_id))]
            return isolator.recover(mine, {c for c in orphans if self._shown(isolator, c)})

        chosen = [named for named in self._isolators if _overrides(named.isolator, "recover")]
        await self._collect("recover", None, [(n, call(n.isolator)) for n in chosen])

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> list[slave.ContainerLaunchInfo]:
        """Ask one isolator after the other; stop at the first failure."""
        infos = []
        for named in self._choose("prepare", container_id):
            info = await self._call(named, "prepare", container_id, named.isolator.prepare, config)
            if info is not None:
                infos.append(info)
        return infos

    def watches(
        self, container_id: ContainerId
    ) -> list[tuple[str, Callable[[ContainerId], Awaitable[slave.ContainerLimitation]]]]:
        """Return name and ``watch`` of each isolator that has one. The caller runs them."""
        return [(named.name, named.isolator.watch) for named in self._choose("watch", container_id)]

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Call all in parallel, wait for all, then raise the first failure."""
        chosen = self._choose("isolate", container_id)
        calls = [(named, named.isolator.isolate(container_id, pid)) for named in chosen]
        await self._collect("isolate", container_id, calls)

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Call all in parallel, wait for all, then raise the first failure."""
        chosen = self._choose("update", container_id)
        calls = [(named, named.isolator.update(container_id, requests, limits)) for named in chosen]
        await self._collect("update", container_id, calls)

    async def usage(self, container_id: ContainerId) -> list[pb.ResourceStatistics]:
        """Return what the isolators measure; one that fails is left out."""
        return await self._answers("usage", container_id, lambda i: i.usage(container_id))

    async def status(self, container_id: ContainerId) -> list[pb.ContainerStatus]:
        """Return what the isolators know; one that fails is left out."""
        return await self._answers("status", container_id, lambda i: i.status(container_id))

    async def cleanup(self, container_id: ContainerId) -> list[str]:
        """Call one after the other, last isolator first, all of them; return the failures."""
        failures = []
        for named in reversed(self._choose("cleanup", container_id)):
            try:
                await self._call(named, "cleanup", container_id, named.isolator.cleanup)
            except ContainerError as error:
                failures.append(str(error))
        return failures

    def _choose(self, verb: str, container_id: ContainerId) -> list[NamedIsolator]:
        return [
            named
            for named in self._isolators
            if _overrides(named.isolator, verb) and self._shown(named.isolator, container_id)
        ]

    def _shown(self, isolator: Isolator, container_id: ContainerId) -> bool:
        if container_id.parent is not None and not isolator.supports_nesting:
            return False
        return isolator.supports_standalone or not self._standalone(container_id)

    async def _call(
        self,
        named: NamedIsolator,
        verb: str,
        container_id: ContainerId,
        function: Callable[..., Awaitable[T]],
        *args: object,
    ) -> T:
        with self._noted(named, verb, container_id), _translated(named, verb):
            return await function(container_id, *args)

    async def _outcome(
        self,
        named: NamedIsolator,
        verb: str,
        container_id: ContainerId | None,
        call: Coroutine[Any, Any, T],
    ) -> T | ContainerError:
        try:
            with self._noted(named, verb, container_id), _translated(named, verb):
                return await call
        except ContainerError as error:
            return error

    async def _parallel(
        self,
        verb: str,
        container_id: ContainerId | None,
        calls: Sequence[tuple[NamedIsolator, Coroutine[Any, Any, T]]],
    ) -> list[T | ContainerError]:
        """Await all calls; if this is cancelled, they are cancelled and have ended."""
        outcomes = [self._outcome(named, verb, container_id, call) for named, call in calls]
        if len(outcomes) < 2:
            return [await outcome for outcome in outcomes]
        tasks = [
            self._scope.spawn(outcome, f"{named.name}::{verb} {container_id}")
            for (named, _), outcome in zip(calls, outcomes, strict=True)
        ]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await _ended(tasks)
            raise
        return [task.result() for task in tasks]

    async def _collect(
        self,
        verb: str,
        container_id: ContainerId | None,
        calls: Sequence[tuple[NamedIsolator, Coroutine[Any, Any, None]]],
    ) -> None:
        for outcome in await self._parallel(verb, container_id, calls):
            if isinstance(outcome, ContainerError):
                raise IsolatorError(f"{_COLLECT}{outcome}") from outcome

    async def _answers(
        self,
        verb: str,
        container_id: ContainerId,
        call: Callable[[Isolator], Coroutine[Any, Any, T | None]],
    ) -> list[T]:
        chosen = self._choose(verb, container_id)
        outcomes = await self._parallel(
            verb, container_id, [(named, call(named.isolator)) for named in chosen]
        )
        answers = []
        for named, outcome in zip(chosen, outcomes, strict=True):
            if isinstance(outcome, ContainerError):
                log.warning(
                    "Container %s: no %s of %s: %s", container_id, verb, named.name, outcome
                )
            elif outcome is not None:
                answers.append(outcome)
        return answers

    @contextmanager
    def _noted(
        self, named: NamedIsolator, verb: str, container_id: ContainerId | None
    ) -> Iterator[None]:
        key = object()
        self._pending[key] = (f"{named.name}::{verb}", container_id)
        try:
            yield
        finally:
            del self._pending[key]


def _overrides(isolator: Isolator, verb: str) -> bool:
    return getattr(type(isolator), verb) is not getattr(Isolator, verb)


@contextmanager
def _translated(named: NamedIsolator, verb: str) -> Iterator[None]:
    """Let out ContainerError only; an isolator that breaks fails its container, not the agent."""
    try:
        yield
    except (ContainerError, InvariantError):
        raise
    except OSError as error:
        raise IsolatorError(str(error)) from error
    except Exception as error:
        log.exception("Isolator '%s' broke in %s", named.name, verb)
        raise IsolatorError(f"Isolator '{named.name}' broke in {verb}: {error!r}") from error


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for cancelled tasks, whatever else is cancelled meanwhile."""
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            continue
