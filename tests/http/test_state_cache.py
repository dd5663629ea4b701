# SPDX-License-Identifier: Apache-2.0
"""The text of ``/state`` is that of the document, whatever was remembered."""

import copy

import pytest

from mesos_compat.agent.machine.state import AgentState
from mesos_compat.http import state_view
from mesos_compat.http.state_cache import StateCache
from mesos_compat.http.state_view import Build
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import dumps
from tests.http.fakes import golden_state

BUILD = Build("1.12.0", "", 0.0, "")


def state_with_completed(count: int) -> AgentState:
    """A framework whose only executor has completed several times."""
    state = golden_state()
    framework = next(iter(state.frameworks.values()))
    run = framework.executors.popitem()[1]
    for number in range(count):
        completed = copy.copy(run)
        completed.container_id = ContainerId(f"run-{number}")
        framework.completed_executors.append(completed)
    return state


def test_the_text_is_that_of_the_document() -> None:
    state, cache = state_with_completed(12), StateCache()
    state.completed_frameworks.append(next(iter(state.frameworks.values())))
    for _ in range(2):
        assert cache.render(state, BUILD, {}) == dumps(state_view.agent(state, BUILD, {}))


def test_a_completed_executor_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    state, cache = state_with_completed(3), StateCache()
    cache.render(state, BUILD, {})
    expected = cache.render(state, BUILD, {})
    monkeypatch.setattr(state_view, "executor", lambda of, item, view: {})
    assert cache.render(state, BUILD, {}) == expected


def test_what_the_agent_forgets_is_forgotten() -> None:
    state, cache = state_with_completed(3), StateCache()
    cache.render(state, BUILD, {})
    next(iter(state.frameworks.values())).completed_executors.clear()
    cache.render(state, BUILD, {})
    assert cache._texts == {}
