# SPDX-License-Identifier: Apache-2.0
"""Makes and removes the directories of persistent volumes.

Whatever tasks left in one: nothing outside of it is touched.

Source: spec ``agent-master`` 12.7.
"""

from __future__ import annotations

import logging
import os
import stat

from mesos_compat.base.beneath import Root, Stop, never
from mesos_compat.model.volumes import Home

log = logging.getLogger(__name__)

_MODE = 0o755


def make(home: Home) -> None:
    """Make the directory; what is there is kept. Blocks for some file operations. Raises OSError.

    A whole disk has to be there.
    """
    if not stat.S_ISDIR(os.stat(home.base).st_mode):
        raise NotADirectoryError(20, os.strerror(20), home.base)
    if not home.relative or os.path.isdir(home.path):
        return
    with Root(home.base) as root:
        root.makedirs(home.relative, _MODE)


def destroy(home: Home, stop: Stop = never) -> None:
    """Remove a volume, of a whole disk only what is on it. Blocks long for many files.

    Raises OSError, or RemovalStopped if ``stop`` said so.
    """
    try:
        with Root(home.base) as root:
            if not home.relative:
                root.clear(stop)
                return
            root.lstat(home.relative)
            root.remove(home.relative, stop)
    except FileNotFoundError:
        log.warning("Persistent volume '%s' is gone already", home.path)
