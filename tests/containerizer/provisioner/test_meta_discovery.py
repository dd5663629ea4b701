# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerizer.provisioner.meta_discovery import (
    MAX_PAGES,
    MetaTags,
    key_urls,
    locations,
    page_urls,
    parse_tags,
)
from mesos_compat.base.errors import ManifestError

LABELS = {"version": "1.0", "os": "linux", "arch": "amd64"}
PAGE = b"""<!DOCTYPE html>
<html><head>
<META NAME="ac-discovery" content="example.com https://s.example.com/{name}-{version}.{ext}?x=1">
<meta name='ac-discovery' content='example.com  hdfs://s/{name}.{ext}' />
<meta name="ac-discovery" content="one">
<meta name="viewport" content="a b">
<meta name="ac-discovery-pubkeys" content="example.com https://example.com/keys.gpg">
</head><body>
<meta name="ac-discovery" content="example.com https://evil.example.org/{name}.{ext}">
</body></html>"""


def test_tags() -> None:
    assert parse_tags(PAGE) == MetaTags(
        (
            ("example.com", "https://s.example.com/{name}-{version}.{ext}?x=1"),
            ("example.com", "hdfs://s/{name}.{ext}"),
        ),
        (("example.com", "https://example.com/keys.gpg"),),
    )


def test_pages() -> None:
    assert page_urls("example.com:8443/a/b", "https") == [
        "https://example.com:8443/a/b?ac-discovery=1",
        "https://example.com:8443/a?ac-discovery=1",
        "https://example.com:8443?ac-discovery=1",
    ]
    deep = page_urls("example.com" + "/a" * 50, "https")
    assert len(deep) == MAX_PAGES
    assert deep[-1] == "https://example.com?ac-discovery=1"
    assert page_urls("example.com", "http") == ["http://example.com?ac-discovery=1"]


@pytest.mark.parametrize(
    "name",
    ["ubuntu", "library/ubuntu", "Example.com/a", "example.com/a?b", "example.com/", "", "a@b.c/d"],
)
def test_names_that_are_no_sites(name: str) -> None:
    with pytest.raises(ManifestError):
        page_urls(name, "https")


def found(
    templates: list[str], labels: dict[str, str] = LABELS, insecure: bool = False
) -> list[str]:
    tags = MetaTags(tuple(("example.com", each) for each in templates))
    return [str(image) for image, _ in locations(tags, "example.com/a", labels, insecure=insecure)]


def test_the_most_labels_win() -> None:
    assert found(
        [
            "https://h/{name}.{ext}",
            "https://h/{name}-{version}-{os}.{ext}",
            "https://h/{name}-{unknown}-{version}-{os}-{arch}.{ext}",
            "https://i/{os}/{name}-{version}.{ext}",
        ]
    ) == ["https://h/example.com/a-1.0-linux.aci", "https://i/linux/example.com/a-1.0.aci"]


def test_values_stay_values() -> None:
    labels = {"version": "1?x#{os}%"}
    assert found(["https://h/{version}.{ext}"], labels) == [
        "https://h/1%3Fx%23%7Bos%7D%25.aci",
    ]


def test_without_tls() -> None:
    templates = ["http://h/{name}.{ext}", "ftp://h/{name}.{ext}", "file:///etc/passwd", "/{name}"]
    assert found(templates) == []
    assert found(templates, insecure=True) == ["http://h/example.com/a.aci"]


def test_signatures_and_keys() -> None:
    tags = MetaTags(
        (("example.com/a", "https://h/{name}.{ext}"), ("example.org", "https://h/b")),
        (("example.com", "https://h/k"), ("example.com", "http://h/k"), ("other", "https://h/k")),
    )
    [(image, signature)] = locations(tags, "example.com/a", LABELS, insecure=False)
    assert str(image) == "https://h/example.com/a.aci"
    assert str(signature) == "https://h/example.com/a.aci.asc"
    assert key_urls(tags, "example.com/a") == ["https://h/k"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text("<>/!-[]meta name=\"'content&#;", max_size=300))
def test_any_page(page: bytes | str) -> None:
    tags = parse_tags(page.encode() if isinstance(page, str) else page)
    assert locations(tags, "example.com/a", LABELS, insecure=True) == []
