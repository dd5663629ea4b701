# SPDX-License-Identifier: Apache-2.0
"""The contract of a container logger: where the output of a container goes.

Source: spec ``containerizer`` 15.
"""

from __future__ import annotations

from typing import Protocol

from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class ContainerLogger(Protocol):
    """Opens stdout and stderr of containers. It must survive the agent by itself."""

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        """Return descriptors for stdout and stderr; the caller closes them.

        Raises ContainerError.
        """
