# SPDX-License-Identifier: Apache-2.0
"""``posix/rlimits``: the resource limits that a container asks for. They are checked by init.

Source: spec ``isolators-resources`` 15.
"""

from __future__ import annotations

from containerizer.isolators.base import Isolator
from containerizer.isolators.context import IsolatorContext
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class PosixRlimitsIsolator(Isolator):
    """Hands the limits on."""

    supports_nesting = True
    supports_standalone = True

    @classmethod
    def create(cls, context: IsolatorContext) -> PosixRlimitsIsolator:
        """Make the isolator."""
        return cls()

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the limits, if there are any."""
        if not config.container_info.HasField("rlimit_info"):
            return None
        return slave.ContainerLaunchInfo(rlimits=config.container_info.rlimit_info)
