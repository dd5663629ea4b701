# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.archive import FoundImage, find_image, open_image
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ManifestError, UnpackError
from tests.containerizer.provisioner.images import (
    Entry,
    configuration,
    docker25,
    files,
    layout,
    legacy,
    saved,
    sha256,
    tar,
    write,
)

LAYERS = [tar([Entry("a", b"1")]), tar([Entry("b", b"2")])]
DIFF_IDS = [f"sha256:{sha256(layer)}" for layer in LAYERS]


def find(tmp_path: Path, data: bytes, name: str = "busybox") -> FoundImage:
    path = write(str(tmp_path / "image.tar"), data)
    with open_image(path, str(tmp_path), UnpackLimits()) as index:
        image = find_image(index, Reference.parse(name), "/staging")
        for layer in image.layers:
            assert index.region(layer.path) is not None
        return image


def ids(image: FoundImage) -> list[str]:
    return [layer.layer_id for layer in image.layers]


def test_legacy_chain_is_bottom_first(tmp_path: Path) -> None:
    image = find(tmp_path, legacy(LAYERS))
    assert image.config is None
    parents = [json.loads(layer.files[0][1])["parent"] for layer in image.layers]
    assert parents == ["", ids(image)[0]]
    assert [name for name, _ in image.layers[0].files] == ["json", "VERSION"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: saved(LAYERS, ["busybox:latest"], Cmd=["sh"]),
        lambda: saved(LAYERS, None, Cmd=["sh"]),
        lambda: docker25(LAYERS, "busybox:latest", Cmd=["sh"]),
        lambda: gzip.compress(docker25(LAYERS, "busybox:latest", Cmd=["sh"])),
    ],
    ids=["names", "no names", "docker 25", "compressed"],
)
def test_manifest_json(tmp_path: Path, make: Callable[[], bytes]) -> None:
    image = find(tmp_path, make())
    document = configuration(LAYERS, Cmd=["sh"])
    assert ids(image) == DIFF_IDS
    assert image.config == (f"sha256:{sha256(document)}", document)


@pytest.mark.parametrize("ref_name", ["latest", "busybox:latest", None])
def test_oci_layout(tmp_path: Path, ref_name: str | None) -> None:
    contents = layout(LAYERS, ref_name)
    image = find(tmp_path, files(contents))
    assert [layer.diff_id for layer in image.layers] == DIFF_IDS
    assert all(f"blobs/sha256/{each[7:]}" in contents for each in ids(image))
    assert image.config is not None
    assert image.config[1] == configuration(LAYERS)


def test_unpacked_layout(tmp_path: Path) -> None:
    for name, data in layout(LAYERS).items():
        write(str(tmp_path / "image" / name), data)
    with open_image(str(tmp_path / "image"), str(tmp_path), UnpackLimits()) as index:
        image = find_image(index, Reference.parse("x"), "/staging")
        assert [layer.diff_id for layer in image.layers] == DIFF_IDS
        assert index.region("../image.tar") is None
        assert index.region("blobs") is None


def test_unpacked_layout_does_not_lead_out(tmp_path: Path) -> None:
    secret = write(str(tmp_path / "secret"), b"{}")
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "index.json").symlink_to(secret)
    with open_image(str(tmp_path / "image"), str(tmp_path), UnpackLimits()) as index:
        assert index.region("index.json") is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("busybox", "library/busybox"),
        ("library/busybox", "busybox"),
        ("docker.io/library/busybox", "busybox"),
        ("a/b", "reg.io:5000/a/b"),
        ("reg.io:5000/a/b", "reg.io:5000/a/b"),
        ("busybox", "docker.io/library/busybox:latest"),
    ],
)
def test_names_in_repositories(tmp_path: Path, key: str, name: str) -> None:
    assert len(find(tmp_path, legacy(LAYERS, name=key), name).layers) == 2


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (
            legacy(LAYERS, drop="repositories"),
            "busybox",
            "Failed to read 'repositories': No such file or directory",
        ),
        (
            legacy(LAYERS, name="zzz"),
            "busybox",
            "Repository 'busybox' does not exist in 'repositories'",
        ),
        (legacy(LAYERS, tag="v2"), "busybox:v1", "Layer id 'v1' is not found"),
        (legacy(LAYERS, tag="v9"), "busybox", "Layer id 'latest' is not found"),
        (
            legacy(LAYERS, repositories=b"{bad"),
            "busybox",
            "Failed to parse 'repositories': syntax error at line 1 near: bad",
        ),
    ],
)
def test_upstream_errors(tmp_path: Path, data: bytes, name: str, text: str) -> None:
    with pytest.raises(ManifestError) as error:
        find(tmp_path, data, name)
    assert str(error.value) == text


