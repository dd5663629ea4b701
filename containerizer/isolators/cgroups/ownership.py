# SPDX-License-Identifier: Apache-2.0
"""What both versions of the cgroups isolator decide alike.

Source: spec ``isolators-resources`` 4.4, 5.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from containerizer.isolators.base import is_command_task
from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.linux import users
from mesos_compat.base.errors import IsolatorError
from mesos_compat.base.units import format_duration
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: A subsystem and the container's cgroup in its hierarchy.
Placed: TypeAlias = tuple[Subsystem, str]
#: What is done to them.
Call: TypeAlias = Callable[[Subsystem, str], None]

#: Seconds that removing a stray cgroup may take at start.
_STRAY_TIMEOUT_S = 2.0

#: What all names in ``--isolation`` have that are one isolator.
PREFIX = "cgroups/"
ALL = "cgroups/all"
#: What there is with version 2 without any controller.
CORE = "cgroups/core"


def has_own_cgroups(container_id: ContainerId, config: slave.ContainerConfig) -> bool:
    """Whether a container gets cgroups of its own."""
    if container_id.parent is None:
        return True
    linux = config.container_info.linux_info
    if not linux.HasField("share_cgroups") or linux.share_cgroups:
        return False
    if container_id.parent.parent is not None:
        raise IsolatorError("Only containers nested at the first level can have own cgroups")
    return config.container_class != slave.ContainerClass.DEBUG


def owner(config: slave.ContainerConfig) -> tuple[int, int] | None:
    """Return who may make cgroups below the container's: the user of its processes."""
    if not config.HasField("user"):
        return None
    user: str | None = config.user
    if is_command_task(config) and config.HasField("rootfs"):
        command = config.task_info.command
        user = command.user if command.HasField("user") else None
    if user is None:
        return None
    identity = users.identity_of(user)
    if identity is None:
        raise IsolatorError(f"Failed to get the uid of user '{user}': not found")
    return identity.uid, identity.gid


@contextmanager
def wrapped(what: str) -> Iterator[None]:
    """Say ``what`` failed before the reason."""
    try:
        yield
    except (IsolatorError, OSError) as error:
        raise IsolatorError(f"{what}: {error}") from error


def container_of(path: Sequence[str]) -> ContainerId:
    """Return the id whose values, outermost first, are those of a cgroup's path."""
    made = ContainerId(path[0])
    for value in path[1:]:
        made = ContainerId(value, made)
    return made


def limits_of(config: slave.ContainerConfig) -> dict[str, float]:
    """Return the limits that a container is launched with, by name."""
    return {name: limit.value for name, limit in config.limits.items()}


def each(placed: Iterable[Placed], what: str, call: Call) -> list[str]:
    """Call all subsystems of a container, whatever becomes of some; return the failures.

    ``what`` is done to each, as in "update controller".
    """
    failures = []
    for subsystem, cgroup in placed:
        try:
            call(subsystem, cgroup)
        except (IsolatorError, OSError, ValueError) as error:
            failures.append(f"Failed to {what} '{subsystem.controller}': {error}")
    return failures


def measured(container_id: ContainerId, placed: Iterable[Placed]) -> pb.ResourceStatistics:
    """Return what all subsystems of a container count; those that cannot are left out."""
    made = pb.ResourceStatistics()
    for subsystem, cgroup in placed:
        try:
            part = subsystem.usage(container_id, cgroup)
        except (IsolatorError, OSError, ValueError) as error:
            name = subsystem.controller
            log.warning("Container %s: no usage of %s: %s", container_id, name, error)
            continue
        if part is not None:
            made.MergeFrom(part)
    return made


async def limitation(
    container_id: ContainerId, subsystems: Iterable[Subsystem]
) -> slave.ContainerLimitation | None:
    """Return the first limitation; ``None`` if there never will be one.

    Only memory has limits to run into, so there is nothing to race.
    """
    for subsystem in subsystems:
        reached = await subsystem.watch(container_id)
        if reached is not None:
            return reached
    return None


async def remove_within(timeout_s: float, removing: Iterator[float]) -> None:
    """Go through the steps of a removal, each the seconds to wait. Raises IsolatorError."""
    try:
        async with asyncio.timeout(timeout_s):
            for delay_s in removing:
                await asyncio.sleep(delay_s)
    except TimeoutError as error:
        duration = format_duration(round(timeout_s * 1e9))
        raise IsolatorError(f"Timed out after {duration}") from error


async def remove_stray(cgroup: str, destroy: Callable[[str], Iterator[float]]) -> None:
    """Remove the cgroup of a container that nobody knows; it may take a moment."""
    log.warning("Removing the cgroup '%s' of an unknown container", cgroup)
    try:
        await remove_within(_STRAY_TIMEOUT_S, destroy(cgroup))
    except (IsolatorError, OSError) as error:
        log.warning("Failed to remove the cgroup '%s': %s", cgroup, error)
