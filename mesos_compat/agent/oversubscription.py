# SPDX-License-Identifier: Apache-2.0
"""The contracts of resource estimators and QoS controllers.

The agent does not ask them yet: ``--resource_estimator`` and ``--qos_controller`` have no effect.

Source: spec ``agent-master`` 15; upstream ``include/mesos/slave/{resource_estimator,
qos_controller}.hpp``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription

#: Entry points: functions from ``base.plugins.Parameters`` to one of the objects below.
ESTIMATORS = "mesos_compat.resource_estimators"
CONTROLLERS = "mesos_compat.qos_controllers"

#: Returns what all executors use now.
Usage: TypeAlias = Callable[[], Awaitable[pb.ResourceUsage]]


class ResourceEstimator(Protocol):
    """Knows what of the agent's resources can be offered once more."""

    def initialize(self, usage: Usage) -> None:
        """Begin; called once, before anything else."""

    async def oversubscribable(self) -> Sequence[pb.Resource]:
        """Return what can be offered beside that which is allocated; all of it revocable.

        Asked again ``--oversubscribed_resources_interval`` after each answer, which may take as
        long as it likes.
        """


class QoSController(Protocol):
    """Knows which executors have to go so that the others have what was promised."""

    def initialize(self, usage: Usage) -> None:
        """Begin; called once, before anything else."""

    async def corrections(self) -> Sequence[oversubscription.QoSCorrection]:
        """Return what has to be done; asked again once that was begun.

        May take as long as it likes.
        """
