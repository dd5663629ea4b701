# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.provisioner.oci import (
    CONFIG_TYPES,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    OCI_MANIFEST,
    platform_rank,
)
from containerizer.provisioner.registry.manifest import (
    ACCEPT,
    SCHEMA1_TYPES,
    ImageIndex,
    ImageLayer,
    ImageManifest,
    manifest_payload,
    parse_manifest,
    verify,
    with_diff_ids,
)
from mesos_compat.base.errors import ManifestError
from tests.containerizer.provisioner.images import configuration

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def parse(document: object, kind: str) -> ImageManifest | ImageIndex:
    body = json.dumps(document).encode()
    return parse_manifest(manifest_payload(body, kind), kind)


def image(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "config": {"mediaType": CONFIG_TYPES[0], "digest": DIGEST, "size": 1},
        "layers": [{"digest": OTHER, "size": 2, "urls": ["http://x/"]}],
        **more,
    }


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DOCKER_MANIFEST, DOCKER_MANIFEST),
        (f"{DOCKER_MANIFEST}; charset=utf-8", DOCKER_MANIFEST),
        (OCI_MANIFEST, None),
        (OCI_MANIFEST, DOCKER_MANIFEST),
        (DOCKER_MANIFEST, OCI_MANIFEST),
        ("application/json", None),
        ("text/plain; charset=utf-8", DOCKER_MANIFEST),
        ("application/octet-stream", OCI_MANIFEST),
    ],
)
def test_images(kind: str, said: str | None) -> None:
    found = parse(image(mediaType=said), kind)
    assert isinstance(found, ImageManifest)
    assert found.layers == (ImageLayer(OTHER, 2, None, ("http://x/",)),)


def test_config_of_docker_may_be_called_anything() -> None:
    config = {"mediaType": "application/x", "digest": DIGEST, "size": 1}
    assert isinstance(parse(image(config=config), DOCKER_MANIFEST), ImageManifest)
    with pytest.raises(ManifestError, match="is no image"):
        parse(image(config=config), OCI_MANIFEST)


def test_layers_that_repeat_count_once() -> None:
    layers = [{"digest": digest, "size": 2} for digest in (DIGEST, OTHER, DIGEST)]
    found = parse(image(layers=layers), OCI_MANIFEST)
    assert isinstance(found, ImageManifest)
    made = with_diff_ids(found, configuration([b"1", b"2", b"1"]))
    assert [layer.digest for layer in made] == [OTHER, DIGEST]
    assert all(layer.diff_id for layer in made)
    assert [layer.diff_id for layer in with_diff_ids(found, b"{}")] == [None, None]
    with pytest.raises(ManifestError, match="3 layers but 1 diff ids"):
        with_diff_ids(found, configuration([b"1"]))


def test_accept() -> None:
    kinds = ACCEPT.split(",")
    assert kinds[:3] == [DOCKER_MANIFEST, *SCHEMA1_TYPES]
    assert set(kinds[3:]) == {OCI_MANIFEST, *INDEX_TYPES}


def schema1(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 1,
        "name": "a",
        "tag": "b",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": DIGEST}],
        "history": [{"v1Compatibility": '{"config": {}}'}],
        **more,
    }


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"name": None}, "'name' is missing"),
        ({"schemaVersion": 2}, "'schemaVersion' is not 1"),
        ({"fsLayers": []}, "'fsLayers' field size must be at least one"),
        ({"history": []}, "'history' field size must be at least one"),
        ({"history": [{}, {}]}, "Size of 'fsLayers' and 'history' must be equal"),
        ({"fsLayers": [{"blobSum": "x"}]}, "Malformed digest"),
        ({"fsLayers": [{}]}, "'blobSum' is missing"),
        ({"history": [{"v1Compatibility": "x"}]}, "syntax error"),
        ({"history": [{"v1Compatibility": "[]"}]}, "not a JSON object"),
        ({"signatures": [{}]}, "syntax error"),
        ({"signatures": [{"protected": "é"}]}, "is not base64"),
        ({"signatures": [{"protected": "e30"}]}, "no usable 'formatLength'"),
    ],
)
def test_unusable_schema1(more: dict[str, Any], why: str) -> None:
    assert isinstance(parse(schema1(), SCHEMA1_TYPES[1]), ImageManifest)
    with pytest.raises(ManifestError, match=why):
        parse(schema1(**more), SCHEMA1_TYPES[1])


@pytest.mark.parametrize(
    ("machine", "best", "also", "never"),
    [
        ("x86_64", ("amd64", None), ("amd64", "v2"), ("arm64", None)),
        ("aarch64", ("arm64", "v8"), ("arm64", None), ("arm64", "v9")),
        ("armv7l", ("arm", "v7"), ("arm", "v6"), ("arm", "v8")),
        ("ppc64le", ("ppc64le", None), ("ppc64le", ""), ("ppc64", None)),
        ("riscv64", ("riscv64", None), ("riscv64", ""), ("riscv64", "v1")),
        ("i686", ("386", None), ("386", ""), ("amd64", None)),
    ],
)
def test_platforms(
    machine: str,
    best: tuple[str, str | None],
    also: tuple[str, str | None],
    never: tuple[str, str | None],
) -> None:
    def rank(pair: tuple[str, str | None], system: str = "linux") -> int:
        place = {"os": system, "architecture": pair[0], "variant": pair[1]}
        return platform_rank(place, machine)

    assert rank(best) >= rank(also) > 0 == rank(never)
    assert rank(best, "windows") == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_verify(algorithm: str) -> None:
    verify(b"x", f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}", "it")
    with pytest.raises(ManifestError, match="it is"):
        verify(b"y", f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}", "it")
    with pytest.raises(ManifestError, match="Unsupported digest algorithm"):
        verify(b"x", "md5:" + "0" * 32, "it")


KEYS = [
    *("schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "urls"),
    *("platform", "os", "architecture", "variant", "fsLayers", "blobSum", "history", "name"),
    *("v1Compatibility", "signatures", "protected", "tag"),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([DIGEST, "linux", "amd64", "{}", "\ud800", *INDEX_TYPES, OCI_MANIFEST]),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.sampled_from(KEYS), DOCUMENTS),
    st.sampled_from([DOCKER_MANIFEST, OCI_MANIFEST, *INDEX_TYPES, *SCHEMA1_TYPES, "text/plain"]),
)
def test_any_document(document: dict[str, Any], kind: str) -> None:
    try:
        parse(document, kind)
    except ManifestError:
        pass


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(manifest_payload(body, OCI_MANIFEST), OCI_MANIFEST)
