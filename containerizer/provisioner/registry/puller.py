# SPDX-License-Identifier: Apache-2.0
"""The puller of registries: manifest, configuration, then all missing layers at once.

A layer goes straight from the connection into the program that checks and unpacks it, and into
the store as soon as it is whole, so a later pull need not fetch it again. Pulls that need the same
layer at the same time from the same registry share one download, which ends when the last of them
has gone.

Source: spec ``images`` 7; upstream ``provisioner/docker/registry_puller.cpp``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from containerizer.provisioner.documents import MAX_DOCUMENT, matches, parse_object
from containerizer.provisioner.layerstream import StreamedLayer, unpack_stream
from containerizer.provisioner.manifest import docker_manifest
from containerizer.provisioner.oci import Descriptor
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.progress import LayerProgress, LayerState, PullProgress
from containerizer.provisioner.pullers import PulledImage, PullOrder
from containerizer.provisioner.registry.client import RepositoryClient
from containerizer.provisioner.registry.credentials import (
    DockerConfig,
    find_credential,
    parse_docker_config,
    read_docker_config,
    user_config_path,
)
from containerizer.provisioner.registry.endpoint import ImageLocation, RegistryAddress, locate_image
from containerizer.provisioner.registry.hosts import HostRules
from containerizer.provisioner.registry.manifest import (
    ImageIndex,
    ImageLayer,
    ImageManifest,
    manifest_payload,
    parse_manifest,
    verify,
    with_diff_ids,
)
from containerizer.provisioner.registry.retry import RetryPolicy
from containerizer.provisioner.registry.transport import TransientError, Transport, shown
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ManifestError, ProvisionError, RegistryError, UnpackError
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.scope import Scope

log = logging.getLogger(__name__)

#: How deep indexes may point to indexes, and how many manifests one pull may read.
_MAX_INDEX_DEPTH = 4
_MAX_MANIFESTS = 10


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """What the operator says of pulls from registries."""

    #: The registry of images that name none.
    default: RegistryAddress
    rules: HostRules = field(default_factory=HostRules)
    #: Credentials of the agent.
    docker_config: DockerConfig | None = None
    #: A pull without a byte for so long fails; 0 for no limit.
    stall_timeout_s: float = 60.0
    #: Layers of one image that are pulled at once.
    parallel_layers: int = 4
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: Variables for proxies, certificates and the user's own credentials.
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


class _Sink(Protocol):
    """Takes the bytes of a blob, in order."""

    @property
    def position(self) -> int:
        """How many it has."""

    async def write(self, data: bytes) -> None:
        """Take some."""


class _Memory:
    """A sink for a document."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def position(self) -> int:
        """How many bytes it has."""
        return len(self._data)

    async def write(self, data: bytes) -> None:
        """Take some."""
        self._data += data

    def value(self) -> bytes:
        """Return all."""
        return bytes(self._data)


