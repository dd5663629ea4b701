# SPDX-License-Identifier: Apache-2.0
"""What is in a Docker store, for people: images, layers, and what they take of the disk.

Only reads, so it may be called whoever uses the store. All functions block.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from containerizer.provisioner.documents import MAX_DOCUMENT
from containerizer.provisioner.layout import OVERLAY_TREE, PLAIN_TREE, DockerLayout
from containerizer.provisioner.stores.record import ImageRecord
from mesos_compat.base.errors import ProvisionError


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer, or what is left of one."""

    id: str
    #: Names of the trees that are there: for overlay, for the other backends, or both.
    trees: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that is recorded."""

    reference: str
    #: Bottom first.
    layers: tuple[StoredLayer, ...]
    config_digest: str | None
    #: Whether all is there for one backend at least.
    complete: bool

    @property
    def id(self) -> str:
        """What tells it from images that differ: digest of its configuration or topmost layer."""
        return self.config_digest or (self.layers[-1].id if self.layers else "")

    @property
    def size_bytes(self) -> int:
        """What its layers take, shared or not."""
        return sum({layer.id: layer.size_bytes for layer in self.layers}.values())


@dataclass(frozen=True, slots=True)
class Catalog:
    """All of a store."""

    images: tuple[StoredImage, ...]
    layers: tuple[StoredLayer, ...]
    #: Of layers that no recorded image has.
    unused_bytes: int
    #: What pulls under way have so far, and what waits for its removal.
    staging_bytes: int
    garbage_bytes: int

    @property
    def layer_bytes(self) -> int:
        """What all layers take."""
        return sum(layer.size_bytes for layer in self.layers)

    def image(self, reference: str) -> StoredImage:
        """Return the image of exactly this name. Raises ProvisionError."""
        for image in self.images:
            if image.reference == reference:
                return image
        raise ProvisionError(f"There is no image '{reference}' in the store")


def read_catalog(layout: DockerLayout) -> Catalog:
    """Look through a store. Raises ProvisionError."""
    try:
        names = os.listdir(layout.layers)
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise ProvisionError(f"Failed to read '{layout.layers}': {error.strerror}") from error
    layers = {name: _layer(layout, name) for name in sorted(names)}
    images = []
    used: set[str] = set()
    for reference, image in sorted(ImageRecord(layout).read().items()):
        found = tuple(layers.get(each) or StoredLayer(each, (), 0) for each in image.layer_ids)
        config = image.config_digest or None
        whole = config is None or config in layers
        complete = whole and any(
            all(tree in layer.trees for layer in found) for tree in (PLAIN_TREE, OVERLAY_TREE)
        )
        images.append(StoredImage(reference, found, config, complete and bool(found)))
        used |= {*image.layer_ids, image.config_digest}
    configs = {name for name in layers if os.path.isfile(layout.layer(name))}
    return Catalog(
        tuple(images),
        tuple(layer for name, layer in layers.items() if name not in configs),
        sum(layer.size_bytes for name, layer in layers.items() if name not in used),
        _content_size(layout.staging),
        _content_size(layout.garbage),
    )


def read_config(layout: DockerLayout, image: StoredImage) -> bytes | None:
    """Return the document that describes an image; ``None`` if it is missing."""
    if image.config_digest is not None:
        path = layout.layer(image.config_digest)
    elif image.layers:
        path = layout.manifest(image.layers[-1].id)
    else:
        return None
    try:
        with open(path, "rb") as file:
            return file.read(MAX_DOCUMENT)
    except OSError:
        return None


def _layer(layout: DockerLayout, name: str) -> StoredLayer:
    path = layout.layer(name)
    trees = tuple(t for t in (PLAIN_TREE, OVERLAY_TREE) if os.path.isdir(os.path.join(path, t)))
    return StoredLayer(name, trees, _size(path))


def _content_size(path: str) -> int:
    """Return what the entries of a directory take of the disk."""
    try:
        return sum(_size(os.path.join(path, name)) for name in os.listdir(path))
    except OSError:
        return 0


def _size(path: str) -> int:
    """Return what a tree takes of the disk; files with several names count once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            found = os.lstat(current)
            if (found.st_dev, found.st_ino) in seen:
                continue
            if found.st_nlink > 1:
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
            if os.path.isdir(current) and not os.path.islink(current):
                waiting += [os.path.join(current, name) for name in os.listdir(current)]
        except OSError:
            continue  # it goes while we look
    return total
