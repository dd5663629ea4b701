# SPDX-License-Identifier: Apache-2.0
"""What ``posix/cpu`` and ``posix/mem`` share: which process tree is a container.

Source: spec ``isolators-resources`` 14.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from containerizer.isolators.base import Isolator
from containerizer.linux import proc
from containerizer.linux.proc import ProcessStat
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class PosixIsolator(Isolator):
    """Remembers the init of each container; measures, but limits nothing."""

    def __init__(self) -> None:
        #: Init's pid; ``None`` until the container is isolated.
        self._pids: dict[ContainerId, int | None] = {}

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remember the containers that go on."""
        for state in states:
            container_id = ContainerId.of(state.container_id)
            if container_id in self._pids:
                raise IsolatorError("Container already recovered")
            self._pids[container_id] = state.pid

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Register the container."""
        if container_id in self._pids:
            raise IsolatorError(f"Container {container_id} has already been prepared")
        self._pids[container_id] = None
        return None

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Remember init."""
        if container_id not in self._pids:
            raise IsolatorError(f"Unknown container: {container_id}")
        self._pids[container_id] = pid

    async def cleanup(self, container_id: ContainerId) -> None:
        """Forget the container."""
        self._pids.pop(container_id, None)

    def tree(self, container_id: ContainerId) -> list[ProcessStat]:
        """Return init and all its living descendants; nothing if there is none."""
        pid = self._pids.get(container_id)
        return [] if pid is None else proc.tree(pid)


def seconds(ticks: int) -> float:
    """Turn clock ticks into seconds."""
    return ticks / os.sysconf("SC_CLK_TCK")
