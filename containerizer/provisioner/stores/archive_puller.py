# SPDX-License-Identifier: Apache-2.0
"""The puller of archives: ``--docker_registry`` is a directory of them.

It may be here (``/directory``), in HDFS (``hdfs://[host[:port]]/directory``) or on a web server
(``archive+https://host/directory``, ``archive+http://…``; upstream has no such thing). Archives
that are not here are fetched for each pull.

Source: spec ``images`` 6; upstream ``provisioner/docker/local_puller.cpp``.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Protocol
from urllib.parse import quote, urlsplit

from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.documents import check_layer_id
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.pullers import PulledImage, PullOrder
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.unpack import UnpackLimits
from fetcher.transports.hadoop import client_of, copy_to_local
from fetcher.transports.http import download
from mesos_compat.base.errors import FetchError, FlagError, ProvisionError

#: Files of an unpacked archive or OCI layout, one of which makes a directory an image.
_MARKERS = ("manifest.json", "oci-layout", "repositories")


_HDFS = "hdfs://"
_WEB = ("archive+http://", "archive+https://")

#: Name of an archive in staging. No layer has it: it is no layer id.
_FETCHED = ".archive"


class ArchivePuller:
    """Unpacks images that ``source`` finds."""

    def __init__(self, source: ArchiveSource, layers: LayerDirectory, limits: UnpackLimits) -> None:
        self._source = source
        self._layers = layers
        self._limits = limits

    async def pull(self, order: PullOrder) -> PulledImage:
        """Unpack the archive of an image. Raises ProvisionError."""
        place = self._source.place(order.reference)
        order.progress.source = place
        order.progress.changed()
        async with self._layers.staging.directory() as staging:
            archive = await self._source.get(order.reference, staging)
            answer = await run_operation(
                "pull_archive",
                {
                    "path": archive,
                    "reference": str(order.reference),
                    "staging": staging,
                    "tree": order.tree,
                    "layers": self._layers.layout.layers,
                },
                self._limits,
                subject=f"image '{order.reference}' from '{place}'",
            )
            layer_ids = tuple(check_layer_id(str(each)) for each in answer["layer_ids"])
            config = answer["config_digest"]
            config_digest = None if config is None else check_layer_id(str(config))
            await self._layers.publish(staging, layer_ids, config_digest, order.tree)
        return PulledImage(layer_ids, config_digest)


class ArchiveSource(Protocol):
    """Where archives are."""

    def place(self, reference: Reference) -> str:
        """Return where the archive of an image is, for people."""

    async def get(self, reference: Reference, staging: str) -> str:
        """Return the path of the archive, which may be made in ``staging``.

        It may be a directory. Raises ProvisionError.
        """


def archive_source(config: ProvisionerConfig) -> ArchiveSource | None:
    """Return what ``--docker_registry`` means; ``None`` if it is no place of archives.

    Raises FlagError.
    """
    registry = config.docker_registry
    if registry.startswith("/"):
        return _Directory(registry)
    if registry.startswith(_HDFS):
        return _Hdfs(registry, client_of(config.hadoop_home, os.environ), config.limits)
    if registry.startswith(_WEB):
        return _Web(
            registry.removeprefix("archive+"), config.fetcher_stall_timeout_s, config.limits
        )
    return None


class OneArchive:
    """The archive ``path``, whatever image is asked for."""

    def __init__(self, path: str) -> None:
        self._path = path

    def place(self, reference: Reference) -> str:
        """Return the path."""
        return self._path

    async def get(self, reference: Reference, staging: str) -> str:
        """Return the path."""
        return self._path


class _Directory:
    """A directory of this host, with archives or the directories of unpacked ones."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")

    def place(self, reference: Reference) -> str:
        return f"{self._folder}/{reference}.tar"

    async def get(self, reference: Reference, staging: str) -> str:
        found = await in_thread(find_archive, self._folder, str(reference))
        if found is None:
            path = self.place(reference)
            raise ProvisionError(f"Failed to find archive for image '{reference}' at '{path}'")
        return found


class _Hdfs:
    """A directory of a Hadoop file system, through its client."""

    def __init__(self, uri: str, client: str, limits: UnpackLimits) -> None:
        authority, slash, path = uri.removeprefix(_HDFS).partition("/")
        if authority and not re.search(r":\d+$", authority):
            authority += ":8020"
        if not slash or any(char.isspace() for char in uri):
            raise FlagError(f"Failed to parse HDFS URI '{uri}'")
        self._folder = f"{_HDFS}{authority}/{path}".rstrip("/")
        self._client = client
        self._limits = limits

    def place(self, reference: Reference) -> str:
        return f"{self._folder}/{reference}.tar"

    async def get(self, reference: Reference, staging: str) -> str:
        target = os.path.join(staging, _FETCHED)
        uri = self.place(reference)
        try:
            await copy_to_local(
                self._client,
                uri,
                target,
                timeout_s=self._limits.seconds,
                most_bytes=self._limits.size_bytes,
            )
        except FetchError as error:
            raise ProvisionError(f"Failed to fetch '{uri}': {error}") from error
        return target


class _Web:
    """A directory of a web server."""

    def __init__(self, url: str, stall_timeout_s: float, limits: UnpackLimits) -> None:
        if not urlsplit(url).hostname or urlsplit(url).query or urlsplit(url).fragment:
            raise FlagError(f"'{url}' is no directory of a web server")
        self._folder = url.rstrip("/")
        self._stall_timeout_s = stall_timeout_s
        self._limits = limits

    def place(self, reference: Reference) -> str:
        return f"{self._folder}/{quote(str(reference), safe='/:@', errors='replace')}.tar"

    async def get(self, reference: Reference, staging: str) -> str:
        target = os.path.join(staging, _FETCHED)
        try:
            await download(
                self.place(reference),
                target,
                stall_timeout_s=self._stall_timeout_s,
                most_bytes=self._limits.size_bytes,
            )
        except FetchError as error:
            raise ProvisionError(str(error)) from error
        return target


async def archive_names(path: str, limits: UnpackLimits) -> list[str]:
    """Return what the images in an archive are called. Raises ProvisionError."""
    with tempfile.TemporaryDirectory() as scratch:
        answer = await run_operation(
            "list_archive",
            {"path": path, "scratch": scratch},
            limits,
            subject=f"'{path}'",
        )
    return [str(name) for name in answer["names"]]


def find_archive(folder: str, name: str) -> str | None:
    """Return the archive of exactly this name, or the directory with its unpacked content."""
    # Not os.path.join: a name that begins with "/" must stay below the directory, too.
    path = f"{folder.rstrip('/')}/{name}"
    if os.path.exists(f"{path}.tar"):
        return f"{path}.tar"
    if any(os.path.isfile(os.path.join(path, marker)) for marker in _MARKERS):
        return path
    return None
