# SPDX-License-Identifier: Apache-2.0
"""``cgroups/cpu`` with version 2: weight, bandwidth and the time used.

Source: spec ``isolators-resources`` 5.4.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from containerizer.isolators.cgroups.cpu import PERIOD_US, quota_us, requested
from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb

_WEIGHT_PER_CPU = 100
_WEIGHT_PER_REVOCABLE_CPU = 1
#: The kernel refuses other weights.
_WEIGHTS = (1, 10_000)

_BANDWIDTH = "cpu.max"

#: Line of ``cpu.stat`` → field and what a second is there.
_SECONDS = (
    ("user_usec", "cpus_user_time_secs"),
    ("system_usec", "cpus_system_time_secs"),
    ("throttled_usec", "cpus_throttled_time_secs"),
)
_COUNTS = (("nr_periods", "cpus_nr_periods"), ("nr_throttled", "cpus_nr_throttled"))


class CpuV2(Subsystem):
    """Relative weight always, an absolute limit if asked for."""

    controller = "cpu"

    def __init__(self, cfs: bool, low_priority: bool) -> None:
        self._cfs = cfs
        self._low_priority = low_priority

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> CpuV2:
        """Make the controller; there is nothing to refuse."""
        return cls(config.cgroups_enable_cfs, config.revocable_cpu_low_priority)

    def update(
        self,
        container_id: ContainerId,
        cgroup: str,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write the weight and, also where there is none any more, the limit."""
        cpus, revocable = requested(requests, self._low_priority)
        cgroup1.write(cgroup, "cpu.weight", str(weight(cpus, revocable)))
        limit = limits.get("cpus", cpus if self._cfs else math.inf)
        if not math.isinf(limit) or os.path.exists(os.path.join(cgroup, _BANDWIDTH)):
            cgroup1.write(cgroup, _BANDWIDTH, bandwidth(limit))

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return user and system time, how often and how long the container was throttled."""
        values = cgroup1.stat_values(cgroup1.read(cgroup, "cpu.stat"))
        made = pb.ResourceStatistics()
        for line, name in _SECONDS:
            if line in values:
                setattr(made, name, values[line] / 1e6)
        for line, name in _COUNTS:
            if line in values:
                setattr(made, name, values[line])
        return made


def weight(cpus: float, revocable: bool = False) -> int:
    """Return the weight of ``cpus``; resources have three decimals."""
    per_cpu = _WEIGHT_PER_REVOCABLE_CPU if revocable else _WEIGHT_PER_CPU
    lowest, highest = _WEIGHTS
    return min(max(per_cpu * round(cpus * 1000) // 1000, lowest), highest)


def bandwidth(cpus: float) -> str:
    """Return the content of ``cpu.max`` for a limit."""
    if math.isinf(cpus):
        return "max"
    return f"{quota_us(cpus)} {PERIOD_US}"
