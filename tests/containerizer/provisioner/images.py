# SPDX-License-Identifier: Apache-2.0
"""Writes images of every kind for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TIME = 1_000_000_000

_TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


@dataclass(frozen=True)
class Entry:
    """One member of a layer."""

    name: str
    data: bytes = b""
    kind: str = "file"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    to: str = ""
    device: tuple[int, int] = (0, 0)
    mtime: float = TIME
    pax: dict[str, str] = field(default_factory=dict)
    owner: str = ""


def folder(name: str, **more: Any) -> Entry:
    return Entry(name, kind="dir", **more)


def tar(entries: Sequence[Entry], format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive with ``entries``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type = _TYPES[entry.kind]
            default = 0o755 if entry.kind == "dir" else 0o644
            info.mode = default if entry.mode is None else entry.mode
            info.uid, info.gid = entry.uid, entry.gid
            info.uname = info.gname = entry.owner
            info.mtime = entry.mtime
            info.linkname = entry.to
            info.devmajor, info.devminor = entry.device
            info.pax_headers = dict(entry.pax)
            if entry.kind == "file":
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
            else:
                archive.addfile(info)
    return out.getvalue()


def files(contents: dict[str, bytes]) -> bytes:
    """Return a tar archive of plain files."""
    return tar([Entry(name, data) for name, data in contents.items()])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: str, data: bytes) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def configuration(layers: Sequence[bytes], **config: Any) -> bytes:
    """Return the configuration document of an image with these uncompressed layers."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or None,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
    }
    return json.dumps(document).encode()


def legacy(
    layers: Sequence[bytes],
    name: str = "busybox",
    tag: str = "latest",
    config: dict[str, Any] | None = None,
    repositories: bytes | None = None,
    drop: str = "",
) -> bytes:
    """Return what Docker before 1.10 saves."""
    contents: dict[str, bytes] = {}
    parent = ""
    for number, layer in enumerate(layers):
        layer_id = hashlib.sha256(layer + str(number).encode() + name.encode()).hexdigest()
        document: dict[str, Any] = {"id": layer_id, "config": config, "parent": parent}
        contents[f"{layer_id}/VERSION"] = b"1.0"
        contents[f"{layer_id}/json"] = json.dumps(document).encode()
        contents[f"{layer_id}/layer.tar"] = layer
        parent = layer_id
    if repositories is None:
        repositories = json.dumps({name: {tag: parent}}).encode()
    contents["repositories"] = repositories
    return files({n: data for n, data in contents.items() if not (drop and n.endswith(drop))})


def saved(layers: Sequence[bytes], tags: Sequence[str] | None, **config: Any) -> bytes:
    """Return what Docker from 1.10 on saves by image id: ``manifest.json`` alone."""
    document = configuration(layers, **config)
    paths = [f"{number}/layer.tar" for number in range(len(layers))]
    entry = {"Config": f"{sha256(document)}.json", "RepoTags": tags, "Layers": paths}
    return files(
        {
            **dict(zip(paths, layers, strict=True)),
            f"{sha256(document)}.json": document,
            "manifest.json": json.dumps([entry]).encode(),
        }
    )


def descriptor(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{sha256(data)}",
        "size": len(data),
        **more,
    }


def layout(
    layers: Sequence[bytes], ref_name: str | None = "latest", compress: bool = True, **config: Any
) -> dict[str, bytes]:
    """Return the files of an OCI image layout."""
    blobs: list[bytes] = [configuration(layers, **config)]
    described = []
    for layer in layers:
        blob = gzip.compress(layer, 1, mtime=0) if compress else layer
        blobs.append(blob)
        described.append(descriptor("layer.v1.tar+gzip", blob))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": descriptor("config.v1+json", blobs[0]),
            "layers": described,
        }
    ).encode()
    blobs.append(manifest)
    notes = {} if ref_name is None else {"org.opencontainers.image.ref.name": ref_name}
    index = {
        "schemaVersion": 2,
        "manifests": [descriptor("manifest.v1+json", manifest, annotations=notes)],
    }
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/sha256/{sha256(blob)}": blob for blob in blobs},
    }


def docker25(layers: Sequence[bytes], tag: str, **config: Any) -> bytes:
    """Return what Docker from 25 on saves."""
    contents = layout(layers, ref_name="latest", compress=False, **config)
    document = configuration(layers, **config)
    entry = {
        "Config": f"blobs/sha256/{sha256(document)}",
        "RepoTags": [tag],
        "Layers": [f"blobs/sha256/{sha256(layer)}" for layer in layers],
    }
    name, _, version = tag.rpartition(":")
    contents["manifest.json"] = json.dumps([entry]).encode()
    contents["repositories"] = json.dumps({name: {version: sha256(layers[-1])}}).encode()
    return files(contents)


LABELS = [
    {"name": "version", "value": "latest"},
    {"name": "os", "value": "linux"},
    {"name": "arch", "value": "amd64"},
]


def aci(
    manifest: dict[str, Any] | bytes | None,
    contents: dict[str, bytes],
    compress: bool = True,
    extra: Sequence[Entry] = (),
) -> tuple[str, bytes]:
    """Return id and file of an AppC image."""
    entries = [folder("rootfs")]
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        entries.insert(0, Entry("manifest", text))
    entries += [Entry(f"rootfs/{name}", data) for name, data in contents.items()]
    data = tar([*entries, *extra])
    image_id = f"sha512-{hashlib.sha512(data).hexdigest()}"
    return image_id, gzip.compress(data, 1, mtime=0) if compress else data


def appc_document(name: str, **more: Any) -> dict[str, Any]:
    return {
        "acKind": "ImageManifest",
        "acVersion": "0.6.1",
        "name": name,
        "labels": LABELS,
        **more,
    }
