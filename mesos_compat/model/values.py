# SPDX-License-Identifier: Apache-2.0
"""Values of resources and attributes: scalars, ranges, sets, texts; their grammar and arithmetic.

An amount is plain immutable data: a scalar is its thousandths, ranges are sorted, disjoint and
not adjacent pairs, a set is a frozenset, a text is itself.

Source: spec ``agent-master`` 12.1, 12.2; upstream ``common/values.cpp``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mesos_compat.base.errors import WireError
from mesos_compat.model.quantity import fixed, floating, format_scalar
from mesos_compat.pb.mesos import mesos_pb2 as pb

Ranges = tuple[tuple[int, int], ...]
Amount = int | Ranges | frozenset[str] | str

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_UINT64_MAX = (1 << 64) - 1


def parse_value(text: str) -> Amount:
    """Read ``[1-2,5-9]``, ``{a,b}``, ``1.5`` or any other text; blanks never count.

    Raises WireError for unbalanced brackets, inverted ranges and repeated elements.
    """
    text = text.replace(" ", "")
    if not text:
        raise WireError("Expecting non-empty string")
    if text[0] == "[" or text[-1] == "]":
        return _parse_ranges(text)
    if text[0] == "{" or text[-1] == "}":
        return _parse_set(text)
    if _NUMBER.fullmatch(text):
        return fixed(float(text))
    return text


def _parse_ranges(text: str) -> Ranges:
    if text[0] != "[" or text[-1] != "]" or text.count("[") != 1 or text.count("]") != 1:
        raise WireError(f"Error parsing ranges '{text}': mismatched brackets")
    pairs = []
    for item in filter(None, text[1:-1].split(",")):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise WireError(f"Error parsing ranges '{text}': expecting one or more \"ranges\"")
        begin, end = int(match[1]), int(match[2])
        if begin > end or end > _UINT64_MAX:
            raise WireError(f"Error parsing ranges '{text}': invalid range '{item}'")
        pairs.append((begin, end))
    return coalesce(pairs)


def _parse_set(text: str) -> frozenset[str]:
    if text[0] != "{" or text[-1] != "}" or text.count("{") != 1 or text.count("}") != 1:
        raise WireError(f"Error parsing set '{text}': mismatched braces")
    items = [item for item in text[1:-1].split(",") if item]
    if len(set(items)) != len(items):
        raise WireError(f"Error parsing set '{text}': repeated element")
    return frozenset(items)


def format_value(amount: Amount) -> str:
    """Return the text of ``amount``, which ``parse_value`` reads back."""
    match amount:
        case int():
            return format_scalar(amount)
        case tuple():
            return "[" + ", ".join(f"{begin}-{end}" for begin, end in amount) + "]"
        case frozenset():
            return "{" + ", ".join(sorted(amount)) + "}"
        case str():
            return amount


def type_of(amount: Amount) -> pb.Value.Type:
    """Return the value type of ``amount``."""
    match amount:
        case int():
            return pb.Value.SCALAR
        case tuple():
            return pb.Value.RANGES
        case frozenset():
            return pb.Value.SET
        case str():
            return pb.Value.TEXT


def amount_of(message: pb.Resource | pb.Attribute | pb.Value) -> Amount:
    """Return the amount in ``message``, which must be valid (see ``resources.resource_error``)."""
    if message.type == pb.Value.SCALAR:
        return fixed(message.scalar.value)
    if message.type == pb.Value.RANGES:
        return coalesce((r.begin, r.end) for r in message.ranges.range)
    if message.type == pb.Value.SET:
        return frozenset(message.set.item)
    if isinstance(message, pb.Resource):
        raise WireError(f"Unsupported type of resource '{message.name}'")
    return message.text.value


def store(message: pb.Resource | pb.Attribute, amount: Amount) -> None:
    """Write ``amount`` into the value field of ``message`` that belongs to it."""
    match amount:
        case int():
            message.scalar.value = floating(amount)
        case tuple():
            message.ranges.SetInParent()
            for begin, end in amount:
                message.ranges.range.add(begin=begin, end=end)
        case frozenset():
            message.set.item.extend(sorted(amount))
            message.set.SetInParent()
        case str():
            assert isinstance(message, pb.Attribute)
            message.text.value = amount


def is_zero(amount: Amount) -> bool:
    """Say whether nothing is left (a negative scalar is not even nothing)."""
    return amount <= 0 if isinstance(amount, int) else not amount


def add(left: Amount, right: Amount) -> Amount:
    """Return the sum of two scalars or the union of two ranges or sets."""
    match left, right:
        case int(), int():
            return left + right
        case tuple(), tuple():
            return coalesce((*left, *right))
        case frozenset(), frozenset():
            return left | right
    raise TypeError(f"amounts of different types: {left!r}, {right!r}")


def subtract(left: Amount, right: Amount) -> Amount:
    """Return ``left`` without ``right``; scalars may become negative."""
    match left, right:
        case int(), int():
            return left - right
        case tuple(), tuple():
            return _subtract_ranges(left, right)
        case frozenset(), frozenset():
            return left - right
    raise TypeError(f"amounts of different types: {left!r}, {right!r}")


def covers(left: Amount, right: Amount) -> bool:
    """Say whether ``right`` can be taken from ``left``."""
    match left, right:
        case int(), int():
            return left >= right
        case tuple(), tuple():
            return not _subtract_ranges(right, left)
        case frozenset(), frozenset():
            return left >= right
    return False


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Return the numbers that are in both."""
    return _subtract_ranges(left, _subtract_ranges(left, right))


def coalesce(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Return the union of ``pairs``: sorted, overlapping and adjacent ones joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(pairs):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return tuple(joined)


def _subtract_ranges(left: Ranges, right: Ranges) -> Ranges:
    kept: list[tuple[int, int]] = []
    cuts = iter(right)
    cut = next(cuts, None)
    for begin, end in left:
        while cut is not None and cut[0] <= end:
            if cut[1] >= begin:
                if cut[0] > begin:
                    kept.append((begin, cut[0] - 1))
                begin = cut[1] + 1
                if begin > end:
                    break
            cut = next(cuts, None)
        if begin <= end:
            kept.append((begin, end))
    return tuple(kept)
