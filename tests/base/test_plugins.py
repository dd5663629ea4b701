# SPDX-License-Identifier: Apache-2.0
"""Plug-ins are found by name and imported only when asked for."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from mesos_compat.base.errors import FlagError, InvariantError, IsolatorError
from mesos_compat.base.plugins import Group, time_limit

POINTS = [
    EntryPoint("b", "os.path:join", "g"),
    EntryPoint("a", "not.there:x", "g"),
    EntryPoint("c", "os:not_there", "g"),
    EntryPoint("b", "os.path:split", "g"),
]


def test_names_and_load(caplog: pytest.LogCaptureFixture) -> None:
    import os

    group = Group("g", POINTS)
    assert group.names() == ["a", "b", "c"]
    assert "b" in group
    assert "d" not in group
    assert group.load("b") is os.path.join
    assert "'b' is registered as os.path:join and as os.path:split" in caplog.text


@pytest.mark.parametrize(
    ("name", "error"),
    [("x", r"Unknown plug-in 'x' in g \(known: a, b, c\)"), ("a", "Failed"), ("c", "Failed")],
)
def test_what_cannot_be_loaded_is_a_flag_error(name: str, error: str) -> None:
    with pytest.raises(FlagError, match=error):
        Group("g", POINTS).load(name)


@pytest.mark.parametrize("order", [1, -1])
def test_a_foreign_one_replaces_a_built_in_one(order: int) -> None:
    points = [EntryPoint("n", "containerizer.api:x", "g"), EntryPoint("n", "os.path:join", "g")]
    assert Group("g", points[::order]).origin("n") == "os.path:join"


def test_installed_entry_points_are_read() -> None:
    assert "mesos-agent" in Group("console_scripts").names()


class Good:
    """A plug-in with one verb."""

    noun = 1

    def verb(self) -> None:
        """Do nothing."""


@pytest.fixture
def plugged() -> Iterator[Group]:
    """A group whose plug-in ``good`` makes something, in a module of its own."""
    module = ModuleType("plugged_for_test")
    module.good = lambda _: Good()  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    yield Group("g", [EntryPoint("good", "plugged_for_test:good", "g")])
    del sys.modules[module.__name__]


def test_what_is_made_has_its_verbs(plugged: Group) -> None:
    assert isinstance(plugged.make("good", lambda make: make(()), ("verb",)), Good)
    with pytest.raises(FlagError) as caught:
        plugged.make("good", lambda make: make(()), ("verb", "noun", "adverb"))
    assert str(caught.value) == "Failed to create plug-in 'good' of g: Good has no noun, adverb"
    assert plugged.origin("good") == "plugged_for_test:good"


def forever(_: Any) -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:
            continue


def raises(error: BaseException) -> Callable[[Any], None]:
    def build(_: Any) -> None:
        raise error

    return build


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (raises(ValueError("no")), "ValueError: no"),
        (raises(SystemExit(3)), "SystemExit: 3"),
        (raises(IsolatorError("requires root")), "requires root"),
        (forever, "it did not return within 0.05 s"),
    ],
)
def test_whatever_a_plugin_does_names_it(
    plugged: Group, build: Callable[[Any], None], text: str
) -> None:
    with pytest.raises(FlagError) as caught:
        plugged.make("good", build, limit_s=0.05)
    assert str(caught.value) == f"Failed to create plug-in 'good' of g: {text}"
    with pytest.raises(InvariantError):
        plugged.make("good", raises(InvariantError("ours")))


def test_a_module_that_breaks_when_imported() -> None:
    name = "wsgiref.not_there"
    with pytest.raises(FlagError, match=r"^Failed to load plug-in 'x' of g: "):
        Group("g", [EntryPoint("x", name, "g")]).load("x")
    sys.modules["half"] = half = ModuleType("half")
    half.__getattr__ = raises(KeyError("half"))  # type: ignore[method-assign]
    try:
        with pytest.raises(FlagError, match=r"^Failed to load plug-in 'x' of g: KeyError: 'half'$"):
            Group("g", [EntryPoint("x", "half:whole", "g")]).load("x")
    finally:
        del sys.modules["half"]


def test_a_limit_leaves_other_alarms_alone() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rang.append(number))
    old = signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        with time_limit(5):
            pass
        deadline = time.monotonic() + 60
        while not rang and time.monotonic() < deadline:
            signal.sigtimedwait([], 0.001)
        assert rang == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *old)


def test_other_threads_have_no_limit() -> None:
    done: list[bool] = []

    def run() -> None:
        with time_limit(0.001):
            done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [True]
