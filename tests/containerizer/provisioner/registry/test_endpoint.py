# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from containerizer.provisioner.reference import Reference
from containerizer.provisioner.registry.endpoint import (
    RegistryAddress,
    is_hub,
    locate_image,
    parse_registry,
)
from mesos_compat.base.errors import ManifestError

HUB = parse_registry("https://registry-1.docker.io")


@pytest.mark.parametrize(
    ("reference", "default", "url"),
    [
        ("busybox", "https://registry-1.docker.io", "https://registry-1.docker.io:443"),
        ("busybox", "http://my.reg", "http://my.reg:80"),
        ("busybox", "http://my.reg:5000/path", "http://my.reg:5000"),
        ("host:443/a", "http://my.reg", "https://host:443"),
        ("host:80/a", "http://my.reg", "http://host:80"),
        ("localhost:5000/a", "http://my.reg", "http://localhost:5000"),
        ("localhost:443/a", "http://my.reg", "https://localhost:443"),
        ("127.0.0.1:5000/a", "http://my.reg", "http://127.0.0.1:5000"),
        ("host.example:5000/a", "http://my.reg", "https://host.example:5000"),
        ("host.example/a", "http://my.reg", "https://host.example"),
        ("localhost/a", "http://my.reg", "https://localhost"),
        ("docker.io/a", "http://my.reg", "https://registry-1.docker.io"),
        ("index.docker.io/a", "http://my.reg", "https://registry-1.docker.io"),
    ],
)
def test_addresses(reference: str, default: str, url: str) -> None:
    found = locate_image(Reference.parse(reference), parse_registry(default))
    assert found.endpoint.url == url


@pytest.mark.parametrize(
    ("reference", "domain", "repository", "name"),
    [
        ("busybox", "docker.io", "library/busybox", "latest"),
        ("a/busybox:1", "docker.io", "a/busybox", "1"),
        ("docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("reg.io/busybox", "reg.io", "busybox", "latest"),
        ("reg.io:5000/a/b:t@sha256:" + "a" * 64, "reg.io:5000", "a/b", "sha256:" + "a" * 64),
    ],
)
def test_repositories(reference: str, domain: str, repository: str, name: str) -> None:
    found = locate_image(Reference.parse(reference), HUB)
    assert (found.domain, found.repository, found.name) == (domain, repository, name)
    assert (found.digest is not None) == ("@" in reference)


@pytest.mark.parametrize(
    "reference",
    [
        "reg.io/a?x=y",
        "reg.io/a%2e%2e/b",
        "reg.io/a b",
        "reg.io/a//b",
        "reg.io/a#b",
        "reg.io/a:b c",
        "reg.io/a:..",
        "reg.io/a@md5:" + "0" * 32,
        "reg.io/a@sha256:x",
        "reg.io:x/a",
        "reg.io:1:2/a",
        "reg.io:99999/a",
        "user:pw@reg.io/a",
        "reg.io\n.evil/a",
        "a" * 256,
    ],
)
def test_names_that_no_registry_has(reference: str) -> None:
    with pytest.raises(ManifestError):
        locate_image(Reference.parse(reference), HUB)


def test_port_text() -> None:
    with pytest.raises(ManifestError, match="Failed to get registry port: Failed to numify 'x'"):
        locate_image(Reference.parse("reg.io:x/a"), HUB)


def test_hub_is_a_domain() -> None:
    assert is_hub("docker.io")
    assert is_hub("mirror.docker.io")
    assert not is_hub("docker.io.evil.example")
    assert not is_hub("notdocker.io")


def test_authority() -> None:
    assert RegistryAddress("https", "a").authority == "a"
    assert RegistryAddress("https", "a", 443).authority == "a:443"
