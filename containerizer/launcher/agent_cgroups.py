# SPDX-License-Identifier: Apache-2.0
"""The agent's own cgroups, for whoever wants to see or limit what it uses.

With version 2 this is also how an agent leaves the cgroup of its service, if ``--cgroups_root`` is
below that: the kernel hands no controllers on where processes are.

Source: spec ``containerizer`` 6.6, ``isolators-resources`` 3.3.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from containerizer.linux import cgroup1, cgroup2
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import FlagError

log = logging.getLogger(__name__)

#: Name in hierarchies of version 1.
_SLAVE = "slave"


def place_agent(subsystems: Sequence[str], base: str, root: str) -> None:
    """Move this process into cgroups of its own below ``root``. Raises FlagError.

    With version 1 one in each hierarchy of ``subsystems``, mounted below ``base`` where missing;
    with version 2 one with the controllers ``subsystems``.
    """
    root = root.strip("/")
    if cgroup1.layout() is CgroupLayout.V2:
        _place_unified(cgroup1.V2_MOUNT_POINT, root, subsystems)
        return
    for subsystem in subsystems:
        try:
            hierarchy = cgroup1.prepare(base, subsystem, root)
            cgroup = os.path.join(hierarchy, root, _SLAVE)
            cgroup1.create(cgroup)
        except OSError as error:
            what = f"Failed to prepare cgroup {root} for subsystem {subsystem}"
            raise FlagError(f"{what}: {_text(error)}") from error
        _move(cgroup, cgroup)


def _place_unified(mount: str, root: str, controllers: Sequence[str]) -> None:
    agent = os.path.join(mount, root, cgroup2.AGENT)
    leaf = cgroup2.leaf(agent)
    try:
        cgroup2.create(leaf)
    except OSError as error:
        raise FlagError(f"Failed to create cgroup {leaf}: {_text(error)}") from error
    # First out of the cgroup of our service, which may be on the way.
    _move(agent, leaf)
    try:
        cgroup2.enable_between(mount, os.path.join(mount, root), controllers)
    except OSError as error:
        what = "Failed to enable the requested cgroup v2 controllers"
        raise FlagError(f"{what}: {_text(error)}") from error


def _move(watched: str, cgroup: str) -> None:
    """Enter ``cgroup``; whoever else is in ``watched`` is only told about."""
    try:
        found = sorted(cgroup2.all_processes(watched) - {os.getpid()})
        if found:
            log.warning("A cgroup of this agent has processes already: %s: %s", watched, found)
        cgroup1.assign(cgroup, os.getpid())
    except OSError as error:
        raise FlagError(f"Failed to move agent into cgroup {cgroup}: {_text(error)}") from error


def _text(error: OSError) -> str:
    return error.strerror or str(error)
