# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.provisioner.reference import Reference
from mesos_compat.base.errors import ManifestError


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("busybox", None, "busybox", None, None),
        ("library/busybox:1.36", None, "library/busybox", "1.36", None),
        ("localhost/a", "localhost", "a", None, None),
        ("reg.io:5000/a/b", "reg.io:5000", "a/b", None, None),
        ("reg.io/a@sha256:x", "reg.io", "a", None, "sha256:x"),
        ("a:t@sha256:x", None, "a", "t", "sha256:x"),
        ("reg.io:5000/a/b:1", "reg.io:5000", "a/b", "1", None),
    ],
)
def test_parts(
    text: str, registry: str | None, repository: str, tag: str | None, digest: str | None
) -> None:
    assert Reference.parse(text) == Reference(repository, registry, tag, digest)


def test_tag_beside_digest_is_not_shown() -> None:
    assert str(Reference.parse("a:t@sha256:x")) == "a@sha256:x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a@b@c", "Multiple '@' symbols found"),
        ("", "The name is empty"),
        ("../../etc/x", "The name contains '..'"),
        ("a/../b", "The name contains '..'"),
        ("a\0b", "The name contains a NUL character"),
        ("reg.io/", "No repository"),
        ("a" * 5000, "The name is longer than 4096 characters"),
    ],
)
def test_refused(text: str, why: str) -> None:
    with pytest.raises(ManifestError) as error:
        Reference.parse(text)
    assert str(error.value) == f"Failed to parse docker image '{text}': {why}"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("busybox", "busybox:latest", True),
        ("docker.io/library/busybox", "busybox:latest", True),
        ("library/busybox", "busybox", True),
        ("busybox:1", "busybox", False),
        ("quay.io/library/busybox", "busybox", False),
        ("quay.io/busybox", "busybox", False),
    ],
)
def test_same_image(one: str, other: str, same: bool) -> None:
    assert Reference.parse(one).same_image(Reference.parse(other)) is same


@given(st.text())
def test_text_form_is_stable(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except ManifestError:
        return
    assert str(Reference.parse(str(parsed))) == str(parsed)
