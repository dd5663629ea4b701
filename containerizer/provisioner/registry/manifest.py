# SPDX-License-Identifier: Apache-2.0
"""Manifests of registries: schema 1, schema 2, OCI, and lists of them. Pure, bounded.

Source: spec ``images`` 7.3, 7.4, 7.5, 8.5, 11; upstream ``docker/spec.cpp``, ``uri/fetchers``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from containerizer.provisioner.documents import (
    check_digest,
    objects,
    parse_object,
    string,
)
from containerizer.provisioner.oci import (
    CONFIG_TYPES,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_LAYERS,
    Descriptor,
    descriptor,
    diff_ids,
    host_platform,
    index_entries,
    is_index,
    last_occurrences,
    media_type,
)
from mesos_compat.base.errors import ManifestError

SCHEMA1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

#: What upstream asks for comes first.
ACCEPT = ",".join(
    (DOCKER_MANIFEST, *SCHEMA1_TYPES, INDEX_TYPES[0], MANIFEST_TYPES[1], INDEX_TYPES[1])
)

#: Types of servers that do not know what they serve: the document says what it is.
_VAGUE_TYPES = ("application/json", "application/octet-stream", "text/plain", "text/json")

#: Types of configuration documents besides the known ones: early pushes had none of their own.
_VAGUE_CONFIGS = (None, *_VAGUE_TYPES)


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer of an image in a registry."""

    digest: str
    #: ``None`` if the manifest does not say.
    size: int | None = None
    #: Digest of the tar in it, if the image's configuration says.
    diff_id: str | None = None
    #: Other places to get it from, if the registry does not have it.
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """A manifest of one image; layers bottom first, as they are written there."""

    layers: tuple[ImageLayer, ...]
    #: Where the configuration is, or the configuration itself.
    config: Descriptor | bytes


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """A list of manifests: those that could be for this host, the best first. Never empty."""

    entries: tuple[Descriptor, ...]


def manifest_payload(body: bytes, content_type: str) -> bytes:
    """Return the part of a manifest that has its digest: what signatures are for, else all.

    Raises ManifestError.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in SCHEMA1_TYPES or (kind in _VAGUE_TYPES and _is_schema1(parse_object(body))):
        return _signed(body)
    return body


def parse_manifest(payload: bytes, content_type: str) -> ImageManifest | ImageIndex:
    """Read a manifest that came with ``content_type``. Raises ManifestError.

    Deviation: the document decides where the header is vague; upstream takes what is called
    ``application/json`` for schema 1.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*SCHEMA1_TYPES, *MANIFEST_TYPES, *INDEX_TYPES, *_VAGUE_TYPES):
        raise ManifestError(f"Unsupported manifest MIME type: {kind[:100]}")
    document = parse_object(payload)
    if kind in SCHEMA1_TYPES or (kind in _VAGUE_TYPES and _is_schema1(document)):
        return _schema1(document)
    said = media_type(document)
    if kind in _VAGUE_TYPES:
        kind = said or kind
    if document.get("schemaVersion") != 2:
        raise ManifestError("'schemaVersion' is not 2")
    if is_index(kind, document):
        return _index(document)
    if kind not in MANIFEST_TYPES and "layers" not in document:
        raise ManifestError(f"Unsupported manifest MIME type: {(said or kind)[:100]}")
    return _manifest(document, said or kind)


def with_diff_ids(manifest: ImageManifest, config: bytes) -> tuple[ImageLayer, ...]:
    """Return the layers of an image with what its configuration says of them, without repetition.

    Raises ManifestError.
    """
    layers = list(manifest.layers)
    if parse_object(config).get("rootfs") is not None:
        found = diff_ids(config, len(layers))
        layers = [
            ImageLayer(layer.digest, layer.size, diff_id, layer.urls)
            for layer, diff_id in zip(layers, found, strict=True)
        ]
    return last_occurrences(layers, lambda layer: layer.digest)