class RegistryPuller:
    """Pulls from registries. Used from one event loop."""

    def __init__(
        self, config: RegistryConfig, layers: LayerDirectory, limits: UnpackLimits, scope: Scope
    ) -> None:
        self._config = config
        self._layers = layers
        self._limits = limits
        self._flights: SingleFlight[tuple[str, ...], None] = SingleFlight(scope)
        self._progress: dict[tuple[str, ...], LayerProgress] = {}

    async def pull(self, order: PullOrder) -> PulledImage:
        """Pull an image. Raises ProvisionError."""
        location = locate_image(order.reference, self._config.default)
        sources = await in_thread(self._config.rules.sources, location)
        configs = await self._credentials(order.docker_config)
        transport = Transport(self._config.environment, self._config.stall_timeout_s)
        async with transport:
            clients = [
                RepositoryClient(transport, source, await find_credential(configs, source.endpoint))
                for source in sources
            ]
            manifest, clients = await self._resolve(clients, location)
            order.progress.source = clients[0].source.url
            order.progress.changed()
            config = await self._image_config(clients, manifest)
            layers = with_diff_ids(manifest, config)
            docker_manifest(config)
            await self._fetch_layers(transport, clients, layers, order)
        digest = await self._keep_config(manifest, config, order.tree)
        return PulledImage(tuple(layer.digest for layer in layers), digest)

    async def _credentials(self, image: bytes | None) -> list[DockerConfig]:
        """Return where to look for credentials: the image's own, the agent's, the user's."""
        found = []
        if image is not None:
            try:
                # Whoever sends an image must not choose programs of this host.
                found.append(parse_docker_config(parse_object(image), helpers=False))
            except ManifestError as error:
                raise RegistryError(f"Failed to parse docker config: {error}") from error
        if self._config.docker_config is not None:
            found.append(self._config.docker_config)
        path = user_config_path(self._config.environment)
        if path is not None:
            try:
                own = await in_thread(read_docker_config, path, helpers=True)
            except ManifestError as error:
                log.warning("'%s' is not used: %s", path, error)
            else:
                found += [] if own is None else [own]
        return found

    # --- documents ---

    async def _resolve(
        self, clients: Sequence[RepositoryClient], location: ImageLocation
    ) -> tuple[ImageManifest, list[RepositoryClient]]:
        """Return the manifest for this host, and the clients with the one that had it first."""
        failure: ProvisionError | None = None
        for client in clients:
            source = client.source
            if not (source.tags if location.digest is None else source.digests):
                continue
            try:
                manifest = await self._manifest(client, location, last=client is clients[-1])
            except ProvisionError as error:
                if client is not clients[-1]:
                    log.warning("Registry %s: %s", source.endpoint.url, error)
                failure = error
                continue
            others = [c for c in clients if c is not client and c.source.digests]
            return manifest, [client, *others]
        raise failure or RegistryError(f"No registry may be asked for '{location.repository}'")

    async def _manifest(
        self, client: RepositoryClient, location: ImageLocation, *, last: bool
    ) -> ImageManifest:
        budget = _MAX_MANIFESTS
        retry = self._retry(last)

        async def visit(name: str, digest: str | None, depth: int) -> ImageManifest:
            nonlocal budget
            if depth > _MAX_INDEX_DEPTH or not budget:
                raise ManifestError("too many indexes")
            budget -= 1
            found = await self._read_manifest(client, name, digest, retry)
            if isinstance(found, ImageManifest):
                return found
            error: ManifestError | None = None
            for entry in found.entries:
                try:
                    return await visit(entry.digest, entry.digest, depth + 1)
                except ManifestError as failed:
                    error = error or failed
            assert error is not None
            raise error

        return await visit(location.name, location.digest, 0)

    async def _read_manifest(
        self, client: RepositoryClient, name: str, digest: str | None, retry: RetryPolicy
    ) -> ImageManifest | ImageIndex:
        async for attempt in retry.retrying():
            with attempt:
                found = await client.manifest(name)
        try:
            payload = manifest_payload(found.body, found.content_type)
            if digest is not None:
                verify(payload, digest, "the manifest")
            elif found.digest is not None:
                verify(payload, found.digest, "the manifest")
            return parse_manifest(payload, found.content_type)
        except ManifestError as error:
            raise ManifestError(f"Failed to parse the manifest of '{name}': {error}") from error

    def _retry(self, last: bool) -> RetryPolicy:
        """Return how long to insist: not long where there is somebody else to ask."""
        policy = self._config.retry
        return policy if last else replace(policy, attempts=min(2, policy.attempts))

    async def _image_config(
        self, clients: Sequence[RepositoryClient], manifest: ImageManifest
    ) -> bytes:
        if isinstance(manifest.config, bytes):
            return manifest.config
        config = manifest.config
        path = self._layers.layout.layer(config.digest)
        stored = await in_thread(_read_stored, path, config)
        if stored is not None:
            return stored
        if config.size > MAX_DOCUMENT:
            raise ManifestError(f"the image configuration has more than {MAX_DOCUMENT} bytes")
        untried = list(clients)
        while True:
            memory = _Memory()
            wanted = ImageLayer(config.digest, config.size, None, config.urls)
            await self._download(untried, wanted, memory, None)
            try:
                verify(memory.value(), config.digest, "the image configuration")
            except ManifestError:
                if not untried:
                    raise
                continue
            return memory.value()

    async def _keep_config(self, manifest: ImageManifest, config: bytes, tree: str) -> str:
        """Put the configuration into the store; return its name there."""
        if isinstance(manifest.config, bytes):
            digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        else:
            digest = manifest.config.digest
        async with self._layers.staging.directory() as staging:
            await in_thread(_write, os.path.join(staging, digest), config)
            await self._layers.publish(staging, (), digest, tree)
        return digest

    # --- layers ---

    async def _fetch_layers(
        self,
        transport: Transport,
        clients: Sequence[RepositoryClient],
        layers: Sequence[ImageLayer],
        order: PullOrder,
    ) -> None:
        turn = asyncio.Semaphore(self._config.parallel_layers)
        progress = order.progress
        progress.layers = [LayerProgress(layer.digest, layer.size) for layer in layers]
        progress.changed()

        async def one(number: int, layer: ImageLayer) -> None:
            if await in_thread(self._layers.has, layer.digest, order.tree):
                progress.layers[number].state = LayerState.PRESENT
                progress.changed()
                return
            async with turn:
                await self._share(transport, clients, layer, order, number)

        async with Scope(f"layers of {order.reference}", on_error=_awaited) as scope:
            tasks = [
                scope.spawn(one(number, layer), f"layer {layer.digest}")
                for number, layer in enumerate(layers)
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()

    async def _share(
        self,
        transport: Transport,
        clients: Sequence[RepositoryClient],
        layer: ImageLayer,
        order: PullOrder,
        number: int,
    ) -> None:
        """Pull a layer, or wait for the pull of it that is under way."""
        key = (clients[0].source.endpoint.url, layer.digest, order.tree, layer.diff_id or "")
        while True:
            leader = not self._flights.flying(key)
            if leader:
                self._progress[key] = order.progress.layers[number]
            else:
                order.progress.layers[number] = self._progress[key]
            order.progress.changed()
            try:
                await self._flights.run(
                    key,
                    lambda: self._layer(transport, clients, layer, order, key),
                    f"pull layer {layer.digest}",
                )
            except ProvisionError as error:
                if leader:
                    raise
                # The others may have been refused for reasons that are not ours.
                log.info("Docker image %s: trying again after: %s", order.reference, error)
            else:
                return

    async def _layer(
        self,
        transport: Transport,
        clients: Sequence[RepositoryClient],
        layer: ImageLayer,
        order: PullOrder,
        key: tuple[str, ...],
    ) -> None:
        progress = self._progress[key]
        watched = _Watched(progress, order.progress)
        try:
            async with transport, self._layers.staging.directory() as staging:
                await self._stream(list(clients), layer, order, staging, watched)
                await self._layers.publish(staging, (layer.digest,), None, order.tree)
            watched.enter(LayerState.DONE)
        finally:
            # by now it may be that of another attempt
            if self._progress.get(key) is progress:
                del self._progress[key]

    async def _stream(
        self,
        untried: list[RepositoryClient],
        layer: ImageLayer,
        order: PullOrder,
        staging: str,
        watched: _Watched,
    ) -> None:
        """Download and unpack a layer. What is damaged is asked for elsewhere, if possible."""
        streamed = StreamedLayer(layer.digest, layer.digest, layer.diff_id, layer.size)
        while True:
            watched.start()
            try:
                async with unpack_stream(
                    streamed,
                    staging,
                    order.tree,
                    self._limits,
                    subject=f"image '{order.reference}'",
                ) as sink:
                    await self._download(untried, layer, sink, watched)
                    watched.enter(LayerState.FINISHING)
                return
            except UnpackError as error:
                if not untried:
                    raise
                log.warning("Docker image %s: %s; asking elsewhere", order.reference, error)

    async def _download(
        self,
        untried: list[RepositoryClient],
        layer: ImageLayer,
        sink: _Sink,
        watched: _Watched | None,
    ) -> None:
        """Write a blob to ``sink``, from the first client that has it whole.

        Clients are taken out of ``untried``. What one began another one may end: the digest
        decides. Raises RegistryError.
        """
        last: RegistryError | None = None
        while untried:
            client = untried.pop(0)
            places = [client.source.url, *(layer.urls if not untried else ())]
            for place in places:
                try:
                    retry = self._retry(not untried and place == places[-1])
                    await self._download_from(client, place, layer, sink, watched, retry)
                    return
                except RegistryError as error:
                    # what a registry says counts more than what other places say
                    last = last or error
                    log.warning("Blob %s of %s: %s", layer.digest, shown(place), error)
        assert last is not None
        raise last

    async def _download_from(
        self,
        client: RepositoryClient,
        place: str,
        layer: ImageLayer,
        sink: _Sink,
        watched: _Watched | None,
        retry: RetryPolicy,
    ) -> None:
        async for attempt in retry.retrying(lambda: sink.position):
            with attempt:
                opened: AbstractAsyncContextManager[AsyncIterator[bytes]]
                if place == client.source.url:
                    opened = client.blob(layer.digest, sink.position)
                else:
                    opened = client.foreign(place, sink.position)
                async with opened as chunks:
                    await self._write(chunks, layer, sink, watched)

    async def _write(
        self,
        chunks: AsyncIterator[bytes],
        layer: ImageLayer,
        sink: _Sink,
        watched: _Watched | None,
    ) -> None:
        most = self._limits.size_bytes if layer.size is None else layer.size
        async for data in chunks:
            if sink.position + len(data) > most:
                raise RegistryError(f"the blob {layer.digest} has more than {most} bytes")
            await sink.write(data)
            if watched is not None:
                watched.received(sink.position)
        if layer.size is not None and sink.position < layer.size:
            raise TransientError(
                f"the blob {layer.digest} ended after {sink.position} of {layer.size} bytes"
            )


class _Watched:
    """The progress of a layer, told to whoever watches its pull."""

    def __init__(self, layer: LayerProgress, pull: PullProgress) -> None:
        self._layer = layer
        self._pull = pull

    def start(self) -> None:
        """Begin, perhaps once more."""
        self._layer.received = 0
        self.enter(LayerState.PULLING)

    def received(self, position: int) -> None:
        """So many bytes are here now."""
        self._layer.received = position
        self._pull.changed()

    def enter(self, state: LayerState) -> None:
        """Go on to ``state``."""
        self._layer.state = state
        self._pull.changed()


def _awaited(name: str, error: Exception) -> None:
    log.debug("%s: %s", name, error)


def _read_stored(path: str, config: Descriptor) -> bytes | None:
    """Return a configuration of the store, if it is there and whole."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError:
        return None
    return data if matches(data, config.digest) else None


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "xb") as file:
            file.write(data)
    except OSError as error:
        raise ProvisionError(f"Failed to write '{path}': {error.strerror}") from error
