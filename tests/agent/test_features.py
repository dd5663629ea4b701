# SPDX-License-Identifier: Apache-2.0
"""What masters are told that the agent can do."""

from __future__ import annotations

import pytest

from mesos_compat.agent.features import CAPABILITIES, capabilities, features_error
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Type = pb.SlaveInfo.Capability
NAMES = [_Type.Type.Name(kind) for kind in CAPABILITIES]


def features(*names: str) -> dict[str, object]:
    """A value of the flag."""
    return {"capabilities": [{"type": name} for name in names]}


def test_all_of_it_in_upstreams_order() -> None:
    assert capabilities(None) == CAPABILITIES
    assert tuple(range(1, 9)) == CAPABILITIES
    assert features_error(features(*reversed(NAMES))) is None
    assert capabilities(features(*reversed(NAMES), *NAMES)) == CAPABILITIES


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_done_without(name: str) -> None:
    value = features(*(each for each in NAMES if each != name))
    if name != "RESIZE_VOLUME":
        assert "need to be enabled" in (features_error(value) or "")
        return
    assert features_error(value) is None
    assert capabilities(value) == tuple(k for k in CAPABILITIES if k != _Type.RESIZE_VOLUME)
