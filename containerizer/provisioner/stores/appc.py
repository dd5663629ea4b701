# SPDX-License-Identifier: Apache-2.0
"""The AppC store: images by the hash of their content below ``--appc_store_dir``.

An image is fetched and unpacked in a directory of its own in ``staging``, checked there, and gets
its final name by one rename.

Source: spec ``images`` 10; upstream ``provisioner/appc/{store,cache,fetcher}.cpp``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import platform
import re
import stat
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

from containerizer.provisioner.base import ImageInfo, Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.discovery import Location, locate, usable_prefix
from containerizer.provisioner.documents import MAX_DOCUMENT
from containerizer.provisioner.layout import AppcLayout
from containerizer.provisioner.manifest import appc_manifest
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.staging import StagingArea
from containerizer.provisioner.stores.lock import StoreLock
from containerizer.provisioner.trees import empty_directory
from fetcher.transports.http import download
from mesos_compat.base.errors import FetchError, FlagError, ManifestError, ProvisionError
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.appc import spec_pb2 as appc

log = logging.getLogger(__name__)

_IMAGE_ID = re.compile(r"sha512-[0-9a-f]{128}")

#: Most images, with repetitions, that one image may consist of.
MAX_IMAGES = 500


@dataclass(frozen=True, slots=True)
class _Request:
    """An image as a container or another image asks for it."""

    name: str
    labels: tuple[tuple[str, str], ...]
    image_id: str | None

    @classmethod
    def make(cls, name: str, labels: Mapping[str, str], image_id: str) -> _Request:
        return cls(name, tuple(sorted(labels.items())), image_id or None)

    @classmethod
    def of(cls, image: pb.Image.Appc) -> _Request:
        labels = {label.key: label.value for label in image.labels.labels}
        return cls.make(image.name, labels, image.id)

    @classmethod
    def needed(cls, dependency: appc.ImageManifest.Dependency) -> _Request:
        labels = {label.name: label.value for label in dependency.labels}
        return cls.make(dependency.imageName, labels, dependency.imageID)


def create(config: ProvisionerConfig, scope: Scope, metrics: Metrics) -> Store:
    """Make the store of ``config``. Raises FlagError."""
    prefix = config.appc_simple_discovery_uri_prefix
    if not usable_prefix(prefix):
        raise FlagError(
            f"Failed to create image fetcher: Invalid simple discovery uri prefix: {prefix}"
        )
    layout = AppcLayout(os.path.realpath(config.appc_store_dir))
    try:
        os.makedirs(layout.staging, exist_ok=True)
        # Nobody else on this host may run the setuid programs of images.
        os.makedirs(layout.images, 0o700, exist_ok=True)
        os.makedirs(layout.garbage, exist_ok=True)
    except OSError as error:
        raise FlagError(f"Failed to create the AppC store directory: {error}") from error
    lock = StoreLock(layout.root, shared=config.shared_stores)
    return AppcStore(layout, config, lock, scope)


class AppcStore:
    """Images by id, and ids by name and labels. Used from one event loop."""

    def __init__(
        self, layout: AppcLayout, config: ProvisionerConfig, lock: StoreLock, scope: Scope
    ) -> None:
        self._layout = layout
        self._lock = lock
        self._scope = scope
        self._staging = StagingArea(layout.staging)
        self._prefix = config.appc_simple_discovery_uri_prefix
        self._limits = config.limits
        self._stall_timeout_s = config.fetcher_stall_timeout_s
        self._under_way = 0
        self._sweeping = asyncio.Lock()
        self._fetches: SingleFlight[str, str] = SingleFlight(scope)
        #: Manifests of the images that are here, by id.
        self._manifests: dict[str, appc.ImageManifest] = {}
        #: Id of the image with exactly this name and these labels.
        self._ids: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}

    async def recover(self) -> None:
        """Read the manifests of all images; remove what earlier fetches and prunes left."""
        found = await in_thread(self._read_images)
        for image_id, manifest in found.items():
            self._remember(image_id, manifest)
        log.info("AppC store %s: %d images", self._layout.root, len(found))
        with self._lock.if_alone() as alone:
            if alone:
                await in_thread(self._staging.clear)
                await self._sweep()

    @contextlib.asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Have nothing removed from the store for the block."""
        async with self._lock.using():
            yield

    async def get(self, image: pb.Image, backend: str) -> ImageInfo:
        """Return an image on top of the images it depends on."""
        if image.type != pb.Image.APPC:
            raise ProvisionError("Not an Appc image")
        request = _Request.of(image.appc)
        ids: list[str] = []
        await self._collect(request, image.cached, (), ids)
        return ImageInfo(
            tuple(self._layout.rootfs(image_id) for image_id in ids),
            appc_manifest=self._manifests[ids[-1]],
        )

    async def prune(self, excluded: Sequence[pb.Image], active: Collection[str]) -> None:
        """Remove images but ``excluded`` ones, what these depend on, and those in use."""
        if self._under_way:
            raise ProvisionError("Cannot prune and pull at the same time")
        async with self._lock.alone():
            kept = {os.path.basename(os.path.dirname(path)) for path in active}
            for image in excluded:
                if image.type == pb.Image.APPC:
                    self._keep(_Request.of(image.appc), kept)
            for image_id in await in_thread(self._put_aside, kept):
                self._forget(image_id)
        self._scope.spawn(self._sweep(), "remove pruned appc images")

    def close(self) -> None:
        """Let others have the store."""
        self._lock.close()

    def _keep(self, request: _Request, kept: set[str]) -> None:
        """Add to ``kept`` the image that is asked for and what it depends on, if it is here."""
        image_id = request.image_id or self._ids.get((request.name, request.labels))
        # of one that is kept already all is
        if image_id is None or image_id in kept or image_id not in self._manifests:
            return
        kept.add(image_id)
        for dependency in self._manifests[image_id].dependencies:
            self._keep(_Request.needed(dependency), kept)

    def _put_aside(self, kept: Collection[str]) -> list[str]:
        """Take all other images away; return their ids."""
        gone = [name for name in os.listdir(self._layout.images) if name not in kept]
        for image_id in gone:
            target = os.path.join(self._layout.garbage, f"{image_id}.{time.time_ns()}")
            try:
                os.rename(self._layout.image(image_id), target)
            except OSError as error:
                raise ProvisionError(f"Failed to move image '{image_id}': {error}") from error
        return gone

    def _forget(self, image_id: str) -> None:
        self._manifests.pop(image_id, None)
        for key in [key for key, value in self._ids.items() if value == image_id]:
            del self._ids[key]

    async def _sweep(self) -> None:
        async with self._sweeping:
            await in_thread(empty_directory, self._layout.garbage)

    async def _collect(
        self, request: _Request, cached: bool, above: tuple[str, ...], ids: list[str]
    ) -> None:
        """Add the ids of what ``request`` depends on, then its own."""
        image_id = await self._one(request, cached)
        if image_id in above:
            raise ManifestError(f"The image '{request.name}' depends on itself")
        manifest = self._manifests[image_id]
        for dependency in manifest.dependencies:
            needed = _Request.needed(dependency)
            await self._collect(needed, cached, (*above, image_id), ids)
        if len(ids) >= MAX_IMAGES:
            raise ManifestError(f"The image '{request.name}' consists of too many images")
        ids.append(image_id)

    async def _one(self, request: _Request, cached: bool) -> str:
        """Return the id of an image that is here now."""
        image_id = request.image_id or self._ids.get((request.name, request.labels))
        if cached and image_id is not None and await in_thread(self._have, image_id):
            if image_id not in self._manifests:
                path = self._layout.image(image_id)
                self._remember(image_id, await in_thread(self._read, path, path))
            return image_id
        where = locate(self._prefix, request.name, dict(request.labels), platform.machine())
        found = await self._fetches.run(
            str(where), lambda: self._fetch(request.name, where), f"fetch appc image {where}"
        )
        if request.image_id is not None and request.image_id != found:
            log.warning("Image '%s' was asked for as %s but is %s", where, request.image_id, found)
        manifest = self._manifests[found]
        offered = {label.name: label.value for label in manifest.labels}
        wanted = dict(request.labels)
        if manifest.name != request.name or not wanted.items() <= offered.items():
            log.warning(
                "Image '%s' is '%s' with labels %s, asked for was '%s' with %s",
                where,
                manifest.name,
                offered,
                request.name,
                wanted,
            )
        return found

    async def _fetch(self, name: str, where: Location) -> str:
        self._under_way += 1
        try:
            return await self._fetch_now(name, where)
        finally:
            self._under_way -= 1

    async def _fetch_now(self, name: str, where: Location) -> str:
        async with self._staging.directory() as staging:
            log.info("AppC image %s: fetching %s", name, where)
            try:
                if where.path is not None:
                    path = where.path
                    if not await in_thread(os.path.exists, path):
                        raise ProvisionError(
                            f"Failed to perform 'copy': cp: cannot stat '{path}':"
                            " No such file or directory\n"
                        )
                else:
                    assert where.url is not None
                    path = os.path.join(staging, "image.aci")
                    await download(
                        where.url,
                        path,
                        stall_timeout_s=self._stall_timeout_s,
                        most_bytes=self._limits.size_bytes,
                    )
                unpacked = os.path.join(staging, "image")
                answer = await run_operation(
                    "unpack_aci",
                    {"path": path, "target": unpacked, "name": name},
                    self._limits,
                    subject=f"image '{name}' from '{where}'",
                )
                image_id = str(answer["id"])
                manifest = await in_thread(self._add, name, image_id, unpacked)
                self._remember(image_id, manifest)
            except FetchError as error:
                raise ProvisionError(str(error)) from error
        log.info("AppC image %s: fetched, %s", name, image_id)
        return image_id

    def _have(self, image_id: str) -> bool:
        known = _IMAGE_ID.fullmatch(image_id) is not None or image_id in self._manifests
        return known and os.path.isdir(self._layout.rootfs(image_id))

    def _add(self, name: str, image_id: str, unpacked: str) -> appc.ImageManifest:
        """Check an image and give it its final name; one that is there already stays."""
        target = self._layout.image(image_id)
        try:
            manifest = self._read(unpacked, target)
        except ProvisionError as error:
            raise ManifestError(
                f"Failed to add image '{name}' with image id '{image_id}' to the cache: {error}"
            ) from error
        try:
            os.rename(unpacked, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise ProvisionError(
                    f"Failed to move image '{name}' to '{target}': {error.strerror}"
                ) from error
        return manifest

    def _read(self, directory: str, shown: str) -> appc.ImageManifest:
        """Read the manifest of the image in ``directory``; messages name the place ``shown``."""
        path = os.path.join(directory, "manifest")
        named = os.path.join(shown, "manifest")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                data = file.read(MAX_DOCUMENT + 1)
            rootfs = os.lstat(os.path.join(directory, "rootfs")).st_mode
        except FileNotFoundError as error:
            missing = os.path.join(shown, os.path.basename(str(error.filename)))
            what = "manifest" if missing == named else "root file system"
            raise ProvisionError(
                f"Failed to read {what} from '{missing}': No such file or directory"
            ) from error
        except OSError as error:
            raise ProvisionError(
                f"Failed to read manifest from '{named}': {error.strerror}"
            ) from error
        if not stat.S_ISDIR(rootfs):
            raise ProvisionError(f"'{os.path.join(shown, 'rootfs')}' is no directory")
        try:
            return appc_manifest(data)
        except ManifestError as error:
            raise ManifestError(f"Failed to parse manifest from '{named}': {error}") from error

    def _remember(self, image_id: str, manifest: appc.ImageManifest) -> None:
        labels = {label.name: label.value for label in manifest.labels}
        self._manifests[image_id] = manifest
        self._ids[manifest.name, tuple(sorted(labels.items()))] = image_id

    def _read_images(self) -> dict[str, appc.ImageManifest]:
        found: dict[str, appc.ImageManifest] = {}
        for image_id in sorted(os.listdir(self._layout.images)):
            path = self._layout.image(image_id)
            try:
                found[image_id] = self._read(path, path)
            except ProvisionError as error:
                log.warning("Failed to add image with id '%s' to cache: %s", image_id, error)
        return found
