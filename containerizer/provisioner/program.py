# SPDX-License-Identifier: Apache-2.0
"""The program that handles hostile or large data, so that the agent does not.

``python -I -m containerizer.provisioner.program`` reads one request as JSON from standard input,
does it and writes one answer as JSON to standard output: ``{"done": {…}}`` or ``{"error": text,
"kind": class}``. It dies with its parent, and its memory is limited. See ``offload`` for the
other side.

Imports the standard library and modules without protobuf and asyncio only: it starts in no time.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from containerizer.provisioner.documents import check_digest, check_layer_id
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.archive import (
    FoundLayer,
    ImageFiles,
    contents,
    find_image,
    open_image,
)
from containerizer.provisioner.streams import BlobContent, FileRegion, PipeSource
from containerizer.provisioner.trees import copy_layers
from containerizer.provisioner.unpack import (
    Extraction,
    UnpackLimits,
    convert_whiteouts,
    unpack_tar,
)
from mesos_compat.base.errors import ManifestError, MesosCompatError, UnpackError

#: Memory in bytes of one process; an xz stream of the strongest preset needs 65 MiB.
MEMORY_BYTES = 2 << 30

_OVERLAY_TREE = "rootfs.overlay"

_PR_SET_PDEATHSIG = 1


def pull_archive(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack an image of a local archive into a staging directory.

    Request: ``path``, ``reference``, ``staging``, ``tree`` (name of the trees to make),
    ``layers`` (directory of the store: what it has already is left out), ``limits``.
    Answer: ``layer_ids`` bottom first, ``config_digest`` or null, ``warnings``.
    """
    staging = str(request["staging"])
    tree = str(request["tree"])
    limits = UnpackLimits(**request["limits"])
    warnings: list[str] = []
    with open_image(str(request["path"]), staging, limits) as files:
        image = find_image(files, Reference.parse(str(request["reference"])), staging)
        for layer in image.layers:
            check_layer_id(layer.layer_id)
            stored = os.path.join(str(request["layers"]), layer.layer_id)
            if os.path.isdir(os.path.join(stored, tree)) and all(
                os.path.exists(os.path.join(stored, name)) for name, _ in layer.files
            ):
                continue
            made = os.path.join(staging, layer.layer_id)
            os.mkdir(made, 0o755)
            for name, data in layer.files:
                _write(os.path.join(made, name), data)
            try:
                result = _unpack_found(files, layer, os.path.join(made, tree), limits)
            except UnpackError as error:
                raise UnpackError(
                    f"Collect failed: Failed to extract layer '{layer.layer_id}' of image"
                    f" '{request['reference']}' from '{request['path']}': {error}"
                ) from error
            _convert(os.path.join(made, tree), result)
            warnings += _told(result)
        if image.config is not None:
            _write(os.path.join(staging, image.config[0]), image.config[1])
    return {
        "layer_ids": [layer.layer_id for layer in image.layers],
        "config_digest": None if image.config is None else image.config[0],
        "warnings": warnings,
    }


