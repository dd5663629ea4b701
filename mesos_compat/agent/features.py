# SPDX-License-Identifier: Apache-2.0
"""What the agent can do, and ``--agent_features``, which takes of that what can be done without.

Source: spec ``agent-master`` 6.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesos_compat.base.errors import WireError
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages.flags_pb2 import SlaveCapabilities

_Type = pb.SlaveInfo.Capability

#: What this agent can do: masters make offers and send messages accordingly. RESOURCE_PROVIDER is
#: what masters call operations; there are no providers.
CAPABILITIES: Final = (
    _Type.MULTI_ROLE,
    _Type.HIERARCHICAL_ROLE,
    _Type.RESERVATION_REFINEMENT,
    _Type.RESOURCE_PROVIDER,
    _Type.RESIZE_VOLUME,
    _Type.AGENT_OPERATION_FEEDBACK,
    _Type.AGENT_DRAINING,
    _Type.TASK_RESOURCE_LIMITS,
)
#: What masters cannot do without; in the order in which upstream names them.
_NEEDED: Final = (
    _Type.MULTI_ROLE,
    _Type.HIERARCHICAL_ROLE,
    _Type.RESERVATION_REFINEMENT,
    _Type.AGENT_OPERATION_FEEDBACK,
    _Type.RESOURCE_PROVIDER,
    _Type.AGENT_DRAINING,
    _Type.TASK_RESOURCE_LIMITS,
)


def features_error(value: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a value of ``--agent_features``."""
    try:
        wanted = _wanted(value)
    except WireError as error:
        return f"Failed to load flag 'agent_features': {error}"
    if not wanted.issuperset(_NEEDED):
        needed = ", ".join(_Type.Type.Name(kind) for kind in _NEEDED)
        return f"At least the following agent features need to be enabled: {needed}"
    return None


def capabilities(features: Mapping[str, Any] | None) -> tuple[pb.SlaveInfo.Capability.Type, ...]:
    """Return what masters are told, for a value of ``--agent_features`` that has no error."""
    if features is None:
        return CAPABILITIES
    wanted = _wanted(features)
    return tuple(kind for kind in CAPABILITIES if kind in wanted)


def _wanted(value: Mapping[str, Any]) -> frozenset[int]:
    read = jsonpb.from_value(SlaveCapabilities, dict(value))
    return frozenset(capability.type for capability in read.capabilities)