def verify(body: bytes, digest: str, what: str) -> None:
    """Check that a document has a digest. Raises ManifestError."""
    algorithm, encoded = check_digest(digest)
    found = hashlib.new(algorithm, body).hexdigest()
    if found != encoded:
        raise ManifestError(f"{what} is {algorithm}:{found} instead of {digest}")


def _is_schema1(document: dict[str, Any]) -> bool:
    said = media_type(document)
    return said in SCHEMA1_TYPES or (said is None and "fsLayers" in document)


def _signed(body: bytes) -> bytes:
    """Return what the signatures of a schema 1 manifest are for; all of one without signatures.

    The signatures prove nothing: anybody can make them.
    """
    document = parse_object(body)
    signatures = objects(document, "signatures")
    if not signatures:
        return body
    protected = parse_object(_base64url(string(signatures[0], "protected")))
    length = protected.get("formatLength")
    tail = _base64url(string(protected, "formatTail"))
    if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= len(body):
        raise ManifestError("a signature has no usable 'formatLength'")
    return body[:length] + tail


def _base64url(text: str | None) -> bytes:
    try:
        data = (text or "").encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ManifestError("a signature is not base64") from error


def _schema1(document: dict[str, Any]) -> ImageManifest:
    """Read schema 1, whose layers are top first.

    Deviation: layers are known by the digest of their blob, which is checked, instead of an id
    that the registry can choose; and the top layer's document is the image's configuration.
    """
    for key in ("name", "tag", "architecture"):
        if string(document, key) is None:
            raise ManifestError(f"'{key}' is missing")
    if document.get("schemaVersion") != 1:
        raise ManifestError("'schemaVersion' is not 1")
    layers = objects(document, "fsLayers")
    history = objects(document, "history")
    if not layers:
        raise ManifestError("'fsLayers' field size must be at least one")
    if not history:
        raise ManifestError("'history' field size must be at least one")
    if len(layers) != len(history):
        raise ManifestError("Size of 'fsLayers' and 'history' must be equal")
    if len(layers) > MAX_LAYERS:
        raise ManifestError(f"more than {MAX_LAYERS} layers")
    found = []
    for layer in reversed(layers):
        digest = string(layer, "blobSum")
        if digest is None:
            raise ManifestError("'blobSum' is missing")
        check_digest(digest)
        found.append(ImageLayer(digest))
    texts = [string(item, "v1Compatibility") or "" for item in history]
    for text in texts:
        parse_object(_encoded(text))
    return ImageManifest(tuple(found), _encoded(texts[0]))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ManifestError("a string holds half a surrogate pair") from error


def _index(document: dict[str, Any]) -> ImageIndex:
    entries = index_entries(document)
    if not entries:
        offered = {
            f"{place.get('os')}/{place.get('architecture')}"[:50]
            for item in objects(document, "manifests")
            if isinstance(place := item.get("platform"), dict)
        }
        shown = ", ".join(sorted(offered)[:10]) or "nothing"
        raise ManifestError(f"no image for {host_platform()}, only for {shown}")
    return ImageIndex(tuple(entries))


def _manifest(document: dict[str, Any], kind: str) -> ImageManifest:
    config = document.get("config")
    if not isinstance(config, dict):
        raise ManifestError("the manifest has no 'config'")
    described = descriptor(config)
    if kind != DOCKER_MANIFEST and described.media_type not in (*CONFIG_TYPES, *_VAGUE_CONFIGS):
        raise ManifestError(f"an artifact of type '{described.media_type}' is no image")
    layers = objects(document, "layers")
    if not layers:
        raise ManifestError("'layers' field size must be at least one")
    if len(layers) > MAX_LAYERS:
        raise ManifestError(f"more than {MAX_LAYERS} layers")
    found = [descriptor(layer) for layer in layers]
    return ImageManifest(
        tuple(ImageLayer(layer.digest, layer.size, None, layer.urls) for layer in found), described
    )
