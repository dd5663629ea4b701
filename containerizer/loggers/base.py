# SPDX-License-Identifier: Apache-2.0
"""The contract of a container logger: where the output of a container goes.

Source: spec ``containerizer`` 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from containerizer.init.helper import HelperRequest
from containerizer.launcher.spawn import SpawnedInit
from mesos_compat.base.plugins import Parameters
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

#: Entry points of container loggers, named as in ``--container_logger``: functions from
#: LoggerContext to ContainerLogger, which raise FlagError if they cannot be had.
GROUP = "mesos_compat.container_loggers"


class HelperStarter(Protocol):
    """Starts helper programs (``containerizer.init.helper``); the spawner does."""

    async def start_helper(self, request: HelperRequest, descriptors: Sequence[int]) -> SpawnedInit:
        """Start a helper, which waits for its release. Raises LaunchError."""


@dataclass(frozen=True, slots=True)
class LoggerContext:
    """What a container logger gets when it is created."""

    #: Of the module in ``--modules``, in order.
    parameters: Parameters = ()
    helpers: HelperStarter | None = None
    #: Cgroups for processes that shall survive the agent.
    cgroups: tuple[str, ...] = ()


class ContainerLogger(Protocol):
    """Opens stdout and stderr of containers.

    It must survive the agent by itself: a pipe is read by some other process.
    """

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        """Return descriptors for stdout and stderr; the caller closes them.

        Raises ContainerError.
        """
