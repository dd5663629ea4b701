# SPDX-License-Identifier: Apache-2.0
"""Where the provisioner and the stores keep their files. The only place that joins these paths.

::

    <work_dir>/provisioner/containers/<id>/            one per container that has an image
        layers                                         record of the layers in use
        backends/<backend>/rootfses/<uuid>/            a root file system
        backends/<backend>/scratch/<uuid>/             overlay: upperdir, workdir, links
        containers/<child id>/ …                       nested containers, the same again

    <docker_store_dir>/                                <appc_store_dir>/
        staging/XXXXXX/      one per pull                  staging/XXXXXX/
        layers/<id>/         rootfs, rootfs.overlay,       images/sha512-<hex>/manifest
                             json, VERSION                 images/sha512-<hex>/rootfs/
        layers/<digest>      an image configuration        gc/<id>.<ns>
        storedImages         record of the images
        gc/<id>.<ns>         layers to be removed

Source: spec ``images`` 3.1, 5.1, 10.1; upstream ``provisioner/paths.hpp``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mesos_compat.model.ids import ContainerId

#: Name of the tree that the copy and bind backends read, and of the one for overlay, in which
#: whiteouts have the form that the kernel knows.
PLAIN_TREE = "rootfs"
OVERLAY_TREE = "rootfs.overlay"


def tree_name(backend: str) -> str:
    """Return the name of the tree of a layer that ``backend`` reads."""
    return OVERLAY_TREE if backend == "overlay" else PLAIN_TREE


@dataclass(frozen=True, slots=True)
class ProvisionerLayout:
    """Paths below the directory of the provisioner; ``root`` is canonical."""

    root: str

    @property
    def containers(self) -> str:
        """The directories of top-level containers."""
        return os.path.join(self.root, "containers")

    def container(self, container_id: ContainerId) -> str:
        """The directory of a container, inside that of its parent."""
        parts = [self.root]
        for value in container_id.path:
            parts += ["containers", value]
        return os.path.join(*parts)

    def layers(self, container_id: ContainerId) -> str:
        """The record of the layers that a container uses."""
        return os.path.join(self.container(container_id), "layers")

    def nested(self, container_id: ContainerId) -> str:
        """The directories of the containers nested in this one."""
        return os.path.join(self.container(container_id), "containers")

    def backends(self, container_id: ContainerId) -> str:
        """The directories of backends of a container."""
        return os.path.join(self.container(container_id), "backends")

    def backend(self, container_id: ContainerId, backend: str) -> str:
        """The directory that a backend has for a container."""
        return os.path.join(self.backends(container_id), backend)

    def rootfses(self, container_id: ContainerId, backend: str) -> str:
        """The directory of the root file systems that a backend made for a container."""
        return os.path.join(self.backend(container_id, backend), "rootfses")

    def rootfs(self, container_id: ContainerId, backend: str, rootfs_id: str) -> str:
        """One root file system."""
        return os.path.join(self.rootfses(container_id, backend), rootfs_id)


@dataclass(frozen=True, slots=True)
class ScratchLayout:
    """What the overlay backend keeps beside a root file system."""

    root: str

    @classmethod
    def of(cls, rootfs: str, backend_dir: str) -> ScratchLayout:
        """Return the directory that belongs to ``rootfs``."""
        return cls(os.path.join(backend_dir, "scratch", os.path.basename(rootfs)))

    @property
    def upperdir(self) -> str:
        """What the container writes."""
        return os.path.join(self.root, "upperdir")

    @property
    def workdir(self) -> str:
        """The kernel's own."""
        return os.path.join(self.root, "workdir")

    @property
    def links(self) -> str:
        """Link to the directory with short names for the layers."""
        return os.path.join(self.root, "links")


@dataclass(frozen=True, slots=True)
class DockerLayout:
    """Paths below ``--docker_store_dir``."""

    root: str

    @property
    def staging(self) -> str:
        """Directories of pulls that are under way."""
        return os.path.join(self.root, "staging")

    @property
    def garbage(self) -> str:
        """Layers that wait for their removal."""
        return os.path.join(self.root, "gc")

    @property
    def layers(self) -> str:
        """All layers and image configurations."""
        return os.path.join(self.root, "layers")

    @property
    def images(self) -> str:
        """The record of the images."""
        return os.path.join(self.root, "storedImages")

    def layer(self, layer_id: str) -> str:
        """The directory of a layer, or the file of an image configuration."""
        return os.path.join(self.layers, layer_id)

    def tree(self, layer_id: str, backend: str) -> str:
        """The content of a layer as ``backend`` needs it."""
        return os.path.join(self.layers, layer_id, tree_name(backend))

    def manifest(self, layer_id: str) -> str:
        """The v1 manifest of a layer that came from a legacy archive."""
        return os.path.join(self.layers, layer_id, "json")


@dataclass(frozen=True, slots=True)
class AppcLayout:
    """Paths below ``--appc_store_dir``."""

    root: str

    @property
    def staging(self) -> str:
        """Directories of fetches that are under way."""
        return os.path.join(self.root, "staging")

    @property
    def garbage(self) -> str:
        """Images that wait for their removal."""
        return os.path.join(self.root, "gc")

    @property
    def images(self) -> str:
        """All images, by id."""
        return os.path.join(self.root, "images")

    def image(self, image_id: str) -> str:
        """One image."""
        return os.path.join(self.images, image_id)

    def origin(self, image_id: str) -> str:
        """What was known of an image when it was fetched; upstream's agent has no such file."""
        return os.path.join(self.images, image_id, "origin.json")

    @property
    def rendered(self) -> str:
        """Trees made of several images."""
        return os.path.join(self.root, "rendered")

    def rendering(self, key: str) -> str:
        """One of them, with a ``rootfs``."""
        return os.path.join(self.rendered, key)

    def manifest(self, image_id: str) -> str:
        """The manifest of an image."""
        return os.path.join(self.images, image_id, "manifest")

    def rootfs(self, image_id: str) -> str:
        """The content of an image."""
        return os.path.join(self.images, image_id, "rootfs")
