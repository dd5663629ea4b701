# SPDX-License-Identifier: Apache-2.0
"""What every version 2 cgroup tells without any controller.

Source: spec ``isolators-resources`` 5.1.
"""

from __future__ import annotations

from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1, cgroup2
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb


class Core(Subsystem):
    """Counts processes and threads if wanted."""

    controller = "core"

    def __init__(self, count: bool) -> None:
        self._count = count

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Core:
        """Make the controller; there is nothing to refuse."""
        return cls(config.cgroups_cpu_enable_pids_and_tids_count)

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return the numbers in the container's own leaf, as upstream does."""
        if not self._count:
            return None
        leaf = cgroup2.leaf(cgroup)
        return pb.ResourceStatistics(
            processes=len(cgroup2.processes(leaf)),
            threads=len(cgroup1.read(leaf, "cgroup.threads").split()),
        )
