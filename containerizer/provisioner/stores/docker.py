# SPDX-License-Identifier: Apache-2.0
"""The Docker store: images and their layers below ``--docker_store_dir``.

A pull works in a directory of its own in ``staging``; what it made gets its final name by rename,
layers first, the record of images last. So a store is whole at any moment, and what a killed agent
leaves behind lies in ``staging`` and ``gc``, which are emptied at the start.

A layer never changes once it has its name, so an image that is fetched again (``cached`` is false)
or forgotten harms nobody: who uses the old layers goes on to do so until they are pruned.

Source: spec ``images`` 5, 6, 14; upstream ``provisioner/docker/{store,metadata_manager}.cpp``.
Deviation: an unusable ``--docker_config`` stops the agent at its start; upstream's pulls fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from containerizer.provisioner.base import ImageInfo, Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.documents import MAX_DOCUMENT, matches
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
from containerizer.provisioner.stores.archive_puller import (
    ArchivePuller,
    OneArchive,
    archive_source,
)
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.stores.lock import StoreLock
from containerizer.provisioner.stores.record import ImageRecord, Images, recorded
from containerizer.provisioner.trees import empty_directory
from containerizer.secrets import SecretResolver
from mesos_compat.base.errors import ContainerError, FlagError, ManifestError, ProvisionError
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.metrics import Metrics, TimerMetric
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
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
    return create_store(config, scope, metrics)


def create_store(
    config: ProvisionerConfig, scope: Scope, metrics: Metrics, *, archive: str | None = None
) -> DockerStore:
    """Make the store of ``config``, for who needs more than all stores have. Raises FlagError.

    With ``archive`` all images come from that one.
    """
    layout = DockerLayout(os.path.realpath(config.docker_store_dir))
    layers = LayerDirectory(layout)
    try:
        puller = _puller(config, layers, scope, archive)
    except FlagError as error:
        raise FlagError(f"Failed to create Docker puller: {error}") from error
    try:
        os.makedirs(layout.staging, exist_ok=True)
        os.makedirs(layout.garbage, exist_ok=True)
    except OSError as error:
        raise FlagError(f"Failed to create Docker store directory: {error}") from error
    lock = StoreLock(layout.root, shared=config.shared_stores)
    return DockerStore(
        layers, puller, lock, config.secrets, config.pulls, scope, metrics.timer(_PULL_TIMER)
    )


def _puller(
    config: ProvisionerConfig, layers: LayerDirectory, scope: Scope, archive: str | None
) -> Puller:
    archives = archive_source(config) if archive is None else OneArchive(archive)
    if archives is not None:
        return ArchivePuller(archives, layers, config.limits)
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
        lock: StoreLock,
        secrets: SecretResolver,
        table: PullTable,
        scope: Scope,
        timer: TimerMetric,
    ) -> None:
        self._layout = layers.layout
        self._staging = layers.staging
        self._record = ImageRecord(layers.layout)
        self._lock = lock
        self._puller = puller
        self._secrets = secrets
        self._table = table
        self._scope = scope
        self._timer = timer
        #: By reference and tree: who wants another tree is not helped by this one.
        self._pulls: SingleFlight[tuple[str, str], stored.Image] = SingleFlight(scope)
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
        self._images = await in_thread(self._record.read)
        log.info("Docker store %s: %d images", self._layout.root, len(self._images))
        with self._lock.if_alone() as alone:
            if alone:
                await in_thread(self._record.clear)
                await in_thread(self._staging.clear)
                await self._sweep()

    @contextlib.asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Have nothing removed from the store for the block."""
        async with self._lock.using():
            if self._lock.shared:
                # others may have changed it since we looked
                self._images = await in_thread(self._record.read)
            yield

    @property
    def layout(self) -> DockerLayout:
        """Where its files are."""
        return self._layout

    @property
    def images(self) -> Images:
        """All images that are recorded, by the text of their reference."""
        return self._images

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
            (key, tree_name(backend)),
            lambda: self._pull(reference, image, backend),
            f"pull docker image {key}",
        )
        found = await self._info(pulled, backend)
        if found is None:
            raise ProvisionError(f"Layers of image '{key}' vanished from {self._layout.layers}")
        return found

    async def prune(self, excluded: Sequence[pb.Image], active: Collection[str]) -> None:
        """Forget all images but ``excluded``, and put aside layers that nobody needs."""
        wanted = {
            str(Reference.parse(image.docker.name))
            for image in excluded
            if image.type == pb.Image.DOCKER
        }
        await self._retain(lambda key: key in wanted, active)
        self._scope.spawn(self._sweep(), "remove pruned docker layers")

    async def forget(self, keys: Collection[str], active: Collection[str]) -> None:
        """Forget the images ``keys``, and remove layers that nobody needs any more."""
        await self._retain(lambda key: key not in keys, active)
        await self._sweep()

    def close(self) -> None:
        """Let others have the store."""
        self._lock.close()

    async def _retain(self, keep: Callable[[str], bool], active: Collection[str]) -> None:
        if self._under_way:
            raise ProvisionError("Cannot prune and pull at the same time")
        async with self._lock.alone(), self._recording:
            self._images = await in_thread(self._retain_now, keep, active)
            self._manifests.clear()

    def _retain_now(
        self, keep: Callable[[str], bool], active: Collection[str]
    ) -> dict[str, stored.Image]:
        def change(images: Images) -> Images:
            return {key: image for key, image in images.items() if keep(key)}

        try:
            kept = self._record.update(change)
        except ProvisionError as error:
            # The disk may be too full to write that down. An image whose layers are missing is
            # as good as one that is not recorded, so make room first.
            log.warning("%s; removing layers first", error)
            self._put_aside(change(self._record.read()), active)
            empty_directory(self._layout.garbage)
            return self._record.update(change)
        self._put_aside(kept, active)
        return kept

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
            made = recorded(reference, pulled.layer_ids, pulled.config_digest)
            async with self._recording:
                self._images = await in_thread(
                    self._record.update, lambda images: {**images, str(reference): made}
                )
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
        """Describe an image; ``None`` if a part of it is missing or damaged for ``backend``."""
        layers = tuple(self._layout.tree(layer_id, backend) for layer_id in image.layer_ids)
        if not layers or not all(os.path.isdir(layer) for layer in layers):
            return None
        config: str | None = None
        if image.HasField("config_digest"):
            config = self._layout.layer(image.config_digest)
            if not os.path.isfile(config):
                self._manifests.pop(config, None)
                return None
        path = config or self._layout.manifest(image.layer_ids[-1])
        manifest = self._manifests.get(path)
        if manifest is None:
            manifest = await in_thread(_read_manifest, path, image.config_digest)
            if manifest is None:
                return None
            if len(self._manifests) >= _MANIFESTS:
                self._manifests.clear()
            self._manifests[path] = manifest
        return ImageInfo(layers, docker_manifest=manifest, config=config)

    def _put_aside(self, kept: Images, active: Collection[str]) -> None:
        needed = {layer_id for image in kept.values() for layer_id in image.layer_ids}
        needed |= {image.config_digest for image in kept.values()}
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


def _read_manifest(path: str, digest: str) -> docker.ImageManifest | None:
    """Read what describes an image; ``None`` if it is not what was stored.

    ``digest`` is empty for the manifests of legacy archives.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProvisionError(f"Failed to read manifest from '{path}': {error.strerror}") from error
    try:
        if digest and not matches(data, digest):
            raise ManifestError(f"it is not {digest}")
        return docker_manifest(data)
    except ManifestError as error:
        log.error("'%s' is damaged: %s; the image will be fetched again", path, error)
        # What is there already would stay.
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None
