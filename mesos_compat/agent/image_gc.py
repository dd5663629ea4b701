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

    #: Directories that they are in, of which some need not exist.
    stores: tuple[str, ...]
    #: Share of the disk that shall stay free.
    headroom: float
    interval_s: float


def watch_images(
    scope: Scope, clock: Clock, watch: ImageWatch, containerizer: Containerizer
) -> None:
    """From now on remove unused images whenever too little of the disk of a store is free.

    A removal may wait for a long pull; meanwhile no other one is begun.
    """
    pruning: asyncio.Task[None] | None = None

    async def prune() -> None:
        try:
            await containerizer.prune_images(())
        except ContainerError as error:
            log.warning("Failed to prune images: %s", error)

    async def check() -> None:
        nonlocal pruning
        while True:
            await clock.sleep(watch.interval_s)
            full = await asyncio.to_thread(_full, watch)
            if not full:
                continue
            log.info("%s: pruning images", ", ".join(full))
            if pruning is None or pruning.done():
                pruning = scope.spawn(prune(), "prune images")

    scope.spawn(check(), "watch the disk of images")


def _full(watch: ImageWatch) -> list[str]:
    """Say which stores leave too little of their disk."""
    found = []
    for store in watch.stores:
        try:
            usage = disk_usage(store)
        except FileNotFoundError:
            continue  # no image was ever there
        except OSError as error:
            log.error("Failed to get disk usage of '%s': %s", store, error)
            continue
        if watch.headroom + usage > 1.0:
            found.append(f"'{store}' is {100.0 * usage:.1f}% full")
    return found
