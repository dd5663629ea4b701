# SPDX-License-Identifier: Apache-2.0
"""JSON documents of images: bounded, and checked where they are read. Pure, no protobuf.

Used by the agent and by the program that reads archives, so it imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from mesos_compat.base.errors import ManifestError

#: Largest JSON document of an image in bytes. Registries refuse manifests beyond 4 MiB.
MAX_DOCUMENT = 4 << 20

#: What we accept as the name of a layer: it becomes the name of a directory of the store.
_LAYER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,199}")

_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([A-Za-z0-9=_-]+)")

#: Digest algorithms and the length of their hexadecimal form.
ALGORITHMS = {"sha256": 64, "sha512": 128}


def parse_json(data: bytes) -> Any:
    """Read a document. Raises ManifestError with upstream's words for a syntax error."""
    if len(data) > MAX_DOCUMENT:
        raise ManifestError(f"the document has more than {MAX_DOCUMENT} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"not UTF-8 at byte {error.start}") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        near = text[error.pos :].split("\n", 1)[0][:200]
        shown = "".join(c for c in near if c >= " ")
        raise ManifestError(f"syntax error at line {error.lineno} near: {shown}") from error
    except (RecursionError, ValueError) as error:
        raise ManifestError("nested too deeply or with a number that is too long") from error


def parse_object(data: bytes) -> dict[str, Any]:
    """Read a document that is a JSON object. Raises ManifestError."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise ManifestError("not a JSON object")
    return value


def objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list of objects at ``key``; absent and ``null`` are empty."""
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ManifestError(f"'{key}' is not a list of objects")
    return value


def strings(document: dict[str, Any], key: str) -> list[str]:
    """Return the list of strings at ``key``; absent, ``null`` and ``null`` items are left out."""
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestError(f"'{key}' is not a list of strings")
    found = [item for item in value if item is not None]
    if not all(isinstance(item, str) for item in found):
        raise ManifestError(f"'{key}' is not a list of strings")
    return found


def string(document: dict[str, Any], key: str) -> str | None:
    """Return the string at ``key``; ``None`` if it is absent or ``null``."""
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ManifestError(f"'{key}' is not a string")
    return value


def check_layer_id(layer_id: str) -> str:
    """Return ``layer_id`` if it can name a directory of the store. Raises ManifestError."""
    if _LAYER_ID.fullmatch(layer_id) is None:
        raise ManifestError(f"Layer id '{layer_id[:200]}' is not usable as a name")
    return layer_id


def check_digest(digest: str) -> tuple[str, str]:
    """Split a digest into algorithm and hexadecimal text. Raises ManifestError."""
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise ManifestError(f"Malformed digest '{digest[:200]}'")
    algorithm, encoded = found.groups()
    length = ALGORITHMS.get(algorithm)
    if length is None:
        raise ManifestError(f"Unsupported digest algorithm '{algorithm}'")
    if len(encoded) != length or not set(encoded) <= set("0123456789abcdef"):
        raise ManifestError(f"Malformed digest '{digest[:200]}'")
    return algorithm, encoded


def matches(data: bytes, digest: str) -> bool:
    """Whether ``data`` has this digest. Raises ManifestError for what is no digest."""
    algorithm, encoded = check_digest(digest)
    return hashlib.new(algorithm, data).hexdigest() == encoded
