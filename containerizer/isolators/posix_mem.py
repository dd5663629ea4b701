# SPDX-License-Identifier: Apache-2.0
"""``posix/mem``: resident memory of the process tree of a container; no limits.

Source: spec ``isolators-resources`` 14.
"""

from __future__ import annotations

import os
import time

from containerizer.isolators.posix_usage import PosixIsolator
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb


class PosixMemIsolator(PosixIsolator):
    """Sums up resident pages; shared ones count once per process."""

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics | None:
        """Return the memory that the living processes hold."""
        tree = self.tree(container_id)
        if not tree:
            return None
        pages = sum(stat.resident_pages for stat in tree)
        return pb.ResourceStatistics(
            timestamp=time.time(), mem_rss_bytes=pages * os.sysconf("SC_PAGE_SIZE")
        )
