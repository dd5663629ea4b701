# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mesos_compat.agent.authorizing import TaskAuthorizer
from mesos_compat.agent.machine.effects import Authorize
from mesos_compat.agent.machine.events import Event, TasksAuthorized
from mesos_compat.agent.machine.pending import TaskVerdict
from mesos_compat.authorization.api import Action, AuthorizationObject, Principal
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb

FRAMEWORK = pb.FrameworkInfo(name="f", user="u", principal="p")


class Plugin:
    """Denies tasks called ``no``, breaks for those called ``broken``; some answers take time."""

    def __init__(self, slow: set[str]) -> None:
        self._slow = slow
        self.asked: list[tuple[Principal | None, Action, AuthorizationObject]] = []

    def authorized(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> Any:
        self.asked.append((subject, action, what))
        assert what.task_info is not None
        name = what.task_info.name
        return self._later(name) if name in self._slow else self._decide(name)

    async def _later(self, name: str) -> bool:
        await asyncio.sleep(0)
        return self._decide(name)

    def _decide(self, name: str) -> bool:
        if name.startswith("broken"):
            raise ValueError("it broke")
        return not name.startswith("no")

    def approver(self, subject: Principal | None, action: Action) -> Any:
        raise NotImplementedError


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    async with Scope("test") as made:
        yield made


def question(*names: str, of: pb.FrameworkInfo = FRAMEWORK) -> Authorize:
    tasks = tuple(pb.TaskInfo(name=name, task_id=pb.TaskID(value=name)) for name in names)
    return Authorize(FrameworkId("F"), ExecutorId("E"), 7, of, tasks)


def answered(verdict: TaskVerdict) -> TasksAuthorized:
    return TasksAuthorized(FrameworkId("F"), ExecutorId("E"), 7, verdict)


def unexpected(event: Event) -> None:
    raise AssertionError(event)


NAMES = [
    (("a", "b"), TaskVerdict()),
    (("a", "no", "no2"), TaskVerdict(denied=TaskId("no"))),
    (("no", "broken"), TaskVerdict(error="ValueError: it broke")),
    (("broken",), TaskVerdict(error="ValueError: it broke")),
]
SLOW: list[Callable[[tuple[str, ...]], set[str]]] = [
    lambda names: {names[0]},
    lambda names: {names[-1]},
    set,
]


@pytest.mark.parametrize(("names", "verdict"), NAMES)
async def test_answers_at_once(scope: Scope, names: tuple[str, ...], verdict: TaskVerdict) -> None:
    asker = TaskAuthorizer(Gate(Plugin(set()), scope), scope, unexpected)
    assert asker.ask(question(*names)) == answered(verdict)


@pytest.mark.parametrize("slow", SLOW)
@pytest.mark.parametrize(("names", "verdict"), NAMES)
async def test_answers_that_take_time(
    scope: Scope,
    names: tuple[str, ...],
    verdict: TaskVerdict,
    slow: Callable[[tuple[str, ...]], set[str]],
) -> None:
    submitted: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    plugin = Plugin(slow(names))
    asker = TaskAuthorizer(Gate(plugin, scope), scope, submitted.set_result)
    at_once = asker.ask(question(*names))
    assert (at_once if at_once is not None else await submitted) == answered(verdict)


@pytest.mark.parametrize("principal", ["p", None])
async def test_who_is_asked_about_what(scope: Scope, principal: str | None) -> None:
    plugin = Plugin(set())
    info = pb.FrameworkInfo(name="f", user="u", principal=principal)
    TaskAuthorizer(Gate(plugin, scope), scope, unexpected).ask(question("a", of=info))
    ((subject, action, what),) = plugin.asked
    assert subject == (None if principal is None else Principal(principal))
    assert action == Action.RUN_TASK
    assert what.framework_info == info
    assert what.task_info is not None
    assert what.task_info.name == "a"
