# SPDX-License-Identifier: Apache-2.0
"""The text of ``/state``, of which the part that never changes again is written once only.

There may be thousands of completed executors, and web pages ask every few seconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping

from mesos_compat.agent.machine.state import AgentState, Executor, Framework, Task
from mesos_compat.http import state_view
from mesos_compat.http.state_view import Build
from mesos_compat.http.view import EVERYTHING, View
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import JsonValue, dumps


class StateCache:
    """Remembers the JSON of completed executors as long as the agent does."""

    def __init__(self) -> None:
        self._texts: dict[ContainerId, bytes] = {}
        #: Stands for a remembered text in the document; nobody can guess it.
        self._mark = secrets.token_hex(16)
        self._marked = re.compile(b'"%b([0-9]+)"' % self._mark.encode())

    def render(
        self,
        state: AgentState,
        build: Build,
        flags: Mapping[str, str],
        view: View = EVERYTHING,
    ) -> bytes:
        """Return the whole document as JSON, or what ``view`` shows of it."""
        ordered: list[bytes] = []

        def shown(of: Framework, item: Executor, view: View) -> JsonValue:
            if not view.everything and not all(view.task(of, task.info) for task in _tasks(item)):
                return state_view.executor(of, item, view)
            text = self._texts.get(item.container_id)
            if text is None:
                text = dumps(state_view.executor(of, item, EVERYTHING))
                self._texts[item.container_id] = text
            ordered.append(text)
            return f"{self._mark}{len(ordered) - 1}"

        whole = dumps(state_view.agent(state, build, flags, view, shown))
        self._forget(state)
        return self._marked.sub(lambda found: ordered[int(found[1])], whole)

    def _forget(self, state: AgentState) -> None:
        frameworks = (*state.frameworks.values(), *state.completed_frameworks)
        if len(self._texts) <= sum(len(each.completed_executors) for each in frameworks):
            return
        kept = {run.container_id for each in frameworks for run in each.completed_executors}
        for container_id in self._texts.keys() - kept:
            del self._texts[container_id]


def _tasks(item: Executor) -> Iterator[Task]:
    yield from item.launched.values()
    yield from item.queued.values()
    yield from item.terminated.values()
    yield from item.completed