def test_layer_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        find(tmp_path, legacy(LAYERS[:1], drop="/json"))
    top = json.loads(legacy_top(LAYERS[:1]))["busybox"]["latest"]
    assert str(error.value) == (
        f"Failed to find parent layer id for layer '{top}': Failed to read manifest from"
        f" '/staging/{top}/json': No such file or directory"
    )


def legacy_top(layers: list[bytes]) -> bytes:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(legacy(layers))) as archive:
        member = archive.extractfile("repositories")
        assert member is not None
        return member.read()


def repositories(top: str, document: Any) -> bytes:
    return files(
        {
            "repositories": json.dumps({"busybox": {"latest": top}}).encode(),
            f"{top}/json": json.dumps(document).encode(),
        }
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            files({"repositories": b'{"busybox":{"latest":"../../x"}}'}),
            "Layer id '../../x' is not usable as a name",
        ),
        (repositories("a", {"parent": "../b"}), "Layer id '../b' is not usable as a name"),
        (repositories("a", {"parent": "a"}), "The chain of layers of 'a' does not end"),
        (repositories("a", {"parent": 5}), "'parent' is not a string"),
        (repositories("a", []), "not a JSON object"),
    ],
)
def test_hostile_repositories(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ManifestError) as error:
        find(tmp_path, data)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Config": None}, "'Config' is missing"),
        ({"Config": "nope.json"}, "'nope.json' is missing"),
        ({"Config": "../../etc/passwd"}, "'../../etc/passwd' is missing"),
        ({"Layers": ["0/layer.tar"]}, "1 layers but 2 diff ids"),
        ({"Layers": [None, 3]}, "'Layers' is not a list of strings"),
        ({"RepoTags": ["other:1", "third:2"]}, "the archive holds other:1, third:2"),
    ],
)
def test_broken_manifest_json(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    document = configuration(LAYERS)
    entry = {"Config": "c.json", "RepoTags": ["busybox:latest"], "Layers": ["0", "1"]} | change
    data = files({"c.json": document, "manifest.json": json.dumps([entry]).encode()})
    with pytest.raises(ManifestError) as error:
        find(tmp_path, data)
    assert str(error.value) == f"Failed to use 'manifest.json' of 'busybox': {why}"


def test_repeated_layers_count_once(tmp_path: Path) -> None:
    image = find(tmp_path, saved([LAYERS[0], LAYERS[1], LAYERS[0]], None))
    assert ids(image) == [DIFF_IDS[1], DIFF_IDS[0]]


def test_damaged_blob_of_a_layout(tmp_path: Path) -> None:
    contents = layout(LAYERS)
    digest = sha256(configuration(LAYERS))
    contents[f"blobs/sha256/{digest}"] = contents[f"blobs/sha256/{digest}"].replace(
        b"linux", b"Linux"
    )
    with pytest.raises(ManifestError, match=f"the blob sha256:{digest} is damaged"):
        find(tmp_path, files(contents))


def index_of(*described: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": described}).encode()


def described(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "mediaType": f"application/vnd.oci.image.{kind}.v1+json",
        "digest": f"sha256:{sha256(data)}",
        "size": len(data),
        **more,
    }


def test_platform_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    wanted = layout(LAYERS)
    other = layout(LAYERS[:1])
    manifests = [
        json.loads(contents["index.json"])["manifests"][0]
        | {"platform": {"os": "linux", "architecture": arch}}
        for contents, arch in ((other, "arm64"), (wanted, "amd64"), (other, "unknown"))
    ]
    manifests[2]["platform"]["os"] = "unknown"
    inner = index_of(*manifests)
    contents = {**other, **wanted, f"blobs/sha256/{sha256(inner)}": inner}
    contents["index.json"] = index_of(described(inner, "index"))
    assert len(find(tmp_path, files(contents)).layers) == 2
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(ManifestError, match="no image for linux/s390x"):
        find(tmp_path, files(contents))


def test_index_that_points_to_itself_in_depth(tmp_path: Path) -> None:
    contents = layout(LAYERS)
    blob = index_of()
    for _ in range(20):
        contents[f"blobs/sha256/{sha256(blob)}"] = blob
        blob = index_of(described(blob, "index"))
    contents[f"blobs/sha256/{sha256(blob)}"] = blob
    contents["index.json"] = index_of(described(blob, "index"))
    with pytest.raises(ManifestError, match="too many indexes"):
        find(tmp_path, files(contents))


def test_links_in_the_archive(tmp_path: Path) -> None:
    data = tar(
        [
            Entry("a/layer.tar", b"data"),
            Entry("b/layer.tar", kind="symlink", to="../a/layer.tar"),
            Entry("c", kind="link", to="b/layer.tar"),
            Entry("loop", kind="symlink", to="loop"),
            Entry("out", kind="symlink", to="../../etc/passwd"),
            Entry("abs", kind="symlink", to="/etc/passwd"),
        ]
    )
    path = write(str(tmp_path / "image.tar"), data)
    with open_image(path, str(tmp_path), UnpackLimits()) as index:
        assert index.region("b/layer.tar") == index.region("a/layer.tar") == index.region("c")
        assert index.region("loop") is index.region("out") is index.region("abs") is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a tar" * 100, "not a tar archive"),
        (legacy(LAYERS)[:3000], "truncated"),
        (gzip.compress(legacy(LAYERS))[:-20], "truncated gzip data"),
        (tar([Entry("../x", b"")]), "member '../x': name contains '..'"),
    ],
)
def test_unreadable_archives(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(UnpackError) as error:
        find(tmp_path, data)
    path = tmp_path / "image.tar"
    assert str(error.value) == f"Failed to read the archive '{path}': {why}"


def test_what_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "image.tar")
    with (
        pytest.raises(UnpackError, match="Not a regular file"),
        open_image(str(tmp_path / "image.tar"), str(tmp_path), UnpackLimits()),
    ):
        pass


