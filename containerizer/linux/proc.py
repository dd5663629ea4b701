# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them.

A process that vanished is ``ProcessLookupError``, whichever call found out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

#: Seconds by which a process may seem to have started later: clock ticks are rounded.
_ROUNDING_S = 1.0


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The first fields of ``/proc/<pid>/stat`` and the start time."""

    pid: int
    name: str
    #: One letter, see proc(5): R, S, D, T, t, Z, X …
    state: str
    parent: int
    group: int
    session: int
    #: Clock ticks of user and system mode, own threads only.
    user_ticks: int
    system_ticks: int
    #: Clock ticks after boot; with the pid it names a process once and for all.
    start_ticks: int
    resident_pages: int


def stat(pid: int | str) -> ProcessStat:
    """Read the stat file of a process. Raises ProcessLookupError if it is gone."""
    return parse_stat(_read(pid, "stat"))


def parse_stat(data: bytes) -> ProcessStat:
    """Read the content of a stat file; the name may hold anything, even ``) R``."""
    head, _, tail = data.rpartition(b")")
    number, _, name = head.partition(b"(")
    fields = tail.split()
    return ProcessStat(
        pid=int(number),
        name=os.fsdecode(name),
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        user_ticks=int(fields[11]),
        system_ticks=int(fields[12]),
        start_ticks=int(fields[19]),
        resident_pages=int(fields[21]),
    )


def status(pid: int | str) -> dict[str, str]:
    """Read ``/proc/<pid>/status``. Raises ProcessLookupError if the process is gone."""
    lines = _read(pid, "status").decode("utf-8", "surrogateescape").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def runs_since(pid: int, moment: float) -> bool:
    """Whether a process runs that had this pid at ``moment`` (time of day, to about a second)."""
    try:
        found = stat(pid)
    except ProcessLookupError:
        return False
    if found.state in "ZX":
        return False
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - found.start_ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s <= moment + _ROUNDING_S


def pids() -> list[int]:
    """Return the pids of all processes now."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def all_stats() -> Iterator[ProcessStat]:
    """Return what can be read of all processes; those that vanish meanwhile are left out."""
    for pid in pids():
        try:
            yield stat(pid)
        except ProcessLookupError:
            continue


def children(pid: int) -> list[int]:
    """Return the direct children of a process; none if it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    try:
        found: list[int] = []
        for thread in threads:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
        return found
    except (FileNotFoundError, ProcessLookupError):
        # Without CONFIG_PROC_CHILDREN the file is missing for the living too.
        return [entry.pid for entry in all_stats() if entry.parent == pid]


def tree(root: int) -> list[ProcessStat]:
    """Return a process and all that descend from it, parents first; none if it is gone.

    Costs as much as the tree is large, however many other processes there are.
    """
    found: list[ProcessStat] = []
    pending = [root]
    seen = {root}
    while pending:
        pid = pending.pop()
        try:
            found.append(stat(pid))
        except ProcessLookupError:
            continue
        fresh = [child for child in children(pid) if child not in seen]
        seen.update(fresh)
        pending += fresh
    return found


def is_zombie_or_gone(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        return stat(pid).state in "ZX"
    except ProcessLookupError:
        return True


def cgroups(pid: int | str) -> dict[str, str]:
    """Return the cgroup of a process per controller; ``name=…`` for named ones, "" for v2."""
    found: dict[str, str] = {}
    for line in _read(pid, "cgroup").decode("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _read(pid: int | str, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, "No such process", error.filename) from error
