# SPDX-License-Identifier: Apache-2.0
"""Directories that a layer only passes through.

A layer that changes ``tmp/x`` need not have a member ``tmp``. Its tree has that directory all the
same, but its owner, mode and times mean nothing: those of the layers below count. So the tree of a
layer has a file beside it that names these directories. A copy leaves them as they are; for an
overlay, where the kernel shows what the topmost layer has, they are put into the upper directory
with the attributes that they should have.

Deviation: upstream shows root:root, 0755 and the time of the pull. Layers that upstream has
unpacked look as they do there; so does the root directory of an overlay.

Source: OCI image specification, "Applying Changesets"; spec ``images`` 4.3, 4.5.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Sequence

from containerizer.provisioner.trees import copy_attributes

#: Name of the file beside a tree: a list of paths, each byte of which is one character. The root
#: directory has an empty one.
_FILE = "implicit.json"
_BYTES = "latin-1"

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_OPAQUE = "trusted.overlay.opaque"


def remember(tree: str, paths: Iterable[str]) -> None:
    """Write down which directories of a new tree are implicit. Raises OSError."""
    found = sorted(paths)
    if found:
        with open(os.path.join(os.path.dirname(tree), _FILE), "w", encoding="ascii") as file:
            json.dump(found, file)


def recall(tree: str) -> frozenset[bytes]:
    """Return the implicit directories of a tree."""
    try:
        with open(os.path.join(os.path.dirname(tree), _FILE), encoding="ascii") as file:
            return frozenset(path.encode(_BYTES) for path in json.load(file))
    except FileNotFoundError:
        return frozenset()


def fill_upper(layers: Sequence[str], upper: str) -> None:
    """Put directories into an empty upper directory that the layers, bottom first, get wrong.

    Raises OSError.
    """
    implicit = [recall(layer) for layer in layers]
    wanted: set[tuple[bytes, ...]] = set()
    for paths in implicit[1:]:
        wanted.update(tuple(path.split(b"/")) for path in paths if path)
    if not wanted:
        return
    made: dict[tuple[bytes, ...], int] = {}
    with contextlib.ExitStack() as stack:

        def opened(fd: int) -> int:
            stack.callback(os.close, fd)
            return fd

        roots = [opened(os.open(layer, os.O_RDONLY | os.O_DIRECTORY)) for layer in layers]
        top = opened(os.open(upper, _OPEN))
        for path in sorted(wanted):
            for depth in range(1, len(path) + 1):
                part = path[:depth]
                if part in made:
                    continue
                source = _deciding(roots, implicit, part)
                if source is None:
                    break
                opened(source)
                parent = made.get(part[:-1], top)
                os.mkdir(part[-1], 0o700, dir_fd=parent)
                made[part] = opened(os.open(part[-1], _OPEN, dir_fd=parent))
                copy_attributes(source, made[part])
        for part in sorted(made, reverse=True):
            source = _deciding(roots, implicit, part)
            if source is not None:
                opened(source)
                status = os.fstat(source)
                os.utime(made[part], ns=(status.st_atime_ns, status.st_mtime_ns))


def _deciding(
    roots: Sequence[int], implicit: Sequence[frozenset[bytes]], path: tuple[bytes, ...]
) -> int | None:
    """Open the directory whose attributes ``path`` has, in a layer; ``None`` if it is hidden."""
    best: int | None = None
    for root, passed in zip(reversed(roots), reversed(implicit), strict=True):
        found, last = _look(root, path)
        if found is not None:
            if best is not None:
                os.close(best)
            best = found
            if b"/".join(path) not in passed:
                break
        if last:
            break
    return best


def _look(root: int, path: tuple[bytes, ...]) -> tuple[int | None, bool]:
    """Open ``path`` in one layer; also say whether it hides that of the layers below."""
    fd = os.dup(root)
    hides = False
    for number, part in enumerate(path):
        try:
            inner = os.open(part, _OPEN, dir_fd=fd)
        except FileNotFoundError:
            return None, hides
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            return None, True
        finally:
            os.close(fd)
        fd = inner
        hides = hides or (number < len(path) - 1 and _opaque(fd))
    return fd, hides


def _opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return False
