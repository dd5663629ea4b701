# SPDX-License-Identifier: Apache-2.0
"""Control groups, version 2: one tree, controllers handed down, processes in leaves only.

A container has two cgroups: one with its limits, and in it ``leaf`` with its processes, because
the kernel wants no processes where controllers are handed on. As in ``cgroup1``, whose access to
files this module shares, cgroups are absolute paths and whatever takes time yields delays.

Source: spec ``isolators-resources`` 3.3, 5 and ``containerizer`` 6.5-6.8; kernel
``Documentation/admin-guide/cgroup-v2.rst``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Collection, Iterator, Sequence

from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import SEPARATOR, descendants, exists, read, write

#: Below a container's cgroup: where its processes are.
LEAF = "leaf"
#: Below the root cgroup: the agent's own.
AGENT = "agent"

_KILL = "cgroup.kill"
_FREEZE = "cgroup.freeze"
_PROCESSES = "cgroup.procs"
_CONTROL = "cgroup.subtree_control"

_FIRST_DELAY_S = 0.001
_LONGEST_DELAY_S = 0.1
#: The cgroup is gone, or was while we looked.
_GONE = (errno.ENOENT, errno.ENODEV)


def controllers(cgroup: str) -> frozenset[str]:
    """Return the controllers that the cgroup could hand on: those that it was handed itself."""
    return frozenset(read(cgroup, "cgroup.controllers").split())


def enabled(cgroup: str) -> frozenset[str]:
    """Return the controllers that the cgroup hands on to those in it."""
    return frozenset(read(cgroup, _CONTROL).split())


def enable(cgroup: str, wanted: Collection[str]) -> None:
    """Hand controllers on to the cgroups in this one; those of others stay.

    ENOENT: it does not have them itself; EBUSY: it has processes.
    """
    missing = sorted(set(wanted) - enabled(cgroup))
    if missing:
        write(cgroup, _CONTROL, " ".join(f"+{name}" for name in missing))


def enable_between(top: str, bottom: str, wanted: Collection[str]) -> None:
    """Hand controllers down from ``top`` to what is in ``bottom``, which is below or the same."""
    steps = os.path.relpath(bottom, top)
    enable(top, wanted)
    if steps != ".":
        for name in steps.split("/"):
            top = os.path.join(top, name)
            enable(top, wanted)


def create(cgroup: str) -> None:
    """Create a cgroup and its missing parents."""
    os.makedirs(cgroup, mode=0o755, exist_ok=True)


def leaf(cgroup: str) -> str:
    """Return the cgroup of a container's processes."""
    return os.path.join(cgroup, LEAF)


def processes(cgroup: str) -> set[int]:
    """Return the pids in this very cgroup; none if it is gone.

    A cgroup that was made threaded has none of its own: the one above tells them.
    """
    try:
        return {int(word) for word in read(cgroup, _PROCESSES).split()}
    except OSError as error:
        if error.errno in (*_GONE, errno.EOPNOTSUPP):
            return set()
        raise


def all_processes(cgroup: str) -> set[int]:
    """Return the pids in this cgroup and in those below it."""
    return cgroup1.all_processes(cgroup)


def populated(cgroup: str) -> bool:
    """Whether the cgroup or one below it has a living process; not if it is gone."""
    return _event(cgroup, "populated")


def container_path(root: str, path: Sequence[str]) -> str:
    """Return the cgroup of a container, relative to the mount: ``root/a/mesos/b``."""
    return cgroup1.container_path(root, path)


def parse_container_path(relative: str) -> tuple[str, ...] | None:
    """Read a path below the root cgroup as ids, outermost first; ``None`` if it is not ours.

    What a task made below its leaf is none of ours, nor is the agent's own cgroup.
    """
    names = relative.strip("/").split("/")
    if names[-1] == LEAF:
        names.pop()
    ids = cgroup1.parse_container_path("/".join(names)) if names else None
    return None if ids is None or is_reserved(ids) else ids


def is_reserved(path: Sequence[str]) -> bool:
    """Whether a container with these ids cannot be told from what is ours."""
    return path[0] == AGENT or LEAF in path


def containers(root: str) -> Iterator[tuple[str, ...]]:
    """Find the containers below the root cgroup, outer ones first, each as its ids."""
    pending: list[tuple[str, ...]] = [()]
    while pending:
        outer = pending.pop()
        if outer:
            yield outer
        folder = os.path.join(root, container_path("", outer), SEPARATOR) if outer else root
        inner = ((*outer, name) for name in sorted(_folders(folder), reverse=True))
        pending += (path for path in inner if not is_reserved(path))


def destroy(cgroup: str) -> Iterator[float]:
    """Kill all in the cgroup and below, and remove it all; yields the seconds to wait.

    Runs until all is done: the caller bounds it in time.
    """
    yield from kill(cgroup)
    yield from cgroup1.remove(cgroup)


def kill(cgroup: str) -> Iterator[float]:
    """Kill every process of the cgroup and of those below it, fork bombs included.

    Ends when none is left in any of them; frozen ones die, too.
    """
    delays = _delays()
    while populated(cgroup):
        if os.path.exists(os.path.join(cgroup, _KILL)):
            # Again each time: somebody may just have been moved in.
            with _may_be_gone():
                write(cgroup, _KILL, "1")
        else:
            yield from _kill_frozen(cgroup)
        yield next(delays)


def _kill_frozen(cgroup: str) -> Iterator[float]:
    """Kill once what is there; kernels before 5.14 need to be kept from forking meanwhile."""
    with _may_be_gone():
        write(cgroup, _FREEZE, "1")
    delays = _delays()
    while populated(cgroup) and not _event(cgroup, "frozen"):
        # What arrives or cannot be stopped keeps the cgroup from being frozen, not from dying.
        _signal_all(cgroup)
        yield next(delays)
    _signal_all(cgroup)


def _signal_all(cgroup: str) -> None:
    for pid in all_processes(cgroup):
        # 0 stands for processes that our pid namespace does not see: never signal our own group.
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _event(cgroup: str, name: str) -> bool:
    try:
        return cgroup1.stat_values(read(cgroup, "cgroup.events")).get(name) == 1
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def _may_be_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _delays() -> Iterator[float]:
    yield 0.0
    delay = _FIRST_DELAY_S
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_S)


__all__ = [
    "AGENT",
    "LEAF",
    "SEPARATOR",
    "all_processes",
    "container_path",
    "containers",
    "controllers",
    "create",
    "descendants",
    "destroy",
    "enable",
    "enable_between",
    "enabled",
    "exists",
    "is_reserved",
    "kill",
    "leaf",
    "parse_container_path",
    "populated",
    "processes",
    "read",
    "write",
]
