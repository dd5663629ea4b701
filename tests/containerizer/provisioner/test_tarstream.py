# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerizer.provisioner.streams import FileRegion
from containerizer.provisioner.tarstream import MemberKind, TarMember, TarReader
from mesos_compat.base.errors import UnpackError
from tests.containerizer.provisioner.images import Entry, folder, tar


class Memory:
    """A stream that gives its bytes in small pieces."""

    def __init__(self, data: bytes, piece: int = 700) -> None:
        self._data = data
        self._piece = piece
        self.position = 0

    def some(self, most: int) -> bytes:
        found = self._data[self.position : self.position + min(most, self._piece)]
        self.position += len(found)
        return found

    def view(self, most: int) -> memoryview:
        return memoryview(self.some(most))

    def skip(self, count: int) -> None:
        if self.position + count > len(self._data):
            raise UnpackError("truncated")
        self.position += count


def members(data: bytes) -> list[tuple[TarMember, bytes]]:
    reader = TarReader(Memory(data))
    found = []
    while (member := reader.next()) is not None:
        body = b""
        while part := reader.view(100):
            body += part
        found.append((member, body))
    return found


@pytest.mark.parametrize(
    "format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_kinds_and_attributes(format: int) -> None:
    found = members(
        tar(
            [
                folder("d", mode=0o1777, uid=5, gid=6),
                Entry("d/f", b"data", mode=0o4755, mtime=12),
                Entry("l", kind="symlink", to="/abs"),
                Entry("h", kind="link", to="d/f"),
                Entry("c", kind="char", device=(1, 3)),
                Entry("b", kind="block", device=(8, 300)),
                Entry("p", kind="fifo"),
            ],
            format,
        )
    )
    assert [m.kind for m, _ in found] == [
        MemberKind.DIRECTORY,
        MemberKind.FILE,
        MemberKind.SYMLINK,
        MemberKind.HARDLINK,
        MemberKind.CHARACTER,
        MemberKind.BLOCK,
        MemberKind.FIFO,
    ]
    assert (found[0][0].mode, found[0][0].uid, found[0][0].gid) == (0o1777, 5, 6)
    assert found[1][1] == b"data"
    assert found[1][0].mtime_ns == 12_000_000_000
    assert found[2][0].link == b"/abs"
    assert found[5][0].device == (8, 300)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str)
def test_long_names_and_large_numbers(format: int) -> None:
    name = "/".join(["directory"] * 40)
    found = members(
        tar(
            [Entry(name, b"x", uid=3_000_000, mtime=1e10), Entry("l", kind="symlink", to=name)],
            format,
        )
    )
    assert found[0][0].name == name.encode()
    assert found[0][0].uid == 3_000_000
    assert found[0][0].mtime_ns == 10**19
    assert found[1][0].link == name.encode()


def test_pax_attributes() -> None:
    value = "a\nb\0c\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    (member, _), (plain, _) = members(
        tar([Entry("f", b"", pax={"SCHILY.xattr.user.a": value, "mtime": "-1.5"}), Entry("g")])
    )
    assert member.xattrs == {b"user.a": value.encode("utf-8", "surrogateescape")}
    assert member.mtime_ns == -1_500_000_000
    assert plain.xattrs == {}


def test_global_header_holds_until_the_end() -> None:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "77"}
    ) as t:
        t.addfile(tarfile.TarInfo("a"))
        t.addfile(tarfile.TarInfo("b"))
    assert [member.uid for member, _ in members(out.getvalue())] == [77, 77]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
    ids=" ".join,
)
def test_sparse_files_of_gnu_tar(tmp_path: Path, arguments: list[str]) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        for number in range(60):
            file.seek(number * 1_000_000)
            file.write(b"%06d" % number)
        file.truncate(70_000_000)
    subprocess.run(
        ["tar", "-c", "-S", *arguments, "-f", "a.tar", "sparse"], cwd=tmp_path, check=True
    )
    [(member, body)] = members((tmp_path / "a.tar").read_bytes())
    assert member.name == b"sparse"
    assert member.size == 70_000_000
    assert member.extents is not None
    assert len(body) < 1_000_000
    image = bytearray(member.size)
    for offset, length in member.extents:
        image[offset : offset + length] = body[:length]
        body = body[length:]
    assert image == (tmp_path / "sparse").read_bytes()