def test_an_index_of_which_only_a_part_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    contents = layout(LAYERS)
    [own] = json.loads(contents["index.json"])["manifests"]
    del own["annotations"]
    own["platform"] = {"os": "linux", "architecture": "amd64"}
    away = {**own, "digest": f"sha256:{'1' * 64}"}
    away["platform"] = {"os": "linux", "architecture": "arm64"}
    lost = {**own, "digest": f"sha256:{'2' * 64}"}
    signature = json.dumps(
        {
            "schemaVersion": 2,
            "artifactType": "application/vnd.example.signature",
            "config": {**own, "mediaType": "application/vnd.oci.empty.v1+json"},
            "layers": [],
        }
    ).encode()
    contents[f"blobs/sha256/{sha256(signature)}"] = signature
    artifact = described(signature, "manifest")

    def image(*entries: dict[str, Any], name: str = "busybox") -> FoundImage:
        inner = index_of(*entries)
        more = {f"blobs/sha256/{sha256(inner)}": inner}
        more["index.json"] = index_of(described(inner, "index"))
        return find(tmp_path, files({**contents, **more}), name)

    assert len(image(away, artifact, lost, own).layers) == 2
    assert len(image(away, own, name=f"busybox@{own['digest']}").layers) == 2
    with pytest.raises(ManifestError, match="has no sha256:1111"):
        image(away, own, name=f"busybox@{away['digest']}")
    with pytest.raises(ManifestError, match=r"only for linux/arm64, linux/amd64 \(missing here\)"):
        image(away, lost)
    with pytest.raises(ManifestError, match=r"artifact of type 'application/vnd.example.sig"):
        image(away, artifact)


def test_sha512(tmp_path: Path) -> None:
    contents: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha512(data).hexdigest()
        contents[f"blobs/sha512/{digest}"] = data
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha512:{digest}", "size": len(data)}

    document = json.loads(configuration(LAYERS))
    document["rootfs"]["diff_ids"] = [f"sha512:{hashlib.sha512(x).hexdigest()}" for x in LAYERS]
    config = blob(json.dumps(document).encode(), "config.v1+json")
    layers = [blob(gzip.compress(each), "layer.v1.tar+gzip") for each in LAYERS]
    manifest = {"schemaVersion": 2, "config": config, "layers": layers}
    contents["index.json"] = index_of(blob(json.dumps(manifest).encode(), "manifest.v1+json"))
    found = find(tmp_path, files(contents))
    assert ids(found) == [each["digest"] for each in layers]
    assert found.config is not None
    assert found.config[0] == config["digest"]


def test_an_index_that_repeats_itself(tmp_path: Path) -> None:
    contents = layout(LAYERS)
    blob = index_of()
    for _ in range(6):
        contents[f"blobs/sha256/{sha256(blob)}"] = blob
        blob = index_of(*[described(blob, "index")] * 100)
    contents["index.json"] = index_of(described(blob, "index"))
    contents[f"blobs/sha256/{sha256(blob)}"] = blob
    with pytest.raises(ManifestError, match="too many indexes"):
        find(tmp_path, files(contents))
