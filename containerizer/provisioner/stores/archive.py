# SPDX-License-Identifier: Apache-2.0
"""Local archives of images: what ``docker save``, skopeo and OCI tools write → layers.

An archive is indexed, not unpacked: the names in it never meet a file system. Layers are read
right out of it. Runs in a process of its own (``containerizer.provisioner.program``), so it knows
no protobuf.

Source: spec ``images`` 6, 11; upstream ``provisioner/docker/local_puller.cpp``; OCI image layout.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from containerizer.provisioner.documents import (
    MAX_DOCUMENT,
    check_digest,
    check_layer_id,
    objects,
    parse_json,
    parse_object,
    string,
    strings,
)
from containerizer.provisioner.oci import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_LAYERS,
    diff_ids,
    host_platform,
    is_index,
    last_occurrences,
    media_type,
)
from containerizer.provisioner.oci import descriptor as read_descriptor
from containerizer.provisioner.reference import DEFAULT_TAG, Reference
from containerizer.provisioner.streams import CHUNK, BlobContent, FileRegion, compressed
from containerizer.provisioner.tarstream import MemberKind, TarReader
from containerizer.provisioner.unpack import UnpackLimits, components, shown
from mesos_compat.base.errors import ManifestError, UnpackError

#: Most members that the index of an archive holds; a thousand layers need four thousand.
MAX_INDEX = 200_000

#: How deep indexes may point to indexes, and how many manifests one archive may offer.
_MAX_INDEX_DEPTH = 8
_MAX_MANIFESTS = 1000

#: What annotations of ``index.json`` call an image.
_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


class ImageFiles(Protocol):
    """The files of an archive by name, links among them resolved."""

    def region(self, name: str) -> tuple[int, int, int] | None:
        """Return descriptor, offset and size of a file; ``None`` if there is none."""


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """One layer of an image inside of an archive."""

    layer_id: str
    #: Name of its tar in the archive.
    path: str
    #: Files for the directory of the layer.
    files: tuple[tuple[str, bytes], ...] = ()
    #: Digest of the uncompressed tar, and of the file as it is; ``None`` is not checked.
    diff_id: str | None = None
    digest: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image inside of an archive, layers bottom first."""

    layers: tuple[FoundLayer, ...]
    #: Name in the store and content of the configuration document, if the image has one.
    config: tuple[str, bytes] | None = None


