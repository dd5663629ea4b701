# SPDX-License-Identifier: Apache-2.0
"""``org_apache_mesos_FixedResourceEstimator``: always the same, less what is in use.

Parameter ``resources``: the text of ``--resources``.

Source: spec ``agent-master`` 15; upstream ``slave/resource_estimators/fixed.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.agent.oversubscription import Usage
from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.plugins import Parameters
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb


class FixedEstimator:
    """Implements ``oversubscription.ResourceEstimator``."""

    def __init__(self, total: Resources) -> None:
        """All of ``total`` is revocable."""
        self._total = total
        self._usage: Usage | None = None

    def initialize(self, usage: Usage) -> None:
        """Begin."""
        self._usage = usage

    async def oversubscribable(self) -> Sequence[pb.Resource]:
        """Return what is left of the total."""
        assert self._usage is not None, "initialize comes first"
        usage = await self._usage()
        used = Resources.of(r for executor in usage.executors for r in executor.allocated)
        return (self._total - used.unallocated().revocable()).messages()


def create(parameters: Parameters) -> FixedEstimator:
    """Make the estimator. Raises FlagError."""
    text = dict(parameters).get("resources")
    if text is None:
        raise FlagError("The fixed resource estimator needs the parameter 'resources'")
    try:
        total = Resources.parse(text).messages()
        for resource in total:
            resource.revocable.SetInParent()
        return FixedEstimator(Resources.of(total))
    except WireError as error:
        raise FlagError(f"Failed to parse resources '{text}': {error}") from error
