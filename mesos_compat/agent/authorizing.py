# SPDX-License-Identifier: Apache-2.0
"""Asks an authorizer, for the machine, whether frameworks may run tasks.

Source: spec ``agent-master`` 17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mesos_compat.agent.machine.effects import Authorize
from mesos_compat.agent.machine.events import Event, TasksAuthorized
from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.authorization.api import Action, AuthorizationObject, Principal
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.errors import AuthorizationError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb


class TaskAuthorizer:
    """Carries out ``Authorize``."""

    def __init__(self, gate: Gate, scope: Scope, submit: Callable[[Event], None]) -> None:
        self._gate = gate
        self._scope = scope
        self._submit = submit

    def ask(self, asked: Authorize) -> TasksAuthorized | None:
        """Ask about all tasks; return the answer if it is known at once, else it is submitted."""
        allowed: list[bool] = []
        for task in asked.tasks:
            try:
                answer = self._decide(asked, task)
            except AuthorizationError as error:
                return _answered(asked, TaskVerdict(error=str(error)))
            if not isinstance(answer, bool):
                rest = asked.tasks[len(allowed) + 1 :]
                self._scope.spawn(self._wait(asked, allowed, answer, rest), "authorize tasks")
                return None
            allowed.append(answer)
        return _answered(asked, _verdict(asked, allowed))

    def _decide(self, asked: Authorize, task: pb.TaskInfo) -> bool | Awaitable[bool]:
        info = asked.framework
        subject = Principal(info.principal) if info.HasField("principal") else None
        what = AuthorizationObject(framework_info=info, task_info=task)
        return self._gate.decide(subject, Action.RUN_TASK, what)

    async def _wait(
        self,
        asked: Authorize,
        known: list[bool],
        first: Awaitable[bool],
        rest: Sequence[pb.TaskInfo],
    ) -> None:
        async def later(task: pb.TaskInfo) -> bool:
            answer = self._decide(asked, task)
            return answer if isinstance(answer, bool) else await answer

        found = await asyncio.gather(first, *map(later, rest), return_exceptions=True)
        allowed = [*known]
        for answer in found:
            if isinstance(answer, AuthorizationError):
                self._submit(_answered(asked, TaskVerdict(error=str(answer))))
                return
            if isinstance(answer, BaseException):
                raise answer
            allowed.append(answer)
        self._submit(_answered(asked, _verdict(asked, allowed)))


def _verdict(asked: Authorize, allowed: Sequence[bool]) -> TaskVerdict:
    for task, may in zip(asked.tasks, allowed, strict=True):
        if not may:
            return TaskVerdict(denied=TaskId(task.task_id.value))
    return TaskVerdict()


def _answered(asked: Authorize, verdict: TaskVerdict) -> TasksAuthorized:
    return TasksAuthorized(asked.framework_id, asked.executor_id, asked.number, verdict)
