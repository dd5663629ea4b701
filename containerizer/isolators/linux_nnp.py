# SPDX-License-Identifier: Apache-2.0
"""``linux/nnp``: set-user-id programs and file capabilities give nothing, in every container.

Source: spec ``isolators-resources`` 12.
"""

from __future__ import annotations

from containerizer.isolators.base import Isolator
from containerizer.isolators.context import IsolatorContext
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class NoNewPrivilegesIsolator(Isolator):
    """Says so for every container; frameworks cannot change it."""

    supports_nesting = True
    supports_standalone = True

    @classmethod
    def create(cls, context: IsolatorContext) -> NoNewPrivilegesIsolator:
        """Make the isolator; every kernel that we run on has it."""
        return cls()

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return that the container gets no new privileges."""
        return slave.ContainerLaunchInfo(no_new_privileges=True)
