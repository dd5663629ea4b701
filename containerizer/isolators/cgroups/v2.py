# SPDX-License-Identifier: Apache-2.0
"""All ``cgroups/…`` names on hosts with version 2: limits in a container's cgroup, its processes
in the leaf below, where the launcher puts them.

A nested container shares the limits of the container around it unless it asks for its own.

Source: spec ``isolators-resources`` 3.2, 3.3, 5.
Deviation (upstream's is broken): controllers are handed on from the root cgroup and from ours, with
or without ``--agent_subsystems``; controllers that the kernel lacks do not break ``cgroups/all``.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence

from containerizer.isolators.base import Isolator, executor_argument, is_command_task
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
from containerizer.isolators.cgroups.subsystem import Cpuset, Hugetlb, Pids, Subsystem
from containerizer.isolators.cgroups.v2_core import Core
from containerizer.isolators.cgroups.v2_cpu import CpuV2
from containerizer.isolators.cgroups.v2_devices import DevicesV2
from containerizer.isolators.cgroups.v2_memory import MemoryV2
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.inside import make_directory
from containerizer.linux import cgroup1, cgroup2
from containerizer.linux.mount import MS_BIND, MS_REC
from containerizer.linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWNS
from mesos_compat.base.errors import CheckpointError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


class Io(Subsystem):
    """Only enabled, so that its files are there."""

    controller = "io"


#: Name in ``--isolation`` → controller.
_CONTROLLERS: Mapping[str, type[Subsystem]] = {
    "core": Core,
    "cpu": CpuV2,
    "cpuset": Cpuset,
    "devices": DevicesV2,
    "hugetlb": Hugetlb,
    "io": Io,
    "mem": MemoryV2,
    "pids": Pids,
}

#: What every cgroup has without being handed it.
_IMPLICIT = frozenset({Core.controller, DevicesV2.controller})


class CgroupsV2Isolator(Isolator):
    """Knows which containers have their own limits."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self, context: IsolatorContext, controllers: Sequence[Subsystem], mount: str
    ) -> None:
        config = context.config
        self._mount = mount
        self._relative_root = config.cgroups_root.strip("/")
        self._timeout_s = config.cgroups_destroy_timeout_s
        self._config_of = context.container_config
        self._controllers = tuple(controllers)
        self._handed_on = frozenset(c.controller for c in controllers) - _IMPLICIT
        self._own: set[ContainerId] = set()

    @classmethod
    def create(cls, context: IsolatorContext, mount: str = cgroup1.V2_MOUNT_POINT) -> Isolator:
        """Make the isolator; hands the controllers on down to our root cgroup."""
        config = context.config
        if config.launcher != "linux":
            raise IsolatorError("'linux' launcher must be used to enable cgroups isolators")
        if config.cgroups_limit_swap:
            raise IsolatorError(
                "The cgroups v2 isolator does not support limiting swap memory but"
                " `--cgroups_limit_swap` was provided"
            )
        kinds = _kinds(context.isolation, cgroup2.controllers(mount))
        root = os.path.join(mount, config.cgroups_root.strip("/"))
        made = []
        for kind in kinds:
            with wrapped(f"Failed to create controller '{kind.controller}'"):
                made.append(kind.create(root, config))
        with wrapped("Failed to enable the requested cgroup v2 controllers"):
            cgroup2.create(root)
            wanted = {kind.controller for kind in kinds} - _IMPLICIT
            cgroup2.enable_between(mount, root, wanted)
        return cls(context, made, mount)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Go on with known containers and remove the cgroups of nobody.

        Whatever controllers a container was started with are used on; the others are left out of
        its statistics.
        """
        alive = {ContainerId.of(state.container_id): state for state in states}
        for container_id in (*alive, *orphans):
            cgroup = self._cgroup(container_id)
            config = None
            with contextlib.suppress(CheckpointError):
                config = self._config_of(container_id)
            if not cgroup2.exists(cgroup):
                continue
            if config is not None and not has_own_cgroups(container_id, config):
                continue
            self._own.add(container_id)
            if container_id in alive:
                for controller in self._controllers:
                    controller.recover(container_id, cgroup, alive[container_id].pid)
        known = {*alive, *orphans}
        for ids in cgroup2.containers(self._root):
            outer = [container_of(ids[:depth]) for depth in range(1, len(ids) + 1)]
            if outer[-1] in known or (len(outer) > 1 and outer[-2] not in known):
                continue  # ours, or it went with the one around it
            cgroup = self._cgroup(outer[-1])
            await remove_stray(cgroup, cgroup2.destroy)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Make the container's cgroups, write its limits, and show them inside an image."""
        if has_own_cgroups(container_id, config):
            if container_id in self._own:
                raise IsolatorError(f"Container with id '{container_id}' has already been prepared")
            self._make(container_id, config)
            await self.update(container_id, config.resources, limits_of(config))
        if not config.HasField("rootfs"):
            return None
        return self._shown(container_id, config)

    def _make(self, container_id: ContainerId, config: slave.ContainerConfig) -> None:
        cgroup = self._cgroup(container_id)
        if cgroup2.is_reserved(container_id.path):
            raise IsolatorError(f"Container id '{container_id}' is the name of another cgroup")
        if cgroup2.exists(cgroup):
            raise IsolatorError(f"Cgroup '{cgroup}' already exists")
        self._own.add(container_id)
        leaf = cgroup2.leaf(cgroup)
        with wrapped(f"Failed to create the cgroup at '{cgroup}'"):
            cgroup2.create(cgroup)
            top = self._cgroup(container_id.root)
            cgroup2.enable_between(top, cgroup, self._handed_on)
            cgroup2.create(leaf)
        failures = self._each(
            container_id, "prepare", lambda c, path: c.prepare(container_id, path, config)
        )
        if failures:
            raise IsolatorError(f"Failed to prepare controllers: {'; '.join(failures)}")
        user = owner(config)
        if user is not None:
            with wrapped(f"Failed to chown the cgroup at '{leaf}'"):
                os.chown(leaf, *user)

    async def isolate(self, container_id: ContainerId, pid: int) -> None:
        """Tell the controllers which process it is; the launcher has placed it."""
        failures = self._each(
            container_id, "isolate", lambda c, path: c.isolate(container_id, path, pid)
        )
        if failures:
            raise IsolatorError(f"Failed to isolate controllers: {'; '.join(failures)}")

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation:
        """Return the first limitation of a controller."""
        if container_id in self._own:
            reached = await limitation(container_id, self._controllers)
            if reached is not None:
                return reached
        return await super().watch(container_id)

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write new requests and limits."""
        if container_id not in self._own:
            nested = container_id.parent is not None
            text = "Update is not supported for nested containers" if nested else None
            raise IsolatorError(text or "Unknown container")
        failures = self._each(
            container_id,
            "update",
            lambda c, path: c.update(container_id, path, requests, limits),
        )
        if failures:
            raise IsolatorError(f"Failed to update controllers: {'; '.join(failures)}")

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        """Return what the controllers count; nothing for a container that shares its cgroups."""
        if container_id not in self._own:
            return None
        return measured(container_id, self._places(container_id))

    async def cleanup(self, container_id: ContainerId) -> None:
        """Remove the container's cgroups, if the launcher has not done so."""
        if container_id not in self._own:
            return
        for controller in self._controllers:
            controller.cleanup(container_id)
        try:
            removing = cgroup2.destroy(self._cgroup(container_id))
            await remove_within(self._timeout_s, removing)
        except (IsolatorError, OSError) as error:
            raise IsolatorError(f"Failed to destroy cgroups: {error}") from error
        self._own.discard(container_id)

    def close(self) -> None:
        """Stop listening; remove our root cgroup if it is empty."""
        for controller in self._controllers:
            controller.close()
        cgroup1.remove_empty(self._mount, self._relative_root)

    def _each(self, container_id: ContainerId, verb: str, call: Call) -> list[str]:
        """Call all controllers of a container with own cgroups; return the failures."""
        if container_id not in self._own:
            return []
        return each(self._places(container_id), f"{verb} controller", call)

    def _places(self, container_id: ContainerId) -> list[Placed]:
        cgroup = self._cgroup(container_id)
        return [(controller, cgroup) for controller in self._controllers]

    @property
    def _root(self) -> str:
        return os.path.join(self._mount, self._relative_root)

    def _cgroup(self, container_id: ContainerId) -> str:
        relative = cgroup2.container_path(self._relative_root, container_id.path)
        return os.path.join(self._mount, relative)

    def _shown(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo:
        """Return what shows the processes of an image their leaf and nothing above it.

        Init makes the namespace after it joined the leaf, which so becomes the root of what can
        be seen.
        """
        rootfs = config.rootfs
        shown = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWCGROUP, CLONE_NEWNS])
        shown.mounts.add(
            source=cgroup2.leaf(self._cgroup(container_id)),
            target=os.path.join(make_directory(rootfs, "/sys"), "fs/cgroup"),
            flags=MS_BIND | MS_REC,
        )
        if not is_command_task(config):
            return shown
        # The task is a child of its executor, in the same leaf: they share the namespace.
        info = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWCGROUP])
        info.command.arguments.append(executor_argument("task_launch_info", shown))
        return info


def _kinds(isolation: Collection[str], available: Collection[str]) -> list[type[Subsystem]]:
    """Return the controllers that the isolation names. Raises IsolatorError for unknown names."""
    usable = _IMPLICIT.union(available)
    names = sorted(name for name in isolation if name.startswith(PREFIX))
    if ALL in names:
        return [kind for kind in _CONTROLLERS.values() if kind.controller in usable]
    kinds: list[type[Subsystem]] = [Core]
    for name in names:
        kind = _CONTROLLERS.get(name.removeprefix(PREFIX))
        if kind is None:
            raise IsolatorError(f"Unknown or unsupported isolator '{name}'")
        if kind.controller not in usable:
            raise IsolatorError(f"'{kind.controller}' is not available in cgroups version 2 here")
        if kind not in kinds:
            kinds.append(kind)
    return kinds
