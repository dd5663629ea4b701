# SPDX-License-Identifier: Apache-2.0
"""Owned, named tasks.

Every task of the program belongs to a scope and has a name that says its subject; this module is
the only caller of ``asyncio.create_task``. The children of a scope are strangers to each other:
one that fails is reported, its siblings go on. Leaving a scope means that its tasks are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from mesos_compat.base.errors import InvariantError

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds that ``close`` waits for cancelled tasks before it names them and gives up.
CLOSE_TIMEOUT_S = 10.0


class ScopeClosed(RuntimeError):
    """``spawn`` was called on a scope that is closing or closed."""


class Scope:
    """A set of tasks with one owner.

    ``on_error(name, error)`` is called for each child that ends with an exception which nobody
    asked for with ``await``; without it the error is logged. InvariantError is handed on to the
    event loop's exception handler, which ends the program.
    """

    def __init__(
        self,
        name: str,
        *,
        on_error: Callable[[str, Exception], None] | None = None,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        self.name = name
        self._on_error = on_error
        self._close_timeout_s = close_timeout_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Scope {self.name}: {', '.join(self.names()) or 'no tasks'}>"

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def names(self) -> list[str]:
        """Return the names of the tasks that have not ended, sorted."""
        return sorted(task.get_name() for task in self._tasks)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start ``coro`` as a task of this scope.

        Raises ScopeClosed (and closes the coroutine) once the scope is being closed. A failure is
        reported through ``on_error`` even if somebody awaits the task, too.
        """
        if self._closed:
            coro.close()
            raise ScopeClosed(f"{self.name} is closed: cannot start {name}")
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, InvariantError) or not isinstance(error, Exception):
            task.get_loop().call_exception_handler(
                {"message": f"{self.name}: {task.get_name()} broke", "exception": error}
            )
        elif self._on_error is not None:
            self._on_error(task.get_name(), error)
        else:
            log.error("%s: %s failed: %s", self.name, task.get_name(), error, exc_info=error)

    async def close(self) -> list[str]:
        """Cancel all tasks, wait for them, and return the names of those that would not stop.

        May be called again and by a task of this scope (which is then not waited for).
        """
        self._closed = True
        current = asyncio.current_task()
        waiting = {task for task in self._tasks if task is not current}
        for task in waiting:
            task.cancel(f"{self.name} closes")
        if not waiting:
            return []
        _, stuck = await asyncio.wait(waiting, timeout=self._close_timeout_s)
        names = sorted(task.get_name() for task in stuck)
        if names:
            log.error(
                "%s: %d task(s) did not stop within %gs: %s",
                self.name,
                len(names),
                self._close_timeout_s,
                ", ".join(names),
            )
        return names

    async def __aenter__(self) -> Scope:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
