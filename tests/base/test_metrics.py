# SPDX-License-Identifier: Apache-2.0
"""Counters, gauges, timers and their snapshot."""

import pytest

from mesos_compat.base.clock import FakeClock
from mesos_compat.base.metrics import Metrics


def test_a_snapshot_holds_all_values_sorted() -> None:
    metrics = Metrics()
    counter = metrics.counter("slave/tasks_lost")
    counter.increment()
    counter.increment(2)
    metrics.gauge("slave/registered", lambda: True)
    metrics.gauge("gone", lambda: None)
    assert list(metrics.snapshot().items()) == [("slave/registered", 1.0), ("slave/tasks_lost", 3)]


def test_a_gauge_that_fails_is_left_out() -> None:
    metrics = Metrics()
    metrics.gauge("bad", lambda: 1 / 0)
    metrics.gauge("nan", lambda: float("nan"))
    metrics.gauge("good", lambda: 1)
    assert metrics.snapshot() == {"good": 1.0}


def test_values_that_are_read_together() -> None:
    metrics = Metrics()
    reads = 0

    def read() -> dict[str, float | None]:
        nonlocal reads
        reads += 1
        return {"b": 2.0, "a": 1.0, "gone": None, "nan": float("nan")}

    metrics.gauges(["a", "b", "gone", "nan"], read)
    metrics.gauges(["bad"], lambda: {"bad": 1 / 0})
    assert list(metrics.snapshot().items()) == [("a", 1.0), ("b", 2.0)]
    assert reads == 1
    with pytest.raises(ValueError, match="metric b is already registered"):
        metrics.gauge("b", lambda: 1)
    with pytest.raises(ValueError, match="metric b is already registered"):
        metrics.gauges(["b", "c"], dict)


def test_names_are_unique_and_can_be_given_back() -> None:
    metrics = Metrics()
    metrics.counter("a")
    with pytest.raises(ValueError, match="already registered"):
        metrics.gauge("a", lambda: 1)
    metrics.remove("a")
    metrics.remove("a")
    metrics.gauge("a", lambda: 1)


def test_timers_show_the_last_and_statistics_of_an_hour() -> None:
    clock = FakeClock()
    timer = Metrics(clock).timer("pull")
    assert timer.values() == {}
    with timer.time():
        clock.advance(1.0)
    assert timer.values() == {"pull_ms": 1000.0}
    timer.record(3.0)
    values = timer.values()
    assert values["pull_ms"] == 3000.0
    assert values["pull_ms/count"] == 2.0
    assert values["pull_ms/p50"] == 2000.0
    assert values["pull_ms/max"] == 3000.0
    clock.advance(3601.0)
    assert timer.values() == {"pull_ms": 3000.0}
