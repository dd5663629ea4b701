# SPDX-License-Identifier: Apache-2.0
"""Gets the file of an AppC image from wherever it is, and checks who signed it.

The configured prefix is tried first (simple discovery), then the site that the image is named
after (meta discovery), if the operator allows that.

Source: spec ``images`` 10.1 to 10.3; upstream ``provisioner/appc/fetcher.cpp``.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.discovery import Location, defaulted, locate
from containerizer.provisioner.meta_discovery import (
    MetaTags,
    key_urls,
    locations,
    page_urls,
    parse_tags,
)
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.signatures import MAX_BYTES, trusted_keys, verify
from fetcher.transports.hadoop import client_of, copy_to_local
from fetcher.transports.http import download, read_page
from mesos_compat.base.errors import FetchError, ManifestError, ProvisionError

log = logging.getLogger(__name__)

_PAGE_TIMEOUT_S = 30.0
_MAX_PAGE = 1 << 20

#: Most keys of a site that are fetched for one image.
_MAX_SITE_KEYS = 10


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """The file of an image, and what is known of it beyond its content."""

    path: str
    source: Location
    #: Whether a site said so: then it has to be what was asked for.
    discovered: bool = False
    #: Fingerprint of the key that signed it; ``None`` if signatures are not looked at.
    signer: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    image: Location
    signature: Location
    #: Where the site that named it has keys.
    keys: tuple[str, ...] = ()
    discovered: bool = False


class AppcFetcher:
    """Fetches files of images. Used from one event loop."""

    def __init__(self, config: ProvisionerConfig) -> None:
        self._config = config
        self._client = client_of(config.hadoop_home, os.environ)

    @property
    def checks_signatures(self) -> bool:
        """Whether an image has to be signed."""
        return self._config.appc_trusted_keys is not None

    def place(self, name: str, labels: Mapping[str, str]) -> Location:
        """Return where simple discovery looks for an image. Raises ManifestError."""
        prefix = self._config.appc_simple_discovery_uri_prefix
        return locate(prefix, name, labels, platform.machine())

    async def fetch(self, name: str, labels: Mapping[str, str], staging: str) -> FetchedImage:
        """Return the file of an image; what is not on this host is put into ``staging``.

        Raises ProvisionError.
        """
        simple = self.place(name, labels)
        try:
            return await self._get(name, _Candidate(simple, simple.signature), staging, "image")
        except FetchError as error:
            if not self._config.appc_meta_discovery:
                raise ProvisionError(str(error)) from error
            failure = str(error).strip()
        try:
            candidates = await self._discover(name, labels)
        except (FetchError, ManifestError) as error:
            raise ProvisionError(f"{failure}; meta discovery: {error}") from error
        failures = [failure]
        for number, candidate in enumerate(candidates):
            try:
                return await self._get(name, candidate, staging, f"found-{number}")
            except FetchError as error:
                failures.append(str(error))
        raise ProvisionError("; ".join(failures))

    async def _discover(self, name: str, labels: Mapping[str, str]) -> list[_Candidate]:
        """Ask the site of an image. Raises FetchError or ManifestError."""
        insecure = self._config.appc_meta_discovery_insecure
        known = defaulted(labels, platform.machine())
        failures: list[str] = []
        keys: list[str] = []
        for url in _pages(name, insecure):
            encrypted = url.startswith("https:")
            try:
                page = await read_page(
                    url, timeout_s=_PAGE_TIMEOUT_S, most_bytes=_MAX_PAGE, encrypted=encrypted
                )
            except FetchError as error:
                failures.append(str(error))
                continue
            tags: MetaTags = await in_thread(parse_tags, page)
            if encrypted:
                keys += key_urls(tags, name)
            found = locations(tags, name, known, insecure=insecure)
            if found:
                log.info("AppC image %s: '%s' says where it is", name, url)
                unique = tuple(dict.fromkeys(keys))[:_MAX_SITE_KEYS]
                return [
                    _Candidate(image, signature, unique, discovered=True)
                    for image, signature in found
                ]
            failures.append(f"'{url}' does not say where '{name}' is")
        raise FetchError("; ".join(failures))

    async def _get(self, name: str, candidate: _Candidate, staging: str, file: str) -> FetchedImage:
        """Raises FetchError if it is not there, ProvisionError if it is not to be used."""
        checked = self._config.appc_trusted_keys is not None
        log.info("AppC image %s: fetching %s", name, candidate.image)
        target = os.path.join(staging, f"{file}.aci")
        path = await self._file(candidate.image, target, copied=checked)
        if not checked:
            return FetchedImage(path, candidate.image, candidate.discovered)
        try:
            signature = await self._file(candidate.signature, f"{target}.asc", copied=True)
            keys = await self._keys(name, candidate, staging, file)
            scratch = os.path.join(staging, f"{file}.keys")
            await in_thread(os.mkdir, scratch, 0o700)
            signer = await verify(path, signature, keys, scratch)
        except (FetchError, ProvisionError) as error:
            raise ProvisionError(
                f"The image '{candidate.image}' is not trusted: {error}"
            ) from error
        log.info("AppC image %s: signed by %s", name, signer)
        return FetchedImage(path, candidate.image, candidate.discovered, signer)

    async def _keys(self, name: str, candidate: _Candidate, staging: str, file: str) -> list[bytes]:
        directory = self._config.appc_trusted_keys
        keys = await in_thread(trusted_keys, directory, name) if directory is not None else []
        if self._config.appc_trust_discovered_keys:
            for url in candidate.keys:
                log.info("AppC image %s: trusting the keys of '%s'", name, url)
                keys.append(
                    await read_page(
                        url, timeout_s=_PAGE_TIMEOUT_S, most_bytes=MAX_BYTES, encrypted=True
                    )
                )
        return keys

    async def _file(self, where: Location, target: str, *, copied: bool) -> str:
        """Return the path of a file; with ``copied`` nobody else can change it.

        Raises FetchError.
        """
        config = self._config
        most = config.limits.size_bytes
        if where.path is not None:
            if not await in_thread(os.path.exists, where.path):
                raise FetchError(
                    f"Failed to perform 'copy': cp: cannot stat '{where.path}':"
                    " No such file or directory\n"
                )
            if copied:
                await in_thread(_copy, where.path, target)
                return target
            return where.path
        url = str(where.url)
        if url.startswith("hdfs://"):
            await copy_to_local(
                self._client, url, target, timeout_s=config.limits.seconds, most_bytes=most
            )
        else:
            await download(
                url,
                target,
                stall_timeout_s=config.fetcher_stall_timeout_s,
                most_bytes=most,
            )
        return target


def _pages(name: str, insecure: bool) -> Iterator[str]:
    """Yield the pages of a site from the most to the least special, each with TLS first."""
    for url in page_urls(name, "https"):
        yield url
        if insecure:
            yield f"http{url.removeprefix('https')}"


def _copy(path: str, target: str) -> None:
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise FetchError(f"Failed to perform 'copy': '{path}': {error.strerror}") from error
