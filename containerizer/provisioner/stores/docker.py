# SPDX-License-Identifier: Apache-2.0
"""The Docker store: images and their layers below ``--docker_store_dir``.

A pull works in a directory of its own in ``staging``; what it made gets its final name by rename,
layers first, the record of images last. So a store is whole at any moment, and what a killed agent
leaves behind lies in ``staging`` and ``gc``, which are emptied at the start.

Deviation: an unusable ``--docker_config`` stops the agent at its start; upstream's pulls fail.

Source: spec ``images`` 5, 6, 14; upstream ``provisioner/docker/{store,metadata_manager}.cpp``.
"""

from __future__ import annotations

import asyncio
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
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.progress import PullTable
from containerizer.provisioner.pullers import Puller, PullOrder
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.registry.credentials import parse_docker_config
from containerizer.provisioner.registry.endpoint import parse_registry
from containerizer.provisioner.registry.hosts import HostRules
from containerizer.provisioner.registry.puller import RegistryConfig, RegistryPuller
from containerizer.provisioner.registry.sources import InsecureRegistries
from containerizer.provisioner.stores.archive_puller import ArchivePuller
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.trees import empty_directory
from containerizer.secrets import SecretResolver
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import (
    CheckpointError,
    ContainerError,
    FlagError,
    ManifestError,
    ProvisionError,
)
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.metrics import Metrics, TimerMetric
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.docker import spec_pb2 as spec
from mesos_compat.pb.mesos.docker import v1_pb2 as docker
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.provisioner.docker import (
    message_pb2 as stored,
)

log = logging.getLogger(__name__)

_PULL_TIMER = "containerizer/mesos/provisioner/docker_store/image_pull"

#: How many manifests are remembered.
_MANIFESTS = 64


def create(config: ProvisionerConfig, scope: Scope, metrics: Metrics) -> Store:
    """Make the store of ``config``. Raises FlagError."""
    layout = DockerLayout(os.path.realpath(config.docker_store_dir))
    layers = LayerDirectory(layout)
    try:
        puller = _puller(config, layers, scope)
    except FlagError as error:
        raise FlagError(f"Failed to create Docker puller: {error}") from error
    try:
        os.makedirs(layout.staging, exist_ok=True)
        os.makedirs(layout.garbage, exist_ok=True)
    except OSError as error:
        raise FlagError(f"Failed to create Docker store directory: {error}") from error
    return DockerStore(
        layers, puller, config.secrets, config.pulls, scope, metrics.timer(_PULL_TIMER)
    )


def _puller(config: ProvisionerConfig, layers: LayerDirectory, scope: Scope) -> Puller:
    registry = config.docker_registry
    if registry.startswith("hdfs://"):
        raise FlagError(f"'{registry}': HDFS is not supported yet: use a local directory")
    if registry.startswith("/"):
        return ArchivePuller(registry, layers, config.limits)
    try:
        return RegistryPuller(_registry_config(config), layers, config.limits, scope)
    except FlagError as error:
        raise FlagError(f"Failed to create registry puller: {error}") from error


def _registry_config(config: ProvisionerConfig) -> RegistryConfig:
    try:
        default = parse_registry(config.docker_registry)
    except FlagError as error:
        raise FlagError(f"Failed to parse the default Docker registry: {error}") from error
    credentials = None
    try:
        if config.docker_config is not None:
            credentials = parse_docker_config(config.docker_config, helpers=True)
    except ManifestError as error:
        raise FlagError(f"Failed to parse docker config: {error}") from error
    try:
        insecure = InsecureRegistries.parse(config.docker_insecure_registries)
    except ManifestError as error:
        raise FlagError(f"Failed to parse the insecure registries: {error}") from error
    mirrors = config.docker_registry_mirrors
    if mirrors is not None and not os.path.exists(mirrors):
        raise FlagError(f"The mirrors '{mirrors}' do not exist")
    return RegistryConfig(
        default,
        HostRules(mirrors, config.docker_registry_certs, insecure),
        credentials,
        stall_timeout_s=config.fetcher_stall_timeout_s,
    )


