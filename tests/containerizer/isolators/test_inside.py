# SPDX-License-Identifier: Apache-2.0
"""Mount points in images that do not mean well."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.isolators.inside import make_directory, make_file, make_mount_point


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    made = tmp_path / "rootfs"
    made.mkdir()
    return made


def test_missing_directories_are_made(rootfs: Path) -> None:
    assert make_directory(str(rootfs), "/mnt/mesos/sandbox") == f"{rootfs}/mnt/mesos/sandbox"
    assert (rootfs / "mnt" / "mesos" / "sandbox").is_dir()


@pytest.mark.parametrize("link", ["/", "..", "../../..", "/../.."])
def test_links_lead_nowhere_but_inside(rootfs: Path, link: str) -> None:
    (rootfs / "mnt").symlink_to(link)
    assert make_directory(str(rootfs), "/mnt/x") == f"{rootfs}/x"
    assert sorted(p.name for p in rootfs.parent.iterdir()) == ["rootfs"]


def test_a_dangling_link_gets_its_target(rootfs: Path) -> None:
    (rootfs / "mnt").symlink_to("/deep/down")
    assert make_directory(str(rootfs), "/mnt/x") == f"{rootfs}/deep/down/x"


def test_loops_and_files_in_the_way(rootfs: Path) -> None:
    (rootfs / "loop").symlink_to("loop")
    (rootfs / "file").touch()
    for path in ("/loop/x", "/file/x", "/file"):
        with pytest.raises(OSError, match=r"\w"):
            make_directory(str(rootfs), path)


def test_files(rootfs: Path) -> None:
    (rootfs / "etc").mkdir()
    (rootfs / "etc" / "hosts").write_text("mine")
    outside = rootfs.parent / "outside"
    outside.write_text("host's")
    (rootfs / "etc" / "hostname").symlink_to(outside)
    assert make_file(str(rootfs), "/etc/hosts") == f"{rootfs}/etc/hosts"
    assert (rootfs / "etc" / "hosts").read_text() == "mine"
    assert make_file(str(rootfs), "/etc/hostname") == f"{rootfs}/etc/hostname"
    assert (rootfs / "etc" / "hostname").read_text() == ""
    assert outside.read_text() == "host's"
    assert make_file(str(rootfs), "/new/file") == f"{rootfs}/new/file"
    (rootfs / "etc" / "dir").mkdir()
    with pytest.raises(OSError, match=r"\w"):
        make_file(str(rootfs), "/etc/dir")


def test_mount_points_by_kind(rootfs: Path) -> None:
    (rootfs / "run").mkdir()
    (rootfs / "var").symlink_to("/")
    made = make_mount_point(str(rootfs), "/var/run/x", directory=False)
    assert made == f"{rootfs}/run/x"
    assert (rootfs / "run" / "x").is_file()
    assert make_mount_point(str(rootfs), "/var/run/x", directory=False) == made
    with pytest.raises(OSError, match=r"\w"):
        make_mount_point(str(rootfs), "/var/run/x", directory=True)
    with pytest.raises(OSError, match=r"\w"):
        make_mount_point(str(rootfs), "/run", directory=False)
