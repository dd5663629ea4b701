# SPDX-License-Identifier: Apache-2.0
"""One cgroup controller, as the cgroups isolator sees it.

Source: spec ``isolators-resources`` 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from containerizer.isolators.context import ContainerizerConfig
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class Subsystem:
    """Base of all controllers; on its own one that only places processes.

    ``cgroup`` is the absolute path of the container's own cgroup in the hierarchy of the
    controller. Methods raise OSError for the kernel's refusals and IsolatorError for ours.
    """

    #: Name of the controller in the kernel.
    controller: ClassVar[str] = ""

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Subsystem:
        """Make the subsystem; ``root`` is the cgroup in which those of containers are made."""
        return cls()

    def prepare(
        self, container_id: ContainerId, cgroup: str, config: slave.ContainerConfig
    ) -> None:
        """Set up a cgroup that was just made."""

    def recover(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Take over a container that an earlier agent prepared; ``pid`` may be gone."""

    def isolate(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Do what has to be done before ``pid`` is put into the cgroup."""

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation | None:
        """Return a limitation once it is reached; ``None`` at once if there never will be one."""
        return None

    def update(
        self,
        container_id: ContainerId,
        cgroup: str,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write new requests and limits."""

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return what the controller counts."""
        return None

    def cleanup(self, container_id: ContainerId) -> None:
        """Forget the container, before its cgroup is removed."""

    def close(self) -> None:
        """Let go of everything; containers go on running."""


class Cpuset(Subsystem):
    """Places processes."""

    controller = "cpuset"


class Hugetlb(Subsystem):
    """Places processes."""

    controller = "hugetlb"


class NetPrio(Subsystem):
    """Places processes."""

    controller = "net_prio"


class Pids(Subsystem):
    """Places processes."""

    controller = "pids"
