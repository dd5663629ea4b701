# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from containerizer.provisioner.reference import Reference
from containerizer.provisioner.registry.endpoint import ImageLocation, RegistryAddress, locate_image
from containerizer.provisioner.registry.hosts import HostRules
from containerizer.provisioner.registry.sources import (
    InsecureRegistries,
    Source,
    hosts_sources,
    registries_sources,
)
from mesos_compat.base.errors import ManifestError, RegistryError


def where(reference: str) -> ImageLocation:
    return locate_image(
        Reference.parse(reference), RegistryAddress("https", "registry-1.docker.io", 443)
    )


def hosts(text: str, reference: str = "reg.io/a/b") -> list[Source]:
    return hosts_sources(tomllib.loads(text), where(reference))


def conf(text: str, reference: str) -> list[Source]:
    return registries_sources(tomllib.loads(text), where(reference))


def test_hosts() -> None:
    found = hosts(
        """
        server = "https://reg.io"
        [host."http://mirror:5000"]
          capabilities = ["pull"]
          skip_verify = true
          [host."http://mirror:5000".header]
            X-Key = ["a", "b"]
        [host."https://other/v2/sub"]
          override_path = true
          ca = "ca.crt"
          client = [["c.cert", "c.key"]]
        """
    )
    assert [source.url for source in found] == [
        "http://mirror:5000/v2/a/b",
        "https://other/v2/sub/a/b",
        "https://reg.io/v2/a/b",
    ]
    first, second, last = found
    assert (first.tags, first.digests, first.namespace) == (False, True, "reg.io")
    assert not first.tls.verify
    assert first.headers == (("X-Key", "a"), ("X-Key", "b"))
    assert second.tls.authorities == ("ca.crt",)
    assert second.tls.client == ("c.cert", "c.key")
    assert not last.mirror


@pytest.mark.parametrize(
    "text",
    [
        'server = "ftp://x"',
        "server = 1",
        "host = 1",
        '[host."https://x"]\nca = 1',
        '[host."https://x"]\nclient = 1',
        '[host."https://x".header]\n"a b" = "x"',
        '[host."https://x".header]\na = "x\\r\\ny"',
    ],
)
def test_unusable_hosts(text: str) -> None:
    with pytest.raises(ManifestError):
        hosts(text)


REGISTRIES = """
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io/library"
location = "reg.example/hub"
[[registry.mirror]]
location = "mirror.example:5000/lib"
insecure = true
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
[[registry]]
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "digests.example"
[[registry]]
prefix = "*.corp"
location = "cache.corp"
[[registry]]
location = "bad.example"
blocked = true
[[registry]]
location = "plain.example"
insecure = true
"""


def test_registries() -> None:
    found = conf(REGISTRIES, "busybox")
    assert [(one.url, one.tags, one.digests) for one in found] == [
        ("https://mirror.example:5000/v2/lib/busybox", True, True),
        ("http://mirror.example:5000/v2/lib/busybox", True, True),
        ("https://tags.example/v2/busybox", True, False),
        ("https://reg.example/v2/hub/busybox", True, True),
    ]
    assert not found[0].tls.verify
    assert [(one.url, one.tags) for one in conf(REGISTRIES, "x/y")] == [
        ("https://digests.example/v2/x/y", False),
        ("https://registry-1.docker.io/v2/x/y", True),
    ]
    assert [one.url for one in conf(REGISTRIES, "a.corp/z")] == ["https://cache.corp/v2/z"]
    assert [one.url for one in conf(REGISTRIES, "other.example/z")] == [
        "https://other.example/v2/z"
    ]
    assert [one.url for one in conf(REGISTRIES, "plain.example/z")] == [
        "https://plain.example/v2/z",
        "http://plain.example/v2/z",
    ]
    with pytest.raises(ManifestError, match="blocked"):
        conf(REGISTRIES, "bad.example/z")


def test_insecure() -> None:
    insecure = InsecureRegistries.parse("a.example, b.example:5000,10.0.0.0/8,")
    assert RegistryAddress("https", "a.example", 77) in insecure
    assert RegistryAddress("https", "b.example", 5000) in insecure
    assert RegistryAddress("https", "b.example") not in insecure
    assert RegistryAddress("https", "10.2.3.4", 5000) in insecure
    assert RegistryAddress("https", "11.2.3.4", 5000) not in insecure
    assert RegistryAddress("https", "x") not in InsecureRegistries()
    with pytest.raises(ManifestError):
        InsecureRegistries.parse("10.0.0.0/99")


def test_files(tmp_path: Path) -> None:
    mirrors, certificates = tmp_path / "mirrors", tmp_path / "certs"
    (mirrors / "reg.io").mkdir(parents=True)
    (mirrors / "reg.io" / "hosts.toml").write_text('[host."https://m"]\nca = "m.crt"\n')
    (mirrors / "_default").mkdir()
    (mirrors / "_default" / "hosts.toml").write_text('[host."https://d"]\n')
    (certificates / "reg.io").mkdir(parents=True)
    for name in ("ca.crt", "me.cert", "me.key", "note.txt"):
        (certificates / "reg.io" / name).write_text("")
    rules = HostRules(str(mirrors), str(certificates), InsecureRegistries.parse("d"))
    mirror, own = rules.sources(where("reg.io/a"))
    assert mirror.tls.authorities == (str(mirrors / "reg.io" / "m.crt"),)
    assert own.tls.authorities == (str(certificates / "reg.io" / "ca.crt"),)
    assert own.tls.client == (
        str(certificates / "reg.io" / "me.cert"),
        str(certificates / "reg.io" / "me.key"),
    )
    assert [one.url for one in rules.sources(where("x.io/a"))] == [
        "https://d/v2/a",
        "http://d/v2/a",
        "https://x.io/v2/a",
    ]
    (mirrors / "reg.io" / "hosts.toml").write_text("=")
    with pytest.raises(RegistryError, match="Failed to use"):
        rules.sources(where("reg.io/a"))
    assert HostRules().sources(where("reg.io/a"))[0].url == "https://reg.io/v2/a"
    (tmp_path / "registries.conf").write_text(REGISTRIES)
    rules = HostRules(str(tmp_path / "registries.conf"))
    assert len(rules.sources(where("busybox"))) == 4
