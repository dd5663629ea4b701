# SPDX-License-Identifier: Apache-2.0
"""The Docker store: images and their layers below ``--docker_store_dir``.

A pull works in a directory of its own in ``staging``; what it made gets its final name by rename,
layers first, the record of images last. So a store is whole at any moment, and what a killed agent
leaves behind lies in ``staging`` and ``gc``, which are emptied at the start.

Source: spec ``images`` 5, 6, 14; upstream ``provisioner/docker/{store,metadata_manager}.cpp``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Collection, Sequence

from google.protobuf.message import DecodeError

from containerizer.provisioner.base import ImageInfo, Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.documents import MAX_DOCUMENT, check_layer_id
from containerizer.provisioner.layout import DockerLayout, tree_name
from containerizer.provisioner.manifest import docker_manifest
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.staging import StagingArea
from containerizer.provisioner.trees import empty_directory
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError, FlagError, ManifestError, ProvisionError
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.docker import spec_pb2 as spec
from mesos_compat.pb.mesos.docker import v1_pb2 as docker
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.provisioner.docker import (
    message_pb2 as stored,
)

log = logging.getLogger(__name__)

_PULL_TIMER = "containerizer/mesos/provisioner/docker_store/image_pull"

#: Files of an unpacked archive or OCI layout, one of which makes a directory an image.
_MARKERS = ("manifest.json", "oci-layout", "repositories")


def create(config: ProvisionerConfig, scope: Scope, metrics: Metrics) -> Store:
    """Make the store of ``config``. Raises FlagError."""
    registry = config.docker_registry
    if registry.startswith("hdfs://"):
        raise FlagError(
            f"Failed to create Docker puller: '{registry}': HDFS is not supported yet: use a"
            " local directory"
        )
    if not registry.startswith("/"):
        if "://" not in registry:
            raise FlagError(
                "Failed to create Docker puller: Failed to create registry puller: Failed to"
                " parse the default Docker registry: Missing scheme in url string"
            )
        log.warning(
            "Registries are not supported yet: images come from the cache only until"
            " --docker_registry is a local directory instead of %s",
            registry,
        )
    layout = DockerLayout(os.path.realpath(config.docker_store_dir))
    try:
        os.makedirs(layout.staging, exist_ok=True)
        os.makedirs(layout.garbage, exist_ok=True)
    except OSError as error:
        raise FlagError(f"Failed to create Docker store directory: {error}") from error
    return DockerStore(layout, config, scope, metrics)


class DockerStore:
    """Images by the text of their reference. Used from one event loop."""

    def __init__(
        self, layout: DockerLayout, config: ProvisionerConfig, scope: Scope, metrics: Metrics
    ) -> None:
        self._layout = layout
        self._staging = StagingArea(layout.staging)
        self._registry = config.docker_registry
        self._limits = config.limits
        self._scope = scope
        self._timer = metrics.timer(_PULL_TIMER)
        self._pulls: SingleFlight[str, stored.Image] = SingleFlight(scope)
        self._under_way = 0
        #: One pull at a time puts its layers into the store and rewrites the record.
        self._publishing = asyncio.Lock()
        self._sweeping = asyncio.Lock()
        #: What ``storedImages`` holds, by the text of the reference.
        self._images: dict[str, stored.Image] = {}

    async def recover(self) -> None:
        """Read the record of images; remove what earlier pulls and prunes left."""
        self._images = await in_thread(self._read_images)
        log.info("Docker store %s: %d images", self._layout.root, len(self._images))
        await in_thread(self._staging.claim)
        await self._sweep()

    async def get(self, image: pb.Image, backend: str) -> ImageInfo:
        """Return an image, pulled if it is not here for ``backend`` or not to be cached."""
        if image.type != pb.Image.DOCKER:
            raise ProvisionError("Docker provisioner store only supports Docker images")
        reference = Reference.parse(image.docker.name)
        key = str(reference)
        known = self._images.get(key) if image.cached else None
        if known is not None:
            found = await in_thread(self._info, known, backend)
            if found is not None:
                return found
        pulled = await self._pulls.run(
            key, lambda: self._pull(reference, backend), f"pull docker image {key}"
        )
        found = await in_thread(self._info, pulled, backend)
        if found is None:
            raise ProvisionError(f"Layers of image '{key}' vanished from {self._layout.layers}")
        return found

    async def prune(self, excluded: Sequence[pb.Image], active: Collection[str]) -> None:
        """Forget all images but ``excluded``, and put aside layers that nobody needs."""
        if self._under_way:
            raise ProvisionError("Cannot prune and pull at the same time")
        wanted = {
            str(Reference.parse(image.docker.name))
            for image in excluded
            if image.type == pb.Image.DOCKER
        }
        async with self._publishing:
            kept = {key: image for key, image in self._images.items() if key in wanted}
            await in_thread(self._write_images, kept)
            self._images = kept
            needed = {layer_id for image in kept.values() for layer_id in image.layer_ids}
            needed |= {image.config_digest for image in kept.values() if image.config_digest}
            await in_thread(self._put_aside, needed, active)
        self._scope.spawn(self._sweep(), "remove pruned docker layers")

    def close(self) -> None:
        """Let other agents have the staging directory."""
        self._staging.close()

    async def _pull(self, reference: Reference, backend: str) -> stored.Image:
        self._under_way += 1
        try:
            with self._timer.time():
                return await self._pull_into_store(reference, backend)
        finally:
            self._under_way -= 1

    async def _pull_into_store(self, reference: Reference, backend: str) -> stored.Image:
        archive = await in_thread(self._archive, reference)
        async with self._staging.directory() as staging:
            log.info("Docker image %s: pulling from %s", reference, archive)
            answer = await run_operation(
                "pull_archive",
                {
                    "path": archive,
                    "reference": str(reference),
                    "staging": staging,
                    "tree": tree_name(backend),
                    "layers": self._layout.layers,
                },
                self._limits,
                subject=f"image '{reference}' from '{archive}'",
            )
            for name in (*answer["layer_ids"], answer["config_digest"] or "none"):
                check_layer_id(name)
            image = stored.Image(
                reference=spec.ImageReference(
                    registry=reference.registry,
                    repository=reference.repository,
                    tag=reference.tag,
                    digest=reference.digest,
                ),
                layer_ids=answer["layer_ids"],
                config_digest=answer["config_digest"],
            )
            async with self._publishing:
                await in_thread(self._publish, staging, image, tree_name(backend))
                images = {**self._images, str(reference): image}
                await in_thread(self._write_images, images)
                self._images = images
        log.info("Docker image %s: pulled, %d layers", reference, len(image.layer_ids))
        return image

    def _archive(self, reference: Reference) -> str:
        """Return the archive of an image, or the directory with its unpacked content."""
        if not self._registry.startswith("/"):
            raise ProvisionError(
                f"Failed to pull image '{reference}': registries are not supported yet: use a"
                " local directory for --docker_registry"
            )
        # Not os.path.join: a name that begins with "/" must stay below the directory, too.
        path = f"{self._registry.rstrip('/')}/{reference}"
        if os.path.exists(f"{path}.tar"):
            return f"{path}.tar"
        if any(os.path.isfile(os.path.join(path, marker)) for marker in _MARKERS):
            return path
        raise ProvisionError(f"Failed to find archive for image '{reference}' at '{path}.tar'")

    def _info(self, image: stored.Image, backend: str) -> ImageInfo | None:
        """Describe an image; ``None`` if a part of it is missing for ``backend``."""
        layers = tuple(self._layout.tree(layer_id, backend) for layer_id in image.layer_ids)
        if not layers or not all(os.path.isdir(layer) for layer in layers):
            return None
        config: str | None = None
        if image.HasField("config_digest"):
            config = self._layout.layer(image.config_digest)
            if not os.path.isfile(config):
                return None
        path = config or self._layout.manifest(image.layer_ids[-1])
        return ImageInfo(layers, docker_manifest=_read_manifest(path), config=config)

    def _publish(self, staging: str, image: stored.Image, tree: str) -> None:
        """Move what a pull made into the store. What is there already stays."""
        try:
            # Nobody else on this host may run the setuid programs of images.
            os.makedirs(self._layout.layers, 0o700, exist_ok=True)
            for layer_id in image.layer_ids:
                _move_layer(os.path.join(staging, layer_id), self._layout.layer(layer_id), tree)
            if image.HasField("config_digest"):
                source = os.path.join(staging, image.config_digest)
                os.replace(source, self._layout.layer(image.config_digest))
        except OSError as error:
            raise ProvisionError(f"Failed to move layers into the store: {error}") from error

    def _read_images(self) -> dict[str, stored.Image]:
        path = self._layout.images
        images: dict[str, stored.Image] = {}
        try:
            data = checkpoint.read_record(path)
            if data is None:
                if os.path.exists(path):
                    log.warning("The record of images '%s' is empty", path)
                return images
            record = stored.Images.FromString(data)
        except (CheckpointError, DecodeError) as error:
            raise ProvisionError(f"Failed to read images from '{path}': {error}") from error
        for image in record.images:
            try:
                for name in (*image.layer_ids, image.config_digest or "x"):
                    check_layer_id(name)
            except ManifestError as error:
                log.warning("The record of images '%s': %s", path, error)
                continue
            found = Reference(
                image.reference.repository,
                image.reference.registry or None,
                image.reference.tag or None,
                image.reference.digest or None,
            )
            if images.setdefault(str(found), image) is not image:
                log.warning("The record of images '%s' holds '%s' twice", path, found)
        return images

    def _write_images(self, images: dict[str, stored.Image]) -> None:
        record = stored.Images(images=images.values())
        try:
            checkpoint.write_record(self._layout.images, record.SerializeToString())
        except CheckpointError as error:
            raise ProvisionError(f"Failed to save the record of images: {error}") from error

    def _put_aside(self, needed: set[str], active: Collection[str]) -> None:
        busy = {os.path.dirname(path) for path in active} | set(active)
        try:
            names = os.listdir(self._layout.layers)
        except FileNotFoundError:
            return
        for name in names:
            path = self._layout.layer(name)
            if name in needed or path in busy:
                continue
            try:
                os.rename(path, os.path.join(self._layout.garbage, f"{name}.{time.time_ns()}"))
            except OSError as error:
                raise ProvisionError(f"Failed to move layer '{path}': {error}") from error

    async def _sweep(self) -> None:
        async with self._sweeping:
            await in_thread(empty_directory, self._layout.garbage)


def _move_layer(source: str, target: str, tree: str) -> None:
    """Give a layer its final name. If it has one for another backend, add what is missing."""
    if not os.path.isdir(source):
        return
    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    # The tree comes last: it is what makes a layer usable.
    for name in sorted(os.listdir(source), key=lambda name: name == tree):
        if not os.path.lexists(os.path.join(target, name)):
            os.rename(os.path.join(source, name), os.path.join(target, name))


def _read_manifest(path: str) -> docker.ImageManifest:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise ProvisionError(f"Failed to read manifest from '{path}': {error.strerror}") from error
    try:
        return docker_manifest(data)
    except ManifestError as error:
        raise ManifestError(f"Failed to parse docker v1 manifest from '{path}': {error}") from error
