# SPDX-License-Identifier: Apache-2.0
"""The launcher that keeps every container in a cgroup of its own.

Whatever a container started, daemons and fork bombs included, is in that cgroup and dies with
it. What differs between the versions of cgroups is in ``launcher/cgroups.py``.

Source: spec ``containerizer`` 6.3-6.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from containerizer.init.spawner import SpawnRequest
from containerizer.launcher.base import ForkRequest
from containerizer.launcher.cgroups import ContainerCgroups, FreezerCgroups, UnifiedCgroups
from containerizer.launcher.spawn import SpawnedInit, Spawner
from containerizer.launcher.systemd import SLICE, Systemd
from containerizer.launcher.tracked import TrackedInit
from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import FlagError, LaunchError
from mesos_compat.base.scope import Scope
from mesos_compat.base.units import format_duration
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinuxLauncherConfig:
    """What the launcher takes from the agent's flags."""

    #: Where hierarchies are mounted that are not mounted yet.
    cgroups_hierarchy: str = "/sys/fs/cgroup"
    #: Cgroup that holds ours in every hierarchy; no other agent of the host may use it.
    cgroups_root: str = "mesos"
    destroy_timeout_s: float = 60.0
    #: Set if systemd runs this host: containers have to be in its hierarchy, too.
    systemd: Systemd | None = None


class LinuxLauncher:
    """Starts inits in cgroups and namespaces. Implements Launcher."""

    def __init__(
        self, config: LinuxLauncherConfig, spawner: Spawner, cgroups: ContainerCgroups
    ) -> None:
        """Use ``create``, which chooses the cgroups by what the host has."""
        self._config = config
        self._spawner = spawner
        self._cgroups = cgroups
        #: ``None`` stands for an orphan: known to have cgroups, its init unknown.
        self._inits: dict[ContainerId, TrackedInit | None] = {}
        self._scope = Scope("linux launcher")

    @classmethod
    def create(cls, config: LinuxLauncherConfig, spawner: Spawner) -> LinuxLauncher:
        """Check the host and prepare the hierarchies. Raises FlagError."""
        failed = "Failed to create Linux launcher"
        if os.geteuid() != 0:
            raise FlagError(f"{failed}: Using cgroups requires root permissions")
        root = config.cgroups_root.strip("/")
        if not root or ".." in root.split("/"):
            raise FlagError(f"{failed}: unusable --cgroups_root '{config.cgroups_root}'")
        cgroups: ContainerCgroups
        try:
            if cgroup1.layout() is CgroupLayout.V2:
                cgroups = UnifiedCgroups.prepare(root, cgroup1.V2_MOUNT_POINT)
            else:
                base = config.cgroups_hierarchy
                systemd = config.systemd.hierarchy if config.systemd is not None else None
                cgroups = FreezerCgroups.prepare(base, root, systemd)
        except OSError as error:
            raise FlagError(f"{failed}: {_text(error)}") from error
        return cls(config, spawner, cgroups)

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""
        return self._cgroups.hierarchies

    @property
    def helper_cgroups(self) -> tuple[str, ...]:
        """Cgroups of helper programs, which shall survive the agent's service."""
        return () if self._config.systemd is None else self._config.systemd.helper_cgroups

    def cgroup(self, container_id: ContainerId) -> str:
        """Return the absolute path of the cgroup that holds all of a container."""
        return self._cgroups.cgroups(container_id)[0]

    async def recover(
        self, states: Sequence[slave.ContainerState], exited: Collection[ContainerId] = ()
    ) -> frozenset[ContainerId]:
        """Adopt the containers of ``states``; return those that only have cgroups left."""
        for state in states:
            container_id = ContainerId.of(state.container_id)
            gone = container_id in exited
            self._inits[container_id] = (
                TrackedInit.gone(state.pid) if gone else self._adopted(container_id, state.pid)
            )
            if not gone:
                self._check_survival(container_id, state.pid)
        orphans = frozenset(set(self._cgroups.containers()) - self._inits.keys())
        self._inits.update(dict.fromkeys(orphans))
        return orphans

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> SpawnedInit:
        """Start the init of a new container."""
        if container_id in self._inits:
            raise LaunchError(f"Container '{container_id}' already exists")
        if self._cgroups.is_reserved(container_id):
            raise LaunchError(f"Container id '{container_id}' is the name of another cgroup")
        parent = self._parent_pid(container_id, request)
        systemd = self._config.systemd
        try:
            cgroups = self._cgroups.create(container_id)
            init = await self._spawner.fork(
                SpawnRequest(
                    runtime_directory=request.runtime_directory,
                    cgroups=cgroups + (systemd.container_cgroups if systemd is not None else ()),
                    clone_namespaces=request.clone_namespaces,
                    enter_namespaces=request.enter_namespaces,
                    # With nothing to enter a nested init is as any other, and we reap it.
                    enter_pid=parent if request.enter_namespaces else None,
                    namespace_mnt_target=request.namespace_mnt_target,
                    terminal=request.launch_info.HasField("tty_slave_path"),
                    program=self._spawner.program(request.launch_info),
                    sandbox=request.sandbox,
                ),
                request.document(),
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
        for cgroup in self._cgroups.cgroups(container_id):
            await self._destroy_cgroup(cgroup)
        init = self._inits.pop(container_id, None)
        if init is not None:
            init.close()

    def pid(self, container_id: ContainerId) -> int | None:
        """Return the pid of the container's init; ``None`` if it is unknown."""
        init = self._inits.get(container_id)
        return None if init is None else init.pid

    def signal(self, container_id: ContainerId, number: int) -> None:
        """Send a signal to the container's init. Raises OSError."""
        init = self._inits.get(container_id)
        if init is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        init.signal(number)

    async def close(self) -> None:
        """Let go of the spawner; containers go on running. Empty root cgroups are removed."""
        for init in self._inits.values():
            if init is not None:
                init.close()
        await self._scope.close()
        await self._spawner.close()
        for hierarchy in self._cgroups.hierarchies:
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
        if self._cgroups.holds(container_id, pid):
            return init
        init.close()
        return TrackedInit.gone(pid)

    def _check_survival(self, container_id: ContainerId, pid: int) -> None:
        """Tell of a container of an agent without systemd support that systemd may kill."""
        systemd = self._config.systemd
        with contextlib.suppress(OSError):
            if systemd is not None and not systemd.keeps(pid, self._config.cgroups_root):
                log.warning(
                    "Container %s with pid %d is neither in our cgroup nor in '%s' of systemd's"
                    " hierarchy: it may end together with the agent's service",
                    container_id,
                    pid,
                    SLICE,
                )

    async def _sweep(self, container_id: ContainerId) -> None:
        """Leave nothing of a container that could not be started."""
        for cgroup in self._cgroups.cgroups(container_id):
            try:
                await self._destroy_cgroup(cgroup)
            except LaunchError as error:
                log.warning("Container %s: %s", container_id, error)

    async def _destroy_cgroup(self, cgroup: str) -> None:
        timeout_s = self._config.destroy_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                for delay in self._cgroups.destroy(cgroup):
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
