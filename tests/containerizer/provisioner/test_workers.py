# SPDX-License-Identifier: Apache-2.0
"""Processes that unpack, from the side of who waits for them."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from containerizer.provisioner import workers
from containerizer.provisioner.workers import Work, run_all
from mesos_compat.base.errors import BackendError, ManifestError, UnpackError


def done(number: int) -> dict[str, Any]:
    return {"number": number, "text": "x" * 100_000}


def fail(error: Exception) -> dict[str, Any]:
    raise error


def test_answers_have_the_order_of_the_work() -> None:
    found = run_all([Work(str(n), lambda n=n: done(n)) for n in range(5)])  # type: ignore[misc]
    assert [each["number"] for each in found] == list(range(5))


@pytest.mark.parametrize("error", [UnpackError("u"), ManifestError("m"), BackendError("b")])
def test_errors_keep_their_kind(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        run_all([Work("w", lambda: fail(error))])


def test_an_exception_that_nobody_expects_is_told() -> None:
    with pytest.raises(UnpackError) as caught:
        run_all([Work("layer 'l'", lambda: fail(ZeroDivisionError("why" * 1000)))])
    text = str(caught.value)
    assert text.startswith("Failed to unpack layer 'l': unexpected ZeroDivisionError: whywhy")
    assert " (test_workers.py, line " in text
    assert len(text) < 1000


def test_an_answer_that_cannot_be_sent_is_told() -> None:
    with pytest.raises(UnpackError, match="Failed to unpack w: unexpected TypeError"):
        run_all([Work("w", lambda: {"name": b"x"})])


def test_one_that_is_killed() -> None:
    def die() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(UnpackError, match="Failed to unpack w: the process was terminated by"):
        run_all([Work("w", die)])


def test_a_failure_is_told_though_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those others may have ended with answers that nobody has read."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    unwrap = workers.unwrap

    def slow(answer: object, name: str) -> dict[str, Any]:
        time.sleep(0.2)
        return unwrap(answer, name)

    monkeypatch.setattr(workers, "unwrap", slow)

    def late() -> dict[str, Any]:
        time.sleep(0.05)
        return done(2)

    with pytest.raises(UnpackError, match="bad"):
        run_all([Work("one", lambda: fail(UnpackError("bad"))), Work("two", late)])
