# SPDX-License-Identifier: Apache-2.0
"""From flags to a provisioner: its stores, its backends, and which of them is used.

Source: spec ``images`` 1, 4.1; upstream ``provisioner/provisioner.cpp`` ``create``.
"""

from __future__ import annotations

import logging
import os

from containerizer.linux import mountinfo
from containerizer.linux.direntries import reports_types
from containerizer.provisioner.base import Backend, Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.layout import ProvisionerLayout
from containerizer.provisioner.provisioner import ImageProvisioner
from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Group
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

STORES = "mesos_compat.image_stores"
BACKENDS = "mesos_compat.image_backends"

_PREFIX = (
    "Failed to create a containerizer: Could not create MesosContainerizer: Failed to create"
    " provisioner: "
)

#: Backends that are chosen without being asked for, the best first.
_AUTOMATIC = ("overlay", "aufs", "copy")

#: File systems on which a backend does not work, for the directory of the provisioner.
_UNSUPPORTED_FILESYSTEMS = {
    "overlay": ("aufs", "btrfs", "ecryptfs", "zfs", "overlay"),
    "aufs": ("aufs", "btrfs", "ecryptfs"),
}


def create_provisioner(config: ProvisionerConfig, metrics: Metrics) -> ImageProvisioner:
    """Make the provisioner of an agent; whoever calls this closes it.

    Blocks for a moment: to be called at start. Raises FlagError with the line that upstream
    prints.
    """
    root = os.path.join(config.work_dir, "provisioner")
    try:
        os.makedirs(root, exist_ok=True)
        layout = ProvisionerLayout(os.path.realpath(root, strict=True))
    except OSError as error:
        raise FlagError(
            f"{_PREFIX}Failed to create provisioner root directory '{root}': {error.strerror}"
        ) from error
    # Everything that its tasks raise is awaited by somebody.
    scope = Scope("provisioner", on_error=_awaited)
    try:
        stores = _stores(config, scope, metrics)
        backends = _backends(config, metrics)
        names = _choose(config.image_provisioner_backend, backends, layout.root)
    except FlagError as error:
        raise FlagError(f"{_PREFIX}{error}") from error
    log.info("Using default backend '%s'", names[0])
    return ImageProvisioner(layout, stores, backends, names, scope, metrics)


def _awaited(name: str, error: Exception) -> None:
    log.debug("%s: %s", name, error)


def _stores(config: ProvisionerConfig, scope: Scope, metrics: Metrics) -> dict[int, Store]:
    group = Group(STORES)
    stores: dict[int, Store] = {}
    for token in config.image_providers:
        kind = token.strip().upper()
        if kind not in pb.Image.Type.keys() or kind.lower() not in group:  # noqa: SIM118
            raise FlagError(f"Failed to create image stores: Unknown image type '{token}'")
        try:
            create = group.load(kind.lower())
            stores[pb.Image.Type.Value(kind)] = plugins.call(create, config, scope, metrics)
        except FlagError as error:
            raise FlagError(
                f"Failed to create image stores: Failed to create store for image type"
                f" '{token}': {error}"
            ) from error
    return stores


def _backends(config: ProvisionerConfig, metrics: Metrics) -> dict[str, Backend]:
    group = Group(BACKENDS)
    backends: dict[str, Backend] = {}
    for name in group.names():
        try:
            backends[name] = plugins.call(group.load(name), config, metrics)
        except FlagError as error:
            log.warning("Failed to create '%s' backend: %s", name, error)
    return backends


def _choose(wanted: str | None, backends: dict[str, Backend], root: str) -> list[str]:
    """Return the names of the backends that make new root file systems, the best first.

    One that is asked for is the only one.
    """
    if wanted is not None:
        why = _unusable(wanted, backends, root)
        if why is not None:
            raise FlagError(f"The specified provisioner backend '{wanted}' is not supported: {why}")
        return [wanted]
    usable = []
    for name in _AUTOMATIC:
        why = _unusable(name, backends, root)
        if why is None:
            usable.append(name)
        else:
            log.info("Provisioner backend '%s' is not supported on '%s': %s", name, root, why)
    if not usable:
        raise FlagError("Failed to find a default backend")
    return usable


def _unusable(name: str, backends: dict[str, Backend], root: str) -> str | None:
    if name not in backends:
        return "Not found"
    if name not in _UNSUPPORTED_FILESYSTEMS:
        return None
    entry = mountinfo.containing(mountinfo.read(), root)
    filesystem = "unknown" if entry is None else entry.fstype
    if filesystem in _UNSUPPORTED_FILESYSTEMS[name]:
        return f"Backend '{name}' is not supported on the underlying filesystem '{filesystem}'"
    if name == "overlay" and not reports_types(root):
        return (
            "Backend 'overlay' is not supported due to missing d_type support on the"
            " underlying filesystem"
        )
    return None
