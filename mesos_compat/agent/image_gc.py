# SPDX-License-Identifier: Apache-2.0
"""Removes images that no container uses when their disk fills up: ``--image_gc_config``.

Source: spec ``images`` 14.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from containerizer.api import Containerizer
from mesos_compat.agent.gc import disk_usage
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.scope import Scope

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageWatch:
    """When images are removed."""

    #: Where they are.
    store: str
    #: Share of the disk that shall stay free.
    headroom: float
    interval_s: float


def watch_images(
    scope: Scope, clock: Clock, watch: ImageWatch, containerizer: Containerizer
) -> None:
    """From now on remove unused images whenever too little of the disk is free."""

    async def check() -> None:
        while True:
            await clock.sleep(watch.interval_s)
            try:
                usage = await asyncio.to_thread(disk_usage, watch.store)
            except OSError as error:
                log.error("Failed to get disk usage of '%s': %s", watch.store, error)
                continue
            if watch.headroom + usage > 1.0:
                log.info("'%s' is %.1f%% full: pruning images", watch.store, 100.0 * usage)
                try:
                    await containerizer.prune_images(())
                except ContainerError as error:
                    log.warning("Failed to prune images: %s", error)

    scope.spawn(check(), "watch the disk of images")
