# SPDX-License-Identifier: Apache-2.0
"""What the manifest of an AppC image says beyond upstream's message of it. Pure.

Source: spec ``images`` 10.3; App Container specification, "Image Manifest Schema".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from containerizer.provisioner.documents import objects, parse_object, string, strings
from containerizer.provisioner.whitelist import check_paths
from mesos_compat.base.errors import ManifestError

_MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A path at which an app wants something mounted."""

    name: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class AppcApp:
    """The ``app`` section, what upstream's message has left out."""

    #: Name of the image.
    image: str
    #: Name or number, or a path whose owner is meant.
    user: str = ""
    group: str = ""
    supplementary_gids: tuple[int, ...] = ()
    mount_points: tuple[MountPoint, ...] = ()
    #: Names of ports; they only inform.
    ports: tuple[str, ...] = ()
    #: Isolators by name.
    isolators: Mapping[str, Any] = field(default_factory=dict)
    #: Programs to run before and after the app, by ``pre-start`` and ``post-stop``.
    event_handlers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def appc_app(data: bytes) -> AppcApp | None:
    """Read the ``app`` section of a manifest; ``None`` if there is none. Raises ManifestError."""
    document = parse_object(data)
    app = document.get("app")
    if app is None:
        return None
    if not isinstance(app, dict):
        raise ManifestError("'app' is not an object")
    handlers = {
        string(each, "name") or "": tuple(strings(each, "exec"))
        for each in _few(app, "eventHandlers")
    }
    return AppcApp(
        image=string(document, "name") or "",
        user=string(app, "user") or "",
        group=string(app, "group") or "",
        supplementary_gids=_gids(app),
        mount_points=tuple(_mount_point(each) for each in _few(app, "mountPoints")),
        ports=tuple(string(each, "name") or "" for each in _few(app, "ports")),
        isolators={
            string(each, "name") or "": each.get("value") for each in _few(app, "isolators")
        },
        event_handlers=handlers,
    )


def path_whitelist(data: bytes) -> tuple[str, ...]:
    """Return the paths to which the tree of an image is cut down; empty: it is not.

    Raises ManifestError.
    """
    return check_paths(strings(parse_object(data), "pathWhitelist"))


def _few(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = objects(document, key)
    if len(found) > _MAX_ENTRIES:
        raise ManifestError(f"'{key}' has more than {_MAX_ENTRIES} entries")
    return found


def _gids(app: dict[str, Any]) -> tuple[int, ...]:
    found = app.get("supplementaryGIDs") or []
    if not isinstance(found, list) or len(found) > _MAX_ENTRIES:
        raise ManifestError("'supplementaryGIDs' is not a list of numbers")
    for gid in found:
        if not isinstance(gid, int) or isinstance(gid, bool) or not 0 <= gid < 1 << 32:
            raise ManifestError("'supplementaryGIDs' is not a list of numbers")
    return tuple(found)


def _mount_point(document: dict[str, Any]) -> MountPoint:
    path = string(document, "path") or ""
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or "\0" in path or not any(parts):
        raise ManifestError(f"'mountPoints' has the unusable path '{path[:200]}'")
    return MountPoint(string(document, "name") or "", path, document.get("readOnly") is True)
