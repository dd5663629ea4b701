# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.provisioner.whitelist import check_paths, keep_only
from mesos_compat.base.errors import ManifestError


def test_what_stays(tmp_path: Path) -> None:
    root = tmp_path / "root"
    outside = tmp_path / "outside"
    for path in ("etc/hosts", "etc/passwd", "usr/bin/a", "usr/lib/b", "deep/er/f", "var/x"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("1")
    outside.mkdir()
    (outside / "f").write_text("1")
    (root / "link").symlink_to(outside)
    (root / "other").symlink_to(outside)
    os.utime(root / "etc", (1, 1))
    keep_only(str(root), ["/etc/hosts", "//usr/./bin/a", "/var", "/link/f", "/none/f"])
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert found == ["etc", "etc/hosts", "link", "usr", "usr/bin", "usr/bin/a", "var"]
    assert (outside / "f").exists()
    assert (root / "etc").stat().st_mtime == 1


@pytest.mark.parametrize("path", ["etc", "", "/a/../b", "/a\0", "/" + "a/" * 300])
def test_unusable_paths(path: str) -> None:
    with pytest.raises(ManifestError):
        check_paths(["/a", path])


def test_usable_paths() -> None:
    assert check_paths(["/a", "/a/b/"]) == ("/a", "/a/b/")