class DockerStore:
    """Images by the text of their reference. Used from one event loop."""

    def __init__(
        self,
        layers: LayerDirectory,
        puller: Puller,
        secrets: SecretResolver,
        table: PullTable,
        scope: Scope,
        timer: TimerMetric,
    ) -> None:
        self._layout = layers.layout
        self._staging = layers.staging
        self._puller = puller
        self._secrets = secrets
        self._table = table
        self._scope = scope
        self._timer = timer
        self._pulls: SingleFlight[str, stored.Image] = SingleFlight(scope)
        self._under_way = 0
        #: One at a time rewrites the record.
        self._recording = asyncio.Lock()
        self._sweeping = asyncio.Lock()
        #: What ``storedImages`` holds, by the text of the reference.
        self._images: dict[str, stored.Image] = {}
        #: Manifests read lately, by their path; what is in the store never changes.
        self._manifests: dict[str, docker.ImageManifest] = {}

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
            found = await self._info(known, backend)
            if found is not None:
                return found
        pulled = await self._pulls.run(
            key, lambda: self._pull(reference, image, backend), f"pull docker image {key}"
        )
        found = await self._info(pulled, backend)
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
        async with self._recording:
            kept = {key: image for key, image in self._images.items() if key in wanted}
            await in_thread(self._write_images, kept)
            self._images = kept
            self._manifests.clear()
            needed = {layer_id for image in kept.values() for layer_id in image.layer_ids}
            needed |= {image.config_digest for image in kept.values() if image.config_digest}
            await in_thread(self._put_aside, needed, active)
        self._scope.spawn(self._sweep(), "remove pruned docker layers")

    def close(self) -> None:
        """Let other agents have the staging directory."""
        self._staging.close()

    async def _pull(self, reference: Reference, image: pb.Image, backend: str) -> stored.Image:
        self._under_way += 1
        try:
            with self._timer.time():
                return await self._pull_and_record(reference, image, backend)
        finally:
            self._under_way -= 1

    async def _pull_and_record(
        self, reference: Reference, image: pb.Image, backend: str
    ) -> stored.Image:
        config = await self._docker_config(image)
        with self._table.pull(str(reference)) as progress:
            log.info("Docker image %s: pulling", reference)
            order = PullOrder(reference, tree_name(backend), progress, config)
            pulled = await self._puller.pull(order)
            made = stored.Image(
                reference=spec.ImageReference(
                    registry=reference.registry,
                    repository=reference.repository,
                    tag=reference.tag,
                    digest=reference.digest,
                ),
                layer_ids=pulled.layer_ids,
                config_digest=pulled.config_digest,
            )
            async with self._recording:
                images = {**self._images, str(reference): made}
                await in_thread(self._write_images, images)
                self._images = images
            log.info(
                "Docker image %s: pulled from %s in %.2f s, %d layers%s",
                reference,
                progress.source,
                progress.elapsed_s,
                len(pulled.layer_ids),
                f", {progress.received} bytes" if progress.layers else "",
            )
        return made

    async def _docker_config(self, image: pb.Image) -> bytes | None:
        """Return the credentials that an image brings along."""
        if not image.docker.HasField("config"):
            return None
        try:
            return await self._secrets.resolve(image.docker.config)
        except ContainerError as error:
            raise ProvisionError(str(error)) from error

    async def _info(self, image: stored.Image, backend: str) -> ImageInfo | None:
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
        manifest = self._manifests.get(path)
        if manifest is None:
            manifest = await in_thread(_read_manifest, path)
            if len(self._manifests) >= _MANIFESTS:
                self._manifests.clear()
            self._manifests[path] = manifest
        return ImageInfo(layers, docker_manifest=manifest, config=config)

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
