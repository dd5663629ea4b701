# SPDX-License-Identifier: Apache-2.0
"""Build a tiny x86_64 shared object with versioned symbols, for the tests of relink."""

import struct
from dataclasses import dataclass, field


class Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        offset = len(self.data)
        self.data += text.encode() + b"\0"
        return offset


@dataclass
class Shape:
    """What the library needs: libraries, versions per library, symbols (name, version, defined)."""

    needed: list[str] = field(default_factory=list)
    versions: dict[str, list[int]] = field(default_factory=dict)
    symbols: list[tuple[str, int, bool]] = field(default_factory=list)
    kind: int = 3
    machine: int = 62


def build(shape: Shape) -> bytes:
    """Return the bytes of an ELF file of ``shape``."""
    strings = Strings()
    dynamic = b"".join(struct.pack("<qQ", 1, strings.add(name)) for name in shape.needed)
    needs = bytearray()
    names = list(shape.versions)
    for name in names:
        indices = shape.versions[name]
        size = 16 + 16 * len(indices)
        step = size if name != names[-1] else 0
        needs += struct.pack("<HHIII", 1, len(indices), strings.add(name), 16, step)
        for index in indices:
            after = 16 if index != indices[-1] else 0
            needs += struct.pack("<IHHII", 0, 0, index, strings.add(f"V{index}"), after)
    symbols = bytes(24)
    versions = struct.pack("<H", 0)
    for name, version, defined in shape.symbols:
        symbols += struct.pack("<IBBHQQ", strings.add(name), 0x12, 0, 7 if defined else 0, 0, 0)
        versions += struct.pack("<H", version)

    contents = [b"", symbols, bytes(strings.data), b"", versions, bytes(needs)]
    types = [0, 11, 3, 6, 0x6FFFFFFF, 0x6FFFFFFE]
    links = [0, 2, 0, 2, 1, 2]
    # A loader knows the table of versions by its address, here the same as its file offset.
    dynamic_size = len(dynamic) + 3 * 16
    offsets = []
    at = 64
    for kind, content in zip(types, contents, strict=True):
        offsets.append(at)
        at += dynamic_size if kind == 6 else len(content)
    dynamic += struct.pack("<qQqQqQ", 0x6FFFFFFE, offsets[5], 0x6FFFFFFF, len(names), 0, 0)
    contents[3] = dynamic
    body = b"".join(contents)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        shape.kind,
        shape.machine,
        1,
        0,
        0,
        64 + len(body),
        0,
        64,
        0,
        0,
        64,
        len(contents),
        0,
    )
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", 0, kind, 0, offset, offset, len(content), link, 0, 1, 0)
        for kind, offset, content, link in zip(types, offsets, contents, links, strict=True)
    )
    return header + body + table


def read_symbols(elf: bytes) -> dict[str, tuple[int, int]]:
    """Return symbol name → (binding, version index)."""
    sections = _sections(elf)
    offset, size = sections[11]
    strings, _ = sections[3]
    versions, _ = sections[0x6FFFFFFF]
    found = {}
    for number in range(1, size // 24):
        name, info = struct.unpack_from("<IB", elf, offset + 24 * number)
        (version,) = struct.unpack_from("<H", elf, versions + 2 * number)
        end = elf.index(b"\0", strings + name)
        found[elf[strings + name : end].decode()] = (info >> 4, version)
    return found


def read_versions(elf: bytes) -> dict[str, int]:
    """Walk the needed versions as a loader does: library → number of versions."""
    sections = _sections(elf)
    dynamic, size = sections[6]
    entries = [struct.unpack_from("<qQ", elf, dynamic + at) for at in range(0, size, 16)]
    values = dict(entries)
    strings, _ = sections[3]
    found = {}
    offset = values[0x6FFFFFFE]
    for _ in range(values[0x6FFFFFFF]):
        _, count, file, _, step = struct.unpack_from("<HHIII", elf, offset)
        found[elf[strings + file : elf.index(b"\0", strings + file)].decode()] = count
        offset += step
    return found


def _sections(elf: bytes) -> dict[int, tuple[int, int]]:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    (count,) = struct.unpack_from("<H", elf, 0x3C)
    found = {}
    for number in range(count):
        fields = struct.unpack_from("<IIQQQQIIQQ", elf, table + 64 * number)
        found[fields[1]] = (fields[4], fields[5])
    return found
