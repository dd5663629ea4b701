# SPDX-License-Identifier: Apache-2.0
"""Statistics and status of a container, put together from what its isolators say. Pure.

Source: spec ``containerizer`` 16, ``isolators-resources`` 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class HostSize:
    """What an unlimited container can have at most."""

    cpus: int
    memory_bytes: int


def statistics(
    measured: Iterable[pb.ResourceStatistics],
    now: float,
    requests: Sequence[pb.Resource] | None,
    limits: Mapping[str, float],
    host: HostSize,
    cfs: bool,
) -> pb.ResourceStatistics:
    """Join what was measured and add what was asked for.

    ``now`` is the time of day in seconds, ``cfs`` says whether requests of cpus are hard limits.
    """
    made = pb.ResourceStatistics(timestamp=now)
    for part in measured:
        made.MergeFrom(part)
    asked = Resources.of(requests or ())
    cpus = asked.cpus
    memory = asked.mem_bytes
    if cpus is not None:
        made.cpus_soft_limit = cpus
    if memory is not None:
        made.mem_soft_limit_bytes = memory
    if "cpus" in limits:
        made.cpus_limit = float(host.cpus) if math.isinf(limits["cpus"]) else limits["cpus"]
    elif cfs and cpus is not None:
        made.cpus_limit = cpus
    if "mem" in limits:
        limit = limits["mem"]
        made.mem_limit_bytes = host.memory_bytes if math.isinf(limit) else int(limit) * _MB
    elif memory is not None:
        made.mem_limit_bytes = memory
    return made


def status(
    container_id: ContainerId, parts: Iterable[pb.ContainerStatus], pid: int | None
) -> pb.ContainerStatus:
    """Join what isolators and launcher know."""
    made = pb.ContainerStatus(container_id=container_id.message())
    for part in parts:
        made.MergeFrom(part)
    if pid is not None:
        made.executor_pid = pid
    return made
