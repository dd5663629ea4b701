# SPDX-License-Identifier: Apache-2.0
"""``org_apache_mesos_LoadQoSController``: while the host's load is too high, whoever has revocable
resources goes.

Parameters ``load_threshold_5min`` and ``load_threshold_15min``: at least one.

Source: spec ``agent-master`` 15; upstream ``slave/qos_controllers/load.cpp``.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence

from mesos_compat.agent.oversubscription import Usage
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Parameters
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos.slave import oversubscription_pb2 as oversubscription

log = logging.getLogger(__name__)

_Correction = oversubscription.QoSCorrection


class LoadController:
    """Implements ``oversubscription.QoSController``.

    Thresholds are numbers of runnable processes; ``load`` returns the averages of 1, 5 and 15
    minutes.
    """

    def __init__(
        self,
        threshold_5min: float = math.inf,
        threshold_15min: float = math.inf,
        load: Callable[[], tuple[float, float, float]] = os.getloadavg,
    ) -> None:
        self._threshold_5min = threshold_5min
        self._threshold_15min = threshold_15min
        self._load = load
        self._usage: Usage | None = None

    def initialize(self, usage: Usage) -> None:
        """Begin."""
        self._usage = usage

    async def corrections(self) -> Sequence[_Correction]:
        """Return an end for each executor with revocable resources, if the load is too high."""
        _, five, fifteen = self._load()
        if five <= self._threshold_5min and fifteen <= self._threshold_15min:
            return []
        assert self._usage is not None, "initialize comes first"
        usage = await self._usage()
        made = []
        for executor in usage.executors:
            if not Resources.of(executor.allocated).revocable():
                continue
            correction = _Correction(type=_Correction.KILL)
            correction.kill.framework_id.CopyFrom(executor.executor_info.framework_id)
            correction.kill.executor_id.CopyFrom(executor.executor_info.executor_id)
            correction.kill.container_id.CopyFrom(executor.container_id)
            made.append(correction)
        if made:
            log.warning(
                "System load %s: %d revocable executors have to go", (five, fifteen), len(made)
            )
        return made


def create(parameters: Parameters) -> LoadController:
    """Make the controller. Raises FlagError."""
    thresholds: dict[str, float] = {}
    for key, text in parameters:
        if key not in ("load_threshold_5min", "load_threshold_15min"):
            raise FlagError(f"The load QoS controller has no parameter '{key}'")
        try:
            thresholds[key] = float(text)
        except ValueError as error:
            raise FlagError(f"Failed to parse '{key}': '{text}' is no number") from error
    if not thresholds:
        raise FlagError("No load thresholds are configured for LoadQoSController")
    return LoadController(
        thresholds.get("load_threshold_5min", math.inf),
        thresholds.get("load_threshold_15min", math.inf),
    )
