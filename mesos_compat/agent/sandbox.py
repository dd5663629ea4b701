# SPDX-License-Identifier: Apache-2.0
"""Makes sandboxes: the directory of a run, its owner, and the link to the newest run.

Source: spec ``executors`` 3.6, ``state-and-recovery`` 4.2.
"""

from __future__ import annotations

import logging
import os
import pwd

from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError

log = logging.getLogger(__name__)

_PARENT_MODE = 0o755
_SANDBOX_MODE = 0o750


class SandboxError(Exception):
    """A sandbox cannot be made; the text becomes part of a task status."""


def make_sandbox(directory: str, user: str | None) -> None:
    """Make the empty ``directory`` (``…/runs/<container>``), give it to ``user`` and his primary
    group, and point ``latest`` beside it to it.

    Blocks for some directory operations. Raises SandboxError, and then leaves no sandbox.
    """
    runs = os.path.dirname(directory)
    try:
        os.makedirs(runs, _PARENT_MODE, exist_ok=True)
        os.mkdir(directory, _SANDBOX_MODE)
        # The umask of an agent must not open or close sandboxes.
        os.chmod(directory, _SANDBOX_MODE)
    except OSError as error:
        raise SandboxError(
            f"Failed to create executor directory '{directory}': {error.strerror}"
        ) from error
    try:
        if user is not None:
            _give(directory, user)
        checkpoint.relink(f"{runs}/latest", directory)
    except (SandboxError, CheckpointError) as error:
        os.rmdir(directory)
        raise SandboxError(f"Failed to create executor directory '{directory}': {error}") from error


def make_standalone(directory: str, user: str | None) -> None:
    """Make the sandbox of a container without executor, and give it to ``user``.

    One that is there is used again. Raises SandboxError, and then leaves no new sandbox.
    """
    made = False
    try:
        os.makedirs(os.path.dirname(directory), _PARENT_MODE, exist_ok=True)
        try:
            os.mkdir(directory, _SANDBOX_MODE)
            made = True
        except FileExistsError:
            if os.path.islink(directory) or not os.path.isdir(directory):
                raise
        os.chmod(directory, _SANDBOX_MODE)
    except OSError as error:
        raise SandboxError(f"Failed to create directory '{directory}': {error.strerror}") from error
    if user is None:
        return
    try:
        _give(directory, user)
    except SandboxError:
        if made:
            os.rmdir(directory)
        raise


def _give(directory: str, user: str) -> None:
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise SandboxError(
            f"Failed to chown directory to '{user}': No such user '{user}'"
        ) from None
    try:
        os.chown(directory, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise SandboxError(f"Failed to chown directory to '{user}': {error.strerror}") from error
