# SPDX-License-Identifier: Apache-2.0
"""A command that joins a running container which another process looks after, or nobody.

Only a launcher is needed: the command gets the container's namespaces, cgroups, environment and
user, and a cgroup of its own below, by which alone it can be killed. It ends with the process that
started it: the spawner notices should that one be killed.

Source: spec ``containerizer`` 12.4.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass

from containerizer.launcher.base import ForkRequest, Launcher, Stdio
from containerizer.launcher.linux import LinuxLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.launcher.systemd import SystemdConfig
from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout
from containerizer.linux.namespaces import CLONE_NEWNS
from containerizer.local.attached import Attachment
from containerizer.local.engine import create_launcher
from containerizer.local.order import SessionOrder, command_info
from containerizer.local.registry import LocalContainer, Registry
from containerizer.local.run import cgroups_root, engine_config
from containerizer.merge import Parent, complete
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import CheckpointError, ContainerError, FlagError, LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_ID_BYTES = 4


class LocalSession:
    """A running command inside of a container. Use ``start``; always ``end`` it."""

    def __init__(self, launcher: Launcher, container_id: ContainerId, folder: str) -> None:
        self._launcher = launcher
        self._container_id = container_id
        self._folder = folder

    @classmethod
    async def start(
        cls,
        registry: Registry,
        container: LocalContainer,
        order: SessionOrder,
        attachment: Attachment,
    ) -> LocalSession:
        """Start a command; ``attachment`` has its descriptors. Raises ContainerError."""
        record = container.record
        if container.pid is None:
            raise ContainerError(f"Container '{record.name}' is not running ({container.state})")
        if not order.command:
            raise ContainerError("There is nothing to run: give a command")
        assert attachment.stdio is not None
        session = ContainerId(secrets.token_hex(_ID_BYTES), record.container_id)
        folder = os.path.join(registry.places.sessions(record.id), session.value)
        spawner = Spawner(SpawnerConfig({}, quiet=True, mortal=True))
        launcher: Launcher | None = None
        try:
            os.makedirs(folder, 0o700)
            launcher = create_launcher(engine_config(registry, record), spawner, SystemdConfig())
            started = cls(launcher, session, folder)
            state = slave.ContainerState(
                container_id=record.container_id.message(), pid=container.pid, directory=""
            )
            await launcher.recover([state])
            request = _request(registry, container, order, attachment)
            await started._fork(request, cgroups_root(record), attachment.stdio)
            return started
        except BaseException as error:
            await (spawner if launcher is None else launcher).close()
            _remove(folder)
            if isinstance(error, FlagError | OSError | CheckpointError):
                raise ContainerError(str(error)) from error
            raise

    async def wait(self) -> int:
        """Return the wait status of the command."""
        await self._launcher.wait(self._container_id)
        try:
            with open(os.path.join(self._folder, "status"), encoding="ascii") as file:
                text = file.read()
            return int(text) if text else _KILLED
        except (OSError, ValueError):
            return _KILLED

    async def kill(self, number: int) -> None:
        """Send a signal to the command."""
        with contextlib.suppress(ProcessLookupError):
            self._launcher.signal(self._container_id, number)

    async def end(self) -> None:
        """Kill what is left of the command and forget it. Raises ContainerError."""
        try:
            await self._launcher.destroy(self._container_id)
        finally:
            await self._launcher.close()
            _remove(self._folder)

    async def _fork(self, request: _Request, root: str, stdio: Stdio) -> None:
        init = await self._launcher.fork(
            self._container_id,
            ForkRequest(
                launch_info=request.info,
                stdio=stdio,
                runtime_directory=self._folder,
                enter_namespaces=request.namespaces & ~CLONE_NEWNS,
                namespace_mnt_target=request.pid if request.namespaces & CLONE_NEWNS else None,
            ),
        )
        try:
            if isinstance(self._launcher, LinuxLauncher):
                _join_cgroups(root, self._container_id, init.pid)
            init.release()
        except BaseException as error:
            init.abort()
            await self._launcher.destroy(self._container_id)
            if isinstance(error, OSError):
                raise LaunchError(
                    f"Failed to join the cgroups of the container: {error}"
                ) from error
            raise


#: Of a command whose init was killed.
_KILLED = 9


@dataclass(frozen=True, slots=True)
class _Request:
    """What init is told, and where it goes: the namespaces of the process ``pid``."""

    info: slave.ContainerLaunchInfo
    pid: int
    namespaces: int


def _request(
    registry: Registry, container: LocalContainer, order: SessionOrder, attachment: Attachment
) -> _Request:
    record = container.record
    rundir = registry.runtime(record.id)
    config = rundir.read_config(record.container_id)
    launch_info = rundir.read_launch_info(record.container_id)
    if config is None or launch_info is None or container.pid is None:
        raise ContainerError(f"Container '{record.name}' has no checkpoint of its launch")
    if record.working_directory is not None:
        launch_info.working_directory = record.working_directory
    own = slave.ContainerConfig(container_class=slave.ContainerClass.DEBUG)
    user = order.user if order.user is not None else record.user
    if user is not None:
        own.user = user
    own.command_info.CopyFrom(command_info(order.command, order.environment))
    settings = engine_config(registry, record)
    made = complete(
        slave.ContainerLaunchInfo(),
        own,
        {},
        settings.sandbox_directory,
        Parent(config, launch_info),
    )
    if order.working_directory is not None:
        made.working_directory = order.working_directory
    return _Request(attachment.applied(made), container.pid, sum(set(launch_info.clone_namespaces)))


def _join_cgroups(root: str, session: ContainerId, pid: int) -> None:
    """Put a session that waits for its release into the container's cgroups of version 1.

    In version 2 its own cgroup is below the container's anyway.
    """
    if cgroup1.layout() is CgroupLayout.V2:
        return
    mine = cgroup1.container_path(root, session.path)
    for hierarchy in sorted(set(cgroup1.hierarchies().values())):
        cgroup = os.path.join(hierarchy, root, session.root.value)
        if cgroup1.exists(cgroup) and not cgroup1.exists(os.path.join(hierarchy, mine)):
            cgroup1.assign(cgroup, pid)


def _remove(folder: str) -> None:
    parent, name = os.path.split(folder)
    with contextlib.suppress(OSError), Root(parent) as root:
        root.remove(name)
