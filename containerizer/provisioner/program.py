# SPDX-License-Identifier: Apache-2.0
"""The program that handles hostile or large data, so that the agent does not.

``python -I -m containerizer.provisioner.program`` reads one request as JSON from standard input,
does it and writes one answer as JSON to standard output: ``{"done": {…}}`` or ``{"error": text,
"kind": class}``. It dies with its parent, and its memory is limited. See ``offload`` for the
other side.

Imports the standard library and modules without protobuf and asyncio only: it starts in no time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from containerizer.linux import prctl
from containerizer.provisioner import implicit
from containerizer.provisioner.documents import check_digest, check_layer_id
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.archive import (
    FoundLayer,
    ImageFiles,
    contents,
    find_image,
    image_names,
    open_image,
)
from containerizer.provisioner.streams import BlobContent, FileRegion, PipeSource
from containerizer.provisioner.trees import copy_layers
from containerizer.provisioner.unpack import (
    Place,
    UnpackLimits,
    convert_whiteouts,
    unpack_tar,
)
from containerizer.provisioner.whitelist import keep_only
from containerizer.provisioner.workers import Work, answer_of, confine, run_all
from mesos_compat.base.errors import BackendError, UnpackError

#: Memory in bytes of one process; an xz stream of the strongest preset needs 65 MiB.
MEMORY_BYTES = 2 << 30

_OVERLAY_TREE = "rootfs.overlay"

#: A code in which each byte is one character: names in an answer.
_BYTES = "latin-1"


def pull_archive(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack an image of a local archive into a staging directory.

    Request: ``path``, ``reference``, ``staging``, ``tree`` (name of the trees to make),
    ``layers`` (directory of the store: what it has already is left out), ``limits``.
    Answer: ``layer_ids`` bottom first, ``config_digest`` or null, ``warnings``.
    """
    staging = str(request["staging"])
    tree = str(request["tree"])
    limits = UnpackLimits(**request["limits"])
    work: list[Work] = []
    with open_image(str(request["path"]), staging, limits) as files:
        image = find_image(files, Reference.parse(str(request["reference"])), staging)
        for layer in sorted(image.layers, key=lambda layer: _size(files, layer), reverse=True):
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
            prefix = (
                f"Collect failed: Failed to extract layer '{layer.layer_id}' of image"
                f" '{request['reference']}' from '{request['path']}': "
            )
            work.append(
                Work(
                    f"layer '{layer.layer_id}'",
                    partial(_unpack_found, files, layer, os.path.join(made, tree), limits, prefix),
                )
            )
        warnings = _complete(run_all(work))
        if image.config is not None:
            _write(os.path.join(staging, image.config[0]), image.config[1])
    return {
        "layer_ids": [layer.layer_id for layer in image.layers],
        "config_digest": None if image.config is None else image.config[0],
        "warnings": warnings,
    }


def list_archive(request: dict[str, Any]) -> dict[str, Any]:
    """Find out what the images of an archive are called.

    Request: ``path``, ``scratch`` (directory for a compressed archive), ``limits``.
    Answer: ``names``.
    """
    limits = UnpackLimits(**request["limits"])
    with open_image(str(request["path"]), str(request["scratch"]), limits) as files:
        return {"names": image_names(files)}