@contextmanager
def open_image(path: str, scratch: str, limits: UnpackLimits) -> Iterator[ImageFiles]:
    """Open an archive, compressed or not, or the directory of an unpacked one.

    A compressed archive is decompressed into the directory ``scratch`` first. Raises UnpackError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnpackError(f"Failed to open '{path}': {error.strerror}") from error
    opened = [fd]
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISDIR(kind):
            yield _Directory(path, opened)
            return
        if not stat.S_ISREG(kind):
            raise UnpackError(f"Failed to open '{path}': Not a regular file")
        try:
            if compressed(os.pread(fd, 6, 0)):
                fd = _decompress(fd, scratch, limits)
                opened.append(fd)
            index = _Index(fd)
        except UnpackError as error:
            raise UnpackError(f"Failed to read the archive '{path}': {error}") from error
        yield index
    finally:
        for each in opened:
            os.close(each)


def find_image(files: ImageFiles, reference: Reference, staging: str) -> FoundImage:
    """Find the image in an archive of any generation. Raises ManifestError.

    ``staging`` only appears in messages: upstream names the files it unpacked there.
    """
    legacy: ManifestError | None = None
    if files.region("repositories") is not None:
        try:
            top = _top_layer(files, reference)
            if files.region(f"{top}/json") is not None:
                return _legacy(files, top, staging)
        except ManifestError as error:
            legacy = error
    if files.region("manifest.json") is not None:
        try:
            return _saved(files, reference)
        except ManifestError as error:
            if files.region("oci-layout") is None:
                raise legacy or error from error
            legacy = legacy or error
    if files.region("oci-layout") is not None:
        return _layout(files, reference)
    if legacy is not None:
        raise legacy
    if files.region("repositories") is None:
        raise ManifestError("Failed to read 'repositories': No such file or directory")
    return _legacy(files, _top_layer(files, reference), staging)


def image_names(files: ImageFiles) -> list[str]:
    """Return the references by which the images of an archive can be found. Raises ManifestError.

    An image without a name is not among them.
    """
    names: list[str] = []
    if (data := _read(files, "repositories")) is not None:
        for repository, tags in parse_object(data).items():
            names += [f"{repository}:{tag}" for tag in (tags if isinstance(tags, dict) else {})]
    if (data := _read(files, "manifest.json")) is not None:
        for entry in objects({"entries": parse_json(data)}, "entries"):
            names += strings(entry, "RepoTags")
    if (data := _read(files, "index.json")) is not None:
        for described in objects(parse_object(data), "manifests"):
            annotations = described.get("annotations")
            if isinstance(annotations, dict):
                text = string(annotations, _FULL_NAME) or string(annotations, _REF_NAME)
                # a tag alone names nothing
                names += [text] if text and (":" in text or "/" in text) else []
    found: dict[str, str] = {}
    for name in names:
        with suppress(ManifestError):
            reference = Reference.parse(name)
            found.setdefault(f"{reference.familiar}:{reference.tag}@{reference.digest}", name)
    return list(found.values())


def contents(files: ImageFiles, layer: FoundLayer, limits: UnpackLimits) -> BlobContent:
    """Open the tar of a layer. Raises UnpackError if there is none."""
    found = files.region(layer.path)
    if found is None:
        raise UnpackError(f"'{layer.path}': No such file or directory")
    fd, offset, size = found
    if layer.size is not None and layer.size != size:
        raise UnpackError(f"'{layer.path}' has {size} bytes instead of {layer.size}")
    return BlobContent(
        FileRegion(fd, offset, size),
        most=limits.size_bytes,
        content_hash=None if layer.diff_id is None else check_digest(layer.diff_id)[0],
        blob_hash=None if layer.digest is None else check_digest(layer.digest)[0],
    )


# --- the files of an archive ---------------------------------------------------------------------


class _Index:
    """Where the files of a tar are."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        reader = TarReader(FileRegion(fd))
        count = 0
        while (member := reader.next()) is not None:
            count += 1
            if count > MAX_INDEX:
                raise UnpackError(f"more than {MAX_INDEX} members")
            try:
                name = b"/".join(components(member.name)).decode()
                link = member.link.decode()
            except UnicodeDecodeError:
                continue  # no name that an image could mention
            except UnpackError as error:
                raise UnpackError(f"member '{shown(member.name)}': {error}") from error
            self._files.pop(name, None)
            self._links.pop(name, None)
            if member.kind is MemberKind.FILE and member.extents is None:
                self._files[name] = (member.offset, member.stored)
            elif member.kind is MemberKind.HARDLINK:
                self._links[name] = posixpath.normpath(link.lstrip("/"))
            elif member.kind is MemberKind.SYMLINK:
                self._links[name] = posixpath.normpath(
                    posixpath.join(posixpath.dirname(name), link)
                )
        reader_end = os.fstat(fd).st_size
        for name, (offset, size) in self._files.items():
            if offset + size > reader_end:
                raise UnpackError(f"truncated in '{name}'")

    def region(self, name: str) -> tuple[int, int, int] | None:
        """Return where a file is, through at most 40 links."""
        for _ in range(40):
            found = self._files.get(name)
            if found is not None:
                return self._fd, *found
            if name not in self._links:
                return None
            name = self._links[name]
        return None


