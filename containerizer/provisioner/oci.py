# SPDX-License-Identifier: Apache-2.0
"""What Docker's and OCI's documents of images have in common. Pure, no protobuf.

Used for registries and for local archives.

Source: spec ``images`` 7.5, 11.2, 11.4; OCI image specification.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from containerizer.provisioner.documents import (
    check_digest,
    objects,
    parse_object,
    string,
    strings,
)
from mesos_compat.base.errors import ManifestError

T = TypeVar("T")

INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MANIFEST_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST)
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)

#: Longest chain of layers. Docker stops at 127, overlayfs at 500.
MAX_LAYERS = 500

#: Most URLs of one layer that we look at, and their length.
_MAX_URLS = 10
_MAX_URL = 4096

#: Machine names of Linux → architecture and variants of images, the best first. ``""`` is none.
_PLATFORMS = {
    "x86_64": ("amd64", ("", "v1", "v2", "v3", "v4")),
    "aarch64": ("arm64", ("v8", "")),
    "armv8l": ("arm", ("v8", "v7", "v6", "v5", "")),
    "armv7l": ("arm", ("v7", "", "v6", "v5")),
    "armv6l": ("arm", ("v6", "", "v5")),
    "i686": ("386", ("",)),
    "i386": ("386", ("",)),
    "loongarch64": ("loong64", ("",)),
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a document says of another blob."""

    digest: str
    size: int
    media_type: str | None = None
    #: Other places where the blob is.
    urls: tuple[str, ...] = ()
    #: How well its platform fits this host; 0 not at all.
    rank: int = 1
    #: ``os/architecture``, if it is said.
    platform: str | None = None


def descriptor(document: dict[str, Any]) -> Descriptor:
    """Read and check a descriptor. Raises ManifestError."""
    digest = string(document, "digest")
    if digest is None:
        raise ManifestError("a descriptor has no digest")
    check_digest(digest)
    size = document.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError("a descriptor has no size")
    place = document.get("platform")
    if not isinstance(place, dict):
        place = None
    return Descriptor(
        digest,
        size,
        media_type(document),
        tuple(url for url in strings(document, "urls")[:_MAX_URLS] if len(url) <= _MAX_URL),
        1 if place is None else platform_rank(place, platform.machine()),
        None if place is None else f"{place.get('os')}/{place.get('architecture')}"[:100],
    )


def media_type(document: dict[str, Any]) -> str | None:
    """Return the media type that a document or descriptor names, without parameters."""
    found = string(document, "mediaType")
    return None if found is None else found.partition(";")[0].strip() or None


def platform_rank(place: dict[str, Any], machine: str) -> int:
    """How well the platform of an image fits this ``machine``: 0 not at all.

    Attestations (``unknown/unknown``) fit none.
    """
    architecture, variants = _PLATFORMS.get(machine, (machine, ("",)))
    if place.get("os") != "linux" or place.get("architecture") != architecture:
        return 0
    variant = place.get("variant") or ""
    return 1 + len(variants) - variants.index(variant) if variant in variants else 0


def host_platform() -> str:
    """Return the platform of this host, for messages."""
    machine = platform.machine()
    return f"linux/{_PLATFORMS.get(machine, (machine, ()))[0]}"


def index_entries(document: dict[str, Any]) -> list[Descriptor]:
    """Return the entries of an index that could be images for this host, the best first."""
    found = []
    for item in objects(document, "manifests"):
        if media_type(item) in (None, *INDEX_TYPES, *MANIFEST_TYPES):
            entry = descriptor(item)
            if entry.rank:
                found.append(entry)
    return sorted(found, key=lambda entry: -entry.rank)


def is_index(kind: str | None, document: dict[str, Any]) -> bool:
    """Whether a document of media type ``kind`` is an index. Raises ManifestError."""
    index = "manifests" in document
    if index and ("layers" in document or "config" in document):
        # what it is would depend on who looks at it
        raise ManifestError("the document is an index and a manifest at once")
    if kind in INDEX_TYPES:
        return True
    if kind in MANIFEST_TYPES and index:
        raise ManifestError(f"the document is an index but is called '{kind}'")
    return index


def diff_ids(config: bytes, count: int) -> list[str]:
    """Return the digests of the uncompressed layers, one for each of ``count``.

    Raises ManifestError.
    """
    rootfs = parse_object(config).get("rootfs")
    if not isinstance(rootfs, dict):
        raise ManifestError("the image configuration has no 'rootfs'")
    found = strings(rootfs, "diff_ids")
    for diff_id in found:
        check_digest(diff_id)
    if len(found) != count:
        raise ManifestError(f"{count} layers but {len(found)} diff ids")
    if not found:
        raise ManifestError("no layers")
    if count > MAX_LAYERS:
        raise ManifestError(f"more than {MAX_LAYERS} layers")
    return found


def last_occurrences(layers: Sequence[T], layer_id: Callable[[T], str]) -> tuple[T, ...]:
    """Drop repeated layers. The topmost one decides: what is below it cannot show through."""
    kept = {layer_id(layer): layer for layer in reversed(layers)}
    return tuple(reversed(kept.values()))
