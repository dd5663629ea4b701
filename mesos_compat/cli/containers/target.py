# SPDX-License-Identifier: Apache-2.0
"""Whose containers a command is about: those of an agent, or the local ones without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from containerizer.local.measure import Sample
from containerizer.local.order import ContainerOrder, SessionOrder
from mesos_compat.cli.containers.console import Console

#: What an exit by a signal adds to its number.
SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``ps``."""

    id: str
    name: str
    image: str
    command: str
    state: str
    pid: int | None
    #: Time of day; ``None`` if nobody knows.
    created_s: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of ``top``."""

    row: Row
    #: Seconds of a clock that only goes forward.
    measured_s: float
    sample: Sample


class LogSource(Protocol):
    """Output of a container that was kept. ``stream`` is ``stdout`` or ``stderr``."""

    async def size(self, stream: str) -> int:
        """Return how many bytes there are now."""

    async def read(self, stream: str, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; none at the end."""

    async def running(self) -> bool:
        """Whether more may come."""


class ContainerTarget(Protocol):
    """Somebody's containers. All methods raise ContainerError."""

    async def rows(self) -> list[Row]:
        """Return all containers, the oldest first."""

    async def inspect(self, reference: str) -> Mapping[str, object]:
        """Return all that is known of a container, fit for JSON."""

    async def kill(self, reference: str, number: int) -> None:
        """Send a signal to the container's command."""

    async def remove(self, reference: str, *, force: bool) -> None:
        """Forget a container; one that runs only by ``force``."""

    async def logs(self, reference: str) -> LogSource:
        """Return the output that was kept."""

    async def usages(self) -> list[Usage]:
        """Return what all running containers use."""

    async def run(self, order: ContainerOrder, console: Console) -> int:
        """Run a container and return its exit code, or 0 at once if it is detached."""

    async def execute(self, reference: str, order: SessionOrder, console: Console) -> int:
        """Run a command in a container and return its exit code."""

    async def close(self) -> None:
        """Let go of connections."""
