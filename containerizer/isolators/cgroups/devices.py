# SPDX-License-Identifier: Apache-2.0
"""``cgroups/devices``: which device nodes a container may use.

Source: spec ``isolators-resources`` 4.11.
"""

from __future__ import annotations

import os
import stat

from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import cgroup1
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

#: Making any node; console, tty0, tty1, ptys, ptmx, tun, null, zero, full, tty, urandom, random.
DEFAULT_ENTRIES = (
    "c *:* m",
    "b *:* m",
    "c 5:1 rwm",
    "c 4:0 rwm",
    "c 4:1 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 5:0 rwm",
    "c 1:9 rwm",
    "c 1:8 rwm",
)


class Devices(Subsystem):
    """Denies everything, then allows the usual and ``--allowed_devices``."""

    controller = "devices"

    def __init__(self, entries: tuple[str, ...]) -> None:
        self._entries = entries

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> Devices:
        """Make the subsystem; refuses entries of ``--allowed_devices`` that mean nothing."""
        return cls(entries(config))

    def prepare(
        self, container_id: ContainerId, cgroup: str, config: slave.ContainerConfig
    ) -> None:
        """Write the whole list; it never changes."""
        try:
            cgroup1.write(cgroup, "devices.deny", "a *:* rwm")
        except OSError as error:
            raise IsolatorError(f"Failed to deny all devices: {error}") from error
        for entry in self._entries:
            try:
                cgroup1.write(cgroup, "devices.allow", entry)
            except OSError as error:
                raise IsolatorError(f"Failed to whitelist device '{entry}': {error}") from error


def entries(config: ContainerizerConfig) -> tuple[str, ...]:
    """Return the usual entries and those of ``--allowed_devices``. Raises IsolatorError."""
    allowed = config.allowed_devices.allowed_devices if config.allowed_devices else ()
    return (*DEFAULT_ENTRIES, *(_entry(access) for access in allowed))


def _entry(allowed: pb.DeviceAccess) -> str:
    """Return the kernel's form of one allowed device."""
    if not allowed.device.HasField("path"):
        raise IsolatorError("Whitelisted device has no device path provided")
    path = allowed.device.path
    wanted = (
        ("r", allowed.access.read),
        ("w", allowed.access.write),
        ("m", allowed.access.mknod),
    )
    access = "".join(letter for letter, given in wanted if given)
    if not access:
        raise IsolatorError(f"Could not whitelist device '{path}' without any access privileges")
    try:
        status = os.stat(path)
    except OSError as error:
        raise IsolatorError(f"Failed to obtain device ID for '{path}': {error.strerror}") from error
    if not (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)):
        raise IsolatorError(f"Failed to determine device type for '{path}'")
    kind = "b" if stat.S_ISBLK(status.st_mode) else "c"
    return f"{kind} {os.major(status.st_rdev)}:{os.minor(status.st_rdev)} {access}"
