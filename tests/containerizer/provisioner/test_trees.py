# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.provisioner.trees import (
    copy_layers,
    discard_tree,
    empty_directory,
    remove_tree,
)


def test_removal_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d" / "link").symlink_to(outside)
    remove_tree(str(tree))
    remove_tree(str(tree))
    remove_tree(str(tmp_path / "no" / "parent"))
    (tmp_path / "link").symlink_to(outside)
    remove_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_removal_of_a_deep_tree(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    top = fd
    os.mkdir("deep", dir_fd=fd)
    for _ in range(3000):
        inner = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.mkdir("deep", dir_fd=inner)
        if fd != top:
            os.close(fd)
        fd = inner
    os.close(fd)
    os.close(top)
    remove_tree(str(tmp_path / "deep"))
    assert os.listdir(tmp_path) == []


def test_emptying(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "f").touch()
    empty_directory(str(tmp_path / "d"))
    empty_directory(str(tmp_path / "none"))
    assert os.listdir(tmp_path / "d") == []
    discard_tree("/proc/self")
    assert "Failed to remove '/proc/self'" in caplog.text


def test_copies_need_no_root(tmp_path: Path) -> None:
    for layer, names in {"lower": ["a", "d/x", "d/y", "f"], "upper": ["d/.wh.x", "a/b"]}.items():
        for name in names:
            path = tmp_path / layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(layer)
    os.link(tmp_path / "lower" / "f", tmp_path / "lower" / "g")
    (tmp_path / "upper" / "f").write_text("new")
    (tmp_path / "root").mkdir()
    layers = [(str(tmp_path / name), frozenset[bytes]()) for name in ("lower", "upper")]
    copy_layers(layers, str(tmp_path / "root"))
    found = {
        str(path.relative_to(tmp_path / "root")): path.read_text()
        for path in (tmp_path / "root").rglob("*")
        if path.is_file()
    }
    # The file that was replaced keeps its other name, with its old content.
    assert found == {"a/b": "upper", "d/y": "lower", "f": "new", "g": "lower"}
