# SPDX-License-Identifier: Apache-2.0
"""``cgroups/mem``: memory limits, what is used of them, and what happens when it is too much.

The kernel kills a process first and tells at the same time; the limitation then ends the container
and says why.

Source: spec ``isolators-resources`` 4.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from containerizer.isolators.base import is_command_task
from containerizer.isolators.cgroups.events import Listener
from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1, proc
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.quantity import format_bytes
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_MB = 1 << 20
#: Less does not even start an executor.
MIN_BYTES = 32 * _MB

_SOFT = "memory.soft_limit_in_bytes"
_HARD = "memory.limit_in_bytes"
_SWAP = "memory.memsw.limit_in_bytes"
_OOM_CONTROL = "memory.oom_control"
_LEVELS = ("low", "medium", "critical")
_UNLIMITED = -1

#: Control file → field; those that a kernel lacks are left out.
_USAGE_FILES = (
    ("memory.usage_in_bytes", "mem_total_bytes"),
    ("memory.kmem.usage_in_bytes", "mem_kmem_usage_bytes"),
    ("memory.kmem.tcp.usage_in_bytes", "mem_kmem_tcp_usage_bytes"),
)

#: Line of ``memory.stat`` → fields.
_USAGE_STATS = (
    ("total_cache", ("mem_file_bytes", "mem_cache_bytes")),
    ("total_rss", ("mem_anon_bytes", "mem_rss_bytes")),
    ("total_mapped_file", ("mem_mapped_file_bytes",)),
    ("total_swap", ("mem_swap_bytes",)),
    ("total_unevictable", ("mem_unevictable_bytes",)),
)


@dataclass(slots=True, eq=False)
class _Watched:
    """What is kept of one container."""

    cgroup: str
    #: Resolved by the first out-of-memory event.
    oom: asyncio.Future[None]
    #: Whether its out-of-memory score may be raised.
    adjusts_score: bool
    #: The hard limit was written once; from then on it is only raised.
    limited: bool = False
    listeners: list[Listener] = field(default_factory=list)
    pressure: dict[str, int] = field(default_factory=dict)


class Memory(Subsystem):
    """Soft and hard limits, statistics, pressure counters, out-of-memory events."""

    controller = "memory"

    def __init__(self, limit_swap: bool) -> None:
        self._limit_swap = limit_swap
        self._watched: dict[ContainerId, _Watched] = {}

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Memory:
        """Make the subsystem; needs the kernel's out-of-memory killer."""
        try:
            state = cgroup1.read(root, _OOM_CONTROL)
            if "oom_kill_disable 0" not in state.splitlines():
                cgroup1.write(root, _OOM_CONTROL, "0")
        except FileNotFoundError as error:
            raise IsolatorError(
                f"Failed to enable kernel OOM killer: Could not find '{_OOM_CONTROL}' control file"
            ) from error
        except OSError as error:
            raise IsolatorError(f"Failed to enable kernel OOM killer: {error}") from error
        if config.cgroups_limit_swap and not os.path.exists(os.path.join(root, _SWAP)):
            raise IsolatorError(f"'{_SWAP}' is not available")
        return cls(config.cgroups_limit_swap)

    def prepare(
        self, container_id: ContainerId, cgroup: str, config: slave.ContainerConfig
    ) -> None:
        """Start to listen."""
        self._listen(
            container_id,
            cgroup,
            adjusts_score=is_command_task(config) or container_id.parent is not None,
        )

    def recover(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Listen again."""
        self._listen(container_id, cgroup, adjusts_score=False).limited = True

    def _listen(self, container_id: ContainerId, cgroup: str, adjusts_score: bool) -> _Watched:
        watched = _Watched(
            cgroup, asyncio.get_running_loop().create_future(), adjusts_score=adjusts_score
        )
        self._watched[container_id] = watched

        def out_of_memory(count: int) -> None:
            if not watched.oom.done():
                watched.oom.set_result(None)

        watched.listeners.append(Listener(cgroup, _OOM_CONTROL, out_of_memory))
        for level in _LEVELS:
            self._count_pressure(container_id, watched, level)
        return watched

    def _count_pressure(self, container_id: ContainerId, watched: _Watched, level: str) -> None:
        def pressed(count: int) -> None:
            watched.pressure[level] += count

        try:
            listener = Listener(watched.cgroup, "memory.pressure_level", pressed, level)
        except OSError as error:
            log.debug("Container %s: no %s pressure counter: %s", container_id, level, error)
            return
        watched.pressure[level] = 0
        watched.listeners.append(listener)

    def isolate(self, container_id: ContainerId, cgroup: str, pid: int) -> None:
        """Let tasks that may burst be killed before others."""
        watched = self._watched.get(container_id)
        if watched is None or not watched.adjusts_score:
            return
        soft = int(cgroup1.read(cgroup, _SOFT))
        if soft < int(cgroup1.read(cgroup, _HARD)):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            score = oom_score_adj(soft, total)
            _write_score(pid, score)
            # Init may have forked the process that becomes the command; from now on they inherit.
            for child in proc.children(pid):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    _write_score(child, score)

    async def watch(self, container_id: ContainerId) -> slave.ContainerLimitation | None:
        """Return the limitation once the kernel ran out of the container's memory."""
        watched = self._watched.get(container_id)
        if watched is None:
            return None
        await asyncio.shield(watched.oom)
        return limitation(
            _bytes_of(watched.cgroup, _HARD),
            _bytes_of(watched.cgroup, "memory.max_usage_in_bytes"),
            _text_of(watched.cgroup, "memory.stat"),
        )

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
        hard = soft if "mem" not in limits else limit_bytes(limits["mem"])
        cgroup1.write(cgroup, _SOFT, str(soft))
        watched = self._watched.get(container_id)
        if watched is not None and not watched.limited:
            self._write_hard(cgroup, (_HARD, _SWAP), hard)
            watched.limited = True
        elif hard == _UNLIMITED or hard > int(cgroup1.read(cgroup, _HARD)):
            # the kernel keeps memory below memory and swap together
            self._write_hard(cgroup, (_SWAP, _HARD), hard)

    def _write_hard(self, cgroup: str, files: Sequence[str], hard: int) -> None:
        for name in files:
            if name != _SWAP or self._limit_swap:
                cgroup1.write(cgroup, name, str(hard))

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return memory used by kind, and the pressure events so far."""
        made = pb.ResourceStatistics()
        for control, name in _USAGE_FILES:
            value = _bytes_of(cgroup, control)
            if value is not None:
                setattr(made, name, value)
        if self._limit_swap:
            made.mem_total_memsw_bytes = int(cgroup1.read(cgroup, "memory.memsw.usage_in_bytes"))
        values = cgroup1.stat_values(cgroup1.read(cgroup, "memory.stat"))
        for line, names in _USAGE_STATS:
            for name in names:
                if line in values:
                    setattr(made, name, values[line])
        watched = self._watched.get(container_id)
        if watched is not None:
            for level, count in watched.pressure.items():
                setattr(made, f"mem_{level}_pressure_counter", count)
        return made

    def cleanup(self, container_id: ContainerId) -> None:
        """Stop listening."""
        watched = self._watched.pop(container_id, None)
        if watched is not None:
            for listener in watched.listeners:
                listener.close()
            watched.oom.cancel()


def _write_score(pid: int, score: int) -> None:
    with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(score))


def limit_bytes(megabytes: float) -> int:
    """Return a hard limit as the kernel takes it."""
    return _UNLIMITED if math.isinf(megabytes) else max(int(megabytes) * _MB, MIN_BYTES)


def oom_score_adj(request_bytes: int, total_bytes: int) -> int:
    """Return the score of a container that may use more than it asked for: less asked, more."""
    return 1000 - 1000 * request_bytes // total_bytes


def limitation(
    limit: int | None, maximum: int | None, stat: str | None
) -> slave.ContainerLimitation:
    """Tell of an out-of-memory; what could not be read is left out."""
    text = "Memory limit exceeded: "
    if limit is not None:
        text += f"Requested: {format_bytes(limit)} "
    if maximum is not None:
        text += f"Maximum Used: {format_bytes(maximum)}\n"
    if stat is not None:
        text += f"\nMEMORY STATISTICS: \n{stat}\n"
    used = round((maximum or 0) / _MB, 3)
    made = slave.ContainerLimitation(
        message=text, reason=pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    )
    made.resources.add(name="mem", type=pb.Value.SCALAR).scalar.value = used
    return made


def _text_of(cgroup: str, control: str) -> str | None:
    try:
        return cgroup1.read(cgroup, control)
    except OSError:
        return None


def _bytes_of(cgroup: str, control: str) -> int | None:
    text = _text_of(cgroup, control)
    return int(text) if text else None
