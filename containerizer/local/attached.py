# SPDX-License-Identifier: Apache-2.0
"""A launcher whose containers get the input, output or terminal of a command.

Engines know files and switchboards for the output of containers; a command that waits for its
container has descriptors of its own, which no other process needs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from containerizer.init.helper import HelperRequest
from containerizer.launcher.base import ForkedInit, ForkRequest, Launcher, Stdio
from containerizer.launcher.linux import LinuxLauncher
from containerizer.launcher.spawn import SpawnedInit
from containerizer.loggers.base import HelperStarter
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a container is started with instead of what its engine would give it."""

    #: Descriptors that become 0, 1 and 2; they stay the caller's.
    stdio: Stdio | None = None
    #: Path of the terminal that ``stdio`` is.
    terminal: str | None = None
    #: Where the command starts.
    working_directory: str | None = None

    def applied(self, info: slave.ContainerLaunchInfo) -> slave.ContainerLaunchInfo:
        """Return ``info`` changed."""
        made = slave.ContainerLaunchInfo()
        made.CopyFrom(info)
        if self.terminal is not None:
            made.tty_slave_path = self.terminal
        if self.working_directory is not None:
            made.working_directory = self.working_directory
        return made


class AttachedLauncher:
    """Changes what is asked of another launcher. Implements Launcher."""

    def __init__(self, launcher: Launcher, attachment: Attachment) -> None:
        self._launcher = launcher
        self._attachment = attachment

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Mount points of the hierarchies in which every container has a cgroup."""
        return self._launcher.hierarchies if isinstance(self._launcher, LinuxLauncher) else ()

    @property
    def helper_cgroups(self) -> tuple[str, ...]:
        """Cgroups of helper programs."""
        return tuple(getattr(self._launcher, "helper_cgroups", ()))

    async def recover(
        self, states: Sequence[slave.ContainerState], exited: Collection[ContainerId] = ()
    ) -> frozenset[ContainerId]:
        """Adopt containers."""
        return await self._launcher.recover(states, exited)

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> ForkedInit:
        """Start the init of a new container, with what is attached if it is a top-level one."""
        if container_id.parent is None:
            request = replace(
                request,
                launch_info=self._attachment.applied(request.launch_info),
                stdio=self._attachment.stdio or request.stdio,
            )
        return await self._launcher.fork(container_id, request)

    async def wait(self, container_id: ContainerId) -> None:
        """Return when the container's init has exited."""
        await self._launcher.wait(container_id)

    async def destroy(self, container_id: ContainerId) -> None:
        """Kill every process of the container."""
        await self._launcher.destroy(container_id)

    def pid(self, container_id: ContainerId) -> int | None:
        """Return the pid of the container's init; ``None`` if it is unknown."""
        return self._launcher.pid(container_id)

    def signal(self, container_id: ContainerId, number: int) -> None:
        """Send a signal to the container's init. Raises OSError."""
        self._launcher.signal(container_id, number)

    async def close(self) -> None:
        """Let go of helper processes; containers go on running."""
        await self._launcher.close()


class DetachedHelpers:
    """Starts helpers that do not hold on to our standard error. Implements HelperStarter.

    Whoever reads all that a command says would wait for the end of what it left running.
    """

    def __init__(self, helpers: HelperStarter) -> None:
        self._helpers = helpers

    async def start_helper(self, request: HelperRequest, descriptors: Sequence[int]) -> SpawnedInit:
        """Start a helper, which waits for its release. Raises LaunchError."""
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            given = [null if number == 2 else fd for number, fd in enumerate(descriptors)]
            return await self._helpers.start_helper(request, given)
        finally:
            os.close(null)
