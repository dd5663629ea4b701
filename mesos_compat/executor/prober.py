# SPDX-License-Identifier: Apache-2.0
"""Runs the checks of one task again and again, each in a chain of its own.

Source: spec ``executors`` 7.1, 7.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mesos_compat.base.units import format_duration
from mesos_compat.executor import checks
from mesos_compat.executor.checks import CheckHistory, Health, HealthHistory, Probe, Result
from mesos_compat.executor.log import SandboxLog
from mesos_compat.executor.loop import Loop, Timer
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

Concluded = Callable[[Result], None]


class RunningProbe(Protocol):
    """One run of a probe, which reports once."""

    def time_out(self, error: str) -> None:
        """End it; ``error`` is its result, now or as soon as it is gone."""

    def cancel(self) -> None:
        """End it without a result."""


#: Starts a run; never reports before it returns.
StartProbe = Callable[[Probe, Concluded], RunningProbe]


class CheckListener(Protocol):
    """Who wants to know what checks find."""

    def checked(self, status: v1.CheckStatusInfo) -> None:
        """A check has found something new."""

    def health_changed(self, health: Health) -> None:
        """A health check has news, which may end the task."""


class Prober:
    """One chain: a delay, a run, an interval, a run, …"""

    def __init__(
        self,
        loop: Loop,
        schedule: checks.Schedule,
        probe: Probe,
        start: StartProbe,
        concluded: Concluded,
    ) -> None:
        self._loop = loop
        self._schedule = schedule
        self._probe = probe
        self._start = start
        self._concluded = concluded
        self._running: RunningProbe | None = None
        self._timeout: Timer | None = None
        self._next: Timer | None = loop.later(schedule.delay_s, self._run)

    def pause(self) -> None:
        """End the run under way, whose result does not count, and begin no other."""
        for timer in (self._timeout, self._next):
            if timer is not None:
                timer.cancel()
        self._timeout = self._next = None
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def resume(self) -> None:
        """Go on with a run at once."""
        self.pause()
        self._next = self._loop.later(0, self._run)

    def _run(self) -> None:
        limit_s = self._schedule.timeout_s
        if limit_s is not None:
            self._timeout = self._loop.later(limit_s, self._time_out)
        self._running = self._start(self._probe, self._conclude)

    def _time_out(self) -> None:
        assert self._running is not None
        waited = format_duration(round((self._schedule.timeout_s or 0) * 1e9))
        self._running.time_out(f"{_NAMES[type(self._probe)]} timed out after {waited}")

    def _conclude(self, result: Result) -> None:
        self._running = None
        if self._timeout is not None:
            self._timeout.cancel()
        self._next = self._loop.later(self._schedule.interval_s, self._run)
        if not result.transient:
            self._concluded(result)


_NAMES = {
    checks.CommandProbe: "Command",
    checks.HttpProbe: "HTTP request",
    checks.TcpProbe: "TCP connection",
}


class TaskChecks:
    """The check and the health check of a task, as far as it has them."""

    def __init__(
        self,
        loop: Loop,
        info: v1.TaskInfo,
        start: StartProbe,
        listener: CheckListener,
        log: SandboxLog,
    ) -> None:
        """They begin now."""
        self._loop = loop
        self._name = info.task_id.value
        self._listener = listener
        self._log = log
        self._probers: list[Prober] = []
        if info.HasField("check"):
            self._check = CheckHistory(info.check)
            schedule = checks.schedule_of(info.check)
            self._add(schedule, checks.check_probe(info.check), start, self._checked)
        if info.HasField("health_check"):
            self._health = HealthHistory(info.health_check, loop.now())
            schedule = checks.schedule_of(info.health_check)
            probe = checks.health_probe(info.health_check)
            self._add(schedule, probe, start, self._health_checked)

    def pause(self) -> None:
        """Stop until ``resume``."""
        for prober in self._probers:
            prober.pause()

    def stop(self) -> None:
        """Stop for good."""
        self.pause()
        # Not to leave a cycle behind: nobody collects them here.
        self._probers.clear()

    def resume(self) -> None:
        """Go on; what was counted still counts."""
        for prober in self._probers:
            prober.resume()

    def _add(
        self,
        schedule: checks.Schedule,
        probe: Probe | None,
        start: StartProbe,
        concluded: Concluded,
    ) -> None:
        if probe is None:
            self._log.error(f"Task {self._name} has a check that does not say what to do")
        else:
            self._probers.append(Prober(self._loop, schedule, probe, start, concluded))

    def _checked(self, result: Result) -> None:
        if result.error is not None:
            self._log.warning(f"Check of task {self._name} failed: {result.error}")
        status = self._check.take(result)
        if status is not None:
            self._listener.checked(status)

    def _health_checked(self, result: Result) -> None:
        why = self._health.why_unhealthy(result)
        if why is not None:
            self._log.warning(f"Health check of task {self._name} failed: {why}")
        health = self._health.take(result, self._loop.now())
        if health is not None:
            self._listener.health_changed(health)
