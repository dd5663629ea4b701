# SPDX-License-Identifier: Apache-2.0
"""The text of ``/state``, of which the part that never changes again is written once only.

There may be thousands of completed executors, and web pages ask every few seconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from mesos_compat.agent.machine.state import AgentState, Executor
from mesos_compat.http import state_view
from mesos_compat.http.state_view import Build
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import JsonValue, dumps


class StateCache:
    """Remembers the JSON of completed executors as long as the agent does."""

    def __init__(self) -> None:
        self._texts: dict[ContainerId, bytes] = {}
        #: Stands for a remembered text in the document; nobody can guess it.
        self._mark = secrets.token_hex(16)
        self._marked = re.compile(b'"%b([0-9]+)"' % self._mark.encode())

    def render(self, state: AgentState, build: Build, flags: Mapping[str, str]) -> bytes:
        """Return the whole document as JSON."""
        texts: dict[ContainerId, bytes] = {}
        ordered: list[bytes] = []

        def shown(item: Executor) -> JsonValue:
            text = self._texts.get(item.container_id)
            if text is None:
                text = dumps(state_view.executor(item))
            texts[item.container_id] = text
            ordered.append(text)
            return f"{self._mark}{len(ordered) - 1}"

        whole = dumps(state_view.agent(state, build, flags, shown))
        self._texts = texts
        return self._marked.sub(lambda found: ordered[int(found[1])], whole)
