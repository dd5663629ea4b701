# SPDX-License-Identifier: Apache-2.0
"""Where the linux launcher keeps the cgroups of containers, by version.

Source: spec ``containerizer`` 6.3, 6.5-6.9.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from containerizer.linux import cgroup1, cgroup2
from mesos_compat.model.ids import ContainerId

_FREEZER = "freezer"
#: Cgroup of the agent itself in hierarchies of version 1.
_AGENT = "slave"


class ContainerCgroups(Protocol):
    """The cgroups by which containers are tracked and killed. Methods raise OSError."""

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""

    def cgroups(self, container_id: ContainerId) -> tuple[str, ...]:
        """Return the absolute paths of a container's cgroups, one per hierarchy."""

    def is_reserved(self, container_id: ContainerId) -> bool:
        """Whether the id would be taken for something else."""

    def create(self, container_id: ContainerId) -> tuple[str, ...]:
        """Create what is missing; return the cgroups that init has to join."""

    def containers(self) -> Iterator[ContainerId]:
        """Find all containers, whichever agent made them; some repeatedly."""

    def holds(self, container_id: ContainerId, pid: int) -> bool:
        """Whether the process is one of the container's."""

    def destroy(self, cgroup: str) -> Iterator[float]:
        """Kill what is in one of ``cgroups`` and remove it; yields the seconds to wait."""


class FreezerCgroups:
    """Version 1: a cgroup in the freezer, by which to kill, and one in systemd's hierarchy."""

    def __init__(self, root: str, hierarchies: Sequence[str]) -> None:
        """``root`` is the cgroup of ours; mount points, that of the freezer first."""
        self._root = root
        self._hierarchies = tuple(hierarchies)

    @classmethod
    def prepare(cls, base: str, root: str, systemd: str | None) -> FreezerCgroups:
        """Find or mount the hierarchies below ``base`` and make our root; ``systemd`` is where
        systemd's is, if that has to be used, too. Raises OSError.
        """
        freezer = cgroup1.prepare(base, _FREEZER, root)
        if cgroup1.attached(freezer) != {_FREEZER}:
            raise OSError(0, f"Unexpected subsystems found attached to the hierarchy {freezer}")
        hierarchies = [freezer]
        if systemd is not None:
            hierarchies.append(systemd)
            cgroup1.create(os.path.join(systemd, root))
        return cls(root, hierarchies)

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""
        return self._hierarchies

    def cgroups(self, container_id: ContainerId) -> tuple[str, ...]:
        """Return the absolute paths of a container's cgroups, one per hierarchy."""
        relative = cgroup1.container_path(self._root, container_id.path)
        return tuple(os.path.join(hierarchy, relative) for hierarchy in self._hierarchies)

    def is_reserved(self, container_id: ContainerId) -> bool:
        """Whether the id would be taken for something else."""
        return container_id.path[0] == _AGENT

    def create(self, container_id: ContainerId) -> tuple[str, ...]:
        """Create what is missing; return the cgroups that init has to join."""
        made = self.cgroups(container_id)
        for cgroup in made:
            cgroup1.create(cgroup)
        return made

    def containers(self) -> Iterator[ContainerId]:
        """Find all containers, whichever agent made them; some repeatedly."""
        for hierarchy in self._hierarchies:
            root = os.path.join(hierarchy, self._root)
            for cgroup in cgroup1.descendants(root):
                names = cgroup1.parse_container_path(os.path.relpath(cgroup, root))
                if names is not None and names[0] != _AGENT:
                    yield _id(names)

    def holds(self, container_id: ContainerId, pid: int) -> bool:
        """Whether the process is one of the container's."""
        return pid in cgroup1.all_processes(self.cgroups(container_id)[0])

    def destroy(self, cgroup: str) -> Iterator[float]:
        """Kill what is in one of ``cgroups`` and remove it; yields the seconds to wait."""
        return cgroup1.destroy(cgroup)


class UnifiedCgroups:
    """Version 2: one tree for everything. The cgroups isolator sets limits in it."""

    def __init__(self, root: str, mount: str) -> None:
        """``root`` is the cgroup of ours in the tree that is mounted at ``mount``."""
        self._root = root
        self._mount = mount

    @classmethod
    def prepare(cls, root: str, mount: str) -> UnifiedCgroups:
        """Make our root. Raises OSError."""
        cgroup2.create(os.path.join(mount, root))
        return cls(root, mount)

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""
        return (self._mount,)

    def cgroups(self, container_id: ContainerId) -> tuple[str, ...]:
        """Return the absolute paths of a container's cgroups, one per hierarchy."""
        relative = cgroup2.container_path(self._root, container_id.path)
        return (os.path.join(self._mount, relative),)

    def is_reserved(self, container_id: ContainerId) -> bool:
        """Whether the id would be taken for something else."""
        return cgroup2.is_reserved(container_id.path)

    def create(self, container_id: ContainerId) -> tuple[str, ...]:
        """Create what is missing; return the cgroups that init has to join."""
        leaf = cgroup2.leaf(self.cgroups(container_id)[0])
        cgroup2.create(leaf)
        return (leaf,)

    def containers(self) -> Iterator[ContainerId]:
        """Find all containers, whichever agent made them."""
        for names in cgroup2.containers(os.path.join(self._mount, self._root)):
            yield _id(names)

    def holds(self, container_id: ContainerId, pid: int) -> bool:
        """Whether the process is one of the container's."""
        return pid in cgroup2.all_processes(cgroup2.leaf(self.cgroups(container_id)[0]))

    def destroy(self, cgroup: str) -> Iterator[float]:
        """Kill what is in one of ``cgroups`` and remove it; yields the seconds to wait."""
        return cgroup2.destroy(cgroup)


def _id(names: Sequence[str]) -> ContainerId:
    made = ContainerId(names[0])
    for name in names[1:]:
        made = ContainerId(name, made)
    return made
