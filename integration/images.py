# SPDX-License-Identifier: Apache-2.0
"""Build container images without Docker: ``docker save`` archives and AppC images.

The content is a root file system around one static busybox (Debian: busybox-static)::

    python -m integration.images docker DIR busybox:latest     DIR/busybox:latest.tar
    python -m integration.images appc DIR ubuntu               DIR/ubuntu-latest-linux-amd64.aci

Source: Docker image specification v1.1 and v1.2; App Container Image specification.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

BUSYBOX = "/bin/busybox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PT_INTERP = 3
_CREATED = "1970-01-01T00:00:00Z"


class ImageError(Exception):
    """An image cannot be built."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a layer. ``kind`` is a tarfile type."""

    name: str
    kind: bytes = tarfile.REGTYPE
    data: bytes = b""
    mode: int = 0o755
    link: str = ""
    device: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class DockerImage:
    """What a ``docker save`` archive is made of; layers are tar files, bottom first."""

    reference: str
    layers: Sequence[bytes]
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def repository_and_tag(self) -> tuple[str, str]:
        """Split ``name[:tag]``, the tag defaulting to ``latest``."""
        name, colon, tag = self.reference.rpartition(":")
        if not colon or "/" in tag:
            return self.reference, "latest"
        return name, tag

    @property
    def config_bytes(self) -> bytes:
        """The image's configuration document."""
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"], **self.config},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{sha256(layer)}" for layer in self.layers],
            },
            "history": [{"created": _CREATED} for _ in self.layers],
        }
        return json.dumps(document).encode()


