# SPDX-License-Identifier: Apache-2.0
"""The copy backend: a root file system is a private copy of all layers.

Works everywhere, also without root (then owners and devices are not those of the image).

Source: spec ``images`` 4.3; upstream ``provisioner/backends/copy.cpp``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from containerizer.provisioner.base import Backend
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.trees import remove_tree
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics

log = logging.getLogger(__name__)


def create(config: ProvisionerConfig, metrics: Metrics) -> Backend:
    """Make the backend."""
    return CopyBackend(config.limits)


class CopyBackend:
    """Copies layers in a process of its own."""

    def __init__(self, limits: UnpackLimits) -> None:
        self._limits = limits

    async def provision(
        self, layers: Sequence[str], rootfs: str, backend_dir: str
    ) -> tuple[str, ...]:
        """Copy ``layers``, bottom first, on each other into ``rootfs``."""
        if not layers:
            raise ProvisionError("No filesystem layers provided")
        try:
            os.makedirs(os.path.dirname(rootfs), exist_ok=True)
            os.mkdir(rootfs, 0o755)
        except FileExistsError as error:
            raise ProvisionError("Rootfs is already provisioned") from error
        except OSError as error:
            raise ProvisionError(
                f"Failed to create rootfs directory at '{rootfs}': {error}"
            ) from error
        await run_operation(
            "copy_tree",
            {"layers": list(layers), "rootfs": rootfs},
            self._limits,
            subject=f"layers into '{rootfs}'",
        )
        return ()

    async def destroy(self, rootfs: str, backend_dir: str) -> bool:
        """Remove the copy; a failure is only logged."""
        try:
            await in_thread(remove_tree, rootfs)
        except OSError as error:
            log.error("Failed to remove the root file system '%s': %s", rootfs, error)
        return True
