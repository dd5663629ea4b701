# SPDX-License-Identifier: Apache-2.0
"""The mount table of a process, read and understood.

Source: proc(5) "mountinfo"; spec ``isolators-fs-net`` 1.5.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What kernels write as octal numbers, some of them more than others.
_UNPLAIN = re.compile(rb"[^\w/.:-]")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of ``/proc/<pid>/mountinfo``, paths with their escapes decoded."""

    id: int
    parent: int
    device: str
    #: Path inside the file system that forms the root of this mount.
    root: str
    target: str
    options: tuple[str, ...]
    #: Tags such as ``shared:3`` and ``master:1``.
    tags: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def shared(self) -> bool:
        """Whether mounts below it spread to a peer group."""
        return any(tag.startswith("shared:") for tag in self.tags)


def parse(data: bytes) -> list[MountEntry]:
    """Read a mount table in the kernel's order. Raises ValueError for a line that is none."""
    return [_entry(line) for line in data.split(b"\n") if line]


def read(pid: int | str = "self") -> list[MountEntry]:
    """Return the mount table that the process sees."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        return parse(file.read())


def read_below(path: str) -> list[MountEntry]:
    """Return the mounts at or below ``path`` that this process sees, in the order of the table.

    The lines of all others are not taken apart: there may be thousands.
    """
    needle = b" " + _UNPLAIN.split(os.fsencode(path), 1)[0]
    with open("/proc/self/mountinfo", "rb") as file:
        data = file.read()
    found: list[MountEntry] = []
    at = data.find(needle)
    while at >= 0:
        end = data.find(b"\n", at)
        found.append(_entry(data[data.rfind(b"\n", 0, at) + 1 : end]))
        at = data.find(needle, end)
    return below(found, path)


def breadth_first(entries: Sequence[MountEntry]) -> list[MountEntry]:
    """Sort so that parents precede their children; an entry without visible parent is a root."""
    known = {entry.id for entry in entries}
    children: dict[int, list[MountEntry]] = {}
    queue: deque[MountEntry] = deque()
    for entry in entries:
        if entry.parent == entry.id or entry.parent not in known:
            queue.append(entry)
        else:
            children.setdefault(entry.parent, []).append(entry)
    ordered = []
    while queue:
        entry = queue.popleft()
        ordered.append(entry)
        queue.extend(children.get(entry.id, ()))
    return ordered


def containing(entries: Sequence[MountEntry], path: str) -> MountEntry | None:
    """Return the topmost mount that holds ``path``, which must be absolute and canonical."""
    for entry in reversed(entries):
        if is_below(path, entry.target):
            return entry
    return None


def below(entries: Iterable[MountEntry], path: str) -> list[MountEntry]:
    """Return the mounts at or below ``path`` in the order of the table."""
    return [entry for entry in entries if is_below(entry.target, path)]


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies below it, by name."""
    if directory == "/":
        return path.startswith("/")
    return path == directory or path.startswith(directory + "/")


def _entry(line: bytes) -> MountEntry:
    fields = line.split(b" ")
    try:
        dash = fields.index(b"-", 6)
        fstype, source, super_options = fields[dash + 1 : dash + 4]
        return MountEntry(
            id=int(fields[0]),
            parent=int(fields[1]),
            device=fields[2].decode(),
            root=_decoded(fields[3]),
            target=_decoded(fields[4]),
            options=tuple(_decoded(fields[5]).split(",")),
            tags=tuple(_decoded(tag) for tag in fields[6:dash]),
            fstype=_decoded(fstype),
            source=_decoded(source),
            super_options=tuple(_decoded(super_options).split(",")),
        )
    except (ValueError, IndexError) as error:
        raise ValueError(f"not a line of mountinfo: {line!r}") from error


def _decoded(field: bytes) -> str:
    plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)
    return plain.decode("utf-8", "surrogateescape")
