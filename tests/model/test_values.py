# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.model import values

NUMBERS = st.sets(st.integers(min_value=0, max_value=40))


def _ranges(numbers: set[int]) -> values.Ranges:
    return values.coalesce((n, n) for n in numbers)


def _numbers(ranges: values.Ranges) -> set[int]:
    return {n for begin, end in ranges for n in range(begin, end + 1)}


@given(NUMBERS, NUMBERS)
def test_ranges_behave_like_sets_of_numbers(left: set[int], right: set[int]) -> None:
    a, b = _ranges(left), _ranges(right)
    assert _numbers(a) == left
    assert values.add(a, b) == _ranges(left | right)
    assert values.subtract(a, b) == _ranges(left - right)
    assert values.intersect(a, b) == _ranges(left & right)
    assert values.covers(a, b) == (left >= right)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(sorted)))
def test_ranges_read_back(pairs: list[list[int]]) -> None:
    ranges = values.coalesce((a, b) for a, b in pairs)
    assert values.parse_value(values.format_value(ranges)) == ranges


def test_blanks_never_count() -> None:
    assert values.parse_value(" [ 1 - 2, 3-4 ] ") == ((1, 4),)
    assert values.parse_value("{ b, a }") == frozenset("ab")
    assert values.parse_value(" 1 000.5 ") == 1_000_500
    assert values.parse_value("a b") == "ab"


@pytest.mark.parametrize(
    "text", ["", " ", "[1-2", "1-2]", "[2-1]", "[a-b]", "[1-18446744073709551616]", "{a", "{a,a}"]
)
def test_unusable_values_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        values.parse_value(text)
