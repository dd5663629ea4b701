# SPDX-License-Identifier: Apache-2.0
"""Where persistent volumes lie on disk. Pure.

Source: spec ``agent-master`` 12.7, ``isolators-fs-net`` 3.3.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from mesos_compat.base.errors import WireError
from mesos_compat.model.ids import id_error
from mesos_compat.model.resources import is_persistent_volume, role_error
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Source = pb.Resource.DiskInfo.Source


@dataclass(frozen=True, slots=True, order=True)
class Home:
    """The directory of a volume."""

    #: The work directory or the root of a disk.
    base: str
    #: Below ``base``; empty if the disk is the volume.
    relative: str

    @property
    def path(self) -> str:
        """The absolute path."""
        return os.path.join(self.base, self.relative) if self.relative else self.base


def home(work_dir: str, volume: pb.Resource) -> Home:
    """Return where a volume (in post format) lies. Raises WireError if that cannot be said."""
    disk = volume.disk
    why = id_error(disk.persistence.id)
    if why is not None:
        raise WireError(f"Invalid persistence id: {why}")
    if not volume.reservations:
        raise WireError(f"Volume '{disk.persistence.id}' is not reserved")
    role = volume.reservations[-1].role
    why = role_error(role) or id_error(role.replace("/", " "))
    if why is not None:
        raise WireError(f"Invalid role of volume '{disk.persistence.id}': {why}")
    base = work_dir
    if disk.HasField("source"):
        source = disk.source
        if source.HasField("id") or source.type not in (_Source.PATH, _Source.MOUNT):
            raise WireError(f"The disk of volume '{disk.persistence.id}' is of no supported kind")
        root = source.path.root if source.type == _Source.PATH else source.mount.root
        if not root:
            raise WireError(f"The disk of volume '{disk.persistence.id}' has no root")
        base = os.path.join(work_dir, root)
        if source.type == _Source.MOUNT:
            return Home(base, "")
    return Home(base, f"volumes/roles/{role.replace('/', ' ')}/{disk.persistence.id}")


def homes(work_dir: str, resources: Iterable[pb.Resource]) -> frozenset[Home]:
    """Return where all volumes among ``resources`` lie. Raises WireError."""
    return frozenset(home(work_dir, each) for each in resources if is_persistent_volume(each))
