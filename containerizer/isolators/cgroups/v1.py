# SPDX-License-Identifier: Apache-2.0
"""All ``cgroups/…`` names with version 1: a cgroup per container and hierarchy.

A nested container shares the cgroups of the container around it unless it asks for its own.

Source: spec ``isolators-resources`` 4.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from containerizer.isolators.base import Isolator, executor_argument, is_command_task
from containerizer.isolators.cgroups.cpu import Cpu, Cpuacct
from containerizer.isolators.cgroups.devices import Devices
from containerizer.isolators.cgroups.memory import Memory
from containerizer.isolators.cgroups.ownership import (
    ALL,
    PREFIX,
    Call,
    Placed,
    container_of,
    each,
    has_own_cgroups,
    limitation,
    limits_of,
    measured,
    owner,
    remove_stray,
    remove_within,
    wrapped,
)
from containerizer.isolators.cgroups.subsystem import (
    Cpuset,
    Hugetlb,
    NetPrio,
    Pids,
    Subsystem,
)
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.inside import make_directory
from containerizer.linux import cgroup1, proc
from containerizer.linux.mount import MS_BIND, MS_REC
from containerizer.linux.namespaces import CLONE_NEWNS
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Name in ``--isolation`` → subsystems.
_SUBSYSTEMS: Mapping[str, tuple[type[Subsystem], ...]] = {
    "cpu": (Cpu, Cpuacct),
    "cpuset": (Cpuset,),
    "devices": (Devices,),
    "hugetlb": (Hugetlb,),
    "mem": (Memory,),
    "net_prio": (NetPrio,),
    "pids": (Pids,),
}


@dataclass(frozen=True, slots=True)
class _Placed:
    """A subsystem in the hierarchy in which the kernel has it."""

    hierarchy: str
    subsystem: Subsystem


@dataclass(frozen=True, slots=True)
class _Own:
    """A container with its own cgroups: path below a hierarchy, and the hierarchies that have it.

    A recovered container may lack some that were added later.
    """

    path: str
    hierarchies: tuple[str, ...]


class CgroupsIsolator(Isolator):
    """Knows which containers have their own cgroups."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, context: IsolatorContext, placed: Sequence[_Placed]) -> None:
        config = context.config
        self._root = config.cgroups_root.strip("/")
        self._timeout_s = config.cgroups_destroy_timeout_s
        self._placed = tuple(placed)
        self._hierarchies = tuple(dict.fromkeys(entry.hierarchy for entry in placed))
        self._launcher_hierarchies = context.launcher_hierarchies
        self._own: dict[ContainerId, _Own] = {}

    @classmethod
    def create(cls, context: IsolatorContext) -> CgroupsIsolator:
        """Make the isolator; mounts hierarchies that are nowhere mounted."""
        config = context.config
        kinds = _kinds(context.isolation)
        if config.launcher != "linux":
            raise IsolatorError("'linux' launcher must be used to enable cgroups isolators")
        placed = []
        own = config.cgroups_root.strip("/")
        for kind in kinds:
            name = kind.controller
            with wrapped(f"Failed to prepare hierarchy for the subsystem '{name}'"):
                hierarchy = cgroup1.prepare(config.cgroups_hierarchy, name, own)
            with wrapped(f"Failed to create subsystem '{name}'"):
                root = os.path.join(hierarchy, own)
                placed.append(_Placed(hierarchy, kind.create(root, config)))
        return cls(context, placed)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Find the cgroups of known containers and remove those of nobody."""
        known = {ContainerId.of(state.container_id) for state in states} | set(orphans)
        for container_id in known:
            path = self._path(container_id)
            existing = tuple(h for h in self._hierarchies if cgroup1.exists(os.path.join(h, path)))
            if existing:
                self._own[container_id] = _Own(path, existing)
        for state in states:
            container_id, pid = ContainerId.of(state.container_id), state.pid
            for failure in self._each(
                container_id,
                "recover",
                lambda s, cgroup, c=container_id, p=pid: s.recover(c, cgroup, p),  # type: ignore[misc]  # bound now
            ):
                log.warning("Container %s: %s", container_id, failure)
        for hierarchy in self._hierarchies:
            root = os.path.join(hierarchy, self._root)
            for cgroup in cgroup1.descendants(root):
                ids = cgroup1.parse_container_path(os.path.relpath(cgroup, root))
                if ids is None or ids[0] == "slave" or container_of(ids) in known:
                    continue
                await remove_stray(cgroup, cgroup1.destroy)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Make the container's cgroups, write its limits, and show them inside an image."""
        if has_own_cgroups(container_id, config):
            if container_id in self._own:
                raise IsolatorError("Container has already been prepared")
            self._make(container_id, config)
            await self.update(container_id, config.resources, limits_of(config))
        if not config.HasField("rootfs"):
            return None
        shown = self._mounts(container_id, config.rootfs)
        if not is_command_task(config):
            return shown
        info = slave.ContainerLaunchInfo()
        info.command.arguments.append(executor_argument("task_launch_info", shown))
        return info

    def _make(self, container_id: ContainerId, config: slave.ContainerConfig) -> None:
        own = _Own(self._path(container_id), self._hierarchies)
        for hierarchy in self._hierarchies:
            cgroup = os.path.join(hierarchy, own.path)
            if cgroup1.exists(cgroup):
                raise IsolatorError(f"The cgroup at '{cgroup}' already exists")
        self._own[container_id] = own
        user = owner(config)
        for hierarchy in self._hierarchies:
            cgroup = os.path.join(hierarchy, own.path)
            with wrapped(f"Failed to create the cgroup at '{cgroup}'"):
                cgroup1.create(cgroup)
                if user is not None:
                    os.chown(cgroup, *user)
        failures = self._each(
            container_id, "prepare", lambda s, cgroup: s.prepare(container_id, cgroup, config)
        )
        if failures:
            raise IsolatorError(f"Failed to prepare subsystems: {';'.join(failures)}")

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        """Return the first limitation of a subsystem."""
        if container_id in self._own:
            reached = await limitation(container_id, (entry.subsystem for entry in self._placed))
            if reached is not None:
                return reached
        return await super().watch(container_id)

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Put init into the cgroups of its container."""
        failures = self._each(
            container_id, "isolate", lambda s, cgroup: s.isolate(container_id, cgroup, pid)
        )
        if failures:
            raise IsolatorError(f"Failed to isolate subsystems: {'; '.join(failures)}")
        own = self._nearest(container_id)
        if own is None:
            return
        self._assign(container_id, own, pid)
        # Init may have forked the process that becomes the command; from now on they inherit.
        for child in proc.children(pid):
            with contextlib.suppress(ProcessLookupError):
                self._assign(container_id, own, child)

    def _assign(self, container_id: ContainerId, own: _Own, pid: int) -> None:
        for hierarchy in own.hierarchies:
            cgroup = os.path.join(hierarchy, own.path)
            with wrapped(
                f"Failed to assign container {container_id} pid {pid} to cgroup at '{cgroup}'"
            ):
                cgroup1.assign(cgroup, pid)

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write new requests and limits."""
        if container_id not in self._own:
            raise IsolatorError("Unknown container")
        failures = self._each(
            container_id,
            "update",
            lambda s, cgroup: s.update(container_id, cgroup, requests, limits),
        )
        if failures:
            # upstream names memory before cpus
            raise IsolatorError(f"Failed to update subsystems: {'; '.join(reversed(failures))}")

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        """Return what the subsystems count; nothing for a container without own cgroups."""
        own = self._own.get(container_id)
        return None if own is None else measured(container_id, self._places(own))

    async def cleanup(self, container_id: ContainerId) -> None:
        """Remove the container's cgroups, whose processes are gone."""
        own = self._own.get(container_id)
        if own is None:
            return
        for entry in self._placed:
            entry.subsystem.cleanup(container_id)
        failures = []
        for hierarchy in own.hierarchies:
            try:
                removing = cgroup1.destroy(os.path.join(hierarchy, own.path))
                await remove_within(self._timeout_s, removing)
            except (IsolatorError, OSError) as error:
                failures.append(str(error))
        if failures:
            raise IsolatorError(f"Failed to destroy cgroups: {'; '.join(failures)}")
        del self._own[container_id]

    def close(self) -> None:
        """Remove the roots of all hierarchies that are empty."""
        for hierarchy in self._hierarchies:
            cgroup1.remove_empty(hierarchy, self._root)

    def _each(self, container_id: ContainerId, verb: str, call: Call) -> list[str]:
        """Call all subsystems of a container with own cgroups; return the failures."""
        own = self._own.get(container_id)
        return [] if own is None else each(self._places(own), f"{verb} subsystem", call)

    def _places(self, own: _Own) -> list[Placed]:
        """Return the subsystems that a container is subject to, and where."""
        return [
            (entry.subsystem, os.path.join(entry.hierarchy, own.path))
            for entry in self._placed
            if entry.hierarchy in own.hierarchies
        ]

    def _path(self, container_id: ContainerId) -> str:
        return cgroup1.container_path(self._root, container_id.path)

    def _nearest(self, container_id: ContainerId) -> _Own | None:
        """Return the cgroups that a container is in: its own or those around it."""
        own = self._own.get(container_id)
        if own is None and container_id.parent is not None:
            return self._nearest(container_id.parent)
        return own

    def _mounts(self, container_id: ContainerId, rootfs: str) -> slave.ContainerLaunchInfo:
        """Return what shows the container its own part of each hierarchy."""
        info = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWNS])
        base = os.path.join(make_directory(rootfs, "/sys"), "fs/cgroup")
        own = self._nearest(container_id)
        shown = [(h, own.path) for h in own.hierarchies] if own is not None else []
        shown += [(h, self._path(container_id)) for h in self._launcher_hierarchies]
        for hierarchy, path in dict(shown).items():
            info.mounts.add(
                source=os.path.join(hierarchy, path),
                target=os.path.join(base, os.path.basename(hierarchy)),
                flags=MS_BIND | MS_REC,
            )
        for hierarchy in self._hierarchies:
            names = [e.subsystem.controller for e in self._placed if e.hierarchy == hierarchy]
            for name in names if len(names) > 1 else ():
                operation = info.file_operations.add(operation=slave.ContainerFileOperation.SYMLINK)
                operation.symlink.source = f"/sys/fs/cgroup/{os.path.basename(hierarchy)}"
                operation.symlink.target = os.path.join(base, name)
        return info


def _kinds(isolation: Collection[str]) -> list[type[Subsystem]]:
    """Return the subsystems that the isolation names. Raises IsolatorError for unknown names."""
    names = sorted(name for name in isolation if name.startswith(PREFIX))
    if ALL in names:
        states = cgroup1.controllers()
        every = [kind for kinds in _SUBSYSTEMS.values() for kind in kinds]
        enabled = [k for k in every if k.controller in states and states[k.controller].enabled]
        if not enabled:
            raise IsolatorError("No subsystems are enabled by the kernel")
        return enabled
    for name in names:
        if name.removeprefix(PREFIX) not in _SUBSYSTEMS:
            raise IsolatorError(f"Unknown or unsupported isolator '{name}'")
    return [kind for name in names for kind in _SUBSYSTEMS[name.removeprefix(PREFIX)]]