class _Directory:
    """The files of an unpacked archive; links may not lead out of it."""

    def __init__(self, root: str, opened: list[int]) -> None:
        self._root = os.path.realpath(root)
        self._opened = opened
        self._fds: dict[str, int] = {}

    def region(self, name: str) -> tuple[int, int, int] | None:
        """Return a file of the directory."""
        fd = self._fds.get(name)
        if fd is None:
            path = os.path.realpath(os.path.join(self._root, name))
            if not path.startswith(self._root + "/"):
                return None
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.EACCES):
                    raise UnpackError(f"Failed to open '{path}': {error.strerror}") from error
                return None
            self._opened.append(fd)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            self._fds[name] = fd
        return fd, 0, os.fstat(fd).st_size


def _decompress(fd: int, scratch: str, limits: UnpackLimits) -> int:
    """Write the content of a compressed archive to an unnamed file."""
    with tempfile.TemporaryFile(dir=scratch) as unnamed:
        made = os.dup(unnamed.fileno())
    content = BlobContent(FileRegion(fd), most=limits.size_bytes)
    try:
        while data := content.some(CHUNK):
            while data:
                data = data[os.write(made, data) :]
    except BaseException:
        os.close(made)
        raise
    finally:
        content.close()
    return made


def _read(files: ImageFiles, name: str) -> bytes | None:
    found = files.region(name)
    if found is None:
        return None
    fd, offset, size = found
    if size > MAX_DOCUMENT:
        raise ManifestError(f"'{name}' has more than {MAX_DOCUMENT} bytes")
    parts = []
    while size:
        part = os.pread(fd, size, offset)
        if not part:
            raise ManifestError(f"'{name}' is truncated")
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


# --- generation 1: "repositories" and one directory per layer ------------------------------------


def _top_layer(files: ImageFiles, reference: Reference) -> str:
    data = _read(files, "repositories") or b""
    try:
        repositories = parse_object(data)
    except ManifestError as error:
        raise ManifestError(f"Failed to parse 'repositories': {error}") from error
    tags: Any = None
    for name in _names(reference):
        tags = repositories.get(name)
        if tags is not None:
            break
    if not isinstance(tags, dict):
        raise ManifestError(f"Repository '{reference.repository}' does not exist in 'repositories'")
    tag = reference.tag or DEFAULT_TAG
    top = tags.get(tag)
    if not isinstance(top, str):
        raise ManifestError(f"Layer id '{tag}' is not found")
    return check_layer_id(top)


def _names(reference: Reference) -> list[str]:
    """Return the keys to look for: upstream's two, then what Docker and skopeo write."""
    familiar = reference.familiar
    names = [reference.repository]
    if reference.registry is not None:
        names.append(reference.name)
    names += [familiar, f"library/{familiar}", f"docker.io/{familiar}"]
    names += [f"docker.io/library/{familiar}"]
    return list(dict.fromkeys(names))


def _legacy(files: ImageFiles, top: str, staging: str) -> FoundImage:
    layers: list[FoundLayer] = []
    seen: set[str] = set()
    layer_id: str | None = top
    while layer_id:
        check_layer_id(layer_id)
        if layer_id in seen or len(seen) >= MAX_LAYERS:
            raise ManifestError(f"The chain of layers of '{top}' does not end")
        seen.add(layer_id)
        data = _read(files, f"{layer_id}/json")
        if data is None:
            raise ManifestError(
                f"Failed to find parent layer id for layer '{layer_id}': Failed to read manifest"
                f" from '{staging}/{layer_id}/json': No such file or directory"
            )
        try:
            parent = string(parse_object(data), "parent")
        except ManifestError as error:
            raise ManifestError(
                f"Failed to find parent layer id for layer '{layer_id}': {error}"
            ) from error
        version = _read(files, f"{layer_id}/VERSION")
        kept = [("json", data)] + ([] if version is None else [("VERSION", version)])
        layers.insert(0, FoundLayer(layer_id, f"{layer_id}/layer.tar", tuple(kept)))
        layer_id = parent
    return FoundImage(tuple(layers))


