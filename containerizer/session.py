# SPDX-License-Identifier: Apache-2.0
"""Which process a DEBUG container shares its mount namespace with.

Source: spec ``containerizer`` 12.4.
"""

from __future__ import annotations

import os

from containerizer.linux import proc
from containerizer.linux.namespaces import CLONE_NEWNS, identity
from mesos_compat.base.errors import ContainerError


def mount_namespace_target(init: int, *, image_of_task: bool) -> int:
    """Return the pid whose mount namespace a session in the container of ``init`` enters.

    Where the image is the command task's and not the container's (``image_of_task``), it is the
    task's own namespace, below the executor's, unless the executor is the init and went into the
    image itself. Without an image executor and task share one, whatever processes there are.
    Raises ContainerError.
    """
    if not image_of_task or _has_own_root(init):
        return init
    try:
        namespace = identity(init, CLONE_NEWNS)
        executors = [pid for pid in proc.children(init) if _namespace(pid) == namespace]
        tasks = [task for executor in executors for task in proc.children(executor)]
        if not tasks:
            raise ContainerError("Cannot detect task process: no 2nd-level processes found")
        candidates = [task for task in tasks if _namespace(task) not in (namespace, None)]
    except OSError as error:
        raise ContainerError(
            f"Cannot get target mount namespace from process {init}: {error}"
        ) from error
    if len(candidates) > 1:
        raise ContainerError(
            f"Cannot detect task process: unexpected number of candidates found: {len(candidates)}"
        )
    return candidates[0] if candidates else init


def _has_own_root(pid: int) -> bool:
    try:
        return not os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat("/"))
    except (FileNotFoundError, PermissionError):
        return False


def _namespace(pid: int) -> int | None:
    try:
        return identity(pid, CLONE_NEWNS)
    except FileNotFoundError:
        return None
