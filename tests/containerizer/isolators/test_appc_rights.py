# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from containerizer.isolators.appc_rights import allowed_capabilities, no_new_privileges
from mesos_compat.base.errors import IsolatorError
from mesos_compat.pb.mesos import mesos_pb2 as pb

RETAIN = "os/linux/capabilities-retain-set"
REMOVE = "os/linux/capabilities-remove-set"
PRIVILEGES = "os/linux/no-new-privileges"


def names(isolators: dict[str, Any]) -> list[str] | None:
    found = allowed_capabilities(isolators)
    return None if found is None else sorted(pb.CapabilityInfo.Capability.Name(n) for n in found)


def test_capabilities() -> None:
    assert names({}) is None
    assert names({RETAIN: {"set": ["CAP_NET_ADMIN", "cap_kill", "CAP_MAGIC"]}}) == [
        "KILL",
        "NET_ADMIN",
    ]
    assert names({RETAIN: {"set": []}}) == []
    left = names({REMOVE: {"set": ["CAP_KILL", "CAP_SYS_ADMIN"]}})
    assert left is not None
    assert len(left) == 13
    assert {"KILL", "SYS_ADMIN"}.isdisjoint(left)


@pytest.mark.parametrize(
    "isolators",
    [
        {RETAIN: {"set": []}, REMOVE: {"set": []}},
        {RETAIN: None},
        {RETAIN: {"set": "CAP_KILL"}},
        {REMOVE: {"set": [1]}},
    ],
)
def test_unusable(isolators: dict[str, Any]) -> None:
    with pytest.raises(IsolatorError):
        allowed_capabilities(isolators)


def test_privileges() -> None:
    assert no_new_privileges({PRIVILEGES: True})
    assert not no_new_privileges({PRIVILEGES: False})
    assert not no_new_privileges({})
    with pytest.raises(IsolatorError):
        no_new_privileges({PRIVILEGES: "no"})
