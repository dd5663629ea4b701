# SPDX-License-Identifier: Apache-2.0
"""The fork of a container's init: what the launcher is asked for.

Source: spec ``containerizer`` 3.
"""

from __future__ import annotations

from containerizer.failures import checkpointing
from containerizer.init.seccomp import Filters
from containerizer.isolators.base import is_command_task
from containerizer.isolators.linux_seccomp import filters_of
from containerizer.launcher.base import ForkedInit, ForkRequest, Launcher, Stdio
from containerizer.machine import Container, ContainerTable
from containerizer.rundir import RuntimeDirectory
from containerizer.session import mount_namespace_target
from containerizer.switchboard.isolator import IOSwitchboard
from mesos_compat.base.errors import ContainerError, LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_CLONE_NEWNS = 0x20000


class InitForker:
    """Asks the launcher for inits."""

    def __init__(
        self,
        launcher: Launcher,
        switchboard: IOSwitchboard,
        rundir: RuntimeDirectory,
        table: ContainerTable,
    ) -> None:
        self._launcher = launcher
        self._switchboard = switchboard
        self._rundir = rundir
        self._table = table

    async def fork(self, container: Container) -> ForkedInit:
        """Fork the init of a container that is prepared; it waits. Raises ContainerError."""
        info = container.launch_info
        assert info is not None
        entered = set(info.enter_namespaces)
        target = None
        if _CLONE_NEWNS in entered:
            # entered late, by init: before that it has to find its own program
            entered.remove(_CLONE_NEWNS)
            target = self._mount_namespace(container)
        stdio = self._switchboard.take_io(container.id)
        try:
            container.forked = True
            return await self._launcher.fork(
                container.id,
                ForkRequest(
                    launch_info=info,
                    stdio=Stdio(stdio.stdin, stdio.stdout, stdio.stderr),
                    runtime_directory=self._rundir.path(container.id),
                    enter_namespaces=sum(entered),
                    clone_namespaces=sum(set(info.clone_namespaces)),
                    namespace_mnt_target=target,
                    sandbox=self._outermost_sandbox(container),
                    seccomp_filters=self._filters(container.id, info),
                ),
            )
        except (LaunchError, OSError) as error:
            raise LaunchError(f"Failed to fork: {error}") from error
        finally:
            stdio.close()

    def _filters(
        self, container_id: ContainerId, info: slave.ContainerLaunchInfo
    ) -> Filters | None:
        if not info.HasField("seccomp_profile"):
            return None
        with checkpointing("Failed to read the Seccomp filters"):
            return filters_of(self._rundir.path(container_id))

    def _mount_namespace(self, container: Container) -> int:
        parent = self._table.get(container.id.parent) if container.id.parent else None
        if parent is None:
            raise ContainerError("Unknown parent container")
        if parent.pid is None:
            raise ContainerError("Unknown parent container pid")
        config = parent.config
        image_of_task = (
            config is not None
            and is_command_task(config)
            and config.container_info.mesos.HasField("image")
        )
        return mount_namespace_target(parent.pid, image_of_task=image_of_task)

    def _outermost_sandbox(self, container: Container) -> str | None:
        root = self._table.get(container.id.root)
        config = container.config if root is None else root.config
        return config.directory if config is not None and config.directory else None
