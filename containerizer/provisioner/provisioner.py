# SPDX-License-Identifier: Apache-2.0
"""The provisioner: an image becomes the root file system of a container, and goes with it.

``provision`` and ``destroy`` share a fair lock, ``prune`` has it alone.

Source: spec ``images`` 3; upstream ``provisioner/provisioner.cpp``.
Deviation: a damaged record of layers does not stop the agent, only the pruning of images.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from containerizer.provisioner.appc_details import AppcApp
from containerizer.provisioner.base import Backend, ImageInfo, ProvisionInfo, Store
from containerizer.provisioner.layout import ProvisionerLayout
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.trees import remove_tree
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import BackendError, CheckpointError, ProvisionError, WireError
from mesos_compat.base.keyed import ReadWriteLock
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.stored import parse_stored
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Images whose unfitness for a backend is remembered.
_MAX_UNFIT = 1000
_REMOVE_ERRORS = "containerizer/mesos/provisioner/remove_container_errors"


@dataclass(slots=True)
class _Provisioned:
    """What a container has."""

    #: Root file systems by backend, each noted before its first file is made.
    rootfses: dict[str, list[str]] = field(default_factory=dict)
    #: Layers of all its root file systems, without repetition, and image configurations.
    layers: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    #: What its own AppC image says of the app; not known of containers that were recovered.
    app: AppcApp | None = None
    #: Whether nobody knows ``layers`` any more: their record is damaged.
    lost: bool = False
    #: Provisionings that are under way.
    pending: set[asyncio.Task[ProvisionInfo]] = field(default_factory=set)
    destroying: asyncio.Task[None] | None = None


class ImageProvisioner:
    """See ``base.Provisioner``. ``stores`` are by type of image, ``backends`` by name.

    ``preferred`` names the backends that make new root file systems: the first that an image is
    fit for. Deviation: upstream has one for all images.
    """

    def __init__(
        self,
        layout: ProvisionerLayout,
        stores: Mapping[int, Store],
        backends: Mapping[str, Backend],
        preferred: Sequence[str],
        scope: Scope,
        metrics: Metrics,
    ) -> None:
        self._layout = layout
        self._stores = stores
        self._backends = backends
        self.preferred = tuple(preferred)
        #: Backends that an image turned out to be unfit for.
        self._unfit: dict[bytes, set[str]] = {}
        self._scope = scope
        self._remove_errors = metrics.counter(_REMOVE_ERRORS)
        self._lock = ReadWriteLock()
        self._containers: dict[ContainerId, _Provisioned] = {}

    async def recover(self, known: Collection[ContainerId]) -> None:
        """Take over the root file systems of ``known`` containers, destroy all others."""
        try:
            self._containers = await in_thread(self._read_containers)
        except OSError as error:
            raise ProvisionError(f"Failed to recover containers with images: {error}") from error
        unknown = [each for each in self._containers if each not in known]
        for container_id in unknown:
            if any(kept.path[: len(container_id.path)] == container_id.path for kept in known):
                continue  # the parent of a container that goes on
            log.info("Container %s: unknown, destroying its root file systems", container_id)
            await self.destroy(container_id)
        for store in self._stores.values():
            await store.recover()

    async def provision(self, container_id: ContainerId, image: pb.Image) -> ProvisionInfo:
        """Make a root file system. Raises ProvisionError; ``destroy`` cleans up."""
        store = self._stores.get(image.type)
        if store is None:
            name = pb.Image.Type.Name(image.type)
            raise ProvisionError(f"Unsupported container image type: {name}")
        entry = self._containers.setdefault(container_id, _Provisioned())
        if entry.destroying is not None:
            raise ProvisionError("Container is being destroyed during provisioning")
        task = self._scope.spawn(
            self._provision(container_id, entry, store, image), f"provision {container_id}"
        )
        entry.pending.add(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if task.cancelled() and (current is None or not current.cancelling()):
                raise ProvisionError("Container destroyed during provisioning") from None
            task.cancel()
            await _settled(task)
            raise
        finally:
            entry.pending.discard(task)
            if not entry.rootfses and not entry.pending and entry.destroying is None:
                self._containers.pop(container_id, None)

    def appc_app(self, container_id: ContainerId) -> AppcApp | None:
        """Return what the AppC image of a container says of its app."""
        entry = self._containers.get(container_id)
        return None if entry is None else entry.app

    async def destroy(self, container_id: ContainerId) -> bool:
        """Remove all root file systems of the container and of those nested in it."""
        entry = self._containers.get(container_id)
        nested = any(
            other != container_id and other.path[: len(container_id.path)] == container_id.path
            for other in self._containers
        )
        if entry is None and not nested:
            await in_thread(self._remove_empty, container_id)
            return False
        if entry is None:
            entry = self._containers.setdefault(container_id, _Provisioned())
        if entry.destroying is None:
            entry.destroying = self._scope.spawn(
                self._destroy_locked(container_id, entry), f"destroy rootfs of {container_id}"
            )
        await asyncio.shield(entry.destroying)
        return True

    async def prune(self, excluded: Sequence[pb.Image]) -> None:
        """Remove cached images that no container uses."""
        async with self._lock.write():
            for container_id, entry in self._containers.items():
                if entry.lost:
                    raise ProvisionError(
                        f"The layers of container {container_id} are unknown."
                        " Image pruning is disabled"
                    )
            active = {
                path
                for entry in self._containers.values()
                for path in (*entry.layers, *entry.configs)
            }
            for kind, store in self._stores.items():
                await store.prune([image for image in excluded if image.type == kind], active)

    async def close(self) -> None:
        """Cancel what is under way. Root file systems stay."""
        await self._scope.close()
        for store in self._stores.values():
            store.close()

    async def _provision(
        self, container_id: ContainerId, entry: _Provisioned, store: Store, image: pb.Image
    ) -> ProvisionInfo:
        async with self._lock.read(), store.using():
            found, rootfs, volumes = await self._with_fit_backend(container_id, entry, store, image)
            if not entry.layers:
                # the images of volumes come later
                entry.app = found.appc_app
            entry.layers = list(dict.fromkeys([*entry.layers, *found.layers]))
            if found.config is not None and found.config not in entry.configs:
                entry.configs.append(found.config)
            self._checkpoint(container_id, entry, found)
        return ProvisionInfo(rootfs, volumes, found.docker_manifest, found.appc_manifest)

    async def _with_fit_backend(
        self, container_id: ContainerId, entry: _Provisioned, store: Store, image: pb.Image
    ) -> tuple[ImageInfo, str, tuple[str, ...]]:
        """Make a root file system with the first backend that the image is fit for."""
        key = image.SerializeToString(deterministic=True)
        unfit = self._unfit.get(key, set())
        *others, last = [name for name in self.preferred if name not in unfit] or self.preferred
        for name in others:
            try:
                return await self._with_backend(name, container_id, entry, store, image)
            except BackendError as error:
                log.warning("This image is not fit for the backend '%s': %s", name, error)
                if len(self._unfit) >= _MAX_UNFIT:
                    self._unfit.clear()
                self._unfit.setdefault(key, set()).add(name)
        return await self._with_backend(last, container_id, entry, store, image)

    async def _with_backend(
        self,
        name: str,
        container_id: ContainerId,
        entry: _Provisioned,
        store: Store,
        image: pb.Image,
    ) -> tuple[ImageInfo, str, tuple[str, ...]]:
        found = await store.get(image, name)
        rootfs_id = str(uuid.uuid4())
        rootfs = self._layout.rootfs(container_id, name, rootfs_id)
        directory = self._layout.backend(container_id, name)
        log.info("Container %s: provisioning %s", container_id, rootfs)
        entry.rootfses.setdefault(name, []).append(rootfs_id)
        try:
            volumes = await self._backends[name].provision(found.layers, rootfs, directory)
        except BackendError:
            await self._backends[name].destroy(rootfs, directory)
            entry.rootfses[name].remove(rootfs_id)
            raise
        return found, rootfs, volumes

    def _checkpoint(self, container_id: ContainerId, entry: _Provisioned, image: ImageInfo) -> None:
        path = self._layout.layers(container_id)
        record = slave.ContainerLayers(paths=entry.layers)
        config = image.config or (entry.configs[-1] if entry.configs else None)
        if config is not None:
            record.config = config
        try:
            checkpoint.write_record(path, record.SerializeToString())
        except CheckpointError as error:
            raise ProvisionError(f"Failed to checkpoint layers to '{path}': {error}") from error

    async def _destroy_locked(self, container_id: ContainerId, entry: _Provisioned) -> None:
        # Before the lock: a pending provisioning may itself wait for it.
        for task in _all_pending(self._containers, container_id):
            task.cancel()
        try:
            async with self._lock.read():
                await self._destroy(container_id, entry)
        finally:
            entry.destroying = None

    async def _destroy(self, container_id: ContainerId, entry: _Provisioned) -> None:
        await self._destroy_nested(container_id)
        for task in list(entry.pending):
            task.cancel()
            await _settled(task)
        failures: list[str] = []
        for name, rootfses in entry.rootfses.items():
            backend = self._backends.get(name)
            if backend is None:
                raise ProvisionError(f"Unknown backend '{name}'")
            directory = self._layout.backend(container_id, name)
            for rootfs_id in rootfses:
                rootfs = self._layout.rootfs(container_id, name, rootfs_id)
                try:
                    await backend.destroy(rootfs, directory)
                except ProvisionError as error:
                    failures.append(str(error))
        if failures:
            self._remove_errors.increment()
            raise ProvisionError("\n".join(failures))
        self._containers.pop(container_id, None)
        directory = self._layout.container(container_id)
        try:
            if not self._remove_emptied(container_id, entry):
                await in_thread(remove_tree, directory)
        except OSError as error:
            self._remove_errors.increment()
            log.error("Failed to remove the directory '%s': %s", directory, error)

    def _remove_emptied(self, container_id: ContainerId, entry: _Provisioned) -> bool:
        """Remove what the backends leave: some directories. ``False`` if there is more."""
        backends = self._layout.backends(container_id)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._layout.layers(container_id))
            for name in entry.rootfses:
                backend = self._layout.backend(container_id, name)
                for kind in os.listdir(backend):
                    os.rmdir(os.path.join(backend, kind))
                os.rmdir(backend)
            os.rmdir(backends)
            os.rmdir(self._layout.container(container_id))
        except OSError:
            return False
        return True

    async def _destroy_nested(self, container_id: ContainerId) -> None:
        failures: list[str] = []
        for child in list(self._containers):
            if len(child.path) > len(container_id.path) and _is_nested(child, container_id):
                entry = self._containers.get(child)
                if entry is None:
                    continue
                try:
                    await self._destroy(child, entry)
                except ProvisionError as error:
                    failures.append(str(error))
        if failures:
            self._remove_errors.increment()
            raise ProvisionError(f"Failed to destroy nested containers: {'; '.join(failures)}")

    def _remove_empty(self, container_id: ContainerId) -> None:
        """Remove the directory that a container without image got for those nested in it."""
        for path in (self._layout.nested(container_id), self._layout.container(container_id)):
            try:
                os.rmdir(path)
            except OSError:
                return

    def _read_containers(self) -> dict[ContainerId, _Provisioned]:
        found: dict[ContainerId, _Provisioned] = {}
        for container_id in _container_ids(self._layout.containers, None):
            entry = _Provisioned()
            for backend in _listed(self._layout.backends(container_id)):
                rootfses = _listed(self._layout.rootfses(container_id, backend))
                if rootfses and backend not in self._backends:
                    raise ProvisionError(
                        f"Found rootfses managed by an unrecognized backend: {backend}"
                    )
                if backend in self._backends:
                    entry.rootfses[backend] = rootfses
            path = self._layout.layers(container_id)
            try:
                data = checkpoint.read_record(path)
                record = parse_stored(path, data or b"", slave.ContainerLayers)
            except CheckpointError as error:
                log.warning("Container %s: its record of layers is lost: %s", container_id, error)
                record = slave.ContainerLayers()
                entry.lost = True
            entry.layers = list(record.paths)
            entry.configs = [record.config] if record.HasField("config") else []
            found[container_id] = entry
        return found


def _is_nested(child: ContainerId, parent: ContainerId) -> bool:
    return child.path[: len(parent.path)] == parent.path


def _all_pending(
    containers: Mapping[ContainerId, _Provisioned], container_id: ContainerId
) -> list[asyncio.Task[ProvisionInfo]]:
    return [
        task
        for each, entry in containers.items()
        if _is_nested(each, container_id)
        for task in entry.pending
    ]


async def _settled(task: asyncio.Task[ProvisionInfo]) -> None:
    """Wait for the end of a task, whatever it is."""
    while not task.done():
        await asyncio.wait([task])


def _container_ids(directory: str, parent: ContainerId | None) -> Iterator[ContainerId]:
    """Yield the containers that have directories, parents first."""
    for name in _listed(directory):
        path = os.path.join(directory, name)
        if not os.path.isdir(path) or os.path.islink(path):
            log.warning("Ignoring '%s': not a directory", path)
            continue
        container_id = ContainerId(name, parent)
        try:
            ContainerId.of(container_id.message())
        except WireError as error:
            log.warning("Ignoring '%s': %s", path, error)
            continue
        yield container_id
        yield from _container_ids(os.path.join(path, "containers"), container_id)


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        return []
