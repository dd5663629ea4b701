# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from containerizer.provisioner.streams import BlobContent, FileRegion
from containerizer.provisioner.unpack import (
    Extraction,
    UnpackLimits,
    convert_whiteouts,
    unpack_tar,
)
from mesos_compat.base.errors import UnpackError
from tests.containerizer.provisioner.images import TIME, Entry, folder, tar


def unpack(
    tmp_path: Path, entries: Sequence[Entry], limits: UnpackLimits | None = None
) -> Extraction:
    """Unpack ``entries`` to ``tmp_path/outer/root``."""
    archive = tmp_path / "layer.tar"
    archive.write_bytes(tar(entries))
    root = tmp_path / "outer" / "root"
    root.mkdir(parents=True, exist_ok=True)
    source = os.open(archive, os.O_RDONLY)
    target = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    content = BlobContent(FileRegion(source), most=1 << 30)
    try:
        return unpack_tar(content, target, limits or UnpackLimits())
    finally:
        content.close()
        assert len(os.listdir("/proc/self/fd")) == before
        os.close(source)
        os.close(target)


def tree(root: Path) -> dict[str, str]:
    """Describe a tree: kind and content of everything in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            text = f"-> {os.readlink(path)}"
        elif path.is_dir():
            text = "dir"
        elif path.is_file():
            text = path.read_text()
        else:
            text = oct(stat.S_IFMT(path.lstat().st_mode))
        found[str(path.relative_to(root))] = text
    return found


def test_content_modes_and_times(tmp_path: Path) -> None:
    unpack(
        tmp_path,
        [
            Entry("./d/f", b"1", mode=0o640, mtime=5),
            folder("d", mode=0o1755, mtime=7),
            Entry("d/later", b"2"),
            Entry("/absolute", b"3"),
            Entry("l", kind="symlink", to="/etc/passwd", mtime=9),
            Entry("p", kind="fifo", mode=0o600),
            folder(".", mode=0o711, mtime=11),
        ],
    )
    root = tmp_path / "outer" / "root"
    assert tree(root) == {
        "absolute": "3",
        "d": "dir",
        "d/f": "1",
        "d/later": "2",
        "l": "-> /etc/passwd",
        "p": "0o10000",
    }
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1755
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o640
    assert [os.lstat(root / name).st_mtime for name in ("d", "d/f", "l", ".")] == [7, 5, 9, 11]


def test_setuid_survives(tmp_path: Path) -> None:
    unpack(tmp_path, [Entry("s", b"", mode=0o6755)])
    assert stat.S_IMODE((tmp_path / "outer/root/s").stat().st_mode) == 0o6755


def test_hard_links(tmp_path: Path) -> None:
    unpack(
        tmp_path,
        [
            Entry("h/a", b"x"),
            Entry("b", kind="link", to="h/a"),
            Entry("c", kind="link", to="/h/a"),
            Entry("h/a", kind="link", to="./h/a"),
            Entry(".wh.gone", b""),
            Entry("h/.wh.other", kind="link", to=".wh.gone"),
        ],
    )
    root = tmp_path / "outer" / "root"
    assert (root / "h/a").stat().st_nlink == 3
    assert (root / "h/.wh.other").stat().st_ino == (root / ".wh.gone").stat().st_ino


def test_the_last_member_of_a_name_wins(tmp_path: Path) -> None:
    unpack(
        tmp_path,
        [
            Entry("a", b"1"),
            Entry("a", b"2"),
            folder("b"),
            Entry("b/x", b"1"),
            Entry("b", b"file"),
            Entry("c", b"file"),
            folder("c"),
            Entry("c/x", b"1"),
            folder("c"),
            Entry("d", kind="symlink", to="/etc"),
            folder("d"),
            Entry("d/x", b"in"),
        ],
    )
    assert tree(tmp_path / "outer" / "root") == {
        "a": "2",
        "b": "file",
        "c": "dir",
        "c/x": "1",
        "d": "dir",
        "d/x": "in",
    }


def test_sparse_file_keeps_its_holes(tmp_path: Path) -> None:
    size = 50_000_000
    entry = Entry(
        "s",
        b"abcxyz",
        pax={"GNU.sparse.size": str(size), "GNU.sparse.map": f"0,3,{size - 3},3"},
    )
    unpack(tmp_path, [entry])
    path = tmp_path / "outer/root/s"
    assert path.stat().st_size == size
    assert path.stat().st_blocks * 512 < 1_000_000
    with path.open("rb") as file:
        assert file.read(4) == b"abc\0"
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"\0xyz"


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([Entry("../evil", b"e")], "member '../evil': name contains '..'"),
        ([Entry("a/../../evil", b"e")], "member 'a/../../evil': name contains '..'"),
        ([folder("..")], "member '../': name contains '..'"),
        (
            [Entry("esc", kind="symlink", to="/tmp"), Entry("esc/evil", b"e")],
            "member 'esc/evil': 'esc' is a symbolic link",
        ),
        (
            [Entry("esc", kind="symlink", to=".."), folder("esc/evil")],
            "member 'esc/evil/': 'esc' is a symbolic link",
        ),
        (
            [folder("d"), Entry("d/f", b"x"), Entry("d", kind="symlink", to="/"), Entry("d/g")],
            "member 'd/g': 'd' is a symbolic link",
        ),
        ([Entry("f", b""), Entry("f/g", b"")], "member 'f/g': 'f' is no directory"),
        (
            [Entry("l", kind="link", to="../../layer.tar")],
            "member 'l': name contains '..'",
        ),
        (
            [Entry("l", kind="link", to="/etc/passwd")],
            "member 'l': hard link to '/etc/passwd', which is not in this layer",
        ),
        (
            [Entry("s", kind="symlink", to="/etc"), Entry("l", kind="link", to="s/passwd")],
            "member 'l': hard link to 's/passwd', which is not in this layer",
        ),
        (
            [folder("d"), Entry("l", kind="link", to="d")],
            "member 'l': hard link to the directory 'd'",
        ),
        ([Entry("l", kind="link", to=".")], "member 'l': hard link to '.'"),
        ([Entry(".wh...", b"")], "member '.wh...': whiteout of '..'"),
        ([Entry("d/.wh..", b"")], "member 'd/.wh..': whiteout of '.'"),
        ([Entry(".wh.", b"")], "member '.wh.': whiteout of ''"),
        ([Entry(".", b"file")], "member '.': the root is a file"),
        ([Entry("n" * 300, b"")], "File name too long"),
        ([Entry("/".join("d" * 300), b"")], "deeper than 256 directories"),
    ],
)
def test_hostile_members(tmp_path: Path, entries: list[Entry], why: str) -> None:
    with pytest.raises(UnpackError) as error:
        unpack(tmp_path, entries)
    assert why in str(error.value)
    assert os.listdir(tmp_path / "outer") == ["root"]


def test_names_are_shown_harmlessly(tmp_path: Path) -> None:
    with pytest.raises(UnpackError) as error:
        unpack(tmp_path, [Entry("\x1b[31m\n/..")])
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_number_of_members(tmp_path: Path) -> None:
    limits = UnpackLimits(members=10)
    with pytest.raises(UnpackError, match="more than 10 members"):
        unpack(tmp_path, [Entry(f"f{number}") for number in range(11)], limits)


def test_absolute_links_are_content(tmp_path: Path) -> None:
    unpack(tmp_path, [Entry("l", kind="symlink", to="/../../x")])
    assert os.readlink(tmp_path / "outer/root/l") == "/../../x"


_PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", ".wh.a", ".wh..wh..opq"])
_PATHS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join).filter(bool)
_ENTRIES = st.builds(
    Entry,
    name=_PATHS,
    data=st.binary(max_size=10),
    kind=st.sampled_from(["file", "dir", "symlink", "link", "fifo"]),
    to=st.one_of(_PATHS, st.sampled_from(["/", "/..", "../../outside"])),
    mode=st.sampled_from([0o644, 0o4755, 0o700]),
)


@given(st.lists(_ENTRIES, max_size=8))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_leaves_the_root(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    tmp_path = tmp_path_factory.mktemp("fuzz")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "outside").write_text("untouched")
    try:
        unpack(tmp_path, entries)
    except UnpackError:
        pass
    assert sorted(os.listdir(tmp_path / "outer")) in (["outside", "root"], ["outside"])
    assert sorted(os.listdir(tmp_path)) == ["layer.tar", "outer"]
    assert (tmp_path / "outer" / "outside").read_text() == "untouched"
    assert (tmp_path / "outer" / "outside").stat().st_nlink == 1


def test_order_of_whiteouts_does_not_matter(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    before = [
        Entry("d/.wh..wh..opq"),
        Entry("d/.wh.gone"),
        Entry(".wh.gone"),
        Entry("d/new", b"n"),
        Entry("d/.wh..wh.plnk"),
        folder("d", mtime=TIME),
    ]
    for number, entries in enumerate((before, before[::-1])):
        base = tmp_path / str(number)
        base.mkdir()
        root = base / "outer" / "root"
        convert_whiteouts(str(root), unpack(base, entries).whiteouts)
        assert tree(root) == {"d": "dir", "d/new": "n", "gone": "0o20000"}
        assert os.getxattr(root / "d", "trusted.overlay.opaque") == b"y"
        assert (root / "gone").lstat().st_rdev == 0
        assert (root / "d").stat().st_mtime == TIME


def test_whiteouts_below_no_directory(tmp_path: Path) -> None:
    link = Entry("d", kind="symlink", to="/etc")
    hidden = [Entry("d/.wh.a"), Entry("d/.wh..wh..opq"), Entry("d/.wh.b", kind="link", to="d")]
    unpack(tmp_path, [link, *hidden, Entry("f"), Entry("f/.wh.x")])
    assert tree(tmp_path / "outer" / "root") == {"d": "-> /etc", "f": ""}


def test_whiteout_beside_its_name(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = unpack(tmp_path, [Entry("q", b"1"), Entry(".wh.q")])
    root = tmp_path / "outer" / "root"
    with pytest.raises(UnpackError) as error:
        convert_whiteouts(str(root), found.whiteouts)
    assert str(error.value) == f"Failed to create character device '{root}/q': File exists"
