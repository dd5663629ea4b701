# SPDX-License-Identifier: Apache-2.0
"""The contract of pullers: how the layers of a Docker image come into the store.

Source: spec ``images`` 5, 6, 7; upstream ``provisioner/docker/puller.hpp``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from containerizer.provisioner.progress import PullProgress
from containerizer.provisioner.reference import Reference


@dataclass(frozen=True, slots=True)
class PullOrder:
    """An image to pull."""

    reference: Reference
    #: Name of the trees that its layers need: ``rootfs`` or ``rootfs.overlay``.
    tree: str
    progress: PullProgress
    #: Docker configuration with credentials that the image brings along.
    docker_config: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image all of whose layers are in the store."""

    #: Bottom first.
    layer_ids: tuple[str, ...]
    #: Name of its configuration in the store; ``None`` for archives that have none.
    config_digest: str | None


class Puller(Protocol):
    """Gets images from somewhere."""

    async def pull(self, order: PullOrder) -> PulledImage:
        """Put the layers of an image that are missing, and its configuration, into the store.

        They get there by rename, whole and checked. Raises ProvisionError. Whatever happens,
        nothing of it stays in the staging directory.
        """
