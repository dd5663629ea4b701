# SPDX-License-Identifier: Apache-2.0
"""The contract of a launcher: start the init of a container, and kill all that came of it.

Source: spec ``containerizer`` 5 and 6; upstream ``slave/containerizer/mesos/launcher.hpp``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from containerizer.init.seccomp import Filters
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import dumps, print_message, to_value
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


@dataclass(frozen=True, slots=True)
class Stdio:
    """File descriptors of the caller's process that become 0, 1 and 2 of a container's init.

    They stay the caller's: it closes them once ``fork`` returned.
    """

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """All that a launcher needs to start one init.

    ``launch_info`` is complete (merged, with its command). Namespace masks are CLONE_NEW* bits;
    those to enter are the parent container's. ``namespace_mnt_target`` is the pid whose mount
    namespace init enters late (DEBUG containers).
    """

    launch_info: slave.ContainerLaunchInfo
    stdio: Stdio
    #: Folder in which init keeps its ``status`` file; must exist.
    runtime_directory: str
    enter_namespaces: int = 0
    clone_namespaces: int = 0
    namespace_mnt_target: int | None = None
    #: Sandbox of the outermost container: tasks may have changed every name in it.
    sandbox: str | None = None
    #: What stands for the profile of ``launch_info``.
    seccomp_filters: Filters | None = None

    def document(self) -> bytes:
        """Return the launch info as init reads it."""
        if self.seccomp_filters is None:
            return print_message(self.launch_info)
        document = to_value(self.launch_info)
        assert isinstance(document, dict)
        document.pop("seccomp_profile", None)
        document["seccomp_filters"] = self.seccomp_filters.document()
        return dumps(document)


class ForkedInit(Protocol):
    """An init that waits for its release."""

    @property
    def pid(self) -> int:
        """Pid of init as this process sees it."""

    def release(self) -> None:
        """Let init go on to the command. Raises LaunchError if init is gone."""

    def abort(self) -> None:
        """Make an unreleased init exit; no effect after ``release``."""


class Launcher(Protocol):
    """Starts, tracks and kills the processes of containers."""

    async def recover(
        self, states: Sequence[slave.ContainerState], exited: Collection[ContainerId] = ()
    ) -> frozenset[ContainerId]:
        """Adopt the containers of ``states``; return the orphans that nobody claimed.

        The inits of those that are also in ``exited`` are gone: their pids may be others' by now.
        """

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> ForkedInit:
        """Start the init of a new container.

        The init is in the launcher's own cgroups (freezer, systemd) and namespaces when this
        returns. Raises LaunchError with upstream's words.
        """

    async def wait(self, container_id: ContainerId) -> None:
        """Return when the container's init has exited. Its status is in the runtime directory."""

    async def destroy(self, container_id: ContainerId) -> None:
        """Kill every process of the container and remove the launcher's cgroups of it.

        Unknown containers are no error. Raises LaunchError if processes survive.
        """

    def pid(self, container_id: ContainerId) -> int | None:
        """Return the pid of the container's init; ``None`` if it is unknown."""

    def signal(self, container_id: ContainerId, number: int) -> None:
        """Send a signal to the container's init, never to a process that got its pid.

        Raises OSError: ProcessLookupError if there is none.
        """

    async def close(self) -> None:
        """Let go of helper processes; containers go on running."""
