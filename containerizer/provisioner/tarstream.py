# SPDX-License-Identifier: Apache-2.0
"""Tar archives, member by member, out of a stream: old Unix, ustar, GNU and pax.

Nothing here touches a file system. Headers are bounded, names are bytes as they stand in the
archive (checked by whoever writes them), numbers are checked. Memory does not grow with the
number of members.

Source: spec ``images`` 4.10; POSIX.1-2017 ``pax``; the manual of GNU tar, "Basic Tar Format" and
"Storing Sparse Files".
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass, field

from containerizer.provisioner.streams import ByteStream, exactly, up_to
from mesos_compat.base.errors import UnpackError

BLOCK = 512

#: Most bytes of one extended header: attributes and the map of a sparse file.
MAX_EXTENDED = 8 << 20

#: Most parts that a sparse file may have.
MAX_EXTENTS = 1 << 20

_XATTR = b"SCHILY.xattr."


#: Offset and length of each part of a sparse file that has data.
Extents = tuple[tuple[int, int], ...]


class MemberKind(enum.Enum):
    """What a member is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "FIFO"


_KINDS = {
    b"1": MemberKind.HARDLINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.CHARACTER,
    b"4": MemberKind.BLOCK,
    b"5": MemberKind.DIRECTORY,
    b"6": MemberKind.FIFO,
    b"D": MemberKind.DIRECTORY,
}


@dataclass(slots=True)  # not frozen: that makes one of a hundred thousand twice as dear
class TarMember:
    """One entry of an archive, as it describes itself."""

    name: bytes
    kind: MemberKind
    mode: int
    uid: int
    gid: int
    #: Size of the file; of its data in the archive if there are no ``extents``.
    size: int
    mtime_ns: int
    #: Target of a symbolic or hard link.
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    #: Sparse file: offset and length of its data, ascending, in the order of the archive.
    extents: Extents | None = None
    #: Position in the stream of the first byte of the data, and how many there are.
    offset: int = 0
    stored: int = 0


