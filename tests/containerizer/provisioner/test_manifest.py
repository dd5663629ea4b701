# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.provisioner.documents import check_digest, check_layer_id, parse_json
from containerizer.provisioner.manifest import appc_manifest, docker_manifest
from mesos_compat.base.errors import ManifestError


def docker(document: dict[str, Any]) -> Any:
    return docker_manifest(json.dumps(document).encode())


def test_all_members_of_a_docker_manifest() -> None:
    made = docker(
        {
            "id": "x",
            "parent": "",
            "unknown": {"a": [1]},
            "config": {
                "Env": ["A=1", "B"],
                "Entrypoint": ["/e"],
                "Cmd": ["c"],
                "WorkingDir": "/w",
                "User": "u",
                "Labels": {"a": "b", "n": None},
                "ExposedPorts": {"80/tcp": {}},
            },
        }
    )
    assert made.config.Env == ["A=1", "B"]
    assert made.config.Entrypoint == ["/e"]
    assert made.config.Cmd == ["c"]
    assert made.config.WorkingDir == "/w"
    assert dict(made.config.Labels) == {"a": "b"}
    assert made.parent == ""


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"config": None},
        {"config": {}},
        {"config": {"Env": None, "Entrypoint": None, "Cmd": None, "Labels": None}},
        {"config": {"Env": [None], "WorkingDir": None}},
    ],
)
def test_null_is_unset(document: dict[str, Any]) -> None:
    made = docker(document)
    assert made.HasField("config")
    assert not made.config.Env
    assert not made.config.HasField("WorkingDir")


@pytest.mark.parametrize("size", [5_000_000_000, -1, 1.5, True, "1"])
def test_unusable_sizes_are_ignored(size: object) -> None:
    assert not docker({"Size": size}).HasField("Size")


@pytest.mark.parametrize(
    "document",
    [
        {"config": []},
        {"config": {"Env": "A=1"}},
        {"config": {"Env": [1]}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"User": 5}},
        {"id": "\ud800"},
    ],
)
def test_wrong_types_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        docker(document)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{bad", "syntax error at line 1 near: bad"),
        (b"{oops", "syntax error at line 1 near: oops"),
        (b'{"a":\n}', "syntax error at line 2 near: }"),
        (b"[" * 200_000, "nested too deeply or with a number that is too long"),
        (b"9" * 10_000, "nested too deeply or with a number that is too long"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b" " * (5 << 20), "the document has more than 4194304 bytes"),
    ],
)
def test_syntax_errors(data: bytes, text: str) -> None:
    with pytest.raises(ManifestError) as error:
        parse_json(data)
    assert str(error.value) == text


def appc(document: dict[str, Any]) -> Any:
    return appc_manifest(json.dumps(document).encode())


def test_appc_manifest() -> None:
    made = appc(
        {
            "acKind": "ImageManifest",
            "acVersion": "0.6.1",
            "name": "x",
            "labels": [{"name": "os", "value": "linux"}],
            "app": {"exec": ["/a"], "user": "0", "environment": [{"name": "E", "value": "1"}]},
            "dependencies": [{"imageName": "d", "imageID": "sha512-0", "size": 3}],
            "pathWhitelist": ["/a"],
        }
    )
    assert made.app.exec == ["/a"]
    assert made.app.environment[0].value == "1"
    assert made.dependencies[0].imageName == "d"
    assert made.dependencies[0].size == 3


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            {"acVersion": "1", "name": "x"},
            "Protobuf parse failed: Missing required fields: acKind",
        ),
        (
            {"acKind": "PodManifest", "acVersion": "1", "name": "x"},
            "Schema validation failed: Incorrect acKind field: PodManifest",
        ),
        (
            {"acKind": "ImageManifest", "acVersion": "1", "name": "x", "labels": [{"name": "a"}]},
            "Protobuf parse failed: Missing required fields: labels[0].value",
        ),
    ],
)
def test_broken_appc_manifests(document: dict[str, Any], text: str) -> None:
    with pytest.raises(ManifestError) as error:
        appc(document)
    assert str(error.value) == text


def test_appc_syntax_error() -> None:
    with pytest.raises(ManifestError) as error:
        appc_manifest(b"{oops")
    assert str(error.value) == "JSON parse failed: syntax error at line 1 near: oops"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_KEYS = ["config", "Env", "Labels", "Size", "id", "acKind", "name", "app", "exec", "labels"]


@given(st.dictionaries(st.sampled_from(_KEYS), _JSON))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    for parse in (docker_manifest, appc_manifest):
        try:
            parse(json.dumps(document).encode())
        except ManifestError:
            pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".x", "a\n", "a" * 300])
def test_unusable_layer_ids(name: str) -> None:
    with pytest.raises(ManifestError):
        check_layer_id(name)


@pytest.mark.parametrize(
    "digest", ["sha256:../x", "sha256:" + "A" * 64, "md5:00", "sha256", "sha256:" + "0" * 63]
)
def test_unusable_digests(digest: str) -> None:
    with pytest.raises(ManifestError):
        check_digest(digest)
