# SPDX-License-Identifier: Apache-2.0
"""Calls the verbs of all isolators: which ones, in which order, and what their failures mean.

A verb that an isolator does not override is not called, so a task is started only for work.

Source: spec ``containerizer`` 2.1, ``isolators-fs-net`` 1.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from containerizer.isolators.base import Isolator
from mesos_compat.base.errors import ContainerError, InvariantError, IsolatorError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

T = TypeVar("T")

_Limitation = slave.ContainerLimitation

#: What a verb has to return, and whether it need not. What the others return is ignored.
_ANSWERS: Mapping[str, tuple[type[Message], bool]] = {
    "prepare": (slave.ContainerLaunchInfo, True),
    "watch": (_Limitation, False),
    "usage": (pb.ResourceStatistics, True),
    "status": (pb.ContainerStatus, True),
}

#: How upstream's collect() introduces the first failure of calls made in parallel.
_COLLECT = "Collect failed: "


@dataclass(frozen=True, slots=True)
class NamedIsolator:
    """An isolator under its name in ``--isolation``."""

    name: str
    isolator: Isolator


def close_isolators(isolators: Sequence[NamedIsolator]) -> None:
    """Let isolators, the last one first, undo what their creation did to the host."""
    for named in reversed(isolators):
        try:
            named.isolator.close()
        except OSError as error:
            log.warning("Isolator '%s' leaves something behind: %s", named.name, error)


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

        def call(isolator: Isolator) -> Awaitable[None]:
            mine = [s for s in states if self._shown(isolator, ContainerId.of(s.container_id))]
            return isolator.recover(mine, {c for c in orphans if self._shown(isolator, c)})

        chosen = [named for named in self._isolators if _overrides(named.isolator, "recover")]
        await self._collect("recover", None, chosen, call)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> list[slave.ContainerLaunchInfo]:
        """Ask one isolator after the other; stop at the first failure."""
        infos = []
        for named in self._choose("prepare", container_id):
            info = await self._call(
                named, "prepare", container_id, lambda i: i.prepare(container_id, config)
            )
            if info is not None:
                infos.append(info)
        return infos

    def watches(
        self, container_id: ContainerId
    ) -> list[tuple[str, Callable[[ContainerId], Awaitable[_Limitation]]]]:
        """Return name and ``watch`` of each isolator that has one. The caller runs them."""

        def watch(named: NamedIsolator) -> Callable[[ContainerId], Awaitable[_Limitation]]:
            async def run(container_id: ContainerId) -> _Limitation:
                with _translated(named, "watch"):
                    return _checked("watch", await named.isolator.watch(container_id))

            return run

        return [(named.name, watch(named)) for named in self._choose("watch", container_id)]

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Call all in parallel, wait for all, then raise the first failure."""
        chosen = self._choose("isolate", container_id)
        await self._collect("isolate", container_id, chosen, lambda i: i.isolate(container_id, pid))

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Call all in parallel, wait for all, then raise the first failure."""
        chosen = self._choose("update", container_id)
        await self._collect(
            "update", container_id, chosen, lambda i: i.update(container_id, requests, limits)
        )

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
                await self._call(named, "cleanup", container_id, lambda i: i.cleanup(container_id))
            except ContainerError as error:
                failures.append(str(error))
        return failures

    def close(self) -> None:
        """Let isolators undo what they did to the host."""
        close_isolators(self._isolators)

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
        container_id: ContainerId | None,
        call: Callable[[Isolator], Awaitable[T]],
    ) -> T:
        with self._noted(named, verb, container_id), _translated(named, verb):
            return _checked(verb, await call(named.isolator))

    async def _outcome(
        self,
        named: NamedIsolator,
        verb: str,
        container_id: ContainerId | None,
        call: Callable[[Isolator], Awaitable[T]],
    ) -> T | ContainerError:
        try:
            return await self._call(named, verb, container_id, call)
        except ContainerError as error:
            return error

    async def _parallel(
        self,
        verb: str,
        container_id: ContainerId | None,
        chosen: Sequence[NamedIsolator],
        call: Callable[[Isolator], Awaitable[T]],
    ) -> list[T | ContainerError]:
        """Await all calls; if this is cancelled, they are cancelled and have ended."""
        if len(chosen) < 2:
            return [await self._outcome(named, verb, container_id, call) for named in chosen]
        tasks = [
            self._scope.spawn(
                self._outcome(named, verb, container_id, call),
                f"{named.name}::{verb} {container_id}",
            )
            for named in chosen
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
        chosen: Sequence[NamedIsolator],
        call: Callable[[Isolator], Awaitable[None]],
    ) -> None:
        for outcome in await self._parallel(verb, container_id, chosen, call):
            if isinstance(outcome, ContainerError):
                raise IsolatorError(f"{_COLLECT}{outcome}") from outcome

    async def _answers(
        self,
        verb: str,
        container_id: ContainerId,
        call: Callable[[Isolator], Awaitable[T | None]],
    ) -> list[T]:
        chosen = self._choose(verb, container_id)
        outcomes = await self._parallel(verb, container_id, chosen, call)
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
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # nobody cancelled us: the isolator waited for something of its own that was
        raise IsolatorError(f"Isolator '{named.name}' was cancelled in {verb}") from None
    except OSError as error:
        raise IsolatorError(str(error)) from error
    except Exception as error:
        log.exception("Isolator '%s' broke in %s", named.name, verb)
        raise IsolatorError(f"Isolator '{named.name}' broke in {verb}: {error!r}") from error


def _checked(verb: str, answer: T) -> T:
    """Return an answer that a verb may give; a TypeError is the isolator's."""
    if verb in _ANSWERS:
        kind, optional = _ANSWERS[verb]
        if not (isinstance(answer, kind) or (answer is None and optional)):
            raise TypeError(f"{verb} returned {type(answer).__name__}")
    return answer


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for cancelled tasks, whatever else is cancelled meanwhile."""
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            continue
