# SPDX-License-Identifier: Apache-2.0
"""Signals to all processes that came of a task.

Every process is stopped before it gets its signal, so none forks away meanwhile.

Source: spec ``executors`` 5.4, 5.7.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from containerizer.linux import proc


@dataclass(frozen=True, slots=True)
class Kin:
    """What decides whether a process belongs to a task."""

    pid: int
    parent: int
    group: int
    session: int


def family(root: int, own: Kin, everybody: Mapping[int, Kin]) -> list[int]:
    """Return the processes that came of ``root``, which leads its group and session.

    Descendants, and all in the groups and sessions of any of them, but never the executor
    ``own`` nor its group and session. Works when ``root`` is gone.
    """
    children: dict[int, list[int]] = {}
    for kin in everybody.values():
        children.setdefault(kin.parent, []).append(kin.pid)
    found: dict[int, None] = {}
    groups, sessions = {root}, {root}
    queue = [root]
    while queue:
        while queue:
            pid = queue.pop()
            member = everybody.get(pid)
            if member is None or pid in found or pid == own.pid:
                continue
            found[pid] = None
            groups.add(member.group)
            sessions.add(member.session)
            queue.extend(children.get(pid, ()))
        groups.discard(own.group)
        sessions.discard(own.session)
        queue = [
            kin.pid
            for kin in everybody.values()
            if (kin.group in groups or kin.session in sessions)
            and kin.pid not in found
            and kin.pid != own.pid
        ]
    return list(found)


def signal_tree(root: int, number: int) -> str:
    """Send ``number`` to all that came of our child ``root``; return a drawing of whom."""
    own = _kin_of("self")
    if own is None or own.pid != os.getpid():
        # No /proc, or that of another namespace: the group is all we can name.
        _signal(-root, number)
        return draw(root, {}, {})
    stopped: dict[int, None] = {}
    everybody: dict[int, Kin] = {}
    while True:
        everybody = {kin.pid: kin for kin in map(_kin, proc.all_stats())}
        fresh = [pid for pid in family(root, own, everybody) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
            stopped[pid] = None
    members = {pid: everybody[pid] for pid in stopped if pid in everybody}
    picture = draw(root, members, {pid: _command(pid) for pid in members})
    for pid in stopped:
        _signal(pid, number)
    for pid in stopped:
        _signal(pid, signal.SIGCONT)
    if not stopped:
        _signal(root, number)
    return picture


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone, or become somebody else whom we may not touch.
        pass


def _kin_of(pid: str) -> Kin | None:
    try:
        return _kin(proc.stat(pid))
    except OSError:
        return None


def _kin(stat: proc.ProcessStat) -> Kin:
    return Kin(stat.pid, stat.parent, stat.group, stat.session)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).replace(b"\0", b" ").decode("utf-8", "surrogateescape")
        return words.replace("\n", " ") or f"({proc.stat(pid).name})"
    except OSError:
        return "(gone)"


def draw(root: int, members: Mapping[int, Kin], commands: Mapping[int, str]) -> str:
    """Draw the trees that ``members`` form; that of ``root`` first."""
    tops = [pid for pid, kin in members.items() if kin.parent not in members]
    tops.sort(key=lambda pid: pid != root)
    trees = [_draw_one(pid, members, commands) for pid in tops] or [f"--- {root} "]
    return "[ \n" + " \n".join(trees) + "\n]"


def _draw_one(pid: int, members: Mapping[int, Kin], commands: Mapping[int, str]) -> str:
    lines: list[str] = []
    #: Pid, the indentation of its line and that of what is below it.
    stack: list[tuple[int, str, str]] = [(pid, "", "")]
    while stack:
        here, first, below = stack.pop()
        children = _children(here, members)
        knot = "-+- " if children else "--- "
        lines.append(f"{first}{knot}{here} {commands.get(here, '')}")
        for child in reversed(children):
            last = child == children[-1]
            stack.append(
                (child, below + (" \\" if last else " |"), below + ("  " if last else " |"))
            )
    return "\n".join(lines)


def _children(pid: int, members: Mapping[int, Kin]) -> list[int]:
    return [kin.pid for kin in members.values() if kin.parent == pid]
