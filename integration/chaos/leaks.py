# SPDX-License-Identifier: Apache-2.0
"""What an agent with nothing to do may have on its host, and what it has beyond that."""

import glob
import os
from collections.abc import Iterator

from integration.agent import OurAgent
from mesos_compat.cli.leftovers import find

#: File descriptors and threads that an idle agent may have more than when it began: connections,
#: and threads of its pool for blocking calls.
_SLACK = 16
#: Megabytes that the agent may have grown: what it remembers of completed frameworks, and heap
#: that was needed for a moment.
_GROWTH_MB = 40


class Leaks:
    """Compares an agent with what it was when it had just begun."""

    def __init__(self, agent: OurAgent) -> None:
        self._agent = agent
        self._mounts = set(find(agent.territory).mounts)
        self._descriptors = _count(agent.pid, "fd")
        self._threads = _count(agent.pid, "task")
        self._rss_mb = rss_mb(agent.pid)
        #: Of all its processes so far, as far as they were looked at.
        self.peak_mb = self._rss_mb

    def sample(self) -> None:
        """Look at the memory of the process that runs now."""
        if self._agent.running:
            self.peak_mb = max(self.peak_mb, rss_mb(self._agent.pid))

    @property
    def figures(self) -> dict[str, str]:
        """Figures for the report."""
        pid = self._agent.pid
        return {
            "agent's RSS in MB": f"{self._rss_mb} → {rss_mb(pid)}, at most {self.peak_mb}",
            "agent's descriptors": f"{self._descriptors} → {_count(pid, 'fd')}",
            "agent's threads": f"{self._threads} → {_count(pid, 'task')}",
        }

    def containers(self) -> list[str]:
        """What is left of containers, and of earlier processes of the agent."""
        agent = self._agent
        left = find(agent.territory)
        own = _descendants(agent.pid)
        found = [f"process {pid}: {line}" for pid, line in left.processes if pid not in own]
        # Itself, and the program that forks containers.
        if len(own) > 2:
            found.append(f"processes below the agent {agent.pid}: {sorted(own)}")
        found += [f"cgroup {path}" for root in left.cgroups for path in _containers(root)]
        found += [f"mount {target}" for target in left.mounts if target not in self._mounts]
        found += [f"runtime {path}" for path in _below(agent.runtime_dir, "containers/*")]
        found += [f"zombie {pid}" for pid in own if _state(pid) == "Z"]
        return found

    def process(self) -> list[str]:
        """What the agent itself holds."""
        pid = self._agent.pid
        self.sample()
        found = []
        for what, before in (("fd", self._descriptors), ("task", self._threads)):
            now = _count(pid, what)
            if now - before > _SLACK:
                found.append(f"{now} of /proc/{pid}/{what} instead of {before}")
        if self.peak_mb - self._rss_mb > _GROWTH_MB:
            found.append(f"{self.peak_mb} MB of memory instead of {self._rss_mb}")
        return found

    def files(self) -> list[str]:
        """What garbage collection should have removed: all frameworks, executors and runs."""
        work_dir = self._agent.work_dir
        return [
            path
            for top in ("slaves", "meta/slaves")
            for path in _below(work_dir, f"{top}/*/frameworks/*")
        ]


def rss_mb(pid: int) -> int:
    """Memory of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def _count(pid: int, what: str) -> int:
    return len(os.listdir(f"/proc/{pid}/{what}"))


def _below(folder: str, pattern: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))


def _containers(root: str) -> list[str]:
    return _below(root, "*-*-*-*-*")


def _descendants(pid: int) -> set[int]:
    """A process, its children, and theirs."""
    parents: dict[int, list[int]] = {}
    for child, parent, _ in _processes():
        parents.setdefault(parent, []).append(child)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        found.add(each := waiting.pop())
        waiting += parents.get(each, [])
    return found


def _state(pid: int) -> str:
    return next((state for each, _, state in _processes() if each == pid), "")


def _processes() -> Iterator[tuple[int, int, str]]:
    """Pid, parent and state of each process."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(path.split("/")[2]), int(fields[1]), fields[0]
