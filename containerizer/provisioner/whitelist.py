# SPDX-License-Identifier: Apache-2.0
"""``pathWhitelist`` of AppC: of a tree only what is listed stays.

Source: spec ``images`` 10.3; App Container specification, "Image Manifest Schema".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from containerizer.provisioner.trees import remove_entry
from mesos_compat.base.errors import ManifestError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Most paths of one list, and parts of one path.
MAX_PATHS = 200_000
_MAX_PARTS = 200


class _Listed(dict[bytes, "_Listed"]):
    """What stays of a directory: names, and what stays of each."""


def check_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of a list, which are absolute. Raises ManifestError."""
    found = tuple(paths)
    if len(found) > MAX_PATHS:
        raise ManifestError(f"'pathWhitelist' has more than {MAX_PATHS} paths")
    for path in found:
        parts = path.split("/")
        if not path.startswith("/") or ".." in parts or "\0" in path or len(parts) > _MAX_PARTS:
            raise ManifestError(f"'pathWhitelist' has the unusable path '{path[:200]}'")
    return found


def keep_only(root: str, paths: Iterable[str]) -> None:
    """Remove what is below the directory ``root`` and is neither in ``paths`` nor above one.

    No link is followed. Raises OSError.
    """
    listed = _Listed()
    for path in paths:
        inner = listed
        for part in path.encode("utf-8", "surrogateescape").split(b"/"):
            if part not in (b"", b"."):
                inner = inner.setdefault(part, _Listed())
    fd = os.open(root, _OPEN)
    try:
        _keep(fd, listed)
    finally:
        os.close(fd)


def _keep(fd: int, listed: _Listed) -> None:
    before = os.fstat(fd)
    with os.scandir(fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries]
    for name in names:
        inner = listed.get(name)
        if inner is None:
            remove_entry(fd, name)
        elif stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            deeper = os.open(name, _OPEN, dir_fd=fd)
            try:
                _keep(deeper, inner)
            finally:
                os.close(deeper)
    os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
