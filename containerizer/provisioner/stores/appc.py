# SPDX-License-Identifier: Apache-2.0
"""The AppC store: images by the hash of their content below ``--appc_store_dir``.

An image is fetched and unpacked in a directory of its own in ``staging``, checked there, and gets
its final name by one rename.

Deviation: a dependency, and an image that a site named, has to be what was asked for; upstream
takes what it finds. Of the images only the one that was asked for says how its app is run; upstream
looks at the bottom one. A whitelist of paths counts.

Source: spec ``images`` 10; upstream ``provisioner/appc/{store,cache,fetcher}.cpp``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from containerizer.provisioner.appc_details import AppcApp, appc_app, path_whitelist
from containerizer.provisioner.appc_fetcher import AppcFetcher
from containerizer.provisioner.base import ImageInfo, Store
from containerizer.provisioner.config import (
    DEFAULT_EXTENSIONS,
    RUNTIME_EXTENSIONS,
    ProvisionerConfig,
)
from containerizer.provisioner.discovery import usable_prefix
from containerizer.provisioner.documents import MAX_DOCUMENT, parse_object, string
from containerizer.provisioner.layout import PLAIN_TREE, AppcLayout
from containerizer.provisioner.manifest import appc_manifest
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.staging import StagingArea
from containerizer.provisioner.stores.lock import StoreLock
from containerizer.provisioner.trees import empty_directory
from mesos_compat.base.errors import FlagError, ManifestError, ProvisionError
from mesos_compat.base.keyed import SingleFlight
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.appc import spec_pb2 as appc

log = logging.getLogger(__name__)

_IMAGE_ID = re.compile(r"sha512-[0-9a-f]{128}")

#: Most images, with repetitions, that one image may consist of.
MAX_IMAGES = 500
#: How far an image may be from the one that a container asks for.
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class _Request:
    """An image as a container or another image asks for it."""

    name: str
    labels: tuple[tuple[str, str], ...]
    image_id: str | None
    #: Bytes of its file; 0 is not checked.
    size: int = 0

    @classmethod
    def make(cls, name: str, labels: Mapping[str, str], image_id: str, size: int = 0) -> _Request:
        return cls(name, tuple(sorted(labels.items())), image_id or None, size)

    @classmethod
    def of(cls, image: pb.Image.Appc) -> _Request:
        labels = {label.key: label.value for label in image.labels.labels}
        return cls.make(image.name, labels, image.id)

    @classmethod
    def needed(cls, dependency: appc.ImageManifest.Dependency) -> _Request:
        labels = {label.name: label.value for label in dependency.labels}
        return cls.make(dependency.imageName, labels, dependency.imageID, dependency.size)


#: Name and labels of an image.
_Wanted = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class _Found:
    """An image that was fetched, and whether a site said where it is."""

    image_id: str
    discovered: bool


@dataclass(frozen=True, slots=True)
class _Resolved:
    """An image, and what it depends on."""

    image_id: str
    dependencies: tuple[_Resolved, ...]


@dataclass(frozen=True, slots=True)
class _Origin:
    """What was known of an image when it was fetched."""

    source: str
    signer: str | None
    sizes: tuple[int, ...]


def create(config: ProvisionerConfig, scope: Scope, metrics: Metrics) -> Store:
    """Make the store of ``config``. Raises FlagError."""
    prefix = config.appc_simple_discovery_uri_prefix
    if not usable_prefix(prefix):
        raise FlagError(
            f"Failed to create image fetcher: Invalid simple discovery uri prefix: {prefix}"
        )
    keys = config.appc_trusted_keys
    if keys is None and config.appc_trust_discovered_keys:
        raise FlagError("Keys of sites are trusted only besides a directory of trusted keys")
    if keys is not None:
        if not os.path.isdir(keys):
            raise FlagError(f"The directory of trusted keys '{keys}' does not exist")
        if shutil.which("gpgv") is None:
            raise FlagError("'gpgv' is needed to check signatures, but it is not installed")
    unknown = config.appc_extensions - DEFAULT_EXTENSIONS - RUNTIME_EXTENSIONS
    if unknown:
        raise FlagError(f"Unknown AppC extension '{min(unknown)}'")
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
        self._fetcher = AppcFetcher(config)
        self._extensions = config.appc_extensions
        self._limits = config.limits
        self._under_way = 0
        self._sweeping = asyncio.Lock()
        self._fetches: SingleFlight[_Wanted, _Found] = SingleFlight(scope)
        self._renders: SingleFlight[str, str] = SingleFlight(scope)
        #: Manifests of the images that are here, by id.
        self._manifests: dict[str, appc.ImageManifest] = {}
        #: Sizes of images that are here: of the file and of the tar in it.
        self._sizes: dict[str, tuple[int, ...]] = {}
        #: Id of the image with exactly this name and these labels.
        self._ids: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}

    async def recover(self) -> None:
        """Read the manifests of all images; remove what earlier fetches and prunes left."""
        found = await in_thread(self._read_images)
        for image_id, manifest in found.items():
            self._remember(image_id, manifest, await in_thread(self._read_origin, image_id))
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
        found = await self._resolve(request, image.cached, (), [0])
        document = await in_thread(self._document, found.image_id)
        return ImageInfo(
            await self._trees(found),
            appc_manifest=self._manifests[found.image_id],
            appc_app=_app(request.name, document),
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
        made = [name for name in _listed(self._layout.rendered) if name not in kept]
        paths = [*map(self._layout.image, gone), *map(self._layout.rendering, made)]
        for path in paths:
            name = os.path.basename(path)
            target = os.path.join(self._layout.garbage, f"{name}.{time.time_ns()}")
            try:
                os.rename(path, target)
            except OSError as error:
                raise ProvisionError(f"Failed to move image '{name}': {error}") from error
        return gone

    def _forget(self, image_id: str) -> None:
        self._manifests.pop(image_id, None)
        self._sizes.pop(image_id, None)
        for key in [key for key, value in self._ids.items() if value == image_id]:
            del self._ids[key]

    async def _sweep(self) -> None:
        async with self._sweeping:
            await in_thread(empty_directory, self._layout.garbage)

    async def _resolve(
        self, request: _Request, cached: bool, above: tuple[str, ...], count: list[int]
    ) -> _Resolved:
        """Have an image and all that it depends on; ``count`` is how many there are so far."""
        # before any of them is fetched: a chain that has no end is never complete
        count[0] += 1
        if count[0] > MAX_IMAGES or len(above) >= MAX_DEPTH:
            raise ManifestError(f"The image '{request.name}' consists of too many images")
        image_id = await self._one(request, cached, dependency=bool(above))
        if image_id in above:
            raise ManifestError(f"The image '{request.name}' depends on itself")
        needed: list[_Resolved] = []
        for dependency in self._manifests[image_id].dependencies:
            inner = _Request.needed(dependency)
            needed.append(await self._resolve(inner, cached, (*above, image_id), count))
        return _Resolved(image_id, tuple(needed))

    async def _trees(self, image: _Resolved) -> tuple[str, ...]:
        """Return the trees of an image, bottom first: what it depends on, in order, then itself."""
        found: list[str] = []
        for needed in image.dependencies:
            found += await self._trees(needed)
        found.append(self._layout.rootfs(image.image_id))
        if "path_whitelist" not in self._extensions:
            return tuple(found)
        paths = path_whitelist(await in_thread(self._document, image.image_id))
        if not paths:
            return tuple(found)
        key = hashlib.sha256(repr(image).encode()).hexdigest()
        rendered = os.path.join(self._layout.rendering(key), PLAIN_TREE)
        if not await in_thread(os.path.isdir, rendered):
            log.info("AppC image %s: keeping %d listed paths", image.image_id, len(paths))
            work = partial(self._render, key, found, paths)
            await self._renders.run(key, work, f"render {key}")
        return (rendered,)

    async def _render(self, key: str, trees: Sequence[str], paths: Sequence[str]) -> str:
        async with self._pulling(), self._staging.directory() as staging:
            rootfs = os.path.join(staging, PLAIN_TREE)
            await in_thread(os.mkdir, rootfs, 0o755)
            await run_operation(
                "render_tree",
                {"layers": list(trees), "rootfs": rootfs, "paths": list(paths)},
                self._limits,
                subject="the paths that the whitelist of an image leaves",
            )
            target = self._layout.rendering(key)
            try:
                await in_thread(_publish, rootfs, target)
            except OSError as error:
                raise ProvisionError(f"Failed to make '{target}': {error.strerror}") from error
        return target

    async def _one(self, request: _Request, cached: bool, *, dependency: bool) -> str:
        """Return the id of an image that is here now."""
        image_id = request.image_id or self._ids.get((request.name, request.labels))
        if cached and image_id is not None and await in_thread(self._have, image_id):
            if image_id not in self._manifests:
                path = self._layout.image(image_id)
                self._remember(image_id, await in_thread(self._read, path, path))
            self._check(request, image_id, strict=dependency, place=self._layout.image(image_id))
            return image_id
        key = (request.name, request.labels)
        labels = dict(request.labels)
        where = str(self._fetcher.place(request.name, labels))
        found = await self._fetches.run(
            key, lambda: self._fetch(request.name, labels), f"fetch appc image {where}"
        )
        self._check(request, found.image_id, strict=dependency or found.discovered, place=where)
        return found.image_id

    def _check(self, request: _Request, image_id: str, *, strict: bool, place: str) -> None:
        """Compare what was asked for with what was found; not to be ``strict`` is to warn.

        Raises ManifestError.
        """
        wrong: list[str] = []
        if request.image_id is not None and request.image_id != image_id:
            wrong.append(f"was asked for as {request.image_id} but is {image_id}")
        sizes = self._sizes.get(image_id)
        if request.size and sizes and request.size not in sizes:
            wrong.append(f"was asked for with {request.size} bytes but has {sizes[0]}")
        if strict and "dependency_ids" not in self._extensions:
            wrong = []
        manifest = self._manifests[image_id]
        offered = {label.name: label.value for label in manifest.labels}
        wanted = dict(request.labels)
        # an id says exactly which image it is to be
        if request.image_id != image_id and (
            manifest.name != request.name or not wanted.items() <= offered.items()
        ):
            wrong.append(
                f"is '{manifest.name}' with labels {offered}, asked for was '{request.name}'"
                f" with {wanted}"
            )
        for each in wrong:
            if strict:
                raise ManifestError(f"Image '{place}' {each}")
            log.warning("Image '%s' %s", place, each)

    @contextlib.asynccontextmanager
    async def _pulling(self) -> AsyncIterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def _fetch(self, name: str, labels: Mapping[str, str]) -> _Found:
        async with self._pulling(), self._staging.directory() as staging:
            fetched = await self._fetcher.fetch(name, labels, staging)
            unpacked = os.path.join(staging, "image")
            answer = await run_operation(
                "unpack_aci",
                {"path": fetched.path, "target": unpacked, "name": name},
                self._limits,
                subject=f"image '{name}' from '{fetched.source}'",
            )
            image_id = str(answer["id"])
            origin = _Origin(
                str(fetched.source), fetched.signer, tuple(int(size) for size in answer["sizes"])
            )
            manifest = await in_thread(self._add, name, image_id, unpacked, origin)
            self._remember(image_id, manifest, origin)
        log.info("AppC image %s: fetched from %s, %s", name, fetched.source, image_id)
        return _Found(image_id, fetched.discovered)

    def _have(self, image_id: str) -> bool:
        known = _IMAGE_ID.fullmatch(image_id) is not None or image_id in self._manifests
        if not known or not os.path.isdir(self._layout.rootfs(image_id)):
            return False
        if self._fetcher.checks_signatures:
            origin = self._read_origin(image_id)
            return origin is not None and origin.signer is not None
        return True

    def _document(self, image_id: str) -> bytes:
        """Return the manifest as it is stored."""
        path = self._layout.manifest(image_id)
        try:
            with open(path, "rb") as file:
                return file.read(MAX_DOCUMENT + 1)
        except OSError as error:
            raise ProvisionError(
                f"Failed to read manifest from '{path}': {error.strerror}"
            ) from error

    def _add(self, name: str, image_id: str, unpacked: str, origin: _Origin) -> appc.ImageManifest:
        """Check an image and give it its final name; one that is there already stays."""
        target = self._layout.image(image_id)
        try:
            manifest = self._read(unpacked, target)
        except ProvisionError as error:
            raise ManifestError(
                f"Failed to add image '{name}' with image id '{image_id}' to the cache: {error}"
            ) from error
        written = os.path.join(unpacked, os.path.basename(self._layout.origin(image_id)))
        try:
            with open(written, "x", encoding="utf-8") as file:
                json.dump(dataclasses.asdict(origin), file)
            try:
                os.rename(unpacked, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # the same image, but now it may be signed
                os.replace(written, self._layout.origin(image_id))
        except OSError as error:
            raise ProvisionError(
                f"Failed to move image '{name}' to '{target}': {error.strerror}"
            ) from error
        return manifest

    def _read_origin(self, image_id: str) -> _Origin | None:
        """Return what is known of an image; ``None`` for one that an operator or upstream put."""
        try:
            with open(self._layout.origin(image_id), "rb") as file:
                document = parse_object(file.read(MAX_DOCUMENT))
            sizes = document.get("sizes")
            return _Origin(
                string(document, "source") or "",
                string(document, "signer"),
                tuple(each for each in sizes if isinstance(each, int))
                if isinstance(sizes, list)
                else (),
            )
        except (OSError, ManifestError):
            return None

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

    def _remember(
        self, image_id: str, manifest: appc.ImageManifest, origin: _Origin | None = None
    ) -> None:
        if origin is not None:
            self._sizes[image_id] = origin.sizes
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


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _publish(rootfs: str, target: str) -> None:
    """Move a rendered tree to its place; one that is there already stays. Raises OSError."""
    os.makedirs(target, 0o700, exist_ok=True)
    try:
        os.rename(rootfs, os.path.join(target, PLAIN_TREE))
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _app(name: str, document: bytes) -> AppcApp | None:
    """Read the ``app`` section; what upstream does not look at may be as wrong as it likes."""
    try:
        return appc_app(document)
    except ManifestError as error:
        log.warning("AppC image %s: ignoring its 'app' section: %s", name, error)
        return None
