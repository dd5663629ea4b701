# SPDX-License-Identifier: Apache-2.0
"""Small endpoints: metrics and their pace, log level, system, help.

Source: spec ``operator-api`` 5.6 to 5.8.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from html import escape
from typing import Final

from mesos_compat.base.errors import ApiError, FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.units import parse_duration
from mesos_compat.http import reply
from mesos_compat.http.reply import Reply
from mesos_compat.http.verbosity import Verbosity
from mesos_compat.model.jsonpb import JsonObject, JsonValue

#: Names the pace of ``/metrics/snapshot``; unset means two requests per second, empty no limit.
RATE_LIMIT_VARIABLE: Final = "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT"
DEFAULT_INTERVAL_S: Final = 0.5

PERFTOOLS_DISABLED: Final = (
    "Perftools is disabled. To enable perftools, configure libprocess with --enable-perftools.\n"
)

_SYSTEM: Final[Mapping[str, Callable[[], float]]] = {
    "avg_load_1min": lambda: os.getloadavg()[0],
    "avg_load_5min": lambda: os.getloadavg()[1],
    "avg_load_15min": lambda: os.getloadavg()[2],
    "cpus_total": lambda: os.sysconf("SC_NPROCESSORS_ONLN"),
    "mem_total_bytes": lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    "mem_free_bytes": lambda: os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
}
#: Name of a metric below ``system/`` and of its source.
_SYSTEM_METRICS: Final = (
    ("load_1min", "avg_load_1min"),
    ("load_5min", "avg_load_5min"),
    ("load_15min", "avg_load_15min"),
    ("cpus_total", "cpus_total"),
    ("mem_total_bytes", "mem_total_bytes"),
    ("mem_free_bytes", "mem_free_bytes"),
)

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)


def metrics_interval_s(environ: Mapping[str, str]) -> float:
    """Return the seconds between two snapshots, 0 for no limit. Raises FlagError."""
    text = environ.get(RATE_LIMIT_VARIABLE)
    if text is None:
        return DEFAULT_INTERVAL_S
    if not text:
        return 0.0
    count, slash, period = text.partition("/")
    try:
        number = float(count)
        duration_ns = parse_duration(period)
        if not slash or not number > 0:
            raise ValueError(text)
    except ValueError:
        raise FlagError(
            f"Failed to parse {RATE_LIMIT_VARIABLE} '{text}': expecting <number>/<duration>"
        ) from None
    return duration_ns / 1e9 / number


def check_timeout(query: Mapping[str, str]) -> None:
    """Check ``timeout`` of a snapshot (no metric here takes time). Raises ApiError 400."""
    value = query.get("timeout")
    if value is None:
        return
    try:
        parse_duration(value)
    except ValueError as error:
        raise ApiError(400, f"Invalid timeout '{value}': {error}.\n") from None


def toggle(query: Mapping[str, str], verbosity: Verbosity) -> Reply:
    """Show or change the log verbosity. Raises ApiError 400."""
    level, duration = query.get("level"), query.get("duration")
    if level is None and duration is None:
        return reply.text(f"{verbosity.level}\n")
    if duration is None:
        raise ApiError(400, "Expecting 'duration=value' in query.\n")
    if level is None:
        raise ApiError(400, "Expecting 'level=value' in query.\n")
    if not _NUMBER.fullmatch(level):
        raise ApiError(400, f"Failed to convert '{level}' to number.\n")
    number = int(level)
    if number < 0:
        raise ApiError(400, f"Invalid level '{level}'.\n")
    if number < verbosity.original:
        raise ApiError(400, f"'{level}' < original level.\n")
    try:
        duration_ns = parse_duration(duration)
    except ValueError as error:
        raise ApiError(400, f"{error}.\n") from None
    verbosity.set(number, duration_ns / 1e9)
    return Reply()


def system() -> JsonObject:
    """Return load, processors and memory of the machine; what is not known is left out."""
    found: JsonObject = {}
    for name, source in _SYSTEM.items():
        try:
            found[name] = source()
        except (OSError, ValueError):
            continue
    return found


def register_metrics(metrics: Metrics) -> None:
    """Register what a snapshot tells of the machine."""
    for name, key in _SYSTEM_METRICS:
        metrics.gauge(f"system/{name}", _SYSTEM[key])


def processes(actors: Collection[str]) -> list[JsonValue]:
    """Return the list of actors; what waits in their queues is nobody's business."""
    return [{"events": [], "id": actor} for actor in sorted(actors)]


def help_page(path: str, query: Mapping[str, str], agent: str, routes: Collection[str]) -> Reply:
    """Answer ``/help`` and what is below it. Raises ApiError 400 or 404."""
    known: dict[str, list[str]] = {}
    for route in sorted(routes):
        _, actor, *names = route.split("/")
        known.setdefault(actor, []).append("/" + "/".join(names))
    _, _, *rest = path.split("/")
    if rest and rest[0] not in known:
        raise ApiError(404, reply.default_body(404))
    if len(rest) > 1 and "/" + "/".join(rest[1:]) not in known[rest[0]]:
        raise ApiError(400, f"No help available for '/{'/'.join(rest)}'.\n")
    if rest:
        known = {rest[0]: known[rest[0]]}
    if query.get("format") == "json":
        return reply.json(
            {
                "processes": [
                    {"id": actor, "endpoints": [{"name": name, "text": ""} for name in names]}
                    for actor, names in known.items()
                ]
            },
            {},
        )
    lines = ["# HELP", ""]
    for actor, names in known.items():
        lines += [f"## {actor}", "", *(f"* /{actor}{name.rstrip('/')}" for name in names), ""]
    text = "\n".join(lines)
    if agent.startswith(("curl", "HTTPie")):
        return Reply(200, text.encode(), "text/x-markdown")
    page = f"<html><body><pre>{escape(text)}</pre></body></html>"
    return Reply(200, page.encode(), "text/html")
