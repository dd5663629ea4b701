# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from containerizer.provisioner.discovery import Location, locate, usable_prefix
from mesos_compat.base.errors import ManifestError

OS_ARCH = {"os": "linux", "arch": "amd64"}


@pytest.mark.parametrize(
    ("prefix", "name", "labels", "where"),
    [
        ("/d/", "ubuntu", OS_ARCH, Location(path="/d/ubuntu-latest-linux-amd64.aci")),
        ("/d/", "ubuntu", {}, Location(path="/d/ubuntu-latest-linux-amd64.aci")),
        ("/d/", "a", {"arch": "arm", "version": "1"}, Location(path="/d/a-1-linux-arm.aci")),
        ("file:///d/", "a", {}, Location(path="/d/a-latest-linux-amd64.aci")),
        ("/d/", "ex.com/ns/i", {}, Location(path="/d/ex.com/ns/i-latest-linux-amd64.aci")),
        (
            "https://h/p/",
            "ex.com/i",
            {},
            Location(url="https://h/p/ex.com/i-latest-linux-amd64.aci"),
        ),
        ("hdfs://h:1/d/", "a", {}, Location(url="hdfs://h:1/d/a-latest-linux-amd64.aci")),
        ("http://", "h/i", {}, Location(url="http://h/i-latest-linux-amd64.aci")),
        ("http://h/", "a?b#c", {}, Location(url="http://h/a%3Fb%23c-latest-linux-amd64.aci")),
    ],
)
def test_where(prefix: str, name: str, labels: dict[str, str], where: Location) -> None:
    assert locate(prefix, name, labels, "x86_64") == where


@pytest.mark.parametrize(
    ("name", "labels"),
    [("../x", {}), ("a/../b", {}), ("", {}), ("a\0", {}), ("a", {"version": "/../../x/../y"})],
)
def test_names_that_leave_the_directory(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(ManifestError):
        locate("/d/", name, labels, "x86_64")


@pytest.mark.parametrize(
    ("prefix", "usable"),
    [
        ("http://", True),
        ("https://h/", True),
        ("/d/", True),
        ("file:///d/", True),
        ("hdfs://x/", True),
        ("ftp://x/", False),
        ("d/", False),
        ("file://h/d", False),
    ],
)
def test_prefixes(prefix: str, usable: bool) -> None:
    assert usable_prefix(prefix) is usable


def test_architectures_of_hosts() -> None:
    assert locate("/", "a", {}, "aarch64").path == "/a-latest-linux-aarch64.aci"
    assert locate("/", "a", {}, "i686").path == "/a-latest-linux-i386.aci"
