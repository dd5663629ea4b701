# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from containerizer.provisioner.registry.credentials import (
    Credential,
    DockerConfig,
    find_credential,
    matches,
    parse_docker_config,
    read_docker_config,
    user_config_path,
)
from containerizer.provisioner.registry.endpoint import RegistryAddress
from mesos_compat.base.errors import ManifestError

AUTH = base64.b64encode(b"u:p").decode()
REG = RegistryAddress("https", "my.reg")


def parse(document: dict[str, Any], helpers: bool = True) -> DockerConfig:
    return parse_docker_config(document, helpers=helpers)


@pytest.mark.parametrize(
    "document",
    [
        {"auths": {"my.reg": {"auth": AUTH, "email": "x"}}, "other": 1},
        {"my.reg": {"auth": AUTH}},
        {"auths": {"https://my.reg/v1/": {"username": "u", "password": "p"}}},
        {"auths": {"my.reg:443": {"auth": AUTH}}},
    ],
)
async def test_forms(document: dict[str, Any]) -> None:
    assert await find_credential([parse(document)], REG) == Credential(basic=AUTH)


@pytest.mark.parametrize(
    "document",
    [
        {"auths": {"my.reg": "x"}},
        {"auths": []},
        {"my.reg": "x"},
        {"auths": {"my.reg": {"auth": "a\r\nX: y"}}},
        {"credsStore": "../../bin/sh"},
        {"credHelpers": {"my.reg": "a b"}},
    ],
)
def test_unusable(document: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        parse(document)


@pytest.mark.parametrize(
    ("key", "endpoint", "same"),
    [
        ("my.reg", RegistryAddress("https", "my.reg", 443), True),
        ("my.reg:443", RegistryAddress("https", "my.reg"), True),
        ("my.reg:80", RegistryAddress("https", "my.reg"), False),
        ("my.reg", RegistryAddress("https", "my.reg", 5000), False),
        ("http://my.reg:5000/v2/", RegistryAddress("https", "my.reg", 5000), True),
        ("my.reg", RegistryAddress("http", "my.reg", 80), True),
        (
            "https://index.docker.io/v1/",
            RegistryAddress("https", "registry-1.docker.io", 443),
            True,
        ),
        ("docker.io", RegistryAddress("https", "registry-1.docker.io"), True),
        ("docker.io", RegistryAddress("https", "docker.io.evil.example"), False),
        ("evil-docker.io", RegistryAddress("https", "registry-1.docker.io"), False),
        ("reg", REG, False),
        ("", REG, False),
    ],
)
def test_keys(key: str, endpoint: RegistryAddress, same: bool) -> None:
    assert matches(key, endpoint) is same


async def test_order_of_configurations() -> None:
    first = parse({"https://my.reg": {"auth": AUTH}})
    second = parse({"my.reg": {"auth": base64.b64encode(b"x:y").decode()}})
    assert await find_credential([first, second], REG) == Credential(basic=AUTH)
    assert await find_credential([], REG) is None
    assert await find_credential([parse({"auths": {"my.reg": {}}})], REG) is None


def test_secrets_are_not_shown() -> None:
    assert AUTH not in repr(parse({"my.reg": {"auth": AUTH}}))


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = tmp_path / "asked"
    answer = json.dumps({"ServerURL": "x", "Username": "u", "Secret": "p"})
    helper(tmp_path, "good", f"[ $1 = get ] && cat > {asked} && echo '{answer}'")
    helper(tmp_path, "token", 'echo \'{"Username": "<token>", "Secret": "t"}\'')
    helper(tmp_path, "none", "echo credentials not found in native keychain; exit 1")
    helper(tmp_path, "odd", "echo no JSON")
    config = parse({"credHelpers": {"my.reg": "good"}, "auths": {"my.reg": {"auth": "eDp5"}}})
    assert await find_credential([config], REG) == Credential(basic=AUTH)
    assert asked.read_text() == "my.reg"
    hub = RegistryAddress("https", "registry-1.docker.io", 443)
    store = parse({"credsStore": "good"})
    assert await find_credential([store], hub) == Credential(basic=AUTH)
    assert asked.read_text() == "https://index.docker.io/v1/"
    token = parse({"credsStore": "token"})
    assert await find_credential([token], REG) == Credential(identity_token="t")
    for name in ("none", "odd", "missing"):
        assert await find_credential([parse({"credsStore": name}), store], REG) is not None
        assert await find_credential([parse({"credsStore": name})], REG) is None
    # an image cannot have a program run
    assert parse({"credsStore": "good", "auths": {}}, helpers=False) == DockerConfig({})


def test_files(tmp_path: Path) -> None:
    path = str(tmp_path / "config.json")
    assert read_docker_config(path, helpers=True) is None
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"User-Agent": "x"}}')
    assert read_docker_config(path, helpers=True) == DockerConfig({})
    assert user_config_path({"HOME": "/h"}) == "/h/.docker/config.json"
    assert user_config_path({"HOME": "/h", "DOCKER_CONFIG": "/d"}) == "/d/config.json"
    assert user_config_path({}) is None