def unpack_layer(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack a layer that comes through a pipe into a staging directory.

    Request: ``blob_fd`` (the pipe), ``layer_id``, ``digest``, ``diff_id`` and ``size`` (or null),
    ``staging``, ``tree``, ``limits``. Answer: ``warnings``.
    """
    limits = UnpackLimits(**request["limits"])
    layer_id = check_layer_id(str(request["layer_id"]))
    digest, diff_id = str(request["digest"]), request["diff_id"]
    made = os.path.join(str(request["staging"]), layer_id)
    tree = os.path.join(made, str(request["tree"]))
    source = PipeSource(int(request["blob_fd"]), request["size"])
    try:
        content = BlobContent(
            source,
            most=limits.size_bytes,
            content_hash=None if diff_id in (None, digest) else check_digest(diff_id)[0],
            blob_hash=check_digest(digest)[0],
        )
        os.mkdir(made, 0o755)
        result = _unpack_tree(content, tree, limits)
        if diff_id not in (None, digest):
            _expect("content", diff_id, content.content_digest())
        _expect("blob", digest, content.blob_digest())
    except UnpackError as error:
        raise UnpackError(
            f"Collect failed: Failed to extract layer '{layer_id}': {error}"
        ) from error
    finally:
        source.close()
    _convert(tree, result)
    return {"warnings": _told(result)}


def unpack_aci(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack an AppC image, ``path``, into the new directory ``target``.

    Answer: ``id`` of the image and ``warnings``. Names other than ``manifest`` and ``rootfs``
    are left out.
    """
    limits = UnpackLimits(**request["limits"])
    path = str(request["path"])
    target = str(request["target"])
    os.mkdir(target, 0o755)
    try:
        source = _open_regular(path)
    except OSError as error:
        raise UnpackError(f"Failed to open '{path}': {error.strerror}") from error
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    content = BlobContent(FileRegion(source), most=limits.size_bytes, content_hash="sha512")
    try:
        result = unpack_tar(content, root, limits, _appc_place)
        content.drain()
    except UnpackError as error:
        raise UnpackError(f"Failed to extract the image '{path}': {error}") from error
    finally:
        content.close()
        os.close(root)
        os.close(source)
    return {"id": f"sha512-{content.content_digest()}", "warnings": _told(result)}


def copy_tree(request: dict[str, Any]) -> dict[str, Any]:
    """Copy the directories ``layers``, bottom first, on each other into ``rootfs``."""
    try:
        copy_layers([str(layer) for layer in request["layers"]], str(request["rootfs"]))
    except OSError as error:
        raise UnpackError(f"Failed to copy layer: {error}") from error
    return {}


_OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "pull_archive": pull_archive,
    "unpack_aci": unpack_aci,
    "unpack_layer": unpack_layer,
    "copy_tree": copy_tree,
}


def main() -> int:
    """Do one request."""
    _confine()
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"done": _OPERATIONS[request["operation"]](request)}
    except ManifestError as error:
        answer = {"error": str(error), "kind": "manifest"}
    except MesosCompatError as error:
        answer = {"error": str(error), "kind": "unpack"}
    except MemoryError:
        answer = {"error": "The image needs too much memory to be read", "kind": "unpack"}
    except OSError as error:
        answer = {"error": f"Failed to unpack the image: {error}", "kind": "unpack"}
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    return 0


def _confine() -> None:
    """Die with the parent, limit memory, leave no core, be the first to go when memory ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _unpack_found(
    files: ImageFiles, layer: FoundLayer, tree: str, limits: UnpackLimits
) -> Extraction:
    content = contents(files, layer, limits)
    result = _unpack_tree(content, tree, limits)
    if layer.diff_id is not None:
        _expect("content", layer.diff_id, content.content_digest())
    if layer.digest is not None:
        _expect("blob", layer.digest, content.blob_digest())
    return result


def _unpack_tree(content: BlobContent, tree: str, limits: UnpackLimits) -> Extraction:
    """Unpack ``content`` and read it to its end."""
    os.mkdir(tree, 0o755)
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        result = unpack_tar(content, root, limits)
        content.drain()
    finally:
        content.close()
        os.close(root)
    return result


def _convert(tree: str, result: Extraction) -> None:
    """Give whiteouts the form that the backend of this tree knows."""
    if os.path.basename(tree) != _OVERLAY_TREE:
        return
    try:
        convert_whiteouts(tree, result.whiteouts)
    except (UnpackError, OSError) as error:
        raise UnpackError(
            f"Collect failed: Failed to convert the whiteout files under '{tree}': {error}"
        ) from error


def _expect(what: str, wanted: str, found: str) -> None:
    algorithm, _, encoded = wanted.partition(":")
    if found != encoded:
        raise UnpackError(f"the {what} is {algorithm}:{found} instead of {wanted}")


def _appc_place(parts: list[bytes]) -> list[bytes] | None:
    if not parts or parts[0] == b"rootfs" or parts == [b"manifest"]:
        return parts or None
    return None


def _told(result: Extraction) -> list[str]:
    told = list(result.warnings)
    if result.omitted_warnings:
        told.append(f"{result.omitted_warnings} more")
    return told


def _open_regular(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        FileRegion(fd).some(0)
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            raise UnpackError(f"Failed to open '{path}': Not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


if __name__ == "__main__":
    sys.exit(main())