# --- generations 2 and 3: "manifest.json" --------------------------------------------------------


def _saved(files: ImageFiles, reference: Reference) -> FoundImage:
    try:
        found = parse_json(_read(files, "manifest.json") or b"")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise ManifestError("not a list of objects")
        entry = _pick_saved(found, reference)
        path = string(entry, "Config")
        if not path:
            raise ManifestError("'Config' is missing")
        config = _read(files, _inside(path))
        if config is None:
            raise ManifestError(f"'{path}' is missing")
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        if reference.digest is not None and reference.digest != digest:
            raise ManifestError(f"'{reference}' is not the image {digest}")
        paths = [_inside(item) for item in strings(entry, "Layers")]
        found_ids = diff_ids(config, len(paths))
    except ManifestError as error:
        raise ManifestError(f"Failed to use 'manifest.json' of '{reference}': {error}") from error
    layers = [
        FoundLayer(diff_id, layer, diff_id=diff_id)
        for diff_id, layer in zip(found_ids, paths, strict=True)
    ]
    return FoundImage(last_occurrences(layers, _layer_id), (digest, config))


def _pick_saved(entries: list[dict[str, Any]], reference: Reference) -> dict[str, Any]:
    offered: list[str] = []
    for entry in entries:
        for text in strings(entry, "RepoTags"):
            offered.append(text)
            with suppress(ManifestError):
                if reference.digest is None and Reference.parse(text).same_image(reference):
                    return entry
    if len(entries) == 1 and (not offered or reference.digest is not None):
        return entries[0]
    raise ManifestError(f"the archive holds {', '.join(sorted(offered)[:10]) or 'no names'}")


def _inside(path: str) -> str:
    return posixpath.normpath(path).lstrip("/")


# --- OCI image layout ----------------------------------------------------------------------------


def _layout(files: ImageFiles, reference: Reference) -> FoundImage:
    try:
        version = string(parse_object(_read(files, "oci-layout") or b""), "imageLayoutVersion")
        if version is None or not version.startswith("1."):
            raise ManifestError(f"unknown image layout version '{version}'")
        index = parse_object(_read(files, "index.json") or b"")
        descriptor = _pick_described(files, objects(index, "manifests"), reference)
        manifest = _pick_platform(files, descriptor)
        config = manifest.get("config")
        if not isinstance(config, dict):
            raise ManifestError("the manifest has no 'config'")
        artifact = _artifact(manifest)
        if artifact is not None:
            raise ManifestError(f"an artifact of type '{artifact}' is no image")
        document = _blob(files, config)
        described = objects(manifest, "layers")
        found_ids = diff_ids(document, len(described))
        layers = [
            _described_layer(layer, diff_id)
            for layer, diff_id in zip(described, found_ids, strict=True)
        ]
        return FoundImage(
            last_occurrences(layers, _layer_id), (read_descriptor(config).digest, document)
        )
    except ManifestError as error:
        raise ManifestError(f"Failed to use the OCI layout of '{reference}': {error}") from error


def _layer_id(layer: FoundLayer) -> str:
    return layer.layer_id


def _described_layer(described: dict[str, Any], diff_id: str) -> FoundLayer:
    found = read_descriptor(described)
    return FoundLayer(
        found.digest,
        _blob_path(found.digest),
        diff_id=diff_id,
        digest=None if found.digest == diff_id else found.digest,
        size=found.size,
    )


def _artifact(manifest: dict[str, Any]) -> str | None:
    """Return what a manifest is of, if not of an image."""
    config = manifest.get("config")
    kind = media_type(config) if isinstance(config, dict) else None
    if kind is None or kind in CONFIG_TYPES:
        return None
    return string(manifest, "artifactType") or kind


