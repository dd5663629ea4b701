# SPDX-License-Identifier: Apache-2.0
"""Durations, byte sizes and scalars: their numbers and Mesos' text forms.

Durations are whole nanoseconds, byte sizes whole bytes, scalars whole thousandths: nothing here
is ever computed in binary floating point.

Source: spec ``executors`` 0, ``state-and-recovery`` 1.4, ``agent-master`` 12.2.
"""

from __future__ import annotations

from decimal import Decimal

from mesos_compat.base import units
from mesos_compat.base.errors import WireError

#: Nanoseconds of a second.
SECOND_NS = 1_000_000_000

#: Scalars have three decimals.
SCALAR_UNIT = 1000

#: Beyond this a double no longer tells thousandths apart; no machine has so much of anything.
_SCALAR_MAX = float(1 << 53)


def parse_duration(text: str) -> int:
    """Return the nanoseconds of ``text``. Raises WireError in upstream's words."""
    try:
        return units.parse_duration(text)
    except ValueError as error:
        raise WireError(str(error)) from None


def parse_bytes(text: str) -> int:
    """Return the bytes of ``text``. Raises WireError in upstream's words."""
    try:
        return units.parse_bytes(text)
    except ValueError as error:
        raise WireError(str(error)) from None


format_duration = units.format_duration
format_bytes = units.format_bytes


def fixed(value: float) -> int:
    """Return a scalar in thousandths, rounded half away from zero.

    Raises WireError for infinities, NaN and what no machine has.
    """
    if not -_SCALAR_MAX <= value <= _SCALAR_MAX:
        raise WireError(f"Invalid scalar value '{value}'")
    scaled = abs(value) * SCALAR_UNIT
    whole = int(scaled)
    # scaled + 0.5 would itself round for large values.
    rounded = whole + (scaled - whole >= 0.5)
    return -rounded if value < 0 else rounded


def floating(thousandths: int) -> float:
    """Return the scalar that ``fixed`` made ``thousandths`` of."""
    return thousandths / SCALAR_UNIT


def format_scalar(thousandths: int) -> str:
    """Return the text of a scalar: no exponent, no trailing zeros."""
    text = f"{Decimal(thousandths) / SCALAR_UNIT:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
