# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mesos_compat.model.principal import Principal


@pytest.mark.parametrize(
    ("principal", "printed"),
    [
        (Principal("ops"), "ops"),
        (Principal(None, {"fid": "f", "eid": "e"}), '{"claims":{"eid":"e","fid":"f"}}'),
        (Principal("ops", {"a": '"'}), '{"value":"ops","claims":{"a":"\\""}}'),
    ],
)
def test_printed_form(principal: Principal, printed: str) -> None:
    assert str(principal) == printed


def test_principals_are_values() -> None:
    assert Principal("a") == Principal("a", {})
    assert Principal(None, {"cid": "1"}) != Principal(None, {"cid": "2"})
    assert len({Principal("a"), Principal("a"), Principal(None, {"cid": "1"})}) == 2
