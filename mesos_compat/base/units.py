# SPDX-License-Identifier: Apache-2.0
"""The text forms of durations and byte sizes. Pure.

``model/quantity.py`` builds its types on these functions; nobody else writes this grammar again.
Durations are integral nanoseconds within a signed 64-bit integer, sizes unsigned 64-bit bytes.
All parsers raise ValueError with the reason in upstream's words.

Source: spec ``state-and-recovery`` 1.4 and 1.6, ``agent-master`` 1.
"""

from __future__ import annotations

import re
from typing import Final

#: Unit name and nanoseconds, smallest first.
DURATION_UNITS: Final = (
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("secs", 1_000_000_000),
    ("mins", 60 * 1_000_000_000),
    ("hrs", 3600 * 1_000_000_000),
    ("days", 24 * 3600 * 1_000_000_000),
    ("weeks", 7 * 24 * 3600 * 1_000_000_000),
)

#: Unit name and bytes, smallest first.
BYTES_UNITS: Final = (("B", 1), ("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40))

_MAX_NS: Final = (1 << 63) - 1
_MAX_BYTES: Final = (1 << 64) - 1
_DURATION = re.compile(r"([0-9.]*)(.*)", re.ASCII | re.DOTALL)
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+", re.ASCII)
_BYTES = re.compile(r"([0-9.]*)(.*)", re.ASCII | re.DOTALL)


def parse_duration(text: str) -> int:
    """Return the nanoseconds of, for example, ``10secs`` or ``1.5mins``."""
    match = _DURATION.fullmatch(text)
    assert match is not None
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"Invalid duration '{text}'")
    factor = dict(DURATION_UNITS).get(unit)
    if not _NUMBER.fullmatch(number) or len(number) > 1000:
        raise ValueError(f"Invalid duration '{text}'")
    if factor is None:
        raise ValueError(
            f"Unknown duration unit '{unit}'; supported units are "
            "'ns', 'us', 'ms', 'secs', 'mins', 'hrs', 'days', and 'weeks'"
        )
    whole, _, fraction = number.partition(".")
    value = int(whole + fraction) * factor // int("1" + "0" * len(fraction))
    if value > _MAX_NS:
        raise ValueError(
            "Argument out of the range that a Duration can represent due to int64_t's size limit"
        )
    return value


def format_duration(nanoseconds: int) -> str:
    """Print in the unit that the value falls into, or in the one below if only that is whole."""
    size = abs(nanoseconds)
    index = max((i for i, (_, factor) in enumerate(DURATION_UNITS) if size >= factor), default=0)
    if size % DURATION_UNITS[index][1] != 0 and size % DURATION_UNITS[index - 1][1] == 0:
        index -= 1
    unit, factor = DURATION_UNITS[index]
    if nanoseconds % factor == 0:
        return f"{nanoseconds // factor}{unit}"
    return f"{nanoseconds / factor:.15g}{unit}"


def parse_bytes(text: str) -> int:
    """Return the bytes of, for example, ``2GB``."""
    match = _BYTES.fullmatch(text)
    assert match is not None
    number, unit = match.groups()
    if not number or not unit:
        raise ValueError(f"Invalid bytes '{text}'")
    if "." in number:
        raise ValueError(f"Fractional bytes '{text}'")
    factor = dict(BYTES_UNITS).get(unit.upper())
    if factor is None:
        raise ValueError(f"Unknown bytes unit '{unit}'")
    if len(number) > 1000 or int(number) * factor > _MAX_BYTES:
        raise ValueError(f"Invalid bytes '{text}'")
    return int(number) * factor


def format_bytes(size: int) -> str:
    """Print in the largest unit that gives a whole number."""
    if size == 0:
        return "0B"
    for unit, factor in reversed(BYTES_UNITS):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    raise AssertionError("every size is a whole number of bytes")
