# SPDX-License-Identifier: Apache-2.0
"""``posix/cpu``: processor time of the process tree of a container; no limits.

Times of children that have ended are lost, so values may fall, as with upstream.

Source: spec ``isolators-resources`` 14.
"""

from __future__ import annotations

import time

from containerizer.isolators.posix_usage import PosixIsolator, seconds
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb


class PosixCpuIsolator(PosixIsolator):
    """Sums up user and system time."""

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        """Return the time that the living processes have used."""
        tree = self.tree(container_id)
        if not tree:
            return None
        return pb.ResourceStatistics(
            timestamp=time.time(),
            cpus_user_time_secs=seconds(sum(stat.user_ticks for stat in tree)),
            cpus_system_time_secs=seconds(sum(stat.system_ticks for stat in tree)),
        )
