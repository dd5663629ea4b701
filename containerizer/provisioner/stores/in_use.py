# SPDX-License-Identifier: Apache-2.0
"""Which layers are mounted somewhere on this host, whoever did it.

For who wants to remove layers and knows no containers. An agent knows its containers, also those
that have copies, and asks nobody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from containerizer.linux import mountinfo
from containerizer.linux.mountinfo import MountEntry
from containerizer.provisioner.layout import OVERLAY_TREE, PLAIN_TREE

_LOWER = ("lowerdir=", "lowerdir+=")
_TREES = (PLAIN_TREE, OVERLAY_TREE)


def mounted(layers: str) -> set[str]:
    """Return the paths of those trees below the directory ``layers`` that a mount needs.

    Looks at the mount tables of all processes that we may look at. Blocks for a moment.
    """
    try:
        trees = {
            os.path.join(layers, layer_id, tree)
            for layer_id in os.listdir(layers)
            for tree in _TREES
        }
    except FileNotFoundError:
        return set()
    found: set[str] = set()
    for entry in _entries():
        found |= {tree for tree in trees if _needs(entry, tree)}
        for path in _linked(entry):
            if path in trees:
                found.add(path)
    return found


def _entries() -> Iterator[MountEntry]:
    """Yield the mounts of each mount namespace once."""
    seen: set[str] = set()
    for pid in ["self", *(name for name in os.listdir("/proc") if name.isdigit())]:
        # processes end, and not all are ours
        with contextlib.suppress(OSError, ValueError):
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in seen:
                yield from mountinfo.read(pid)
                seen.add(namespace)


def _needs(entry: MountEntry, tree: str) -> bool:
    if entry.fstype == "overlay":
        return any(
            f"{tree}:" in text or text.endswith(tree)
            for option in entry.super_options
            if (text := option.replace("\\", "")).startswith(_LOWER)
        )
    # A bind mount shows the path inside of its file system.
    return entry.root.endswith("/".join(["", *tree.split("/")[-3:]]))


def _linked(entry: MountEntry) -> Iterator[str]:
    """Yield what the short names mean that an overlay was given for its layers."""
    if entry.fstype != "overlay":
        return
    for option in entry.super_options:
        if option.startswith(_LOWER):
            for path in option.partition("=")[2].split(":"):
                if os.path.islink(path):
                    yield os.path.realpath(path)
