# SPDX-License-Identifier: Apache-2.0
"""The image builder of the integration tests."""

import gzip
import io
import json
import tarfile

import pytest

from integration import images
from integration.images import DockerImage, Member

LAYERS = [images.layer([Member("a", data=b"1")]), images.layer([Member("b", data=b"2")])]


def contents(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name: file.read()
            for member in tar.getmembers()
            if (file := tar.extractfile(member)) is not None
        }


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("busybox:1.0", ("busybox", "1.0")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:c", ("host:5000/a/b", "c")),
    ],
)
def test_references_have_a_repository_and_a_tag(reference: str, parts: tuple[str, str]) -> None:
    assert DockerImage(reference, LAYERS).repository_and_tag == parts


def test_the_old_layout_is_a_chain_of_layers() -> None:
    files = contents(images.docker_archive(DockerImage("x:y", LAYERS)))
    top = json.loads(files["repositories"])["x"]["y"]
    parent = json.loads(files[f"{top}/json"])["parent"]
    assert files[f"{top}/layer.tar"] == LAYERS[1]
    assert files[f"{parent}/layer.tar"] == LAYERS[0]
    assert "parent" not in json.loads(files[f"{parent}/json"])
    entry = json.loads(files["manifest.json"])[0]
    assert entry["Layers"] == [f"{parent}/layer.tar", f"{top}/layer.tar"]
    config = json.loads(files[entry["Config"]])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{images.sha256(each)}" for each in LAYERS]


def test_the_new_layout_holds_every_blob_under_its_digest() -> None:
    files = contents(images.oci_docker_archive(DockerImage("x:y", LAYERS)))
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{images.sha256(data)}"
    manifest_digest = json.loads(files["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(files[f"blobs/sha256/{manifest_digest.removeprefix('sha256:')}"])
    assert [each["digest"] for each in manifest["layers"]] == [
        f"sha256:{images.sha256(each)}" for each in LAYERS
    ]
    assert json.loads(files["repositories"]) == {"x": {"y": images.sha256(LAYERS[1])}}


def test_an_appc_image_has_a_manifest_and_a_root() -> None:
    image = images.appc_image("ubuntu", [Member("bin/x", data=b"x")], {"os": "linux"})
    files = contents(gzip.decompress(image))
    assert json.loads(files["manifest"])["labels"] == [{"name": "os", "value": "linux"}]
    assert files["rootfs/bin/x"] == b"x"


def test_a_missing_busybox_is_told() -> None:
    with pytest.raises(images.ImageError, match="busybox-static"):
        images.busybox_members("/no/such/busybox")
