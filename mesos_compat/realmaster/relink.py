# SPDX-License-Identifier: Apache-2.0
"""Edit a libmesos so that today's loaders accept it: bytes in, bytes out, nothing executed.

The published libraries were linked on an Ubuntu of 2016 and as a Python 2 extension. A master
never calls OpenSSL, libcurl, Subversion or APR, nor Python; the edit takes these needs out of the
dynamic section and makes the symbols from there weak, so that the loader binds them to nothing.
Older versions also need libevent 2.0, whose place libevent 2.1 takes (names of equal length).
Source: System V ABI, chapter 5 (dynamic section); GNU symbol versioning.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from mesos_compat.realmaster.errors import RelinkError

#: Changes whenever ``relink`` gives other bytes for the same input: cached results are redone.
REVISION = 1

UNUSED_LIBRARIES = frozenset(
    (
        "libssl.so.1.0.0",
        "libcrypto.so.1.0.0",
        "libcurl.so.4",
        "libsvn_delta-1.so.1",
        "libsvn_subr-1.so.1",
        "libapr-1.so.0",
    )
)
UNUSED_SYMBOLS = ("svn_", "apr_", "Py", "_Py")
RENAMED_LIBRARIES = {
    f"libevent{part}-2.0.so.5": f"libevent{part}-2.1.so.7"
    for part in ("", "_core", "_extra", "_openssl", "_pthreads")
}

_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bit, little endian, version 1
_SHARED_OBJECT, _X86_64 = 3, 62
_SHT_DYNAMIC, _SHT_DYNSYM, _SHT_VERNEED, _SHT_VERSYM = 6, 11, 0x6FFFFFFE, 0x6FFFFFFF
_DT_NULL, _DT_NEEDED, _DT_VERNEED, _DT_VERNEEDNUM = 0, 1, 0x6FFFFFFE, 0x6FFFFFFF
_VERSION_GLOBAL, _VERSION_MASK = 1, 0x7FFF
_STB_WEAK = 2

_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")


def relink(elf: bytes) -> bytes:
    """Return the shared object without its needs of UNUSED_LIBRARIES.

    Raises RelinkError when ``elf`` is not an x86_64 shared object with versioned symbols.
    """
    out = bytearray(elf)
    layout = _layout(out)
    _rename(out, layout)
    dead, kept = _split_versions(out, layout)
    _edit_dynamic(out, layout, kept)
    _weaken(out, layout, dead)
    return bytes(out)


def needed_libraries(elf: bytes | bytearray | mmap) -> list[str]:
    """Return the names that the loader will look for, in its order."""
    layout = _layout(elf)
    return [
        _text(elf, layout, value) for _, tag, value in _entries(elf, layout) if tag == _DT_NEEDED
    ]


@dataclass(frozen=True, slots=True)
class _Section:
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class _Layout:
    symbols: _Section
    strings: _Section
    dynamic: _Section
    #: One 16-bit version index per symbol.
    versions: _Section
    #: The libraries that versions come from.
    needs: _Section


@dataclass(frozen=True, slots=True)
class _Need:
    """One library in the table of needed versions."""

    offset: int
    file: str
    file_offset: int
    indices: frozenset[int]


def _layout(elf: bytes | bytearray | mmap) -> _Layout:
    if elf[: len(_MAGIC)] != _MAGIC:
        raise RelinkError("The library is no 64-bit little-endian ELF file")
    kind, machine = _unpack(struct.Struct("<HH"), elf, 0x10)
    if (kind, machine) != (_SHARED_OBJECT, _X86_64):
        raise RelinkError(f"The ELF file is no x86_64 shared object (type {kind}, CPU {machine})")
    (table,) = _unpack(struct.Struct("<Q"), elf, 0x28)
    entry_size, count = _unpack(struct.Struct("<HH"), elf, 0x3A)
    if entry_size != _SECTION.size:
        raise RelinkError(f"The ELF file has section headers of {entry_size} bytes")
    sections: list[_Section] = []
    by_type: dict[int, _Section] = {}
    for number in range(count):
        fields = _unpack(_SECTION, elf, table + number * entry_size)
        section = _Section(offset=fields[4], size=fields[5], link=fields[6])
        sections.append(section)
        by_type.setdefault(fields[1], section)
    try:
        symbols = by_type[_SHT_DYNSYM]
        return _Layout(
            symbols=symbols,
            strings=sections[symbols.link],
            dynamic=by_type[_SHT_DYNAMIC],
            versions=by_type[_SHT_VERSYM],
            needs=by_type[_SHT_VERNEED],
        )
    except (KeyError, IndexError):
        raise RelinkError("The ELF file has no dynamic section with versioned symbols") from None


def _rename(out: bytearray, layout: _Layout) -> None:
    """Rename libraries in place, wherever the dynamic section or the versions name them."""
    places = [value for _, tag, value in _entries(out, layout) if tag == _DT_NEEDED]
    places += [need.file_offset for need in _needs(out, layout)]
    for place in places:
        new = RENAMED_LIBRARIES.get(_text(out, layout, place))
        if new is not None:
            start = layout.strings.offset + place
            out[start : start + len(new)] = new.encode()


def _split_versions(out: bytearray, layout: _Layout) -> tuple[set[int], list[_Need]]:
    """Unlink the versions of unused libraries; return their indices and the needs that stay."""
    dead: set[int] = set()
    kept: list[_Need] = []
    for need in _needs(out, layout):
        if need.file in UNUSED_LIBRARIES:
            dead |= need.indices
        else:
            kept.append(need)
    if not kept:
        raise RelinkError("The library needs no versioned symbols of any library that stays")
    ends = [*(need.offset for need in kept[1:]), None]
    for need, after in zip(kept, ends, strict=True):
        step = after - need.offset if after is not None else 0
        struct.pack_into("<I", out, need.offset + 12, step)
    return dead, kept


def _edit_dynamic(out: bytearray, layout: _Layout, kept: list[_Need]) -> None:
    entries = list(_entries(out, layout))
    first_need = kept[0].offset - layout.needs.offset
    remaining: list[tuple[int, int]] = []
    for _, tag, value in entries:
        if tag == _DT_NEEDED and _text(out, layout, value) in UNUSED_LIBRARIES:
            continue
        if tag == _DT_VERNEED:
            remaining.append((tag, value + first_need))
        elif tag == _DT_VERNEEDNUM:
            remaining.append((tag, len(kept)))
        else:
            remaining.append((tag, value))
    remaining += [(_DT_NULL, 0)] * (len(entries) - len(remaining))
    for (offset, _, _), entry in zip(entries, remaining, strict=True):
        _DYNAMIC.pack_into(out, offset, *entry)


def _weaken(out: bytearray, layout: _Layout, dead: set[int]) -> None:
    """Make undefined symbols weak that come from unused libraries or from Python 2."""
    for number in range(layout.symbols.size // _SYMBOL.size):
        offset = layout.symbols.offset + number * _SYMBOL.size
        name, info, _, section, _, _ = _unpack(_SYMBOL, out, offset)
        if section or not name:
            continue
        version_offset = layout.versions.offset + 2 * number
        (version,) = _unpack(struct.Struct("<H"), out, version_offset)
        from_dead = (version & _VERSION_MASK) in dead
        if from_dead or _text(out, layout, name).startswith(UNUSED_SYMBOLS):
            out[offset + 4] = _STB_WEAK << 4 | info & 0xF
        if from_dead:
            struct.pack_into("<H", out, version_offset, _VERSION_GLOBAL)


def _entries(elf: bytes | bytearray | mmap, layout: _Layout) -> Iterator[tuple[int, int, int]]:
    """Yield (file offset, tag, value) of the dynamic section."""
    for number in range(layout.dynamic.size // _DYNAMIC.size):
        offset = layout.dynamic.offset + number * _DYNAMIC.size
        tag, value = _unpack(_DYNAMIC, elf, offset)
        yield offset, tag, value


def _needs(elf: bytearray, layout: _Layout) -> Iterator[_Need]:
    offset, end = layout.needs.offset, layout.needs.offset + layout.needs.size
    while True:
        _, count, file, aux, step = _unpack(_VERNEED, elf, offset)
        indices: set[int] = set()
        aux_offset = offset + aux
        for _ in range(count):
            _, _, index, _, aux_step = _unpack(_VERNAUX, elf, aux_offset)
            indices.add(index)
            aux_offset += aux_step
        yield _Need(offset, _text(elf, layout, file), file, frozenset(indices))
        if not step:
            return
        offset += step
        if offset >= end:
            raise RelinkError("The ELF file's table of needed versions is damaged")


def _text(elf: bytes | bytearray | mmap, layout: _Layout, offset: int) -> str:
    start = layout.strings.offset + offset
    stop = elf.find(b"\0", start)
    if offset >= layout.strings.size or stop < 0:
        raise RelinkError("The ELF file's string table is damaged")
    return bytes(elf[start:stop]).decode("utf-8", "replace")


def _unpack(form: struct.Struct, elf: bytes | bytearray | mmap, offset: int) -> tuple[int, ...]:
    try:
        return form.unpack_from(elf, offset)
    except struct.error:
        raise RelinkError("The ELF file is truncated") from None