def unpack_layer(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack a layer that comes through a pipe into a staging directory.

    Request: ``blob_fd`` (the pipe), ``layer_id``, ``digest``, ``diff_id`` and ``size`` (or null),
    ``staging``, ``tree``, ``limits``. Answer: ``warnings``.
    """
    limits = UnpackLimits(**request["limits"])
    layer_id = check_layer_id(str(request["layer_id"]))
    digest, diff_id = str(request["digest"]), request["diff_id"]
    made = os.path.join(str(request["staging"]), layer_id)
    os.mkdir(made, 0o755)

    def unpack() -> dict[str, Any]:
        source = PipeSource(int(request["blob_fd"]), request["size"])
        try:
            content = BlobContent(
                source,
                most=limits.size_bytes,
                content_hash=None if diff_id in (None, digest) else check_digest(diff_id)[0],
                blob_hash=check_digest(digest)[0],
            )
            found = _unpack_tree(content, os.path.join(made, str(request["tree"])), limits)
            if diff_id not in (None, digest):
                _expect("content", diff_id, content.content_digest())
            _expect("blob", digest, content.blob_digest())
        except UnpackError as error:
            raise UnpackError(
                f"Collect failed: Failed to extract layer '{layer_id}': {error}"
            ) from error
        return found

    return {"warnings": _complete(run_all([Work(f"layer '{layer_id}'", unpack)]))}


def unpack_aci(request: dict[str, Any]) -> dict[str, Any]:
    """Unpack an AppC image, ``path``, into the new directory ``target``.

    Answer: ``id`` of the image, ``sizes`` of the file and of the tar in it, and ``warnings``. Names
    other than ``manifest`` and ``rootfs`` are left out.
    """
    limits = UnpackLimits(**request["limits"])
    path = str(request["path"])
    try:
        source = _open_regular(path)
    except OSError as error:
        raise UnpackError(f"Failed to open '{path}': {error.strerror}") from error

    stored = os.fstat(source).st_size

    def unpack() -> dict[str, Any]:
        content = BlobContent(FileRegion(source), most=limits.size_bytes, content_hash="sha512")
        try:
            found = _unpack_tree(content, str(request["target"]), limits, _appc_place)
        except UnpackError as error:
            raise UnpackError(f"Failed to extract the image '{path}': {error}") from error
        return {
            "id": f"sha512-{content.content_digest()}",
            "sizes": [stored, content.position],
            "warnings": found["warnings"],
        }

    [answer] = run_all([Work(f"the image '{path}'", unpack)])
    return answer


def copy_tree(request: dict[str, Any]) -> dict[str, Any]:
    """Copy the directories ``layers``, bottom first, on each other into ``rootfs``."""
    try:
        layers = [str(layer) for layer in request["layers"]]
        noted = [(layer, implicit.recall(layer)) for layer in layers]
        copy_layers(noted, str(request["rootfs"]))
    except OSError as error:
        raise UnpackError(f"Failed to copy layer: {error}") from error
    return {}


def render_tree(request: dict[str, Any]) -> dict[str, Any]:
    """Copy ``layers`` on each other into ``rootfs``; of that only ``paths`` stay."""
    done = copy_tree(request)
    try:
        keep_only(str(request["rootfs"]), [str(path) for path in request["paths"]])
    except OSError as error:
        raise UnpackError(f"Failed to apply the path whitelist: {error}") from error
    return done


_OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "list_archive": list_archive,
    "pull_archive": pull_archive,
    "unpack_aci": unpack_aci,
    "unpack_layer": unpack_layer,
    "copy_tree": copy_tree,
    "render_tree": render_tree,
}


def main() -> int:
    """Do one request."""
    _confine()
    request = json.load(sys.stdin)
    answer = answer_of(lambda: _OPERATIONS[request["operation"]](request))
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    return 0


def _confine() -> None:
    """Die with the parent, limit memory, leave no core."""
    prctl.set_parent_death_signal(signal.SIGKILL)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _size(files: ImageFiles, layer: FoundLayer) -> int:
    found = files.region(layer.path)
    return 0 if found is None else found[2]


def _unpack_found(
    files: ImageFiles, layer: FoundLayer, tree: str, limits: UnpackLimits, prefix: str
) -> dict[str, Any]:
    try:
        content = contents(files, layer, limits)
        found = _unpack_tree(content, tree, limits)
        if layer.diff_id is not None:
            _expect("content", layer.diff_id, content.content_digest())
        if layer.digest is not None:
            _expect("blob", layer.digest, content.blob_digest())
    except UnpackError as error:
        raise UnpackError(f"{prefix}{error}") from error
    return found


def _unpack_tree(
    content: BlobContent, tree: str, limits: UnpackLimits, place: Place | None = None
) -> dict[str, Any]:
    """Unpack ``content`` into the new directory ``tree`` and read it to its end, confined.

    Returns warnings, implicit directories and, for an overlay, where whiteouts may be.
    """
    os.mkdir(tree, 0o755)
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confine(root)
        result = unpack_tar(content, root, limits, place)
        content.drain()
    finally:
        content.close()
        os.close(root)
    warnings = list(result.warnings)
    if result.omitted_warnings:
        warnings.append(f"{result.omitted_warnings} more")
    whiteouts: list[tuple[str, list[str]]] = []
    if os.path.basename(tree) == _OVERLAY_TREE:
        whiteouts = [
            (b"/".join(parts).decode(_BYTES), [name.decode(_BYTES) for name in names])
            for parts, names in result.whiteouts.items()
        ]
    return {
        "tree": tree,
        "warnings": warnings,
        "whiteouts": whiteouts,
        "implicit": [path.decode(_BYTES) for path in result.implicit],
    }


def _complete(found: list[dict[str, Any]]) -> list[str]:
    """Give the whiteouts of overlay trees their form, keep notes; return all warnings.

    Needs rights that the workers do not have.
    """
    warnings: list[str] = []
    for each in found:
        warnings += each["warnings"]
        whiteouts = {
            tuple(path.encode(_BYTES).split(b"/")) if path else (): [
                name.encode(_BYTES) for name in names
            ]
            for path, names in each["whiteouts"]
        }
        try:
            convert_whiteouts(each["tree"], whiteouts)
        except (UnpackError, OSError) as error:
            raise BackendError(
                f"Collect failed: Failed to convert the whiteout files under '{each['tree']}':"
                f" {error}"
            ) from error
        implicit.remember(each["tree"], each["implicit"])
    return warnings


def _expect(what: str, wanted: str, found: str) -> None:
    algorithm, _, encoded = wanted.partition(":")
    if found != encoded:
        raise UnpackError(f"the {what} is {algorithm}:{found} instead of {wanted}")


def _appc_place(parts: list[bytes]) -> list[bytes] | None:
    if not parts or parts[0] == b"rootfs" or parts == [b"manifest"]:
        return parts or None
    return None


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
