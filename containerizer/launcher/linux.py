# SPDX-License-Identifier: Apache-2.0
"""The launcher that keeps every container in a freezer cgroup of its own.

Whatever a container started, daemons and fork bombs included, is in that cgroup and dies with
it. In this version of the module cgroups are version 1; hosts with version 2 only are refused.

Source: spec ``containerizer`` 6.3-6.9.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from containerizer.init.spawner import SpawnRequest
from containerizer.launcher.base import ForkRequest
from containerizer.launcher.spawn import SpawnedInit, Spawner
from containerizer.launcher.tracked import TrackedInit
from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import FlagError, LaunchError
from mesos_compat.base.scope import Scope
from mesos_compat.base.units import format_duration
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import print_message
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_FREEZER = "freezer"


@dataclass(frozen=True, slots=True)
class LinuxLauncherConfig:
    """What the launcher takes from the agent's flags."""

    #: Where hierarchies are mounted that are not mounted yet.
    cgroups_hierarchy: str = "/sys/fs/cgroup"
    #: Cgroup that holds ours in every hierarchy; no other agent of the host may use it.
    cgroups_root: str = "mesos"
    destroy_timeout_s: float = 60.0
    #: Whether systemd runs this host and containers have to be in its hierarchy too.
    systemd: bool = False


