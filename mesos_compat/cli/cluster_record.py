# SPDX-License-Identifier: Apache-2.0
"""The cluster of a user: which processes form it, where it lives, who may change it now.

Whatever ``cluster.json`` says, a process is ours only while its start time agrees.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from containerizer.linux import proc
from mesos_compat.base.errors import MesosCompatError


class ClusterError(MesosCompatError):
    """The cluster cannot do what was asked for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the cluster."""

    name: str
    pid: int
    #: Clock ticks after boot.
    start_ticks: int
    ip: str
    port: int
    log: str
    #: Empty for the master and for simulated agents.
    cgroups_root: str = ""
    #: How many agents of one port it is.
    agents: int = 1

    @property
    def address(self) -> str:
        """``ip:port`` of its HTTP and libprocess endpoint."""
        return f"{self.ip}:{self.port}"

    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            found = proc.stat(self.pid)
        except ProcessLookupError:
            return False
        return found.start_ticks == self.start_ticks and found.state not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Signal this very process, or nobody."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                # The descriptor holds on to whoever has the pid now; only then is it checked.
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What ``cluster.json`` holds: the master first, then the agents."""

    version: str
    members: tuple[Member, ...]

    @property
    def master(self) -> Member:
        """The master."""
        return self.members[0]

    @property
    def agents(self) -> tuple[Member, ...]:
        """The agents."""
        return self.members[1:]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a user's cluster lives."""

    runtime: str
    state: str

    @property
    def record(self) -> str:
        """The file that says which processes form the cluster."""
        return os.path.join(self.runtime, "cluster.json")

    @property
    def lock(self) -> str:
        """The file whose lock a command holds."""
        return os.path.join(self.runtime, "lock")

    def log(self, name: str) -> str:
        """The log of a member."""
        return os.path.join(self.state, f"{name}.log")


def make_folders() -> Folders:
    """Return this user's folders; the runtime folder exists then, and is this user's alone."""
    uid = os.getuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.access(base, os.W_OK):
        runtime = os.path.join(base, "mesos-compat")
    else:
        runtime = f"/tmp/mesos-compat-{uid}"
    state_base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state_base):
        state_base = os.path.join(os.path.expanduser("~"), ".local", "state")
    try:
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        found = os.lstat(runtime)
    except OSError as error:
        raise ClusterError(f"Failed to create {runtime}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise ClusterError(f"{runtime} is not a folder that only this user can write to")
    return Folders(runtime, os.path.join(state_base, "mesos-compat", "cluster"))


def read(folders: Folders) -> Cluster | None:
    """Return the recorded cluster, None if there is none. Raises ClusterError if unreadable."""
    try:
        with open(folders.record, encoding="utf-8") as file:
            value = json.load(file)
        members = tuple(Member(**member) for member in value["members"])
        cluster = Cluster(value["version"], members)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{folders.record} is unreadable ({error}); remove it when no master or agent runs"
        ) from error
    if not members:
        raise ClusterError(f"{folders.record} names no master; remove it")
    return cluster


def write(folders: Folders, cluster: Cluster) -> None:
    """Record a cluster in the place of what was recorded."""
    temporary = f"{folders.record}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(cluster), file, indent=1)
    os.rename(temporary, folders.record)


@contextlib.contextmanager
def locked(folders: Folders) -> Iterator[None]:
    """Keep other commands from changing the cluster. Raises ClusterError if one does."""
    descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ClusterError(
            "another `mesos-compat cluster` command is at work, wait for it"
        ) from None
    finally:
        os.close(descriptor)
