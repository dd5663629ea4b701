# SPDX-License-Identifier: Apache-2.0
"""Nothing below a root goes through a link or leaves it, with and without openat2."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import prctl
from mesos_compat.base import beneath
from mesos_compat.base.beneath import RemovalStopped, Root

NOBODY = 65534


@pytest.fixture(params=["openat2", "walk"])
def root(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Root]:
    if request.param == "walk":
        monkeypatch.setattr(beneath, "_openat2_usable", False)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "root").mkdir()
    with Root(str(tmp_path / "root")) as opened:
        yield opened


def read(root: Root, path: str) -> bytes:
    with open(root.open(path), "rb") as file:
        return file.read()


def test_create_and_open(root: Root) -> None:
    root.makedirs("a/b/./c", 0o700)
    with open(root.create("a/b/c/f", 0o640), "wb") as file:
        file.write(b"x")
    assert read(root, "a//b/c/f") == b"x"
    assert root.lstat("a/b/c/f").st_mode & 0o777 == 0o640
    with pytest.raises(FileExistsError):
        root.create("a/b/c/f")
    os.close(root.open("."))
    assert root.lstat("").st_ino == os.fstat(root.fd).st_ino


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside/secret", "a/../../x", "x\0y"])
def test_leaving_paths_are_refused(root: Root, path: str) -> None:
    for act in (root.open, root.create, root.remove, root.makedirs, root.lstat):
        with pytest.raises(OSError) as caught:
            act(path)
        assert caught.value.errno in (errno.EXDEV, errno.EINVAL)


@pytest.mark.parametrize("target", ["../outside", "/", "."])
def test_links_on_the_way_are_refused(root: Root, target: str) -> None:
    root.symlink(target, "link")
    for act in (
        lambda: root.open("link"),
        lambda: root.open("link/secret"),
        lambda: root.create("link/new"),
        lambda: root.mkdir("link/new"),
        lambda: root.symlink("x", "link/new"),
        lambda: root.link("link/secret", "here"),
        lambda: root.remove("link/secret"),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileExistsError):
        root.mkdir("link")
    assert (Path(root.path).parent / "outside" / "secret").exists()


def test_a_link_is_removed_itself(root: Root) -> None:
    root.mkdir("d")
    root.symlink("../../outside", "d/link")
    root.remove("d")
    assert os.listdir(root.fd) == []
    assert (Path(root.path).parent / "outside" / "secret").exists()


def test_hard_links(root: Root) -> None:
    os.close(root.create("f"))
    root.link("f", "g")
    assert root.lstat("f").st_ino == root.lstat("g").st_ino


def test_remove_is_not_recursive_in_depth(root: Root) -> None:
    folder = os.open(".", os.O_RDONLY, dir_fd=root.fd)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=folder)
        os.close(os.open("file", os.O_CREAT, dir_fd=folder))
        below = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    root.remove("deep")
    root.remove("deep")
    root.remove("not/there")
    assert os.listdir(root.fd) == ["file"]
    root.clear()
    assert os.listdir(root.fd) == []


def test_a_removal_can_be_stopped_and_ended_later(root: Root) -> None:
    root.makedirs("tree/below")
    for number in range(10):
        os.close(root.create(f"tree/below/{number}"))
    asked = iter(range(100))
    with pytest.raises(RemovalStopped):
        root.remove("tree", lambda: next(asked) > 5)
    assert 0 < sum(len(files) for _, _, files in os.walk(root.path)) < 10
    with pytest.raises(RemovalStopped):
        root.clear(lambda: True)
    root.clear()
    assert os.listdir(root.path) == []


def test_what_goes_meanwhile_is_fine(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("tree/a/b/c", "tree/a/d/e", "other/f"):
        root.makedirs(path)
        os.close(root.create(f"{path}/file"))
    rename, rmdir = os.rename, os.rmdir

    def vanished(name: str, moved: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(name, moved, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        shutil.rmtree(f"/proc/self/fd/{dst_dir_fd}/{moved}")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def twice(name: str, *, dir_fd: int) -> None:
        rmdir(name, dir_fd=dir_fd)
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rename", vanished)
    root.remove("tree")
    monkeypatch.undo()
    monkeypatch.setattr(os, "rmdir", twice)
    root.remove("other")
    monkeypatch.undo()
    assert os.listdir(root.path) == []


def test_closing_again_is_harmless(root: Root) -> None:
    root.close()
    root.close()


def test_what_resists_does_not_keep_the_rest(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.makedirs("tree/a/b")
    for path in ("tree/first", "tree/a/kept", "tree/a/b/other"):
        os.close(root.create(path))
    unlink = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if path == "kept":
            raise OSError(errno.EIO, "refused")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError, match="refused"):
        root.remove("tree")
    left = [names for _, _, names in os.walk(root.path)]
    assert [name for names in left for name in names] == ["kept"]
    monkeypatch.undo()
    root.remove("tree")
    assert os.listdir(root.path) == []


def test_modes_of_the_host_are_left_alone() -> None:
    mode = os.stat("/proc").st_mode
    with Root("/proc") as root, pytest.raises(OSError):
        root.remove("self")
    assert os.stat("/proc").st_mode == mode


@pytest.mark.root
def test_modes_that_forbid_removal_to_others_than_root(root: Root) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    os.fchown(root.fd, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        prctl.set_dumpable(True)  # or else /proc/self stays root's
        for path in ("tree/a/b", "tree/c"):
            root.makedirs(path)
            os.close(root.create(f"{path}/file"))
        for path, mode in (("tree/a/b", 0), ("tree/a", 0o500), ("tree/c", 0o600)):
            folder, name = root.parent(path)
            os.chmod(name, mode, dir_fd=folder)
            os.close(folder)
        root.remove("tree")
        assert os.listdir(root.fd) == []
    finally:
        os.seteuid(0)
        prctl.set_dumpable(True)
