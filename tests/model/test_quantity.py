# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.model import quantity


def test_a_scalar_is_its_thousandths() -> None:
    assert quantity.fixed(0.1) + quantity.fixed(0.2) == quantity.fixed(0.3) == 300
    assert quantity.fixed(0.0004) == 0
    assert quantity.fixed(0.0005) == 1
    assert quantity.fixed(-1.5) == -1500


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e300])
def test_what_no_machine_has_is_refused(value: float) -> None:
    with pytest.raises(WireError):
        quantity.fixed(value)


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_scalars_survive_the_wire(thousandths: int) -> None:
    assert quantity.fixed(quantity.floating(thousandths)) == thousandths
    assert quantity.fixed(float(quantity.format_scalar(thousandths))) == thousandths


def test_scalars_print_without_exponent() -> None:
    assert quantity.format_scalar(128_000) == "128"
    assert quantity.format_scalar(100) == "0.1"
    assert quantity.format_scalar(10**20) == "100000000000000000"


def test_bad_quantities_raise_our_error() -> None:
    with pytest.raises(WireError, match="Invalid duration '5'"):
        quantity.parse_duration("5")
    with pytest.raises(WireError, match="Fractional bytes"):
        quantity.parse_bytes("1.5MB")
    assert quantity.parse_duration("1.5secs") == 1_500_000_000
    assert quantity.parse_bytes("64mb") == 64 << 20
