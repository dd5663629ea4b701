# SPDX-License-Identifier: Apache-2.0
"""The bind backend: the one layer of an image, mounted read-only.

Source: spec ``images`` 4.4; upstream ``provisioner/backends/bind.cpp``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence

from containerizer.linux import mount
from containerizer.provisioner.backends.mounts import detach, require_root, share
from containerizer.provisioner.base import Backend
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.offload import in_thread
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Counter, Metrics

log = logging.getLogger(__name__)

_ERRORS = "containerizer/mesos/provisioner/bind/remove_rootfs_errors"


def create(config: ProvisionerConfig, metrics: Metrics) -> Backend:
    """Make the backend. Raises ProvisionError without root."""
    require_root("BindBackend")
    return BindBackend(metrics.counter(_ERRORS))


class BindBackend:
    """Mounts a layer."""

    def __init__(self, errors: Counter) -> None:
        self._errors = errors

    async def provision(
        self, layers: Sequence[str], rootfs: str, backend_dir: str
    ) -> tuple[str, ...]:
        """Mount the one layer at ``rootfs``, read-only."""
        if not layers:
            raise ProvisionError("No filesystem layer provided")
        if len(layers) > 1:
            raise ProvisionError("Multiple layers are not supported by the bind backend")
        await in_thread(_provision, layers[0], rootfs)
        return ()

    async def destroy(self, rootfs: str, backend_dir: str) -> bool:
        """Unmount ``rootfs``; ``False`` if it is not mounted."""
        busy = await in_thread(_destroy, rootfs)
        if busy:
            self._errors.increment()
        return busy is not None


def _provision(layer: str, rootfs: str) -> None:
    try:
        os.makedirs(rootfs, 0o755, exist_ok=True)
        mount.mount(layer, rootfs, flags=mount.MS_BIND | mount.MS_RDONLY)
        mount.mount(None, rootfs, flags=mount.MS_REMOUNT | mount.MS_BIND | mount.MS_RDONLY)
        share(rootfs)
    except OSError as error:
        raise ProvisionError(f"Failed to bind mount rootfs '{rootfs}': {error}") from error


def _destroy(rootfs: str) -> bool | None:
    """Unmount; ``None`` if not mounted, ``True`` if the empty directory had to stay."""
    if not detach(rootfs):
        return None
    try:
        os.rmdir(rootfs)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise ProvisionError(f"Failed to remove rootfs '{rootfs}': {error}") from error
        log.error("Failed to remove rootfs mount point '%s': %s", rootfs, error)
        return True
    return False
