# SPDX-License-Identifier: Apache-2.0
"""What a master of some version is told that this agent can do, and what it is sent accordingly.

Masters before 1.8 abort on updates of operations that are to be acknowledged; those before 1.6,
and those of which the version is not known, are not told of operations at all, nor of the version
of our resources, on which masters 1.5 abort: they send the complete set of reservations and volumes
instead.

Source: spec ``agent-master`` 6.5, 6.12, 19.
"""

from __future__ import annotations

import re

from mesos_compat.agent.machine.state import AgentState
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Type = pb.SlaveInfo.Capability
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_OPERATIONS = (1, 6)
_FEEDBACK = (1, 8)
#: The first version of masters that a capability is told.
_SINCE: dict[int, tuple[int, int]] = {
    _Type.RESOURCE_PROVIDER: _OPERATIONS,
    _Type.RESIZE_VOLUME: _OPERATIONS,
    _Type.AGENT_OPERATION_FEEDBACK: _FEEDBACK,
}


def parse_version(text: str) -> tuple[int, int] | None:
    """Return major and minor number of a master's version."""
    found = _VERSION.match(text)
    return None if found is None else (int(found[1]), int(found[2]))


def told(state: AgentState) -> tuple[int, ...]:
    """Return the capabilities that the present master is told."""
    version = state.master_version or (0, 0)
    return tuple(kind for kind in state.config.capabilities if version >= _SINCE.get(kind, (0, 0)))


def operations(state: AgentState) -> bool:
    """Whether the present master sends operations."""
    return _Type.RESOURCE_PROVIDER in told(state)


def feedback(state: AgentState) -> bool:
    """Whether the present master gets updates of operations until it acknowledges them."""
    return operations(state) and _Type.AGENT_OPERATION_FEEDBACK in told(state)
