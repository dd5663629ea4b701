# SPDX-License-Identifier: Apache-2.0
"""``cgroups/mem`` with version 2: memory limits, what is used, and what happens at too much.

Source: spec ``isolators-resources`` 5.5.
Deviation: the kernel ends all of a container at once, so that no executor tells of a killed task
what the limitation tells better; a container nested in this one that breaks a limit of its own
does not count here; and whether it was memory is looked up once more when init has exited,
because the kernel's notice may come later than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from containerizer.isolators.cgroups.memory import MIN_BYTES
from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.cgroups.v2_events import Modifications
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.quantity import format_bytes
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_MB = 1 << 20
_SOFT = "memory.low"
_HARD = "memory.max"
_KILL_ALL = "memory.oom.group"
#: Without those of nested containers; since kernel 5.2.
_LOCAL_EVENTS = "memory.events.local"
_EVENTS = "memory.events"
_UNLIMITED = "max"

#: Line of ``memory.stat`` → fields.
_USAGE_STATS = (
    ("sock", ("mem_kmem_tcp_usage_bytes",)),
    ("file", ("mem_file_bytes", "mem_cache_bytes")),
    ("anon", ("mem_anon_bytes", "mem_rss_bytes")),
    ("file_mapped", ("mem_mapped_file_bytes",)),
    ("unevictable", ("mem_unevictable_bytes",)),
)
#: What ``kernel`` is the sum of, for kernels that do not say it.
_KERNEL_PARTS = ("kernel_stack", "pagetables", "sock", "vmalloc", "slab")


@dataclass(slots=True, eq=False)
class _Watched:
    """What is kept of one container."""

    cgroup: str
    #: Resolved once memory ran out.
    limitation: asyncio.Future[slave.ContainerLimitation]
    #: The hard limit was written once; from then on it is only raised.
    limited: bool = False
    #: Stands for init; -1 without one.
    pidfd: int = -1


class MemoryV2(Subsystem):
    """Soft and hard limits, statistics, out-of-memory events."""

    controller = "memory"

    def __init__(self) -> None:
        self._watched: dict[ContainerId, _Watched] = {}
        self._modifications = Modifications()

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> MemoryV2:
        """Make the controller; there is nothing to refuse."""
        return cls()

    def prepare(
        self, container_id: ContainerId, cgroup: str, config: slave.ContainerConfig
    ) -> None:
        """Start to listen."""
        self._watch(container_id, cgroup)
        with contextlib.suppress(FileNotFoundError):  # since kernel 4.19
            cgroup1.write(cgroup, _KILL_ALL, "1")

    def recover(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Go on listening; what happened meanwhile counts."""
        if os.path.exists(os.path.join(cgroup, _EVENTS)):
            self._watch(container_id, cgroup).limited = True
            self.isolate(container_id, cgroup, pid)

    def _watch(self, container_id: ContainerId, cgroup: str) -> _Watched:
        limitation = asyncio.get_running_loop().create_future()
        watched = self._watched[container_id] = _Watched(cgroup, limitation)
        try:
            self._modifications.watch(_events_file(cgroup), lambda: _look(watched))
        except OSError as error:
            # Their number is limited per user: containers of ours may have taken all of them. What
            # happened is seen when init has exited, which it does as the kernel ends them all.
            log.warning("Container %s: no notices of its memory: %s", container_id, error)
        # Whatever came before the watch was there makes no notice any more.
        _look(watched)
        return watched

    def isolate(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Remember to look when init has exited."""
        watched = self._watched.get(container_id)
        if watched is None or watched.pidfd >= 0:
            return
        try:
            watched.pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError, ValueError):
            return  # gone: nothing will run any more
        loop = asyncio.get_running_loop()

        def exited() -> None:
            loop.remove_reader(watched.pidfd)
            _look(watched)

        loop.add_reader(watched.pidfd, exited)

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation | None:
        """Return how memory ran out, once it did."""
        watched = self._watched.get(container_id)
        return None if watched is None else await asyncio.shield(watched.limitation)

    def update(
        self,
        container_id: ContainerId,
        cgroup: str,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write the soft limit; write the hard one first, then only raise it."""
        request = Resources.of(requests).mem_bytes
        if request is None:
            raise IsolatorError("No memory resource given")
        soft = max(request, MIN_BYTES)
        cgroup1.write(cgroup, _SOFT, str(soft))
        hard = limit_bytes(limits["mem"]) if "mem" in limits else soft
        watched = self._watched.get(container_id)
        first = watched is not None and not watched.limited
        if first or _above(hard, _bytes_of(cgroup1.read(cgroup, _HARD))):
            cgroup1.write(cgroup, _HARD, _UNLIMITED if hard is None else str(hard))
        if watched is not None:
            watched.limited = True

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return memory used by kind."""
        made = pb.ResourceStatistics()
        made.mem_total_bytes = int(cgroup1.read(cgroup, "memory.current"))
        values = cgroup1.stat_values(cgroup1.read(cgroup, "memory.stat"))
        made.mem_kmem_usage_bytes = kernel_bytes(values)
        for line, names in _USAGE_STATS:
            for name in names:
                if line in values:
                    setattr(made, name, values[line])
        return made

    def cleanup(self, container_id: ContainerId) -> None:
        """Stop listening."""
        watched = self._watched.pop(container_id, None)
        if watched is None:
            return
        self._modifications.forget(_events_file(watched.cgroup))
        if watched.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(watched.pidfd)
            os.close(watched.pidfd)
        watched.limitation.cancel()

    def close(self) -> None:
        """Let go of all; containers go on running."""
        for container_id in list(self._watched):
            self.cleanup(container_id)
        self._modifications.close()


def limit_bytes(megabytes: float) -> int | None:
    """Return a hard limit; ``None`` for none."""
    return None if math.isinf(megabytes) else max(int(megabytes) * _MB, MIN_BYTES)


def kernel_bytes(stat: Mapping[str, int]) -> int:
    """Return the memory that the kernel itself uses for a cgroup."""
    if "kernel" in stat:
        return stat["kernel"]
    return sum(stat.get(part, 0) for part in _KERNEL_PARTS)


def limitation(limit: int | None, stat: Mapping[str, int]) -> slave.ContainerLimitation:
    """Tell of an out-of-memory."""
    text = "Memory limit exceeded: \nMEMORY STATISTICS post-OOM: \n"
    parts = (("anon", stat.get("anon", 0)), ("file", stat.get("file", 0)))
    for name, value in (*parts, ("kernel", kernel_bytes(stat))):
        text += f"{name}: {format_bytes(value)}\n"
    made = slave.ContainerLimitation(
        message=text, reason=pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    )
    made.resources.add(name="mem", type=pb.Value.SCALAR).scalar.value = (limit or 0) / _MB
    return made


def _above(wanted: int | None, current: int | None) -> bool:
    """Whether writing a hard limit raises it; ``None`` is the highest."""
    return current is not None and (wanted is None or wanted > current)


def _bytes_of(text: str) -> int | None:
    return None if text.strip() == _UNLIMITED else int(text)


def _events_file(cgroup: str) -> str:
    local = os.path.join(cgroup, _LOCAL_EVENTS)
    return local if os.path.exists(local) else os.path.join(cgroup, _EVENTS)


def _look(watched: _Watched) -> None:
    """Resolve the limitation if memory ran out; a cgroup that is gone tells nothing."""
    if watched.limitation.done():
        return
    cgroup, name = os.path.split(_events_file(watched.cgroup))
    try:
        if cgroup1.stat_values(cgroup1.read(cgroup, name)).get("oom", 0) == 0:
            return
        limit = _bytes_of(cgroup1.read(cgroup, _HARD))
        stat = cgroup1.stat_values(cgroup1.read(cgroup, "memory.stat"))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return
    watched.limitation.set_result(limitation(limit, stat))
