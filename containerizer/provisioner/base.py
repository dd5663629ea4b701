# SPDX-License-Identifier: Apache-2.0
"""The contracts of the provisioner: images in, root file systems out.

Source: spec ``images`` 3, 4, 5.4, 10; upstream ``provisioner/{provisioner,store,backend}.hpp``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from containerizer.provisioner.appc_details import AppcApp
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.appc import spec_pb2 as appc
from mesos_compat.pb.mesos.docker import v1_pb2 as docker


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a store knows of an image: folders of its layers, bottom first, and its manifest."""

    layers: tuple[str, ...]
    docker_manifest: docker.ImageManifest | None = None
    appc_manifest: appc.ImageManifest | None = None
    #: Of an AppC image: what its manifest says beyond ``appc_manifest``.
    appc_app: AppcApp | None = None
    #: Path of the image configuration file that garbage collection must keep, if there is one.
    config: str | None = None


@dataclass(frozen=True, slots=True)
class ProvisionInfo:
    """A root file system made for one container."""

    #: Canonical path of the root file system.
    rootfs: str
    #: Folders of this container that hold what it writes (for disk isolators).
    ephemeral_volumes: tuple[str, ...] = ()
    docker_manifest: docker.ImageManifest | None = None
    appc_manifest: appc.ImageManifest | None = None


class Store(Protocol):
    """Images of one kind, on this host."""

    async def recover(self) -> None:
        """Read what is stored; forget what is damaged."""

    def using(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which what ``get`` returned is not removed by others.

        Raises ProvisionError.
        """

    async def get(self, image: pb.Image, backend: str) -> ImageInfo:
        """Return the image, pulled if it is not here (or not to be cached).

        Concurrent calls for one image share one pull. Raises ProvisionError;
        BackendError if the image is unfit for ``backend`` only.
        """

    async def prune(self, excluded: Sequence[pb.Image], active: Collection[str]) -> None:
        """Remove images and layers that are neither ``excluded`` nor paths of ``active``."""

    def close(self) -> None:
        """Let go of locks. Images stay."""


class Backend(Protocol):
    """One way to make a root file system out of layers."""

    async def provision(
        self, layers: Sequence[str], rootfs: str, backend_dir: str
    ) -> tuple[str, ...]:
        """Make ``rootfs`` from ``layers`` (bottom first); return ephemeral volumes.

        Raises ProvisionError; BackendError if another backend may be able to.
        """

    async def destroy(self, rootfs: str, backend_dir: str) -> bool:
        """Take ``rootfs`` away; ``False`` if there is none. Raises ProvisionError."""


class Provisioner(Protocol):
    """Root file systems of containers."""

    async def recover(self, known: Collection[ContainerId]) -> None:
        """Take over the root file systems of ``known`` containers, destroy all others."""

    async def provision(self, container_id: ContainerId, image: pb.Image) -> ProvisionInfo:
        """Make a root file system. After a failure ``destroy`` cleans up."""

    def appc_app(self, container_id: ContainerId) -> AppcApp | None:
        """Return what the AppC image of a container says of its app, if this agent launched it."""

    async def destroy(self, container_id: ContainerId) -> bool:
        """Remove all root file systems of the container and of those nested in it.

        ``False`` if it had none. Raises ProvisionError.
        """

    async def prune(self, excluded: Sequence[pb.Image]) -> None:
        """Remove cached images that no container uses."""