def busybox_members(busybox: str = BUSYBOX) -> list[Member]:
    """Return a small root file system: busybox, a link per applet, accounts, empty folders."""
    try:
        with open(busybox, "rb") as file:
            program = file.read()
        listing = subprocess.run(
            [busybox, "--list"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ImageError(
            f"{busybox} cannot be used ({error}); install the Debian package busybox-static"
        ) from error
    if _needs_loader(program):
        raise ImageError(f"{busybox} is not static; install the Debian package busybox-static")
    folders = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var")
    members = [
        Member(name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755) for name in folders
    ]
    members += [
        Member("bin/busybox", data=program),
        Member("etc/passwd", data=_PASSWD, mode=0o644),
        Member("etc/group", data=_GROUP, mode=0o644),
    ]
    members += [
        Member(f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        for applet in listing.stdout.split()
        if applet != "busybox"
    ]
    return members


_PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"


def layer(members: Iterable[Member]) -> bytes:
    """Return an uncompressed tar with ``members`` exactly as given, sane or not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(_tar_info(member), io.BytesIO(member.data))
    return buffer.getvalue()


def docker_archive(image: DockerImage) -> bytes:
    """Return the archive that Docker 1.10 to 24 saves; older readers understand it, too."""
    layer_ids = _chain(image)
    config = image.config_bytes
    files: dict[str, bytes] = {}
    for number, (layer_id, content) in enumerate(zip(layer_ids, image.layers, strict=True)):
        description: dict[str, object] = {"id": layer_id, "created": _CREATED}
        if number:
            description["parent"] = layer_ids[number - 1]
        if layer_id == layer_ids[-1]:
            description |= {"os": "linux", "architecture": "amd64"}
            description["config"] = json.loads(config)["config"]
        files[f"{layer_id}/VERSION"] = b"1.0"
        files[f"{layer_id}/json"] = json.dumps(description).encode()
        files[f"{layer_id}/layer.tar"] = content
    config_name = f"{sha256(config)}.json"
    files[config_name] = config
    entry = _manifest_entry(image, config_name, [f"{each}/layer.tar" for each in layer_ids])
    files["manifest.json"] = json.dumps([entry]).encode()
    repository, tag = image.repository_and_tag
    files["repositories"] = json.dumps({repository: {tag: layer_ids[-1]}}).encode()
    return _archive(files)


def oci_docker_archive(image: DockerImage) -> bytes:
    """Return the archive that Docker 25 and later saves: an OCI layout with a manifest.json."""
    config = image.config_bytes
    blobs = [config, *image.layers]
    descriptors = [
        {"mediaType": media_type, "digest": f"sha256:{sha256(blob)}", "size": len(blob)}
        for blob, media_type in zip(
            blobs,
            ["application/vnd.oci.image.config.v1+json"]
            + ["application/vnd.oci.image.layer.v1.tar"] * len(image.layers),
            strict=True,
        )
    ]
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptors[0],
            "layers": descriptors[1:],
        }
    ).encode()
    blobs.append(manifest)
    repository, tag = image.repository_and_tag
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": manifest_type,
                "digest": f"sha256:{sha256(manifest)}",
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
        ],
    }
    files = {f"blobs/sha256/{sha256(blob)}": blob for blob in blobs}
    paths = [f"blobs/sha256/{sha256(each)}" for each in image.layers]
    entry = _manifest_entry(image, f"blobs/sha256/{sha256(config)}", paths)
    files["manifest.json"] = json.dumps([entry]).encode()
    files["index.json"] = json.dumps(index).encode()
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["repositories"] = json.dumps({repository: {tag: sha256(image.layers[-1])}}).encode()
    return _archive(files)


def appc_image(name: str, members: Iterable[Member], labels: Mapping[str, str]) -> bytes:
    """Return a gzip-compressed AppC image."""
    manifest = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name,
        "labels": [{"name": key, "value": value} for key, value in labels.items()],
    }
    content = [
        Member("manifest", data=json.dumps(manifest).encode(), mode=0o644),
        Member("rootfs", tarfile.DIRTYPE),
    ]
    content += [
        Member(f"rootfs/{m.name}", m.kind, m.data, m.mode, m.link, m.device) for m in members
    ]
    return gzip.compress(layer(content), compresslevel=1, mtime=0)


def write_docker(folder: str, reference: str, content: bytes | None = None) -> str:
    """Write a busybox image (or ``content``) where ``--docker_registry=folder`` looks for it."""
    if content is None:
        content = docker_archive(DockerImage(reference, [layer(busybox_members())]))
    return _write(os.path.join(folder, f"{reference}.tar"), content)


def write_appc(folder: str, name: str, content: bytes | None = None) -> str:
    """Write a busybox image (or ``content``) where AppC simple discovery below ``folder`` looks."""
    labels = {"version": "latest", "os": "linux", "arch": "amd64"}
    if content is None:
        content = appc_image(name, busybox_members(), labels)
    return _write(os.path.join(folder, f"{name}-latest-linux-amd64.aci"), content)


def sha256(data: bytes) -> str:
    """Return the hex digest."""
    return hashlib.sha256(data).hexdigest()


def main() -> int:
    """Build one image from the command line."""
    parser = argparse.ArgumentParser(description="Build an image around busybox.")
    parser.add_argument("kind", choices=["docker", "appc"])
    parser.add_argument("folder")
    parser.add_argument("name", help="busybox:latest, ubuntu, …")
    options = parser.parse_args()
    write = write_docker if options.kind == "docker" else write_appc
    try:
        print(write(options.folder, options.name))
    except (ImageError, OSError) as error:
        print(f"integration.images: {error}", file=sys.stderr)
        return 1
    return 0


def _needs_loader(program: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program names a dynamic loader (PT_INTERP)."""
    (table,) = struct.unpack_from("<Q", program, 0x20)
    size, count = struct.unpack_from("<HH", program, 0x36)
    kinds = [struct.unpack_from("<I", program, table + size * n)[0] for n in range(count)]
    return _PT_INTERP in kinds


def _chain(image: DockerImage) -> list[str]:
    """Return a layer id per layer that depends on all layers below it."""
    ids: list[str] = []
    for content in image.layers:
        below = ids[-1] if ids else ""
        ids.append(sha256(f"{below} {sha256(content)}".encode()))
    return ids


def _manifest_entry(image: DockerImage, config: str, layers: list[str]) -> dict[str, object]:
    reference = ":".join(image.repository_and_tag)
    return {"Config": config, "RepoTags": [reference], "Layers": layers}


def _archive(files: Mapping[str, bytes]) -> bytes:
    folders = {
        "/".join(parts[:depth])
        for parts in (name.split("/") for name in files)
        for depth in range(1, len(parts))
    }
    members = [Member(name, tarfile.DIRTYPE) for name in sorted(folders)]
    members += [Member(name, data=data, mode=0o644) for name, data in files.items()]
    return layer(members)


def _tar_info(member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.name)
    info.type = member.kind
    info.size = len(member.data)
    info.mode = member.mode
    info.linkname = member.link
    info.devmajor, info.devminor = member.device
    info.uname = info.gname = "root"
    return info


def _write(path: str, content: bytes) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(content)
    os.rename(temporary, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
