# SPDX-License-Identifier: Apache-2.0
"""Tasks between their message and their executor: they wait for an authorization. Pure data.

Those for one executor go on in the order in which they came, whatever is decided first.

Source: spec ``agent-master`` 8.1, 8.2.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mesos_compat.model.ids import ExecutorId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

if TYPE_CHECKING:
    from mesos_compat.agent.machine.state import Executor, Framework


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the master wants to be run at once, resources in post-refinement format."""

    #: Those of a group, or one.
    tasks: tuple[pb.TaskInfo, ...]
    #: Whether the tasks belong together.
    grouped: bool
    framework: Framework
    executor_id: ExecutorId
    #: What to start if there is no such executor; ``None`` if the agent has to make it up.
    executor_info: pb.ExecutorInfo | None
    #: The run under the executor's id when the request is looked at, if there is one.
    executor: Executor | None
    resource_versions: tuple[messages.ResourceVersionUUID, ...]
    #: What the master thinks: start an executor, use one, or (old masters) it does not say.
    launch_executor: bool | None

    @property
    def task_ids(self) -> tuple[TaskId, ...]:
        """The ids of the tasks."""
        return tuple(TaskId(task.task_id.value) for task in self.tasks)

    def at(self, executor: Executor | None) -> RunRequest:
        """Return the same request, looked at when ``executor`` has its executor's id."""
        return replace(self, executor=executor)

    @property
    def subject(self) -> str:
        """How operators read of it."""
        names = ", ".join(f"'{task_id}'" for task_id in self.task_ids)
        what = f"task group of {names}" if self.grouped else f"task {names}"
        return f"{what} of framework {self.framework.framework_id}"


@dataclass(frozen=True, slots=True)
class TaskVerdict:
    """Whether some tasks may be run; of an empty one both are ``None``."""

    #: The first task that must not.
    denied: TaskId | None = None
    #: Why that could not be found out.
    error: str | None = None


@dataclass(slots=True)
class PendingTasks:
    """Tasks that wait for their authorization, or for those that came before them."""

    #: Of the question; counts from 1 in the life of the process.
    number: int
    #: Its ``executor`` is none.
    request: RunRequest
    #: Kept until all that was sent earlier for the same executor is decided.
    verdict: TaskVerdict | None = None
    #: As for ``Task``.
    told: bool = False


class PendingQueues:
    """All pending tasks of a framework."""

    __slots__ = ("_homes", "_queues")

    def __init__(self) -> None:
        #: By executor and number, in order of arrival; no executor without any.
        self._queues: dict[ExecutorId, dict[int, PendingTasks]] = {}
        #: What each task is in.
        self._homes: dict[TaskId, PendingTasks] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[PendingTasks]:
        """Go through all as they are now, by executor and in order of arrival."""
        return iter([pending for queue in self._queues.values() for pending in queue.values()])

    def add(self, pending: PendingTasks) -> None:
        """File tasks."""
        self._queues.setdefault(pending.request.executor_id, {})[pending.number] = pending
        for task_id in pending.request.task_ids:
            self._homes[task_id] = pending

    def drop(self, pending: PendingTasks) -> None:
        """Forget tasks."""
        queue = self._queues[pending.request.executor_id]
        del queue[pending.number]
        if not queue:
            del self._queues[pending.request.executor_id]
        for task_id in pending.request.task_ids:
            del self._homes[task_id]

    def find(self, task_id: TaskId) -> PendingTasks | None:
        """Return what a task is pending in."""
        return self._homes.get(task_id)

    def asked(self, executor_id: ExecutorId, number: int) -> PendingTasks | None:
        """Return the tasks of a question."""
        return self._queues.get(executor_id, {}).get(number)

    def first(self, executor_id: ExecutorId) -> PendingTasks | None:
        """Return what came first for an executor."""
        return next(iter(self._queues.get(executor_id, {}).values()), None)

    def resources(self, executors: Container[ExecutorId]) -> list[pb.Resource]:
        """Return what the tasks use, and the executors that are not among ``executors``; not
        summed.
        """
        used: list[pb.Resource] = []
        for executor_id, queue in self._queues.items():
            first = next(iter(queue.values())).request
            if executor_id not in executors and first.executor_info is not None:
                used.extend(first.executor_info.resources)
            for pending in queue.values():
                for task in pending.request.tasks:
                    used.extend(task.resources)
        return used
