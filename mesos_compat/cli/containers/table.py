# SPDX-License-Identifier: Apache-2.0
"""Rows of text for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.base.log import printable

#: Longest text of a column but the last one.
_WIDEST = 40
_UNITS = ("B", "K", "M", "G", "T")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line per row, columns aligned; what could confuse a terminal is escaped."""
    cells = [list(header), *([_cell(text) for text in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def size(count: int | None) -> str:
    """Return bytes with three digits or so."""
    if count is None:
        return "-"
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.0f}{unit}" if unit == "B" or amount >= 100 else f"{amount:.1f}{unit}"
        amount /= 1024
    raise AssertionError(count)


def age(seconds: float | None) -> str:
    """Return how long ago something was."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    return f"{whole // _HOUR}h" if whole < 2 * _DAY else f"{whole // _DAY}d"


def _cell(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _WIDEST else shown[: _WIDEST - 1] + "…"
