# SPDX-License-Identifier: Apache-2.0
"""The mount table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.linux import mount, mountinfo

_TABLE = b"""\
22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 31 0:30 / /a/b/c rw - tmpfs tmpfs rw
31 22 0:31 / /a/b rw,nosuid - tmpfs tmpfs rw
40 22 0:29 /mesos/x /with\\040blank\\011and\\134 ro - cgroup cgroup rw,cpu,cpuacct
"""


def test_fields_and_escapes() -> None:
    entries = mountinfo.parse(_TABLE)
    assert entries[0].tags == ("shared:1", "master:2")
    assert entries[0].shared
    assert not entries[1].shared
    last = entries[3]
    assert last.target == "/with blank\tand\\"
    assert (last.root, last.fstype, last.source) == ("/mesos/x", "cgroup", "cgroup")
    assert last.super_options == ("rw", "cpu", "cpuacct")
    assert last.options == ("ro",)


def test_parents_come_first() -> None:
    ordered = [entry.id for entry in mountinfo.breadth_first(mountinfo.parse(_TABLE))]
    assert ordered.index(31) < ordered.index(30)
    assert ordered[0] == 22


def test_containing_takes_whole_names() -> None:
    entries = mountinfo.breadth_first(mountinfo.parse(_TABLE))
    for path, number in (("/a/b/c/d", 30), ("/a/b/cc", 31), ("/a/bb", 22), ("/", 22)):
        entry = mountinfo.containing(entries, path)
        assert entry is not None
        assert entry.id == number
    assert [entry.id for entry in mountinfo.below(entries, "/a/b")] == [31, 30]


@pytest.mark.parametrize("line", [b"x", b"22 1 254:0 / / rw - ext4", b"a 1 2 / / rw - a b c"])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        mountinfo.parse(line)


def test_own_table() -> None:
    assert any(entry.target == "/" for entry in mountinfo.read())


def test_below_without_reading_all() -> None:
    found: dict[str, list[mountinfo.MountEntry]] = {}
    entries: list[mountinfo.MountEntry] | None = None
    # Others may mount meanwhile.
    while mountinfo.read() != entries:
        entries = mountinfo.read()
        paths = {"/", "/nosuch", *(entry.target for entry in entries)}
        found = {path: mountinfo.read_below(path) for path in paths}
    for path, below in found.items():
        assert [each.target for each in below] == [
            each.target for each in mountinfo.below(entries, path)
        ]


@pytest.mark.root
def test_below_a_strange_name(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    target = tmp_path / "a b\\c#\td"
    target.mkdir()
    mount.mount("tmpfs", str(target), "tmpfs")
    try:
        assert [each.target for each in mountinfo.read_below(str(target))] == [str(target)]
    finally:
        mount.umount(str(target), mount.MNT_DETACH)
