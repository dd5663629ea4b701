# SPDX-License-Identifier: Apache-2.0
"""What checks and health checks of a task are to do, and what their results say. Pure.

Source: spec ``executors`` 7.1, 7.4, 7.6.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

#: Kind of a result by the type of a check, and the same of a health check.
_FIELDS = {v1.CheckInfo.COMMAND: "command", v1.CheckInfo.HTTP: "http", v1.CheckInfo.TCP: "tcp"}
_HEALTH_FIELDS = {
    v1.HealthCheck.COMMAND: "command",
    v1.HealthCheck.HTTP: "http",
    v1.HealthCheck.TCP: "tcp",
}
#: Longer than anything runs.
_LONGEST_S = 1e9
_LOCALHOST = {v1.NetworkInfo.IPv4: "127.0.0.1", v1.NetworkInfo.IPv6: "::1"}


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to: a number, why there is none, or nothing that says anything."""

    #: Exit code of a command, status code of HTTP, 1 or 0 for a connection by TCP.
    value: int | None = None
    error: str | None = None

    @property
    def transient(self) -> bool:
        """Whether nothing was learnt."""
        return self.value is None and self.error is None


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """Run a command."""

    command: v1.CommandInfo


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ask an HTTP server."""

    url: str


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Connect."""

    host: str
    port: int


Probe = CommandProbe | HttpProbe | TcpProbe


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to run; times in seconds."""

    delay_s: float
    interval_s: float
    #: ``None``: no limit.
    timeout_s: float | None


def schedule_of(info: v1.CheckInfo | v1.HealthCheck) -> Schedule:
    """Return when to run, defaults filled in; what is negative counts as none."""
    timeout_s = _seconds(info.timeout_seconds)
    return Schedule(
        _seconds(info.delay_seconds), _seconds(info.interval_seconds), timeout_s or None
    )


def _seconds(given: float) -> float:
    """Return a time that can be waited for, whatever is given."""
    return min(given, _LONGEST_S) if given > 0 else 0.0


def check_probe(info: v1.CheckInfo) -> Probe | None:
    """Return what a check does; ``None`` if it does not say."""
    match _FIELDS.get(info.type):
        case "command":
            return CommandProbe(info.command.command)
        case "http":
            return HttpProbe(f"http://127.0.0.1:{info.http.port}{info.http.path}")
        case "tcp":
            return TcpProbe("127.0.0.1", info.tcp.port)
    return None


def health_probe(info: v1.HealthCheck) -> Probe | None:
    """Return what a health check does; ``None`` if it does not say."""
    match _HEALTH_FIELDS.get(info.type) if info.HasField("type") else _old_kind(info):
        case "command":
            return CommandProbe(info.command)
        case "http":
            host = _LOCALHOST.get(info.http.protocol, "127.0.0.1")
            shown = f"[{host}]" if ":" in host else host
            scheme = info.http.scheme or "http"
            return HttpProbe(f"{scheme}://{shown}:{info.http.port}{info.http.path}")
        case "tcp":
            return TcpProbe(_LOCALHOST.get(info.tcp.protocol, "127.0.0.1"), info.tcp.port)
    return None


def _old_kind(info: v1.HealthCheck) -> str | None:
    return next((name for name in ("command", "http") if info.HasField(name)), None)


class CheckHistory:
    """What a check has found so far."""

    def __init__(self, info: v1.CheckInfo) -> None:
        self._type = info.type
        self._last = self._status(Result())

    def take(self, result: Result) -> v1.CheckStatusInfo | None:
        """Return what is to be told of a result; ``None`` if it is known already."""
        found = self._status(result)
        if found == self._last:
            return None
        self._last = found
        return found

    def _status(self, result: Result) -> v1.CheckStatusInfo:
        made = v1.CheckStatusInfo(type=self._type)
        match _FIELDS.get(self._type):
            case "command":
                made.command.SetInParent()
                if result.value is not None:
                    made.command.exit_code = result.value
            case "http":
                made.http.SetInParent()
                if result.value is not None:
                    made.http.status_code = result.value
            case "tcp":
                made.tcp.SetInParent()
                if result.value is not None:
                    made.tcp.succeeded = bool(result.value)
        return made


@dataclass(frozen=True, slots=True)
class Health:
    """News of a task's health."""

    healthy: bool
    #: Whether the task has failed often enough to be killed.
    kill: bool = False


class HealthHistory:
    """What a health check has found so far; times in seconds, on any clock."""

    def __init__(self, info: v1.HealthCheck, now: float) -> None:
        self._limit = info.consecutive_failures
        self._grace_s = info.grace_period_seconds
        self._type = _HEALTH_FIELDS.get(info.type) if info.HasField("type") else _old_kind(info)
        self._began = now
        self._failures = 0
        #: Whether it was healthy once.
        self._initialized = False
        self._healthy = False

    def take(self, result: Result, now: float) -> Health | None:
        """Return what is to be told of a result that is not transient, if anything."""
        if self.why_unhealthy(result) is None:
            known = self._healthy
            self._initialized = self._healthy = True
            self._failures = 0
            return None if known else Health(True)
        if not self._initialized and self._grace_s > 0 and now - self._began <= self._grace_s:
            return None
        self._healthy = False
        self._failures += 1
        return Health(False, self._failures >= self._limit)

    def why_unhealthy(self, result: Result) -> str | None:
        """Say what is wrong with a result; ``None`` if nothing is."""
        if result.value is None:
            return result.error or "no result"
        match self._type:
            case "command":
                ok, why = result.value == 0, f"Command returned exit status {result.value}"
            case "http":
                ok = 200 <= result.value < 400
                why = f"Unexpected HTTP response code: {result.value}"
            case _:
                ok, why = result.value == 1, "TCP connection failed"
        return None if ok else why
