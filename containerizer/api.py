# SPDX-License-Identifier: Apache-2.0
"""The contract between an agent (or any other user) and the containers of one host.

A containerizer knows no agent and no master. Messages are the v0 ones of ``mesos.slave``; whoever
passes one in must not change it afterwards, whoever gets one copies before changing.

Source: spec ``containerizer`` 1.3, 3, 4; upstream ``slave/containerizer/containerizer.hpp``.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Protocol

from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class LaunchOutcome(enum.Enum):
    """What a launch came to, unless it failed."""

    #: Fetched and released. Says nothing about whether the command could be executed.
    SUCCESS = "success"
    #: The id is known, in whatever state.
    ALREADY_LAUNCHED = "already launched"
    #: Not a container of this containerizer; nothing was done.
    NOT_SUPPORTED = "not supported"


class InputAnswer(Protocol):
    """How a stream of input ended: the HTTP status and text for whoever sent it."""

    @property
    def status(self) -> int:
        """A status code of HTTP."""

    @property
    def text(self) -> str:
        """What to say; empty for success."""


class OutputStream(Protocol):
    """Records of a container's output, to be iterated once and closed.

    The iteration ends with the output and raises ContainerError if the stream breaks.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over messages ``ProcessIO``, without frames."""

    async def aclose(self) -> None:
        """Detach; the container is not affected."""


class Containerizer(Protocol):
    """Launches, watches and destroys containers.

    Every method raises ContainerError (or a subclass) with a text fit for a task status, and
    nothing else but CancelledError.
    """

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        """Take over the containers ``known`` to run and destroy all others of ours.

        To be awaited once, before anything else.
        """

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        """Launch a container; after a failure or a cancellation the CALLER destroys it.

        ``environment`` is the executor environment made by the agent. With
        ``pid_checkpoint_path`` the pid of init is written there before the runtime directory
        gets it.
        """

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Set the resources of a top-level container; ``limits`` by name, infinity for none.

        Unknown containers are ignored, as upstream does.
        """

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        """Return what the container uses now."""

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        """Return id, init's pid, networks and cgroups of the container."""

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        """Return the container's termination once it is gone; ``None`` if it is unknown.

        A caller that gives up waiting disturbs nobody.
        """

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        """Kill the container and those nested in it and clean up everything they had.

        ``termination`` gives state, reason and message in addition to what is found. Returns as
        ``wait``; unknown containers are no error.
        """

    async def kill(self, container_id: ContainerId, signal: int) -> bool:
        """Send ``signal`` to the container's init; ``False`` if the container is unknown."""

    def containers(self) -> frozenset[ContainerId]:
        """Return the ids of all containers, nested and dying ones included."""

    def pending(self) -> Sequence[tuple[str, ContainerId | None]]:
        """Return what is under way, oldest first: an operation and the container it is for."""

    def is_standalone(self, container_id: ContainerId) -> bool:
        """Whether a known container, or the one it is nested in, has no executor."""

    async def attach_output(self, container_id: ContainerId, media_type: str) -> OutputStream:
        """Attach to the output of a container, from now on, as JSON or protobuf."""

    async def attach_input(
        self, container_id: ContainerId, media_type: str, calls: AsyncIterable[bytes]
    ) -> InputAnswer:
        """Send input to a container; the answer may come before ``calls`` end.

        ``calls`` are messages ``agent.Call`` of type PROCESS_IO, v0 or v1, which look alike. What
        ``calls`` raises is raised here.
        """

    async def remove(self, container_id: ContainerId) -> None:
        """Remove the sandbox and runtime directory of a terminated nested container."""

    async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
        """Remove cached images that no container uses and that are not in ``excluded``."""

    async def close(self) -> None:
        """Let go of helpers and sockets. Containers go on running."""
