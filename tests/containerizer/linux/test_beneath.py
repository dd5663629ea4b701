# SPDX-License-Identifier: Apache-2.0
"""Paths inside a root, by the kernel's way and by ours."""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerizer.linux import beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc" / "file").write_text("inside")
    (made / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for link, target in {
        "absolute": "/etc",
        "climbing": "../../../etc",
        "usr/up": "../etc/file",
        "dangling": "/run/made",
        "loop": "loop",
        "chain": "usr/chained",
        "usr/chained": "/absolute",
    }.items():
        (made / link).symlink_to(target)
    return made


@pytest.fixture(params=["kernel", "walk"])
def root_fd(root: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "walk":
            patch.setattr(beneath, "syscall", _refuse)
        fd = beneath.open_root(str(root))
        yield fd
        os.close(fd)


def _where(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("etc/file", "etc/file"),
        ("/absolute/file", "etc/file"),
        ("climbing/file", "etc/file"),
        ("usr/up", "etc/file"),
        ("../../../etc", "etc"),
        ("etc/../../usr/./lib/", "usr/lib"),
        ("chain", "etc"),
        ("", ""),
        ("/", ""),
    ],
)
def test_nothing_leads_out(root_fd: int, root: Path, path: str, inside: str) -> None:
    assert _where(beneath.open_in_root(root_fd, path)) == str(root / inside).rstrip("/")


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("none", errno.ENOENT),
        ("dangling", errno.ENOENT),
        ("loop", errno.ELOOP),
        ("etc/file/x", errno.ENOTDIR),
    ],
)
def test_errors(root_fd: int, path: str, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        beneath.open_in_root(root_fd, path)
    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etc/file", "etc/file"),
        ("", ""),
        ("absolute/file", errno.EXDEV),
        ("climbing/file", errno.EXDEV),
        ("../root/etc", errno.EXDEV),
        ("chain", errno.EXDEV),
        ("etc/none", errno.ENOENT),
    ],
)
def test_beneath_a_sandbox(root_fd: int, root: Path, path: str, expected: str | int) -> None:
    if isinstance(expected, str):
        assert _where(beneath.open_beneath(root_fd, path)) == str(root / expected)
        return
    with pytest.raises(OSError) as caught:
        beneath.open_beneath(root_fd, path)
    assert caught.value.errno == expected


def test_create(root_fd: int, root: Path) -> None:
    made = beneath.make_directory_in_root(root_fd, "dangling/a/../b")
    assert _where(made) == str(root / "run" / "made" / "b")
    made = beneath.make_file_in_root(root_fd, "/climbing/new/name")
    assert _where(made) == str(root / "etc" / "new" / "name")
    os.close(beneath.make_file_in_root(root_fd, "etc/file"))
    assert (root / "etc" / "file").read_text() == "inside"
    with pytest.raises(NotADirectoryError):
        beneath.make_directory_in_root(root_fd, "etc/file/x")
    directory, name = beneath.make_parent_in_root(root_fd, "absolute/x/y")
    assert (name, _where(directory)) == ("y", str(root / "etc" / "x"))
    for path in ("", "/", "a/.."):
        with pytest.raises(OSError, match="Invalid argument"):
            beneath.make_parent_in_root(root_fd, path)


def test_descriptors_are_closed(root_fd: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("etc/file", "none", "loop", "chain"):
        try:
            os.close(beneath.make_file_in_root(root_fd, path))
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) <= before


_NAME = st.sampled_from(["a", "b", "c", ".."])
_PATH = st.builds(
    lambda parts, absolute: "/" * absolute + "/".join(parts),
    st.lists(_NAME, min_size=1, max_size=4),
    st.booleans(),
)


@given(links=st.dictionaries(st.sampled_from("abc"), _PATH, max_size=3), path=_PATH)
@settings(max_examples=150, deadline=None)
def test_any_tree_of_links(links: dict[str, str], path: str) -> None:
    """Our way and the kernel's agree, and both stay inside."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder).resolve() / "root"
        for directory in ("a/b", "b/c", "c/a"):
            (top / "real" / directory).mkdir(parents=True)
        for name in "abc":
            target = links.get(name, f"real/{name}")
            (top / name).symlink_to(target)
            (top / "real" / name / "up").symlink_to(target)
        fd = beneath.open_root(str(top))
        try:
            for tried in (path, f"{path}/up", f"real/{path}/a"):
                theirs = _outcome(fd, tried)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(beneath, "syscall", _refuse)
                    assert _outcome(fd, tried) == theirs
                assert isinstance(theirs, int) or (theirs + "/").startswith(f"{top}/")
        finally:
            os.close(fd)


def _outcome(fd: int, path: str) -> str | int:
    try:
        return _where(beneath.open_in_root(fd, path))
    except OSError as error:
        return error.errno or -1


def _refuse(*_: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1