class LinuxLauncher:
    """Starts inits in cgroups and namespaces. Implements Launcher."""

    def __init__(
        self, config: LinuxLauncherConfig, spawner: Spawner, hierarchies: tuple[str, ...]
    ) -> None:
        """Use ``create``; ``hierarchies`` are mount points, that of the freezer first."""
        self._config = config
        self._spawner = spawner
        self._hierarchies = hierarchies
        #: ``None`` stands for an orphan: known to have cgroups, its init unknown.
        self._inits: dict[ContainerId, TrackedInit | None] = {}
        self._scope = Scope("linux launcher")

    @classmethod
    def create(cls, config: LinuxLauncherConfig, spawner: Spawner) -> LinuxLauncher:
        """Check the host and prepare the hierarchies. Raises FlagError."""
        failed = "Failed to create Linux launcher"
        if os.geteuid() != 0:
            raise FlagError(f"{failed}: Using cgroups requires root permissions")
        if cgroup1.layout() is CgroupLayout.V2:
            raise FlagError(
                f"{failed}: this host has cgroups version 2 only, which are not supported yet;"
                " use --launcher=posix"
            )
        root = config.cgroups_root.strip("/")
        if not root or ".." in root.split("/"):
            raise FlagError(f"{failed}: unusable --cgroups_root '{config.cgroups_root}'")
        try:
            freezer = cgroup1.prepare(config.cgroups_hierarchy, _FREEZER, root)
            if cgroup1.attached(freezer) != {_FREEZER}:
                raise FlagError(f"Unexpected subsystems found attached to the hierarchy {freezer}")
            hierarchies = [freezer]
            if config.systemd:
                systemd = os.path.join(config.cgroups_hierarchy, "systemd")
                cgroup1.create(os.path.join(systemd, root))
                hierarchies.append(systemd)
        except OSError as error:
            raise FlagError(f"{failed}: {_text(error)}") from error
        return cls(config, spawner, tuple(hierarchies))

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""
        return self._hierarchies

    def cgroup(self, container_id: ContainerId, hierarchy: str | None = None) -> str:
        """Return the absolute path of a container's cgroup, in the freezer by default."""
        root = self._config.cgroups_root.strip("/")
        relative = cgroup1.container_path(root, container_id.path)
        return os.path.join(hierarchy or self._hierarchies[0], relative)

    async def recover(self, states: Sequence[slave.ContainerState]) -> frozenset[ContainerId]:
        """Adopt the containers of ``states``; return those that only have cgroups left."""
        for state in states:
            container_id = ContainerId.of(state.container_id)
            self._inits[container_id] = self._adopted(container_id, state.pid)
        found = {each for hierarchy in self._hierarchies for each in self._listed(hierarchy)}
        orphans = frozenset(found - self._inits.keys())
        self._inits.update(dict.fromkeys(orphans))
        return orphans

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> SpawnedInit:
        """Start the init of a new container."""
        if container_id in self._inits:
            raise LaunchError(f"Container '{container_id}' already exists")
        parent = self._parent_pid(container_id, request)
        cgroups = tuple(self.cgroup(container_id, each) for each in self._hierarchies)
        try:
            for cgroup in cgroups:
                cgroup1.create(cgroup)
            init = await self._spawner.fork(
                SpawnRequest(
                    runtime_directory=request.runtime_directory,
                    cgroups=cgroups,
                    clone_namespaces=request.clone_namespaces,
                    enter_namespaces=request.enter_namespaces,
                    # With nothing to enter a nested init is as any other, and we reap it.
                    enter_pid=parent if request.enter_namespaces else None,
                    namespace_mnt_target=request.namespace_mnt_target,
                    terminal=request.launch_info.HasField("tty_slave_path"),
                ),
                print_message(request.launch_info),
                request.stdio,
            )
        except BaseException as error:
            sweep = self._scope.spawn(self._sweep(container_id), name=f"sweep {container_id}")
            await asyncio.shield(sweep)
            if isinstance(error, OSError):
                what = f"Failed to create cgroup for container '{container_id}'"
                raise LaunchError(f"{what}: {_text(error)}") from error
            raise
        self._inits[container_id] = TrackedInit(init.pid, init.pidfd, init)
        return init

    async def wait(self, container_id: ContainerId) -> None:
        """Return when the container's init has exited."""
        if container_id not in self._inits:
            raise LaunchError(f"Unknown container {container_id}")
        init = self._inits[container_id]
        if init is not None:
            await init.wait()

    async def destroy(self, container_id: ContainerId) -> None:
        """Kill all that is in the container's cgroups and remove them.

        Deviation: a container whose destroy failed stays known, so it can be tried again.
        """
        if container_id not in self._inits:
            log.warning("Ignored destroy for unknown container %s", container_id)
            return
        if any(other.parent == container_id for other in self._inits):
            raise LaunchError("Container has nested containers")
        for hierarchy in self._hierarchies:
            await self._destroy_cgroup(self.cgroup(container_id, hierarchy))
        init = self._inits.pop(container_id, None)
        if init is not None:
            init.close()

    def pid(self, container_id: ContainerId) -> int | None:
        """Return the pid of the container's init; ``None`` if it is unknown."""
        init = self._inits.get(container_id)
        return None if init is None else init.pid

    async def close(self) -> None:
        """Let go of the spawner; containers go on running. Empty root cgroups are removed."""
        for init in self._inits.values():
            if init is not None:
                init.close()
        await self._scope.close()
        await self._spawner.close()
        for hierarchy in self._hierarchies:
            cgroup1.remove_empty(hierarchy, self._config.cgroups_root.strip("/"))

    def _parent_pid(self, container_id: ContainerId, request: ForkRequest) -> int | None:
        if container_id.parent is None:
            if request.enter_namespaces:
                raise LaunchError("Cannot enter parent namespaces for non-nested container")
            return None
        if container_id.parent not in self._inits:
            raise LaunchError("Unknown parent container")
        parent = self._inits[container_id.parent]
        if parent is None:
            raise LaunchError("Unknown parent container pid, can not enter namespaces")
        return parent.pid

    def _adopted(self, container_id: ContainerId, pid: int) -> TrackedInit:
        """Track a recovered init, unless its pid belongs to a stranger by now."""
        init = TrackedInit.recovered(pid)
        if pid in cgroup1.all_processes(self.cgroup(container_id)):
            return init
        init.close()
        return TrackedInit.gone(pid)

    def _listed(self, hierarchy: str) -> Iterator[ContainerId]:
        """Walk a hierarchy and yield the containers in it, made by whichever agent run."""
        root = os.path.join(hierarchy, self._config.cgroups_root.strip("/"))
        for cgroup in cgroup1.descendants(root):
            names = cgroup1.parse_container_path(os.path.relpath(cgroup, root))
            if names is None or names == ("slave",):
                continue
            container_id: ContainerId | None = None
            for name in names:
                container_id = ContainerId(name, container_id)
            assert container_id is not None
            yield container_id

    async def _sweep(self, container_id: ContainerId) -> None:
        """Leave nothing of a container that could not be started."""
        for hierarchy in self._hierarchies:
            try:
                await self._destroy_cgroup(self.cgroup(container_id, hierarchy))
            except LaunchError as error:
                log.warning("Container %s: %s", container_id, error)

    async def _destroy_cgroup(self, cgroup: str) -> None:
        timeout_s = self._config.destroy_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                for delay in cgroup1.destroy(cgroup):
                    await asyncio.sleep(delay)
        except TimeoutError:
            duration = format_duration(round(timeout_s * 1e9))
            raise LaunchError(
                f"Failed to destroy cgroup '{cgroup}': Timed out after {duration}"
            ) from None
        except OSError as error:
            raise LaunchError(f"Failed to destroy cgroup '{cgroup}': {_text(error)}") from error


def _text(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text}: '{error.filename}'" if error.filename else text
