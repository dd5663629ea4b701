# SPDX-License-Identifier: Apache-2.0
"""What checks are to do, and what their results say."""

from __future__ import annotations

import math

import pytest

from mesos_compat.executor import checks
from mesos_compat.executor.checks import (
    CheckHistory,
    CommandProbe,
    Health,
    HealthHistory,
    HttpProbe,
    Probe,
    Result,
    TcpProbe,
)
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

COMMAND = v1.CommandInfo(value="true")
IPV6 = v1.NetworkInfo.IPv6
H = v1.HealthCheck


@pytest.mark.parametrize(
    ("info", "probe"),
    [
        (
            v1.CheckInfo(type="COMMAND", command=v1.CheckInfo.Command(command=COMMAND)),
            CommandProbe(COMMAND),
        ),
        (
            v1.CheckInfo(type="HTTP", http=v1.CheckInfo.Http(port=80, path="/a?b")),
            HttpProbe("http://127.0.0.1:80/a?b"),
        ),
        (v1.CheckInfo(type="TCP", tcp=v1.CheckInfo.Tcp(port=22)), TcpProbe("127.0.0.1", 22)),
        (v1.CheckInfo(), None),
    ],
)
def test_what_a_check_does(info: v1.CheckInfo, probe: Probe | None) -> None:
    assert checks.check_probe(info) == probe


@pytest.mark.parametrize(
    ("info", "probe"),
    [
        (H(type="COMMAND", command=COMMAND), CommandProbe(COMMAND)),
        (H(type="HTTP", http=H.HTTPCheckInfo(port=80)), HttpProbe("http://127.0.0.1:80")),
        (
            H(
                type="HTTP",
                http=H.HTTPCheckInfo(port=443, path="/a", scheme="https", protocol=IPV6),
            ),
            HttpProbe("https://[::1]:443/a"),
        ),
        (H(type="TCP", tcp=H.TCPCheckInfo(port=22)), TcpProbe("127.0.0.1", 22)),
        (H(type="TCP", tcp=H.TCPCheckInfo(port=22, protocol=IPV6)), TcpProbe("::1", 22)),
        # Of frameworks that know no types yet.
        (H(command=COMMAND), CommandProbe(COMMAND)),
        (H(http=H.HTTPCheckInfo(port=1)), HttpProbe("http://127.0.0.1:1")),
        (H(), None),
    ],
)
def test_what_a_health_check_does(info: v1.HealthCheck, probe: Probe | None) -> None:
    assert checks.health_probe(info) == probe


def test_defaults() -> None:
    for info in (v1.CheckInfo(), v1.HealthCheck()):
        schedule = checks.schedule_of(info)
        assert (schedule.delay_s, schedule.interval_s, schedule.timeout_s) == (15, 10, 20)


@pytest.mark.parametrize(
    ("given", "wait_s", "limit_s"),
    [(0, 0, None), (0.5, 0.5, 0.5), (-1, 0, None), (math.nan, 0, None), (math.inf, 1e9, 1e9)],
)
def test_times(given: float, wait_s: float, limit_s: float | None) -> None:
    info = v1.CheckInfo(delay_seconds=given, interval_seconds=given, timeout_seconds=given)
    assert checks.schedule_of(info) == checks.Schedule(wait_s, wait_s, limit_s)


def test_a_check_tells_what_is_new() -> None:
    history = CheckHistory(v1.CheckInfo(type="COMMAND"))
    assert history.take(Result(error="there is none")) is None
    found = history.take(Result(0))
    assert found is not None
    assert (found.type, found.command.exit_code) == (v1.CheckInfo.COMMAND, 0)
    assert found.command.HasField("exit_code")
    assert history.take(Result(0)) is None
    assert history.take(Result(7)) is not None
    lost = history.take(Result(error="gone"))
    assert lost is not None
    assert lost.HasField("command")
    assert not lost.command.HasField("exit_code")


def test_other_results() -> None:
    http = CheckHistory(v1.CheckInfo(type="HTTP")).take(Result(404))
    tcp = CheckHistory(v1.CheckInfo(type="TCP")).take(Result(0))
    assert http is not None
    assert tcp is not None
    assert http.http.status_code == 404
    assert tcp.tcp.HasField("succeeded")
    assert not tcp.tcp.succeeded


def health(kind: str = "COMMAND", **fields: float) -> HealthHistory:
    return HealthHistory(v1.HealthCheck(type=kind, **fields), now=100.0)  # type: ignore[arg-type]


def test_success_is_told_at_first_and_after_failures() -> None:
    history = health(consecutive_failures=3)
    told = [history.take(Result(value), 101) for value in (0, 0, 1, 1, 0, 0)]
    good, bad = Health(True), Health(False)
    assert told == [good, None, bad, bad, good, None]


def test_failures_are_counted_in_a_row() -> None:
    history = health(consecutive_failures=2, grace_period_seconds=0)
    told = [history.take(Result(value), 101) for value in (1, 0, 1, 1)]
    assert told == [Health(False), Health(True), Health(False), Health(False, kill=True)]


@pytest.mark.parametrize("limit", [0, 1])
def test_the_first_failure_may_be_one_too_many(limit: int) -> None:
    history = health(consecutive_failures=limit, grace_period_seconds=0)
    assert history.take(Result(error="timed out"), 101) == Health(False, kill=True)


def test_the_grace_period_ends_with_the_first_success() -> None:
    history = health(consecutive_failures=1, grace_period_seconds=10)
    assert history.take(Result(1), 110) is None
    assert history.take(Result(0), 110) == Health(True)
    assert history.take(Result(1), 110) == Health(False, kill=True)
    late = health(consecutive_failures=1, grace_period_seconds=10)
    assert late.take(Result(1), 110.5) == Health(False, kill=True)


@pytest.mark.parametrize(
    ("kind", "result", "why"),
    [
        ("COMMAND", Result(0), None),
        ("COMMAND", Result(2), "Command returned exit status 2"),
        ("COMMAND", Result(error="Command timed out after 1secs"), "Command timed out after 1secs"),
        ("HTTP", Result(200), None),
        ("HTTP", Result(399), None),
        ("HTTP", Result(404), "Unexpected HTTP response code: 404"),
        ("HTTP", Result(101), "Unexpected HTTP response code: 101"),
        ("TCP", Result(1), None),
        ("TCP", Result(0), "TCP connection failed"),
    ],
)
def test_what_is_healthy(kind: str, result: Result, why: str | None) -> None:
    assert health(kind).why_unhealthy(result) == why