def test_empty_and_unfinished_archives() -> None:
    assert members(b"") == []
    assert members(bytes(1024)) == []
    data = tar([Entry("a", b"x" * 600)])
    assert len(members(data[: 512 + 1024])) == 1
    assert members(data[: 512 + 600])[0][1] == b"x" * 600


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"not a tar" * 100, "not a tar archive"),
        (b"short", "not a tar archive"),
        (tar([Entry("a", b"x" * 600)])[:900], "truncated"),
        (tar([Entry("a"), Entry("b")])[:700], "truncated in a header"),
        (tar([Entry("a" * 200)])[:1024], "truncated after an extended header"),
        (tar([Entry("a"), Entry("b")])[:600].ljust(2048, b"x"), "a header is damaged"),
    ],
)
def test_damage(data: bytes, why: str) -> None:
    with pytest.raises(UnpackError) as error:
        members(data)
    assert str(error.value) == why


def header(flag: bytes, size: int, name: bytes = b"x") -> bytes:
    info = bytearray(tarfile.TarInfo(name.decode()).tobuf(tarfile.GNU_FORMAT)[:512])
    info[156:157] = flag
    info[124:136] = b"%011o\0" % size if size >= 0 else b"\xff" * 12
    info[148:156] = b" " * 8
    info[148:156] = b"%06o\0 " % sum(info)
    return bytes(info)


def pax(*records: bytes) -> bytes:
    body = b""
    for record in records:
        length = len(record) + 3
        while len(b"%d %s\n" % (length, record)) != length:
            length += 1
        body += b"%d %s\n" % (length, record)
    return header(b"x", len(body)) + body.ljust(-(-len(body) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(b"x", 1 << 30), "an extended header has"),
        (header(b"L", 1 << 30), "an extended header has"),
        (header(b"0", -1), "the size of a member is negative"),
        (header(b"M", 0), "continues another volume"),
        (header(b"x", 512) + b"zzz".ljust(512, b"\0"), "an extended header is damaged"),
        (header(b"x", 512) + b"99999 a=b\n".ljust(512, b"\0"), "an extended header is damaged"),
        (header(b"x", 512) + b"0 a=b\n".ljust(512, b"\0"), "an extended header is damaged"),
        (pax(b"path=a\0b") + header(b"0", 0), "a name contains a NUL byte"),
        (pax(b"size=-1") + header(b"0", 0), "the size of a member is no number"),
        (pax(b"uid=4294967295") + header(b"0", 0), "the owner 4294967295"),
        (pax(b"mtime=nan") + header(b"0", 0), "the time of a member is no number"),
        (
            pax(b"GNU.sparse.size=9", b"GNU.sparse.map=5,1,3,1") + header(b"0", 2),
            "the map of a sparse file is damaged",
        ),
        (
            pax(b"GNU.sparse.size=9", b"GNU.sparse.map=0,8") + header(b"0", 2),
            "the map of a sparse file does not fit its data",
        ),
        (
            pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=9")
            + header(b"0", 512)
            + b"99999999\n".ljust(512, b"\0"),
            "a sparse file has too many parts",
        ),
    ],
)
def test_hostile_headers(data: bytes, why: str) -> None:
    with pytest.raises(UnpackError, match=why):
        members(data + bytes(1024))


def test_links_have_no_data_whatever_their_size_says() -> None:
    found = members(header(b"1", 5000) + header(b"0", 0, b"next") + bytes(1024))
    assert [member.name for member, _ in found] == [b"x", b"next"]


_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(st.tuples(_NAMES, st.binary(max_size=2000), st.integers(0, 0o7777)), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@settings(max_examples=50)
def test_same_as_the_writer(entries: list[tuple[str, bytes, int]], format: int) -> None:
    data = tar([Entry(name, body, mode=mode) for name, body, mode in entries], format)
    found = [(body, member.mode) for member, body in members(data)]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        kinds = [info.isreg() for info in archive.getmembers()]
    wanted = [
        (body if regular else b"", mode)
        for (_, body, mode), regular in zip(entries, kinds, strict=True)
    ]
    assert [f for f, regular in zip(found, kinds, strict=True) if regular] == [
        w for w, regular in zip(wanted, kinds, strict=True) if regular
    ]


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused(position: int, noise: bytes) -> None:
    data = bytearray(tar([folder("d"), Entry("d/" + "n" * 150, b"x" * 900), Entry("z", b"1")]))
    data[position : position + len(noise)] = noise
    try:
        members(bytes(data))
    except UnpackError:
        pass


def test_file_region_skips_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar([Entry("a", b"x" * 5000), Entry("b", b"y")]))
    fd = os.open(path, os.O_RDONLY)
    reader = TarReader(FileRegion(fd))
    first = reader.next()
    second = reader.next()
    assert first is not None
    assert second is not None
    assert os.pread(fd, first.stored, first.offset) == b"x" * 5000
    assert os.pread(fd, second.stored, second.offset) == b"y"
    os.close(fd)
