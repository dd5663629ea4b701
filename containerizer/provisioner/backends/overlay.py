# SPDX-License-Identifier: Apache-2.0
"""The overlay backend: layers stay where they are, what a container writes goes to a directory.

The options of a mount must fit into a page. Where the paths of the layers do not, layers get short
names: numbered links in a directory of their own below the temporary directory. What does not fit
even so is given to the kernel layer by layer (since Linux 6.7).

Source: spec ``images`` 4.1, 4.5; upstream ``provisioner/backends/overlay.cpp``.
Deviation: ``scratch/<id>/links`` exists only where the paths are too long for the options; upstream
makes such links for every root file system.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
from collections.abc import Sequence

from containerizer.linux import fscontext, mount
from containerizer.provisioner.backends.mounts import detach, require_root, share
from containerizer.provisioner.base import Backend
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.implicit import fill_upper
from containerizer.provisioner.layout import ScratchLayout
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.trees import remove_tree
from mesos_compat.base.errors import BackendError, ProvisionError
from mesos_compat.base.metrics import Metrics

log = logging.getLogger(__name__)

#: Nothing in a root file system outlives its container, so nothing has to reach the disk. Without
#: this option (since Linux 5.10) each unmount writes the whole file system of the host to disk.
_VOLATILE = ",volatile"
#: How the name of the directory begins in which an overlay is tried.
_PROBE = ".overlay-"
_OPAQUE = "trusted.overlay.opaque"

#: What means something in the options of a mount, beside the ``:`` of layers.
_SPECIAL = ",\\"
#: The kernel takes one page of options, the terminating zero included.
MAX_OPTIONS = 4095


def create(config: ProvisionerConfig, metrics: Metrics) -> Backend:
    """Make the backend. Raises ProvisionError if this host cannot mount an overlay."""
    require_root("OverlayBackend")
    with open("/proc/filesystems", encoding="ascii") as file:
        known = file.read().split()
    if "overlay" not in known and "overlayfs" not in known:
        raise ProvisionError("The kernel does not know overlayfs")
    volatile = _probe(os.path.join(config.work_dir, "provisioner"))
    return OverlayBackend(config.temporary_dir, volatile)


class OverlayBackend:
    """Mounts layers on each other."""

    def __init__(self, temporary_dir: str, volatile: bool = False) -> None:
        """``volatile`` says whether the kernel knows that option."""
        self._temporary_dir = temporary_dir
        self._volatile = volatile

    async def provision(
        self, layers: Sequence[str], rootfs: str, backend_dir: str
    ) -> tuple[str, ...]:
        """Mount ``layers``, bottom first, at ``rootfs``; return upper and work directory."""
        if not layers:
            raise ProvisionError("No filesystem layer provided")
        scratch = ScratchLayout.of(rootfs, backend_dir)
        # A few directories and a mount: less than a thread would cost.
        _provision(list(layers), rootfs, scratch, self._temporary_dir, self._volatile)
        return scratch.upperdir, scratch.workdir

    async def destroy(self, rootfs: str, backend_dir: str) -> bool:
        """Unmount ``rootfs``; ``False`` if it is not mounted."""
        return await in_thread(_destroy, rootfs, ScratchLayout.of(rootfs, backend_dir))


def _distinct(layers: Sequence[str]) -> list[str]:
    """Drop repeated layers, which overlayfs refuses; the topmost decides what is seen."""
    return list(dict.fromkeys(reversed(layers)))[::-1]


def _visible(layers: list[str]) -> list[str]:
    """Drop the layers below one whose root is opaque: the kernel looks at no root for that."""
    for number in range(len(layers) - 1, 0, -1):
        try:
            if os.getxattr(layers[number], _OPAQUE) == b"y":
                return layers[number:]
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
    return layers


def _provision(
    layers: list[str], rootfs: str, scratch: ScratchLayout, temporary: str, volatile: bool
) -> None:
    more = _VOLATILE if volatile else ""
    try:
        for directory in (rootfs, scratch.upperdir, scratch.workdir):
            os.makedirs(directory, 0o755, exist_ok=True)
        layers = _visible(_distinct(layers))
        fill_upper(layers, scratch.upperdir)
        options = _options(layers, scratch, more)
        links = None if options is not None else _link(layers, scratch, temporary)
    except OSError as error:
        raise ProvisionError(f"Failed to prepare rootfs '{rootfs}': {error}") from error
    try:
        if options is not None:
            mount.mount("overlay", rootfs, "overlay", 0, options)
        elif links is not None:
            _mount(rootfs, links, len(layers), scratch, more)
        share(rootfs)
    except OSError as error:
        raise BackendError(
            f"Failed to mount rootfs '{rootfs}' with overlayfs: {error.strerror}"
        ) from error


def _options(layers: Sequence[str], scratch: ScratchLayout, more: str) -> str | None:
    """Return the options that name the layers by their paths; ``None`` if they cannot."""
    if any(char in path for path in (*layers, scratch.root) for char in _SPECIAL):
        return None
    lower = [layer.replace(":", "\\:") for layer in reversed(layers)]
    options = _joined(lower, scratch, more)
    return options if len(os.fsencode(options)) <= MAX_OPTIONS else None


def _joined(lower: Sequence[str], scratch: ScratchLayout, more: str) -> str:
    paths = f"upperdir={scratch.upperdir},workdir={scratch.workdir}"
    return f"lowerdir={':'.join(lower)},{paths}{more}"


def _link(layers: Sequence[str], scratch: ScratchLayout, temporary: str) -> str:
    """Make short names for the layers; return their directory. Raises OSError."""
    # Known to whoever cleans up before it is there.
    links = os.path.join(temporary, os.urandom(8).hex())
    os.symlink(links, scratch.links)
    try:
        os.mkdir(links, 0o700)
    except OSError:
        os.unlink(scratch.links)
        raise
    for number, layer in enumerate(layers):
        os.symlink(layer, os.path.join(links, str(number)))
    return links


def _mount(rootfs: str, links: str, count: int, scratch: ScratchLayout, more: str) -> None:
    """Mount the layers ``links``/0 (bottom) to ``count`` - 1. Raises OSError, BackendError."""
    lower = [os.path.join(links, str(number)) for number in reversed(range(count))]
    options = _joined(lower, scratch, more)
    if len(os.fsencode(options)) <= MAX_OPTIONS:
        mount.mount("overlay", rootfs, "overlay", 0, options)
        return
    # One by one there is room for all, on Linux 6.7 and later; but each value has to be short.
    upper, work = os.path.join(links, "upper"), os.path.join(links, "work")
    os.symlink(scratch.upperdir, upper)
    os.symlink(scratch.workdir, work)
    single = [*(("lowerdir+", path) for path in lower), ("upperdir", upper), ("workdir", work)]
    try:
        fscontext.mount("overlay", rootfs, single)
    except OSError as error:
        raise BackendError(
            f"Failed to mount rootfs '{rootfs}' with overlayfs: {count} layers are too many"
            f" for one mount on this kernel ({error.strerror})"
        ) from error


def _destroy(rootfs: str, scratch: ScratchLayout) -> bool:
    was_mounted = detach(rootfs)
    # Also of a mount that failed, or that a reboot took away. And before the directory goes, by
    # which an interrupted destroy is found again.
    _remove_links(scratch.links)
    if was_mounted:
        try:
            remove_tree(rootfs)
            # Here, off the event loop: it may be large.
            remove_tree(scratch.root)
        except OSError as error:
            log.error("Failed to remove the directories of rootfs '%s': %s", rootfs, error)
    return was_mounted


def _remove_links(path: str) -> None:
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            raise ProvisionError(f"Invalid symlink '{path}'")
        target = os.readlink(path)
        if os.path.isabs(target):
            remove_tree(target)
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProvisionError(f"Failed to remove '{path}': {error}") from error


def _probe(directory: str) -> bool:
    """Mount one overlay, with files as the backend makes them, and take it away again.

    Returns whether it may be volatile.
    """
    try:
        _remove_probes(directory)
        base = tempfile.mkdtemp(prefix=_PROBE, dir=directory)
    except OSError as error:
        raise ProvisionError(f"Failed to try an overlay in '{directory}': {error}") from error
    try:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(os.path.join(base, name))
        merged = os.path.join(base, "merged")
        lower, upper, work = (os.path.join(base, name) for name in ("lower", "upper", "work"))
        os.setxattr(lower, _OPAQUE, b"y")
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        volatile = True
        try:
            mount.mount("overlay", merged, "overlay", 0, options + _VOLATILE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            volatile = False
            mount.mount("overlay", merged, "overlay", 0, options)
        mount.umount(merged, mount.MNT_DETACH)
        return volatile
    except OSError as error:
        raise ProvisionError(f"An overlay in '{directory}' does not work: {error}") from error
    finally:
        try:
            remove_tree(base)
        except OSError as error:
            log.warning("Failed to remove '%s': %s", base, error)


def _remove_probes(directory: str) -> None:
    """Remove what an interrupted start left: nobody else uses the directory."""
    for name in os.listdir(directory):
        if name.startswith(_PROBE):
            base = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                mount.umount(os.path.join(base, "merged"), mount.MNT_DETACH)
            remove_tree(base)
