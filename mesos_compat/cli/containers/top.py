# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat top``: what containers use, as it changes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.table import size, table
from mesos_compat.cli.containers.target import ContainerTarget, Usage

_HEADER = ("ID", "NAME", "CPU %", "MEMORY", "LIMIT", "PIDS", "COMMAND")
_PRESSURES = ("cpu_pressure", "memory_pressure", "io_pressure")
_PRESSURE_HEADER = ("CPU-P", "MEM-P", "IO-P")
#: With ``--once``: seconds between the two looks that a rate needs.
_ONCE_S = 0.5
_CLEAR = "\x1b[H\x1b[J"


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser("top", "Show what containers use.", "--interval 1")
    parser.add_argument("--once", action="store_true", help="once, and end")
    parser.add_argument("--json", action="store_true", help="one JSON array per look")
    parser.add_argument("--interval", metavar="SECONDS", type=float, default=2.0)
    options = parser.parse_args(argv)
    if not 0 < options.interval < float("inf"):
        parser.error("--interval has to be more than nothing")
    return common.perform(options, lambda target: _show(target, options))


async def _show(target: ContainerTarget, options: argparse.Namespace) -> int:
    before = {usage.row.id: usage for usage in await target.usages()}
    while True:
        await asyncio.sleep(_ONCE_S if options.once else options.interval)
        now = await target.usages()
        if options.json:
            print(json.dumps(documents(now, before)), flush=True)
        else:
            clear = _CLEAR if sys.stdout.isatty() and not options.once else ""
            print(clear + "\n".join(lines(now, before)), flush=True)
        if options.once:
            return 0
        before = {usage.row.id: usage for usage in now}


def cpu_percent(now: Usage, before: Usage | None) -> float | None:
    """Return the part of one processor used between two looks."""
    if before is None or now.sample.cpu_s is None or before.sample.cpu_s is None:
        return None
    passed = now.measured_s - before.measured_s
    return max(0.0, now.sample.cpu_s - before.sample.cpu_s) / passed * 100 if passed > 0 else None


def documents(now: Sequence[Usage], before: Mapping[str, Usage]) -> list[dict[str, object]]:
    """Return one JSON object per container."""
    return [
        {
            "id": usage.row.id,
            "name": usage.row.name,
            "cpu_percent": cpu_percent(usage, before.get(usage.row.id)),
            **asdict(usage.sample),
        }
        for usage in now
    ]


def lines(now: Sequence[Usage], before: Mapping[str, Usage]) -> list[str]:
    """Return the table, the busiest first; pressure only if the kernel counts it."""
    rates = {usage.row.id: cpu_percent(usage, before.get(usage.row.id)) for usage in now}
    pressed = any(getattr(usage.sample, name) is not None for usage in now for name in _PRESSURES)
    rows = []
    for usage in sorted(now, key=lambda each: -(rates[each.row.id] or 0.0)):
        shown = usage.sample
        row = [
            usage.row.id,
            usage.row.name,
            _number(rates[usage.row.id]),
            size(shown.memory_bytes),
            size(shown.memory_limit_bytes),
            "-" if shown.processes is None else str(shown.processes),
            usage.row.command or "-",
        ]
        if pressed:
            row[-1:-1] = [_number(getattr(shown, name)) for name in _PRESSURES]
        rows.append(row)
    header = list(_HEADER)
    if pressed:
        header[-1:-1] = _PRESSURE_HEADER
    return table(header, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
