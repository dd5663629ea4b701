# SPDX-License-Identifier: Apache-2.0
"""What a running container uses now, read by whoever wants to know, without its engine."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from containerizer.linux import cgroup1, proc
from containerizer.linux.cgroup1 import CgroupLayout

_V2 = cgroup1.V2_MOUNT_POINT
#: No limit, as version 1 writes it: the largest multiple of a page.
_UNLIMITED_V1 = 1 << 62


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures of one moment; ``None`` where the host does not tell."""

    #: User and system time so far.
    cpu_s: float | None = None
    memory_bytes: int | None = None
    #: ``None`` without a limit, too.
    memory_limit_bytes: int | None = None
    processes: int | None = None
    #: Share of the last ten seconds in which something waited, percent.
    cpu_pressure: float | None = None
    memory_pressure: float | None = None
    io_pressure: float | None = None


def sample(root: str, container: str, pid: int) -> Sample:
    """Measure the container in the cgroups ``<root>/<container>``, or else the tree of ``pid``."""
    relative = os.path.join(root, container)
    if cgroup1.layout() is CgroupLayout.V2:
        cgroup = os.path.join(_V2, relative)
        return _unified(cgroup) if os.path.isdir(cgroup) else _tree(pid)
    places = {
        controller: os.path.join(hierarchy, relative)
        for controller, hierarchy in cgroup1.hierarchies().items()
        if os.path.isdir(os.path.join(hierarchy, relative))
    }
    if "freezer" not in places:
        return _tree(pid)
    limit = _number(places.get("memory"), "memory.limit_in_bytes")
    nanoseconds = _number(places.get("cpuacct"), "cpuacct.usage")
    return Sample(
        cpu_s=None if nanoseconds is None else nanoseconds / 1e9,
        memory_bytes=_number(places.get("memory"), "memory.usage_in_bytes"),
        memory_limit_bytes=None if limit is None or limit >= _UNLIMITED_V1 else limit,
        processes=len(cgroup1.all_processes(places["freezer"])),
    )


def _unified(cgroup: str) -> Sample:
    usec = None
    with contextlib.suppress(OSError):
        usec = cgroup1.stat_values(cgroup1.read(cgroup, "cpu.stat")).get("usage_usec")
    processes = cgroup1.all_processes(cgroup)
    return Sample(
        cpu_s=None if usec is None else usec / 1e6,
        memory_bytes=_number(cgroup, "memory.current"),
        memory_limit_bytes=_number(cgroup, "memory.max"),
        processes=len(processes),
        cpu_pressure=_pressure(cgroup, "cpu.pressure"),
        memory_pressure=_pressure(cgroup, "memory.pressure"),
        io_pressure=_pressure(cgroup, "io.pressure"),
    )


def _tree(pid: int) -> Sample:
    """Add up ``pid`` and the processes that descend from it."""
    own = proc.tree(pid)
    ticks = sum(entry.user_ticks + entry.system_ticks for entry in own)
    return Sample(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        memory_bytes=sum(e.resident_pages for e in own) * os.sysconf("SC_PAGE_SIZE"),
        processes=len(own),
    )


def _number(cgroup: str | None, control: str) -> int | None:
    if cgroup is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        return int(cgroup1.read(cgroup, control))
    return None


def _pressure(cgroup: str, control: str) -> float | None:
    """Read ``some avg10=…``; ``None`` if the kernel does not count it."""
    with contextlib.suppress(OSError, ValueError):
        for word in cgroup1.read(cgroup, control).split():
            if word.startswith("avg10="):
                return float(word.removeprefix("avg10="))
    return None