class TarReader:
    """Reads one archive from its beginning."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._first = True

    def next(self) -> TarMember | None:
        """Return the next member, ``None`` at the end; unread data of the last is left out.

        Raises UnpackError.
        """
        if self._left:
            self._stream.skip(self._left)
        if self._padding:
            # Writers that do not end their archives leave out the padding of the last member, too.
            up_to(self._stream, self._padding)
        self._left = self._padding = 0
        extended: dict[bytes, bytes] = dict(self._global)
        sparse: list[tuple[int, int]] = []
        names: dict[bytes, bytes] = {}
        while True:
            header = up_to(self._stream, BLOCK)
            if not header or (not header[0] and not any(header)):
                if names or sparse or extended != self._global:
                    raise UnpackError("truncated after an extended header")
                return None
            if len(header) < BLOCK:
                raise UnpackError("not a tar archive" if self._first else "truncated in a header")
            _check_sum(header, self._first)
            self._first = False
            kind = header[156:157]
            if kind in (b"x", b"X", b"g"):
                data = self._extension(_number(header[124:136], "size"))
                into = self._global if kind == b"g" else extended
                _parse_pax(data, into, sparse)
                if kind == b"g":
                    extended = {**self._global, **extended}
            elif kind in (b"L", b"K"):
                data = self._extension(_number(header[124:136], "size"))
                names[kind] = data.split(b"\0", 1)[0]
            elif kind == b"V":
                self._extension(_number(header[124:136], "size"))
            elif kind == b"M":
                raise UnpackError("continues another volume")
            else:
                return self._member(header, extended, names, sparse)

    def view(self, most: int) -> memoryview:
        """Return the next bytes of the data of the last member; none at its end."""
        if not self._left:
            return memoryview(b"")
        found = self._stream.view(min(most, self._left))
        if not found:
            raise UnpackError("truncated")
        self._left -= len(found)
        return found

    def _extension(self, size: int) -> bytes:
        if size > MAX_EXTENDED:
            raise UnpackError(f"an extended header has {size} bytes")
        data = exactly(self._stream, size)
        self._stream.skip(-size % BLOCK)
        return data

    def _member(
        self,
        header: bytes,
        extended: dict[bytes, bytes],
        names: dict[bytes, bytes],
        sparse: list[tuple[int, int]],
    ) -> TarMember:
        flag = header[156:157]
        name = _text(header[0:100])
        extents: Extents | None = None
        ustar = header[257:263] == b"ustar\0"
        size = stored = _number(header[124:136], "size")
        if ustar and (prefix := _text(header[345:500])):
            name = prefix + b"/" + name
        link = _text(header[157:257])
        if names:
            name = names.get(b"L", name)
            link = names.get(b"K", link)
        if extended:
            name = extended.get(b"path", name)
            link = extended.get(b"linkpath", link)
            if b"size" in extended:
                size = stored = _decimal(extended[b"size"], "size")
        if flag == b"S":
            extents, size = self._old_sparse(header)
        kind = _KINDS.get(flag, MemberKind.FILE)
        if kind is not MemberKind.FILE and flag != b"D":
            size = stored = 0  # some writers give links and directories a size, none gives data
        self._begin(stored)
        if sparse or (extended and any(key.startswith(b"GNU.sparse.") for key in extended)):
            name = extended.get(b"GNU.sparse.name", name)
            real = extended.get(b"GNU.sparse.realsize", extended.get(b"GNU.sparse.size"))
            size = size if real is None else _decimal(real, "size")
            if extended.get(b"GNU.sparse.major") == b"1":
                extents = self._sparse_map()
            elif b"GNU.sparse.map" in extended:
                extents = _pairs(extended[b"GNU.sparse.map"].split(b","))
            elif sparse:
                extents = tuple(sparse)
        if kind is MemberKind.FILE and name.endswith(b"/") and extents is None:
            kind = MemberKind.DIRECTORY
        if b"\0" in name or b"\0" in link:
            raise UnpackError("a name contains a NUL byte")
        if extents is not None:
            _check_extents(extents, size, self._left)
        return TarMember(
            name=name,
            kind=kind,
            mode=_number(header[100:108], "mode") & 0o7777,
            uid=_owner(extended.get(b"uid"), header[108:116]),
            gid=_owner(extended.get(b"gid"), header[116:124]),
            size=size,
            mtime_ns=_time(extended.get(b"mtime"), header[136:148]),
            link=link,
            device=(
                (_number(header[329:337], "device"), _number(header[337:345], "device"))
                if kind is MemberKind.CHARACTER or kind is MemberKind.BLOCK
                else (0, 0)
            ),
            xattrs={
                key[len(_XATTR) :]: value
                for key, value in extended.items()
                if key.startswith(_XATTR)
            }
            if extended
            else {},
            extents=extents,
            offset=self._stream.position,
            stored=self._left,
        )

    def _begin(self, stored: int) -> None:
        self._left = stored
        self._padding = -stored % BLOCK

    def _old_sparse(self, header: bytes) -> tuple[Extents, int]:
        """Read the map of GNU's first format: in the header and in blocks after it."""
        found = _sparse_entries(header[386:482], 4)
        more = header[482] != 0
        while more:
            block = exactly(self._stream, BLOCK)
            found += _sparse_entries(block, 21)
            more = block[504] != 0
            if len(found) > MAX_EXTENTS:
                raise UnpackError("a sparse file has too many parts")
        return tuple(found), _number(header[483:495], "size")

    def _sparse_map(self) -> Extents:
        """Read the map of pax format 1.0: decimal lines at the beginning of the data."""
        numbers: list[bytes] = []
        wanted = 1
        partial = b""
        while len(numbers) < wanted:
            block = b""
            while len(block) < BLOCK:
                part = self.view(BLOCK - len(block))
                if not part:
                    raise UnpackError("truncated in the map of a sparse file")
                block += part
            lines = (partial + block).split(b"\n")
            partial = lines.pop()
            for line in lines:
                if len(numbers) < wanted:
                    numbers.append(line)
                if len(numbers) == 1:
                    count = _decimal(numbers[0], "number of parts")
                    if count > MAX_EXTENTS:
                        raise UnpackError("a sparse file has too many parts")
                    wanted = 1 + 2 * count
            if len(numbers) < wanted and len(partial) > 32:
                raise UnpackError("the map of a sparse file is damaged")
        return _pairs(numbers[1:])


