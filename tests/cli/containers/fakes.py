# SPDX-License-Identifier: Apache-2.0
"""Containers of nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from containerizer.local.order import ContainerOrder, SessionOrder
from mesos_compat.base.errors import ContainerError
from mesos_compat.cli.containers.console import Console
from mesos_compat.cli.containers.target import Row, Usage


@dataclass
class FakeLogs:
    """Output that grows while it is followed."""

    content: dict[str, bytes] = field(default_factory=dict)
    #: What is written after each question whether more may come.
    growth: list[dict[str, bytes]] = field(default_factory=list)

    async def size(self, stream: str) -> int:
        return len(self.content.get(stream, b""))

    async def read(self, stream: str, offset: int, length: int) -> bytes:
        return self.content.get(stream, b"")[offset : offset + length]

    async def running(self) -> bool:
        if not self.growth:
            return False
        for stream, more in self.growth.pop(0).items():
            self.content[stream] = self.content.get(stream, b"") + more
        return True


@dataclass
class FakeTarget:
    """Remembers what it was asked."""

    all_rows: list[Row] = field(default_factory=list)
    all_usages: list[list[Usage]] = field(default_factory=list)
    all_logs: FakeLogs = field(default_factory=FakeLogs)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    failure: str = ""
    closed: bool = False

    def _ask(self, *what: object) -> None:
        self.asked.append(what)
        if self.failure:
            raise ContainerError(self.failure)

    async def rows(self) -> list[Row]:
        self._ask("rows")
        return self.all_rows

    async def inspect(self, reference: str) -> Mapping[str, object]:
        self._ask("inspect", reference)
        return {"name": reference}

    async def kill(self, reference: str, number: int) -> None:
        self._ask("kill", reference, number)

    async def remove(self, reference: str, *, force: bool) -> None:
        self._ask("remove", reference, force)

    async def logs(self, reference: str) -> FakeLogs:
        self._ask("logs", reference)
        return self.all_logs

    async def usages(self) -> list[Usage]:
        self._ask("usages")
        return self.all_usages.pop(0)

    async def run(self, order: ContainerOrder, console: Console) -> int:
        self._ask("run", order, console.interactive, console.terminal)
        return 7

    async def execute(self, reference: str, order: SessionOrder, console: Console) -> int:
        self._ask("execute", reference, order, console.interactive, console.terminal)
        return 8

    async def close(self) -> None:
        self.closed = True
