# SPDX-License-Identifier: Apache-2.0
"""What becomes of the sandboxes of nested containers: kept in use, collected after the end.

Source: spec ``containerizer`` 12.2.
"""

from __future__ import annotations

import os

from containerizer.machine import ContainerTable
from containerizer.sandbox import SandboxCollector, nested_path
from mesos_compat.model.ids import ContainerId


class NestedSandboxes:
    """Tells the collector, if there is one, which sandboxes are in use."""

    def __init__(self, table: ContainerTable, collector: SandboxCollector | None) -> None:
        self._table = table
        self._collector = collector

    def let_go(self, container_id: ContainerId) -> None:
        """Have the sandbox of a container that has ended removed when it is old enough."""
        root = self._root(container_id)
        if self._collector is not None and root:
            self._collector.schedule_aged(root, nested_path(container_id))

    def keep(self, container_id: ContainerId) -> None:
        """Keep a sandbox after all, unless its removal has begun."""
        root = self._root(container_id)
        if self._collector is not None and root:
            self._collector.unschedule(os.path.join(root, nested_path(container_id)))

    async def settled(self, container_id: ContainerId) -> None:
        """Wait for the end of a removal that has begun."""
        root = self._root(container_id)
        if self._collector is not None and root:
            await self._collector.settled(os.path.join(root, nested_path(container_id)))

    def _root(self, container_id: ContainerId) -> str:
        """The sandbox that a nested container's lies in; empty if it is not known or none."""
        root = self._table.get(container_id.root)
        if container_id.parent is None or root is None or root.config is None:
            return ""
        return root.config.directory
