# SPDX-License-Identifier: Apache-2.0
"""Sandboxes of nested containers, which lie inside the sandbox of their root container.

The root sandbox belongs to a task's user, so nothing in it is followed or believed.

Source: spec ``containerizer`` 12.2.
"""

from __future__ import annotations

import os
from typing import Protocol

from containerizer.linux import users
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId

_MODE = 0o750


class SandboxCollector(Protocol):
    """Removes sandboxes of nested containers that have ended."""

    def schedule_aged(self, root: str, relative: str) -> None:
        """Remove a folder below ``root`` when its last change is long enough ago.

        What is in ``root`` belongs to a task: no link in it is followed.
        """

    def unschedule(self, path: str) -> None:
        """Keep a folder after all, unless its removal has begun."""

    async def settled(self, path: str) -> None:
        """Return when a folder is not being removed; waits as long as that takes."""


def nested_path(container_id: ContainerId) -> str:
    """Return a nested container's sandbox relative to that of its root."""
    return "/".join(f"containers/{value}" for value in container_id.path[1:])


def open_sandbox(container_id: ContainerId, directory: str) -> Root:
    """Open the sandbox of a container, that of a nested one below the outermost's.

    By its path alone a task could lead us anywhere, from the moment on in which it was made.
    Raises OSError.
    """
    inner = nested_path(container_id)
    outermost = directory.removesuffix(f"/{inner}")
    if not inner or outermost == directory:
        return Root(directory)
    with Root(outermost) as root:
        return root.below(inner)


def make_nested(root_sandbox: str, container_id: ContainerId, user: str | None) -> str:
    """Make the sandbox of a nested container for ``user``; return its path.

    Raises ContainerError in upstream's words.
    """
    relative = nested_path(container_id)
    path = os.path.join(root_sandbox, relative)
    try:
        identity = users.identity_of(user) if user is not None else None
        if user is not None and identity is None:
            raise OSError(f"Failed to chown directory to '{user}': No such user '{user}'")
        with Root(root_sandbox) as root:
            root.makedirs(relative, 0o755)
            made = root.open(relative, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fchmod(made, _MODE)
                if identity is not None and identity.uid != os.geteuid():
                    os.fchown(made, identity.uid, identity.gid)
            finally:
                os.close(made)
    except OSError as error:
        raise ContainerError(f"Failed to create nested sandbox '{path}': {error}") from error
    return path


def remove_nested(root_sandbox: str, container_id: ContainerId) -> None:
    """Remove the sandbox of a nested container; nothing there is fine. Raises ContainerError."""
    try:
        with Root(root_sandbox) as root:
            root.remove(nested_path(container_id))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ContainerError(f"Failed to remove the sandbox directory: {error}") from error