def _check_sum(header: bytes, first: bool) -> None:
    text = header[148:156].split(b"\0", 1)[0].strip(b" ")
    try:
        wanted = int(text, 8)
    except ValueError:
        wanted = -1
    blank = header[:148] + b" " * 8 + header[156:]
    # The lower half of this is the sum (and one) modulo 65521, in a tenth of the time.
    if wanted > 0 and (wanted + 1) % 65521 == zlib.adler32(blank) & 0xFFFF:
        return
    if wanted == sum(byte - 256 if byte > 127 else byte for byte in blank):
        return
    raise UnpackError("not a tar archive" if first else "a header is damaged")


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _number(raw: bytes, what: str) -> int:
    value = _signed(raw, what)
    if value < 0:
        raise UnpackError(f"the {what} of a member is negative")
    return value


def _signed(raw: bytes, what: str) -> int:
    """Read an octal number, or GNU's form for large ones: a set bit, then two's complement."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ~(1 << (8 * len(raw) - 1))
        if raw[0] & 0x40:
            value -= 1 << (8 * len(raw) - 1)
        return value
    text = raw.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if not text.isdigit():
        raise UnpackError(f"the {what} of a member is no number")
    try:
        return int(text, 8)
    except ValueError as error:
        raise UnpackError(f"the {what} of a member is no number") from error


def _decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise UnpackError(f"the {what} of a member is no number")
    return int(text)


def _owner(extended: bytes | None, raw: bytes) -> int:
    value = _number(raw, "owner") if extended is None else _decimal(extended, "owner")
    if value >= (1 << 32) - 1:
        raise UnpackError(f"the owner {value} of a member is out of range")
    return value


def _time(extended: bytes | None, raw: bytes) -> int:
    if extended is None:
        seconds, nanoseconds = _signed(raw, "time"), 0
    else:
        whole, _, fraction = extended.partition(b".")
        digits = whole.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 20 or (fraction and not fraction.isdigit()):
            raise UnpackError("the time of a member is no number")
        seconds = int(whole)
        nanoseconds = int(fraction[:9].ljust(9, b"0") or b"0")
        if whole.startswith(b"-"):
            nanoseconds = -nanoseconds
    # What the kernel takes; file systems narrow it further by themselves.
    seconds = max(-(1 << 33), min(seconds, 1 << 34))
    return seconds * 1_000_000_000 + nanoseconds


def _parse_pax(data: bytes, into: dict[bytes, bytes], sparse: list[tuple[int, int]]) -> None:
    """Add the records ``<length> <key>=<value>\\n`` of an extended header to ``into``.

    Of one sparse format the keys repeat: their values are collected in ``sparse``.
    """
    position = 0
    start: int | None = None
    while position < len(data):
        if data[position] == 0:
            return
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise UnpackError("an extended header is damaged")
        end = position + int(digits)
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or end <= space or not record.endswith(b"\n") or not equals or not key:
            raise UnpackError("an extended header is damaged")
        value = value[:-1]
        position = end
        if key == b"GNU.sparse.offset":
            start = _decimal(value, "offset")
        elif key == b"GNU.sparse.numbytes":
            if start is None or len(sparse) >= MAX_EXTENTS:
                raise UnpackError("the map of a sparse file is damaged")
            sparse.append((start, _decimal(value, "length")))
            start = None
        elif value or key.startswith(_XATTR):
            into[key] = value
        else:
            into.pop(key, None)


def _pairs(numbers: list[bytes]) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * MAX_EXTENTS:
        raise UnpackError("the map of a sparse file is damaged")
    values = [_decimal(number, "offset") for number in numbers]
    return tuple(zip(values[::2], values[1::2], strict=True))


def _sparse_entries(raw: bytes, count: int) -> list[tuple[int, int]]:
    found = []
    for index in range(count):
        entry = raw[24 * index : 24 * index + 24]
        if len(entry) < 24 or entry[0] == 0 or entry[12] == 0:
            break
        found.append((_number(entry[:12], "offset"), _number(entry[12:], "length")))
    return found


def _check_extents(extents: Extents, size: int, stored: int) -> None:
    position = total = 0
    for offset, length in extents:
        if offset < position or offset + length > size:
            raise UnpackError("the map of a sparse file is damaged")
        position = offset + length
        total += length
    if total != stored:
        raise UnpackError("the map of a sparse file does not fit its data")
