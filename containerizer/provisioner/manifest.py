# SPDX-License-Identifier: Apache-2.0
"""Documents of images → the messages that isolators and executors read. Pure.

One Docker message serves the v1 manifests of legacy archives and the configuration documents of
Docker and OCI, which share their member names. Unknown members are ignored, ``null`` is unset.

Source: spec ``images`` 5.4, 10.1, 11.4; upstream ``docker/spec.cpp``, ``appc/spec.cpp``.
"""

from __future__ import annotations

from typing import Any

from containerizer.provisioner.documents import objects, parse_object, string, strings
from mesos_compat.base.errors import ManifestError
from mesos_compat.pb.mesos.appc import spec_pb2 as appc
from mesos_compat.pb.mesos.docker import v1_pb2 as docker

_DOCKER_TEXTS = (
    "id",
    "parent",
    "comment",
    "created",
    "container",
    "docker_version",
    "author",
    "architecture",
    "os",
)
_CONFIG_TEXTS = ("Hostname", "User", "WorkingDir", "Image")
_CONFIG_LISTS = ("Entrypoint", "Env", "Cmd")

_UINT32_MAX = (1 << 32) - 1


def docker_manifest(data: bytes) -> docker.ImageManifest:
    """Read a v1 manifest or an image configuration. Raises ManifestError.

    Deviation: a missing or ``null`` ``config`` is an empty one; upstream's agent aborts on it.
    """
    document = parse_object(data)
    made = docker.ImageManifest()
    for name in _DOCKER_TEXTS:
        _set_text(made, name, document)
    size = document.get("Size")
    if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= _UINT32_MAX:
        made.Size = size
    made.config.CopyFrom(_docker_config(document, "config"))
    if document.get("container_config") is not None:
        made.container_config.CopyFrom(_docker_config(document, "container_config"))
    return made


def _docker_config(document: dict[str, Any], name: str) -> docker.ImageManifest.Config:
    config = document.get(name)
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise ManifestError(f"'{name}' is not an object")
    made = docker.ImageManifest.Config()
    for text in _CONFIG_TEXTS:
        _set_text(made, text, config)
    for several in _CONFIG_LISTS:
        getattr(made, several).extend(_encodable(item) for item in strings(config, several))
    labels = config.get("Labels")
    if labels is None:
        return made
    if not isinstance(labels, dict):
        raise ManifestError("'Labels' is not an object")
    for key, value in labels.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ManifestError(f"label '{key}' is not a string")
        made.Labels[_encodable(key)] = _encodable(value)
    return made


def appc_manifest(data: bytes) -> appc.ImageManifest:
    """Read and check an AppC image manifest. Raises ManifestError with upstream's words."""
    try:
        document = parse_object(data)
    except ManifestError as error:
        raise ManifestError(f"JSON parse failed: {error}") from error
    made = appc.ImageManifest()
    try:
        _fill_appc(made, document)
    except ManifestError as error:
        raise ManifestError(f"Protobuf parse failed: {error}") from error
    missing: list[str] = made.FindInitializationErrors()  # type: ignore[attr-defined]  # not in stubs
    if missing:
        raise ManifestError(f"Protobuf parse failed: Missing required fields: {', '.join(missing)}")
    if made.acKind != "ImageManifest":
        raise ManifestError(f"Schema validation failed: Incorrect acKind field: {made.acKind}")
    return made


def _fill_appc(made: appc.ImageManifest, document: dict[str, Any]) -> None:
    for name in ("acKind", "acVersion", "name"):
        _set_text(made, name, document)
    for label in objects(document, "labels"):
        _set_pair(made.labels.add(), label)
    for annotation in objects(document, "annotations"):
        _set_pair(made.annotations.add(), annotation)
    for dependency in objects(document, "dependencies"):
        needed = made.dependencies.add()
        _set_text(needed, "imageName", dependency)
        _set_text(needed, "imageID", dependency)
        for label in objects(dependency, "labels"):
            _set_pair(needed.labels.add(), label)
        size = dependency.get("size")
        if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 64:
            needed.size = size
    app = document.get("app")
    if app is None:
        return
    if not isinstance(app, dict):
        raise ManifestError("'app' is not an object")
    made.app.SetInParent()
    made.app.exec.extend(_encodable(item) for item in strings(app, "exec"))
    _set_text(made.app, "workingDirectory", app)
    for variable in objects(app, "environment"):
        _set_pair(made.app.environment.add(), variable)


def _set_pair(message: Any, document: dict[str, Any]) -> None:
    _set_text(message, "name", document)
    _set_text(message, "value", document)


def _set_text(message: Any, name: str, document: dict[str, Any]) -> None:
    value = string(document, name)
    if value is not None:
        setattr(message, name, _encodable(value))


def _encodable(text: str) -> str:
    """Return ``text`` if it is a sequence of Unicode characters: JSON allows lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ManifestError("a string holds half a surrogate pair") from error
    return text
