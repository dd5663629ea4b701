# SPDX-License-Identifier: Apache-2.0
"""What agents of ours left on this host: processes, mounts, cgroups, sockets; found and removed.

Called when a cluster goes down and by tests. A process is in one of our cgroups, or has one of our
folders as its root, or was started with flags or variables that name one.
"""

import contextlib
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from containerizer.linux import cgroup1, mount, mountinfo, proc
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError

#: Lazy unmounts leave the name space at once, whoever still uses the files.
_UMOUNT_FLAGS = mount.UMOUNT_NOFOLLOW | mount.MNT_DETACH
_CGROUP2 = "cgroup2"
#: In the runtime directory of a container, the place of its socket.
_SOCKET = os.path.join("io_switchboard", "socket")
#: An agent is started with these; an executor and a task find these in their environment.
_FOLDER_FLAGS = frozenset(("--work_dir", "--runtime_dir"))
_FOLDER_VARIABLES = frozenset(("MESOS_SANDBOX", "MESOS_DIRECTORY"))
#: Executors of ours are forks of the agent's helper and keep its command line.
_INTERPRETER = os.path.realpath(sys.executable)


@dataclass(frozen=True, slots=True)
class Territory:
    """What belongs to the agents in question."""

    #: Work and runtime directories, absolute and canonical.
    folders: tuple[str, ...]
    #: Names below the root of each cgroup hierarchy, never the root itself.
    cgroup_roots: tuple[str, ...] = ()
    #: Runtime directories again: they tell where sockets of containers are.
    runtime_dirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found. Falsy when it is nothing."""

    #: pid and command line.
    processes: tuple[tuple[int, str], ...]
    mounts: tuple[str, ...]
    #: Absolute paths, the topmost of each tree.
    cgroups: tuple[str, ...]
    #: Absolute paths, outside of all folders.
    sockets: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self.processes or self.mounts or self.cgroups or self.sockets)

    def __str__(self) -> str:
        """One line per thing that is left."""
        lines = [f"process {pid}: {command}" for pid, command in self.processes]
        lines += [f"mount {target}" for target in self.mounts]
        lines += [f"cgroup {path}" for path in self.cgroups]
        lines += [f"socket {path}" for path in self.sockets]
        return "\n".join(lines)


def find(territory: Territory) -> Leftovers:
    """Look at the host as it is now; this process and its ancestors do not count."""
    cgroups = _cgroup_roots(territory)
    members = {pid for path in cgroups for pid in _members(path)}
    own = _ancestry()
    processes = tuple(
        (pid, _command(pid))
        for pid in proc.pids()
        if pid not in own
        and (pid in members or _is_ours(pid, territory.folders))
        and not proc.is_zombie_or_gone(pid)
    )
    sockets = tuple(found for folder in territory.runtime_dirs for found in _sockets(folder))
    return Leftovers(processes, _mounts(territory), cgroups, sockets)


def remove(territory: Territory, patience_s: float = 10.0) -> Leftovers:
    """Kill, unmount and remove all of it; returns what resisted."""
    deadline = time.monotonic() + patience_s
    while (left := find(territory)) and time.monotonic() < deadline:
        for pid, _ in left.processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for target in reversed(left.mounts):
            with contextlib.suppress(OSError):
                mount.umount(target, _UMOUNT_FLAGS)
        # Who is frozen dies when the freezer lets go, and until then no other cgroup does.
        for path in sorted(left.cgroups, key=_is_freezer, reverse=True):
            _remove_cgroup(path, deadline)
        for path in left.sockets:
            with contextlib.suppress(OSError):
                os.unlink(path)
        time.sleep(0.05)
    return left


def _mounts(territory: Territory) -> tuple[str, ...]:
    entries = mountinfo.read()
    return tuple(
        entry.target for folder in territory.folders for entry in mountinfo.below(entries, folder)
    )


def _sockets(directory: str) -> Iterator[str]:
    """Return the sockets of those who stand between containers and their clients."""
    containers = os.path.join(directory, "containers")
    try:
        names = os.listdir(containers)
    except OSError:
        return
    for name in names:
        container = os.path.join(containers, name)
        try:
            address = checkpoint.read_text(os.path.join(container, _SOCKET)) or ""
            if stat.S_ISSOCK(os.lstat(address).st_mode):
                yield address
        except (CheckpointError, OSError):
            pass
        yield from _sockets(container)


def _cgroup_roots(territory: Territory) -> tuple[str, ...]:
    entries = mountinfo.read()
    hierarchies = {*cgroup1.hierarchies(entries).values()}
    hierarchies |= {entry.target for entry in entries if entry.fstype == _CGROUP2}
    candidates = [
        os.path.join(base, root) for base in hierarchies for root in territory.cgroup_roots
    ]
    # Controllers that share a hierarchy are links to one folder.
    return tuple(sorted({os.path.realpath(path) for path in candidates if os.path.isdir(path)}))


def _members(cgroup: str) -> set[int]:
    try:
        return cgroup1.all_processes(cgroup)
    except OSError:
        return set()


def _is_freezer(cgroup: str) -> bool:
    return os.path.exists(os.path.join(cgroup, "freezer.state"))


def _remove_cgroup(path: str, deadline: float) -> None:
    with contextlib.suppress(OSError):
        for delay_s in cgroup1.destroy(path):
            if time.monotonic() > deadline:
                return
            time.sleep(delay_s)


def _is_ours(pid: int, folders: Sequence[str]) -> bool:
    """Whether the process says that it is an agent, executor or task of these folders.

    A working directory alone says nothing: a user may look around in a sandbox.
    """

    def inside(place: str) -> bool:
        return any(mountinfo.is_below(place, folder) for folder in folders)

    if inside(_link(pid, "root")):
        return True
    if inside(_link(pid, "cwd")) and _link(pid, "exe") == _INTERPRETER:
        return True
    for argument in _strings(pid, "cmdline"):
        name, _, value = argument.partition("=")
        if name in _FOLDER_FLAGS and inside(os.path.realpath(value)):
            return True
    for variable in _strings(pid, "environ"):
        name, _, value = variable.partition("=")
        if name in _FOLDER_VARIABLES and inside(value):
            return True
    return False


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}").removesuffix(" (deleted)")
    except OSError:
        return ""


def _strings(pid: int, name: str) -> list[str]:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return []


def _command(pid: int) -> str:
    return " ".join(_strings(pid, "cmdline")).strip() or f"[{_link(pid, 'exe')}]"


def _ancestry() -> set[int]:
    pids = {os.getpid()}
    with contextlib.suppress(ProcessLookupError):
        pid = os.getppid()
        while pid > 0:
            pids.add(pid)
            pid = proc.stat(pid).parent
    return pids