def _pick_described(
    files: ImageFiles, descriptors: list[dict[str, Any]], reference: Reference
) -> dict[str, Any]:
    if not descriptors:
        raise ManifestError("'index.json' names no image")
    if reference.digest is not None:
        for descriptor in descriptors:
            if string(descriptor, "digest") == reference.digest:
                return descriptor
        # one that an index leads to; what it is will be checked
        found = files.region(_blob_path(reference.digest))
        if found is None:
            raise ManifestError(f"'index.json' has no {reference.digest}")
        return {"digest": reference.digest, "size": found[2]}
    tag = reference.tag or DEFAULT_TAG
    offered: list[str] = []
    bare: list[dict[str, Any]] = []
    for descriptor in descriptors:
        annotations = descriptor.get("annotations")
        if not isinstance(annotations, dict):
            annotations = {}
        for key in (_FULL_NAME, _REF_NAME):
            text = string(annotations, key)
            if text is None:
                continue
            offered.append(text)
            with suppress(ManifestError):
                if Reference.parse(text).same_image(reference):
                    return descriptor
            if key == _REF_NAME and text == tag:
                bare.append(descriptor)
    if bare:
        return bare[0]
    if len(descriptors) == 1:
        return descriptors[0]
    raise ManifestError(f"'index.json' holds {', '.join(sorted(offered)[:10]) or 'no names'}")


def _pick_platform(files: ImageFiles, descriptor: dict[str, Any]) -> dict[str, Any]:
    """Follow indexes to manifests and return the best one for this host."""
    found: list[tuple[int, dict[str, Any]]] = []
    artifacts: list[dict[str, Any]] = []
    offered: list[str] = []
    read = 0

    def visit(described: dict[str, Any], depth: int) -> None:
        nonlocal read
        read += 1
        if depth > _MAX_INDEX_DEPTH or max(read, len(offered)) > _MAX_MANIFESTS:
            raise ManifestError("too many indexes")
        document = parse_object(_blob(files, described))
        kind = media_type(described) or media_type(document)
        if is_index(kind, document):
            for inner in objects(document, "manifests"):
                media = media_type(inner)
                if media is None or media in INDEX_TYPES + MANIFEST_TYPES:
                    choose(inner, depth + 1)
            return
        if kind not in MANIFEST_TYPES and "layers" not in document:
            return
        if _artifact(document) is not None:
            artifacts.append(document)
            return
        entry = read_descriptor(described)
        offered.append(entry.platform or "one without a platform")
        if entry.rank:
            found.append((entry.rank, document))

    def choose(described: dict[str, Any], depth: int) -> None:
        """Look at an entry of an index; what is for other hosts need not even be there."""
        place = described.get("platform")
        if isinstance(place, dict) and place.get("os") == "unknown":
            return
        entry = read_descriptor(described)
        if not entry.rank:
            offered.append(str(entry.platform))
        elif files.region(_blob_path(entry.digest)) is None:
            offered.append(f"{entry.platform or 'one without a platform'} (missing here)")
        else:
            visit(described, depth)

    visit(descriptor, 0)
    if not found and artifacts:
        return artifacts[0]
    if not found:
        raise ManifestError(
            f"no image for {host_platform()}, only for {', '.join(offered[:10]) or 'nothing'}"
        )
    return max(found, key=lambda pair: pair[0])[1]


def _blob_path(digest: str) -> str:
    algorithm, encoded = check_digest(digest)
    return f"blobs/{algorithm}/{encoded}"


def _blob(files: ImageFiles, descriptor: dict[str, Any]) -> bytes:
    """Read a document and check its size, then its digest."""
    described = read_descriptor(descriptor)
    digest = described.digest
    data = _read(files, _blob_path(digest))
    if data is None:
        raise ManifestError(f"the blob {digest} is missing")
    if len(data) != described.size:
        raise ManifestError(f"the blob {digest} has {len(data)} bytes")
    algorithm, encoded = check_digest(digest)
    if hashlib.new(algorithm, data).hexdigest() != encoded:
        raise ManifestError(f"the blob {digest} is damaged")
    return data
