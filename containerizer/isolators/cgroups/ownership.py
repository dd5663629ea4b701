# SPDX-License-Identifier: Apache-2.0
"""What both versions of the cgroups isolator decide alike.

Source: spec ``isolators-resources`` 4.4, 5.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from containerizer.isolators.base import is_command_task
from containerizer.linux import users
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

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
