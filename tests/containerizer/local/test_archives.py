# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.local.archives import archive_name
from mesos_compat.base.errors import ManifestError

NAMES = (
    "busybox",
    "busybox:latest",
    "library/busybox",
    "docker.io/busybox",
    "docker.io/library/busybox:latest",
    "index.docker.io/library/busybox",
)


@pytest.mark.parametrize("kept", ["busybox", "busybox:latest", "docker.io/library/busybox:latest"])
@pytest.mark.parametrize("wanted", NAMES)
def test_names_of_one_image(tmp_path: Path, kept: str, wanted: str) -> None:
    archive = tmp_path / f"{kept}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.touch()
    assert archive_name(str(tmp_path), wanted) == kept


def test_the_name_as_given_comes_first(tmp_path: Path) -> None:
    for name in ("busybox", "busybox:latest"):
        (tmp_path / f"{name}.tar").touch()
        assert archive_name(str(tmp_path), name) == name


@pytest.mark.parametrize(
    "wanted", ["busybox:1", "reg.io/busybox", "me/busybox", "busybox@sha256:ab", "library"]
)
def test_other_images_are_others(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "busybox:latest.tar").touch()
    (tmp_path / "library").mkdir()
    assert archive_name(str(tmp_path), wanted) == wanted


def test_an_unpacked_image(tmp_path: Path) -> None:
    (tmp_path / "busybox:latest").mkdir()
    (tmp_path / "busybox:latest" / "manifest.json").touch()
    assert archive_name(str(tmp_path), "busybox") == "busybox:latest"


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        archive_name(str(tmp_path), "../x")
