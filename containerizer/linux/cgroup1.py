# SPDX-License-Identifier: Apache-2.0
"""Control groups, version 1: find hierarchies, make, fill, freeze and remove cgroups.

A cgroup is named by its absolute path, hierarchy included. Whatever takes time is a generator of
delays in seconds: the caller sleeps in its own way between the steps. A cgroup that vanishes
meanwhile counts as removed.

Source: spec ``isolators-resources`` 3.1, 4.2, 4.6 and ``containerizer`` 6.7; kernel
``Documentation/admin-guide/cgroup-v1``.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from containerizer.linux import mount, mountinfo
from containerizer.linux.mountinfo import MountEntry

V2_MOUNT_POINT = "/sys/fs/cgroup"
SEPARATOR = "mesos"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: So many cgroups are looked at, or removed, before somebody else may run.
_AT_ONCE = 256
_FREEZE_ATTEMPT_S = 10.0
_LONGEST_DELAY_S = 0.1
_FIRST_DELAY_S = 0.001


class CgroupLayout(enum.Enum):
    """How cgroups are mounted on a host."""

    NONE = "none"
    V1 = "v1"
    #: Version 1 with the empty version 2 tree somewhere else: to be used as version 1.
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class ControllerState:
    """One line of ``/proc/cgroups``."""

    hierarchy: int
    enabled: bool


def layout(entries: Sequence[MountEntry] | None = None) -> CgroupLayout:
    """Say which version to use; only a version 2 mount at its canonical place means version 2."""
    entries = mountinfo.read() if entries is None else entries
    second = [entry.target for entry in entries if entry.fstype == "cgroup2"]
    if V2_MOUNT_POINT in second:
        return CgroupLayout.V2
    if any(entry.fstype == "cgroup" for entry in entries):
        return CgroupLayout.HYBRID if second else CgroupLayout.V1
    return CgroupLayout.NONE


def controllers() -> dict[str, ControllerState]:
    """Return the version 1 controllers of the kernel; none if it has no cgroups at all."""
    try:
        with open("/proc/cgroups", encoding="ascii") as file:
            lines = [line.split() for line in file if not line.startswith("#")]
    except FileNotFoundError:
        return {}
    return {name: ControllerState(int(h), on == "1") for name, h, _, on in lines}


def hierarchies(entries: Sequence[MountEntry] | None = None) -> dict[str, str]:
    """Return the mount point per controller, ``name=…`` for named hierarchies.

    Mounts of whole hierarchies go before mounts of parts, then the first by path wins.
    """
    entries = mountinfo.read() if entries is None else entries
    # A later mount at the same place hides the earlier one.
    latest = {entry.target: entry for entry in entries if entry.fstype == "cgroup"}
    found: dict[str, str] = {}
    for entry in sorted(latest.values(), key=lambda e: (e.root != "/", e.target)):
        for option in entry.super_options:
            found.setdefault(option, entry.target)
    known = controllers()
    return {k: v for k, v in found.items() if k in known or k.startswith("name=")}


def attached(hierarchy: str, entries: Sequence[MountEntry] | None = None) -> frozenset[str]:
    """Return the controllers of the hierarchy that is mounted at ``hierarchy``."""
    entries = mountinfo.read() if entries is None else entries
    known = controllers()
    for entry in reversed(entries):
        if entry.fstype == "cgroup" and entry.target == hierarchy:
            return frozenset(option for option in entry.super_options if option in known)
    return frozenset()


def prepare(base: str, controller: str, root: str) -> str:
    """Return the hierarchy of ``controller``, mounted below ``base`` if it is nowhere yet.

    The cgroup ``root`` is created in it. Raises OSError in upstream's words.
    """
    known = controllers()
    if not known:
        raise _failed(errno.ENOSYS, "No cgroups support detected in this kernel")
    if os.geteuid() != 0:
        raise _failed(errno.EPERM, "Using cgroups requires root permissions")
    found = hierarchies().get(controller)
    if found is None:
        found = _mount(base, controller, known)
    create(os.path.join(found, root))
    return found


def _mount(base: str, controller: str, known: dict[str, ControllerState]) -> str:
    state = known.get(controller)
    if state is None or not state.enabled:
        raise _failed(errno.ENODEV, f"'{controller}' is not enabled by the kernel")
    target = os.path.join(base, controller)
    os.makedirs(target, mode=0o755, exist_ok=True)
    try:
        # The hierarchy number is no reason to refuse: an unmounted hierarchy that still has
        # cgroups keeps its number and can be mounted again.
        mount.mount(controller, target, "cgroup", 0, controller)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.rmdir(target)
        if error.errno == errno.EBUSY:
            text = f"'{controller}' is already attached to another hierarchy"
            raise _failed(errno.EBUSY, text) from error
        raise
    return target


def _failed(number: int, text: str) -> OSError:
    return OSError(number, text)


def create(cgroup: str) -> None:
    """Create a cgroup and its missing parents; those of cpuset inherit cpus and nodes."""
    missing = []
    while not os.path.isdir(cgroup):
        missing.append(cgroup)
        cgroup = os.path.dirname(cgroup)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(os.path.join(path, name)):
                write(path, name, read(os.path.dirname(path), name))


def assign(cgroup: str, pid: int) -> None:
    """Move a process with all its threads into the cgroup; 0 is the caller."""
    write(cgroup, "cgroup.procs", str(pid))


def read(cgroup: str, control: str) -> str:
    """Return the content of a control file."""
    with open(os.path.join(cgroup, control), "rb", buffering=0) as file:
        return file.read().decode("utf-8", "surrogateescape")


def write(cgroup: str, control: str, value: str) -> None:
    """Write a control file with one write(2), nothing appended."""
    path = os.path.join(cgroup, control)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def stat_values(content: str) -> dict[str, int]:
    """Read lines ``name value …``, as of ``memory.stat``; lines without a number are left out."""
    values: dict[str, int] = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].lstrip("-").isdigit():
            values[words[0]] = int(words[1])
    return values


def exists(cgroup: str) -> bool:
    """Whether there is such a cgroup."""
    return os.path.isdir(cgroup)


def processes(cgroup: str) -> set[int]:
    """Return the pids in this very cgroup; none if it is gone."""
    try:
        return {int(word) for word in read(cgroup, "cgroup.procs").split()}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return set()
        raise


def descendants(cgroup: str) -> list[str]:
    """Return all cgroups below this one, deepest first; none if it is gone.

    Without those whose path is too long for the kernel, which only a task can have made.
    """
    found: list[str] = []
    pending = [cgroup]
    while pending:
        parent = pending.pop()
        try:
            with os.scandir(parent) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                continue
            raise
        found += below
        pending += below
    return sorted(found, key=lambda path: (-path.count("/"), path))


def walk(cgroup: str) -> Iterator[tuple[int, str]]:
    """Give all cgroups below this one, deepest first, then itself; none if it is gone.

    Each is a descriptor of the directory that holds it, good until the next one is asked for, and
    its name: a task may nest cgroups until no path is long enough, and no number of descriptors
    sufficient.
    """
    try:
        here = os.open(os.path.dirname(cgroup), _FOLDER)
    except FileNotFoundError:
        return
    try:
        to_enter = [[os.path.basename(cgroup)]]
        entered: list[str] = []
        while to_enter:
            if to_enter[-1]:
                name = to_enter[-1].pop()
                try:
                    inner = os.open(name, _FOLDER, dir_fd=here)
                except FileNotFoundError:
                    continue
                os.close(here)
                here = inner
                entered.append(name)
                to_enter.append(_folders(here))
            else:
                to_enter.pop()
                if entered:
                    outer = os.open("..", _FOLDER, dir_fd=here)
                    os.close(here)
                    here = outer
                    yield here, entered.pop()
    finally:
        os.close(here)


def _folders(folder: int) -> list[str]:
    # all but the common case of a cgroup with none in it; each counts as a link
    if os.fstat(folder).st_nlink == 2:
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def all_processes(cgroup: str) -> set[int]:
    """Return the pids in this cgroup and in those below it."""
    pids: set[int] = set()
    for folder, name in walk(cgroup):
        pids |= processes_at(folder, name)
    return pids


def processes_at(folder: int, name: str) -> set[int]:
    """Return the pids in the cgroup ``name`` of an open directory; none if it is gone.

    A version 2 cgroup that was made threaded has none of its own: the one above tells them.
    """
    try:
        fd = os.open(f"{name}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb", buffering=0) as file:
            return {int(word) for word in file.read().split()}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return set()
        raise


def container_path(root: str, path: Sequence[str]) -> str:
    """Return the cgroup of a container, relative to a hierarchy: ``root/a/mesos/b``."""
    return os.path.join(root, f"/{SEPARATOR}/".join(path))


def parse_container_path(relative: str) -> tuple[str, ...] | None:
    """Read a path below the root cgroup as ids, outermost first; ``None`` if it is not ours."""
    names = relative.strip("/").split("/")
    if len(names) % 2 == 0 or not all(names):
        return None
    if any(name != SEPARATOR for name in names[1::2]):
        return None
    return tuple(names[::2])


def destroy(cgroup: str) -> Iterator[float]:
    """Kill all in the cgroup and below, and remove it all; yields the seconds to wait.

    Needs the freezer to kill; in other hierarchies it waits for the processes to be gone. Runs
    until all is done: the caller bounds it in time.
    """
    if os.path.exists(os.path.join(cgroup, "freezer.state")):
        yield from kill(cgroup)
    yield from remove(cgroup)


def kill(cgroup: str) -> Iterator[float]:
    """Kill every process of a freezer cgroup and of those below it, fork bombs included.

    Ends when none is left in any of them.
    """
    while (yield from _all_processes(cgroup)):
        yield from _freeze(cgroup)
        # Nobody can fork now, and a frozen parent freezes all below it.
        killed = yield from _signal_all(cgroup)
        yield from _thaw(cgroup)
        # Freezing again too early would keep the dying from dying.
        delays = _delays()
        while (left := (yield from _all_processes(cgroup))) and left <= killed:
            yield next(delays)


def _all_processes(cgroup: str) -> Generator[float, None, set[int]]:
    """Return the same as ``all_processes`` without keeping the caller from anything else."""
    pids: set[int] = set()
    for count, (folder, name) in enumerate(walk(cgroup), 1):
        pids |= processes_at(folder, name)
        if count % _AT_ONCE == 0:
            yield 0.0
    return pids


def remove(cgroup: str) -> Iterator[float]:
    """Remove a cgroup and all below it, deepest first, as often as they are busy."""
    for count, (folder, name) in enumerate(walk(cgroup), 1):
        delays = _delays()
        while not _removed(folder, name):
            yield next(delays)
        if count % _AT_ONCE == 0:
            yield 0.0


def remove_empty(hierarchy: str, root: str) -> None:
    """Remove the cgroup ``root``, then those above it, as long as nothing is in them."""
    while root:
        try:
            os.rmdir(os.path.join(hierarchy, root))
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                return
            raise
        root = os.path.dirname(root)


def _removed(folder: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _freeze(cgroup: str) -> Iterator[float]:
    """Write FROZEN until it holds; a process that resists is killed unfrozen, then once more."""
    started = monotonic()
    delays = _delays()
    while True:
        if _set_state(cgroup, "FROZEN") in ("FROZEN", None):
            return
        if monotonic() - started > _FREEZE_ATTEMPT_S:
            yield from _signal_all(cgroup)
            yield from _thaw(cgroup)
            started = monotonic()
        yield next(delays)


def _thaw(cgroup: str) -> Iterator[float]:
    """Thaw the cgroup and those below, which a process may have frozen on its own."""
    for count, (folder, name) in enumerate(walk(cgroup), 1):
        # by way of the descriptor: the path may be too long
        _set_state(f"/proc/self/fd/{folder}/{name}", "THAWED")
        if count % _AT_ONCE == 0:
            yield 0.0


def _set_state(cgroup: str, state: str) -> str | None:
    """Write the freezer's state and read it back; ``None`` if the cgroup is gone."""
    try:
        write(cgroup, "freezer.state", state)
        return read(cgroup, "freezer.state").strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return None
        raise


def _signal_all(cgroup: str) -> Generator[float, None, set[int]]:
    pids = yield from _all_processes(cgroup)
    for pid in pids:
        # 0 stands for processes that our pid namespace does not see: never signal our own group.
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return pids


def _delays() -> Iterator[float]:
    yield 0.0
    delay = _FIRST_DELAY_S
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_S)
