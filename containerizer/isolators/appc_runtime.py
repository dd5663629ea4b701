# SPDX-License-Identifier: Apache-2.0
"""``appc/runtime``: command, environment and working directory of an AppC image.

Source: spec ``images`` 12.2 … 12.5.
"""

from __future__ import annotations

from containerizer.isolators.base import Isolator
from containerizer.isolators.docker_runtime import runtime_info
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class AppcRuntimeIsolator(Isolator):
    """Reads the ``app`` section of the image's manifest; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return what the image says; nothing without an AppC image or without ``app``."""
        if not config.HasField("container_info"):
            return None
        if config.container_info.type != pb.ContainerInfo.MESOS:
            raise IsolatorError("Can only prepare Appc runtime for a MESOS container")
        if not config.HasField("appc") or not config.appc.manifest.HasField("app"):
            return None
        app = config.appc.manifest.app
        environment = [
            pb.Environment.Variable(name=entry.name, value=entry.value) for entry in app.environment
        ]
        return runtime_info(config, environment, app.workingDirectory, (), app.exec)
