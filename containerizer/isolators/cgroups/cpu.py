# SPDX-License-Identifier: Apache-2.0
"""``cgroups/cpu``: shares, bandwidth and the time used (controllers ``cpu`` and ``cpuacct``).

Source: spec ``isolators-resources`` 4.7, 4.8.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

_SHARES_PER_CPU = 1024
_SHARES_PER_REVOCABLE_CPU = 10
_MIN_SHARES = 2

#: The kernel's own default; long enough not to throttle at each timer tick.
PERIOD_US = 100_000
#: The kernel refuses less.
_MIN_QUOTA_US = 1000


class Cpu(Subsystem):
    """Relative weight always, an absolute limit if asked for."""

    controller = "cpu"

    def __init__(self, cfs: bool, low_priority: bool) -> None:
        self._cfs = cfs
        self._low_priority = low_priority

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Cpu:
        """Make the subsystem; ``--cgroups_enable_cfs`` needs the kernel's support."""
        cfs = config.cgroups_enable_cfs
        if cfs and not os.path.exists(os.path.join(root, "cpu.cfs_quota_us")):
            raise IsolatorError(
                "Failed to find 'cpu.cfs_quota_us'. Your kernel might be too old to use the CFS"
                " quota feature"
            )
        return cls(cfs, config.revocable_cpu_low_priority)

    def update(
        self,
        container_id: ContainerId,
        cgroup: str,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Write shares and, with a limit or CFS, the quota."""
        cpus, revocable = requested(requests, self._low_priority)
        cgroup1.write(cgroup, "cpu.shares", str(shares(cpus, revocable)))
        limit = limits.get("cpus", cpus if self._cfs else None)
        if limit is not None:
            cgroup1.write(cgroup, "cpu.cfs_period_us", str(PERIOD_US))
            cgroup1.write(cgroup, "cpu.cfs_quota_us", str(quota_us(limit)))

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return how often and how long the container was throttled."""
        if not self._cfs:
            return None
        values = cgroup1.stat_values(cgroup1.read(cgroup, "cpu.stat"))
        made = pb.ResourceStatistics()
        if "nr_periods" in values:
            made.cpus_nr_periods = values["nr_periods"]
        if "nr_throttled" in values:
            made.cpus_nr_throttled = values["nr_throttled"]
        if "throttled_time" in values:
            made.cpus_throttled_time_secs = values["throttled_time"] / 1e9
        return made


class Cpuacct(Subsystem):
    """Counts processor time."""

    controller = "cpuacct"

    def __init__(self, count: bool) -> None:
        self._count = count

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Cpuacct:
        """Make the subsystem; there is nothing to refuse."""
        return cls(config.cgroups_cpu_enable_pids_and_tids_count)

    def usage(self, container_id: ContainerId, cgroup: str) -> pb.ResourceStatistics | None:
        """Return user and system time, and the numbers of processes and threads if wanted."""
        made = pb.ResourceStatistics()
        if self._count:
            made.processes = len(cgroup1.processes(cgroup))
            made.threads = len(cgroup1.read(cgroup, "tasks").split())
        values = cgroup1.stat_values(cgroup1.read(cgroup, "cpuacct.stat"))
        if "user" not in values or "system" not in values:
            raise IsolatorError("Failed to get user/system from cpuacct.stat")
        ticks = os.sysconf("SC_CLK_TCK")
        made.cpus_user_time_secs = values["user"] / ticks
        made.cpus_system_time_secs = values["system"] / ticks
        return made


def requested(requests: Sequence[pb.Resource], low_priority: bool) -> tuple[float, bool]:
    """Return the requested cpus, and whether they get least priority for being revocable.

    ``low_priority`` says whether revocable ones do. Raises IsolatorError.
    """
    resources = Resources.of(requests)
    if resources.cpus is None:
        raise IsolatorError("No cpus resource given")
    return resources.cpus, low_priority and resources.revocable().cpus is not None


def shares(cpus: float, revocable: bool = False) -> int:
    """Return the weight of ``cpus``; resources have three decimals."""
    per_cpu = _SHARES_PER_REVOCABLE_CPU if revocable else _SHARES_PER_CPU
    return max(per_cpu * round(cpus * 1000) // 1000, _MIN_SHARES)


def quota_us(cpus: float) -> int:
    """Return the processor time per period; -1 for no limit."""
    if math.isinf(cpus):
        return -1
    return max(PERIOD_US * round(cpus * 1000) // 1000, _MIN_QUOTA_US)
