# SPDX-License-Identifier: Apache-2.0
"""What executors prove with who they are. Pure: the same run always has the same token, so one that
lives on over a restart of the agent can go on with what it has.

Source: spec ``executors`` 1.9.
"""

from __future__ import annotations

from typing import Final

from mesos_compat.model import jwt
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId

#: Names of the claims of an executor.
FRAMEWORK: Final = "fid"
EXECUTOR: Final = "eid"
CONTAINER: Final = "cid"


class ExecutorTokens:
    """Makes tokens. No text of this object shows the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(
        self, framework_id: FrameworkId, executor_id: ExecutorId, container_id: ContainerId
    ) -> str:
        """Return the token of one run of an executor."""
        claims = {FRAMEWORK: framework_id, EXECUTOR: executor_id, CONTAINER: container_id.value}
        return jwt.encode(claims, self._key)
