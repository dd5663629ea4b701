# SPDX-License-Identifier: Apache-2.0
"""Counters, gauges and timers under the names that ``/metrics/snapshot`` shows.

One ``Metrics`` per program; parts get it from the composition root. Names have the form
``slave/tasks_running``. Used from the event loop's thread only.

Source: spec ``metrics.tsv``.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from mesos_compat.base.clock import Clock, RealClock

log = logging.getLogger(__name__)

#: Samples and seconds that a timer remembers for its statistics.
TIMER_SAMPLES = 1000
TIMER_WINDOW_S = 3600.0

_PERCENTILES = (
    ("min", 0.0),
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
    ("max", 1.0),
)


class Counter:
    """A number that only grows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0

    def increment(self, by: int = 1) -> None:
        """Add ``by``."""
        self.value += by


class TimerMetric:
    """Durations in milliseconds: the last one as ``<name>_ms``, and statistics of the last hour.

    Absent before the first sample; statistics only with two samples in the window.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = f"{name}_ms"
        self._clock = clock
        self._last: float | None = None
        self._samples: deque[tuple[float, float]] = deque(maxlen=TIMER_SAMPLES)

    def record(self, duration_s: float) -> None:
        """Add one duration."""
        self._last = duration_s * 1000.0
        self._samples.append((self._clock.now(), self._last))

    @contextmanager
    def time(self) -> Iterator[None]:
        """Record the time that the block takes, also when it fails."""
        start = self._clock.now()
        try:
            yield
        finally:
            self.record(self._clock.now() - start)

    def values(self) -> dict[str, float]:
        """Return what a snapshot shows."""
        if self._last is None:
            return {}
        shown = {self.name: self._last}
        oldest = self._clock.now() - TIMER_WINDOW_S
        while self._samples and self._samples[0][0] < oldest:
            self._samples.popleft()
        if len(self._samples) < 2:
            return shown
        shown[f"{self.name}/count"] = float(len(self._samples))
        ordered = sorted(value for _, value in self._samples)
        for label, fraction in _PERCENTILES:
            shown[f"{self.name}/{label}"] = _percentile(ordered, fraction)
        return shown


class Metrics:
    """The registry. A name is registered once; a second time is our bug and raises ValueError."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock if clock is not None else RealClock()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Callable[[], float | None]] = {}
        self._groups: dict[frozenset[str], Callable[[], Mapping[str, float | None]]] = {}
        self._timers: dict[str, TimerMetric] = {}

    def counter(self, name: str) -> Counter:
        """Register a counter that starts at 0."""
        self._claim(name)
        return self._counters.setdefault(name, Counter(name))

    def gauge(self, name: str, read: Callable[[], float | None]) -> None:
        """Register a value that is read at each snapshot; ``None`` leaves it out."""
        self._claim(name)
        self._gauges[name] = read

    def gauges(self, names: Iterable[str], read: Callable[[], Mapping[str, float | None]]) -> None:
        """Register values that cost little together and much one by one; else as ``gauge``."""
        group = frozenset(names)
        for name in group:
            self._claim(name)
        self._groups[group] = read

    def timer(self, name: str) -> TimerMetric:
        """Register a timer; ``name`` is without the ``_ms`` that a snapshot shows."""
        self._claim(f"{name}_ms")
        return self._timers.setdefault(f"{name}_ms", TimerMetric(name, self._clock))

    def remove(self, name: str) -> None:
        """Forget a counter, gauge or timer; unknown names are ignored."""
        self._counters.pop(name, None)
        self._gauges.pop(name, None)
        self._timers.pop(f"{name}_ms", None)

    def snapshot(self) -> dict[str, float]:
        """Return all values by name, sorted. A gauge that fails or is not finite is left out."""
        values = {name: float(counter.value) for name, counter in self._counters.items()}
        for name, read in self._gauges.items():
            _add(values, name, partial(_alone, name, read))
        for names, read_all in self._groups.items():
            _add(values, min(names), read_all)
        for timer in self._timers.values():
            values.update(timer.values())
        return dict(sorted(values.items()))

    def _claim(self, name: str) -> None:
        grouped = any(name in names for names in self._groups)
        if grouped or name in self._counters or name in self._gauges or name in self._timers:
            raise ValueError(f"metric {name} is already registered")


def _alone(name: str, read: Callable[[], float | None]) -> dict[str, float | None]:
    return {name: read()}


def _add(
    values: dict[str, float], name: str, read: Callable[[], Mapping[str, float | None]]
) -> None:
    """Add what ``read`` finds, if it is finite."""
    try:
        found = read()
    except (ArithmeticError, LookupError, OSError, ValueError) as error:
        log.debug("Metric %s is not readable: %s", name, error)
        return
    for each, value in found.items():
        if value is not None and math.isfinite(value):
            values[each] = float(value)


def _percentile(ordered: list[float], fraction: float) -> float:
    """Interpolate between the two nearest samples."""
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
