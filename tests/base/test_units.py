# SPDX-License-Identifier: Apache-2.0
"""The text forms of durations and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base import units


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0ns", 0),
        ("7us", 7_000),
        ("10secs", 10 * 10**9),
        ("1.5mins", 90 * 10**9),
        (".5secs", 5 * 10**8),
        ("2.secs", 2 * 10**9),
        ("1weeks", 604800 * 10**9),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_durations_parse(text: str, nanoseconds: int) -> None:
    assert units.parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid duration ''"),
        ("10", "Invalid duration '10'"),
        ("secs", "Invalid duration 'secs'"),
        ("1.2.3secs", "Invalid duration '1.2.3secs'"),
        ("10 secs", "Unknown duration unit ' secs'"),
        ("10Secs", "Unknown duration unit 'Secs'"),
        ("10sec", "supported units are 'ns', 'us', 'ms', 'secs', 'mins', 'hrs', 'days', and 'wee"),
        ("9223372036854775808ns", "Argument out of the range"),
        ("9" * 2000 + "ns", "Invalid duration"),
    ],
)
def test_bad_durations_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_duration(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0ns"),
        (999, "999ns"),
        (1_500, "1500ns"),
        (500 * 10**6, "500ms"),
        (1500 * 10**6, "1500ms"),
        (60 * 10**9, "1mins"),
        (90 * 10**9, "90secs"),
        (100 * 60 * 10**9, "100mins"),
        (3661 * 10**9, "1.01694444444444hrs"),
        (1_001_500_000, "1.0015secs"),
        (1_234_567, "1.234567ms"),
        (604800 * 10**9, "1weeks"),
        (10 * 86400 * 10**9, "10days"),
    ],
)
def test_durations_print(nanoseconds: int, text: str) -> None:
    assert units.format_duration(nanoseconds) == text


@given(st.integers(0, 10**6), st.sampled_from(units.DURATION_UNITS))
def test_whole_durations_survive_print_and_parse(count: int, unit: tuple[str, int]) -> None:
    value = count * unit[1]
    if value < 2**63:
        assert abs(units.parse_duration(units.format_duration(value)) - value) <= 1 + value * 1e-12


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("2GB", 2 << 30), ("3kb", 3072), ("1tB", 1 << 40)]
)
def test_sizes_parse(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid bytes ''"),
        ("10", "Invalid bytes '10'"),
        ("MB", "Invalid bytes 'MB'"),
        ("1.5MB", "Fractional bytes '1.5MB'"),
        ("1XB", "Unknown bytes unit 'XB'"),
        ("99999999TB", "Invalid bytes '99999999TB'"),
        ("-1B", "Invalid bytes '-1B'"),
    ],
)
def test_bad_sizes_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_bytes(text)
    assert str(caught.value) == reason


@given(st.integers(0, 2**60))
def test_sizes_survive_print_and_parse(size: int) -> None:
    assert units.parse_bytes(units.format_bytes(size)) == size
