# SPDX-License-Identifier: Apache-2.0
"""The mounts, masked paths and file operations of a launch.

Sources and targets are names in the host's tree. What lies below a root file system or a sandbox
is resolved inside it, and mounted on by descriptor, so no link of an image or task leads out. A
root file system is ``LaunchSpec.rootfs`` and every directory that the mounts bind onto itself (the
executor of a command task enters its root later).

Source: spec ``containerizer`` 8.2 (9-11), 8.3; ``isolators-fs-net`` 1.4, 5.3.
Deviation: a read-only bind keeps nosuid, nodev and noexec of its source; a read-only bind of a
missing path onto itself is skipped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from containerizer.init.failure import LaunchFailure, failure, say, tell
from containerizer.init.spec import (
    DirectoryStep,
    FileStep,
    LaunchSpec,
    MountStep,
    RenameStep,
    SymlinkStep,
)
from containerizer.linux import beneath, mount, mountinfo
from containerizer.linux.mount import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
)
from containerizer.linux.mountinfo import is_below
from containerizer.linux.namespaces import CLONE_NEWNS

_SELF_BIND = MS_BIND | MS_REC
#: Bits of statvfs that mean the same as mount flags.
_KEPT = MS_NOSUID | MS_NODEV | MS_NOEXEC


class Tree:
    """The host's tree with the root file systems in it; to be closed."""

    def __init__(self, spec: LaunchSpec, sandbox: str | None = None) -> None:
        roots = {os.path.normpath(m.target) for m in spec.mounts if _is_root(m)}
        if spec.rootfs:
            roots.add(os.path.normpath(spec.rootfs))
        #: Inner ones first.
        self._roots = sorted(roots, key=len, reverse=True)
        self._sandbox = None if sandbox is None else os.path.normpath(sandbox)
        #: Descriptors of roots and of the sandbox, with device and inode.
        self._opened: dict[str, tuple[int, tuple[int, int]]] = {}

    def close(self) -> None:
        """Forget the roots; to be called, too, when something was mounted on one of them."""
        for fd, _ in self._opened.values():
            os.close(fd)
        self._opened.clear()

    def split(self, path: str) -> tuple[str, str] | None:
        """Return the root that holds ``path`` and the rest; ``None`` for the host's own paths."""
        for root in self._roots:
            if path != root and is_below(path, root):
                return root, path[len(root) :]
        if self._sandbox is not None and path != self._sandbox and is_below(path, self._sandbox):
            return self._sandbox, path[len(self._sandbox) :]
        return None

    def open_fd(self, path: str) -> int:
        """Open ``path`` as O_PATH descriptor, below its root if it has one."""
        inside = self.split(path)
        if inside is None:
            return os.open(path, os.O_PATH | os.O_CLOEXEC)
        sandbox = inside[0] == self._sandbox
        return self._open_inside(*inside, beneath.open_beneath if sandbox else beneath.open_in_root)

    @contextmanager
    def open(self, path: str) -> Iterator[int]:
        """Do the same for a while."""
        fd = self.open_fd(path)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def open_parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that holds ``path``, and say the last name."""
        directory, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        with self.open(directory or "/") as fd:
            yield fd, name

    def create(self, path: str, *, directory: bool) -> int:
        """Create a mount point with its parents where missing; return a descriptor of it."""
        inside = self.split(path)
        if inside is not None:
            make = beneath.make_directory_in_root if directory else beneath.make_file_in_root
            return self._open_inside(*inside, make)
        if directory:
            os.makedirs(path, mode=0o755, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        return os.open(path, os.O_PATH | os.O_CLOEXEC)

    def _open_inside(self, root: str, path: str, resolve: Callable[[int, str], int]) -> int:
        root_fd, identity = self._open_root(root)
        fd = resolve(root_fd, path)
        # An image's link such as /proc -> / must not let the root itself be covered.
        if _identity(fd) == identity:
            os.close(fd)
            raise OSError(errno.ELOOP, "leads to the root directory itself", path)
        return fd

    def _open_root(self, root: str) -> tuple[int, tuple[int, int]]:
        opened = self._opened.get(root)
        if opened is None:
            fd = beneath.open_root(root)
            opened = self._opened[root] = (fd, _identity(fd))
        return opened


def perform(spec: LaunchSpec, sandbox: str | None = None) -> None:
    """Make the mounts of a launch, masks and file operations last. Raises LaunchFailure.

    ``sandbox`` is that of the outermost container: tasks may change all that lies below.
    """
    tree = Tree(spec, sandbox)
    try:
        _mount_all(spec, tree)
        _mask_all(tree, spec.masked_paths)
        for step in spec.file_operations:
            _file_operation(tree, step)
    finally:
        tree.close()


def _identity(fd: int) -> tuple[int, int]:
    status = os.stat(fd)
    return status.st_dev, status.st_ino


def _is_root(step: MountStep) -> bool:
    return step.source == step.target and step.flags == _SELF_BIND


def _mount_all(spec: LaunchSpec, tree: Tree) -> None:
    if not spec.clone_namespaces & CLONE_NEWNS:
        if spec.mounts:
            raise LaunchFailure("Mounts are not supported if the mount namespace is not cloned")
        return
    shared = {m.target for m in spec.mounts if m.flags & MS_SHARED}
    _isolate_propagation(shared)
    for step in spec.mounts:
        if step.flags & MS_SHARED:
            continue
        if shared:
            _refuse_shared(step)
        _mount(tree, step, create=True)


def _isolate_propagation(shared: set[str]) -> None:
    """Let no mount made here reach the host, but for the trees that are meant to."""
    if not shared:
        try:
            mount.mount(None, "/", None, MS_SLAVE | MS_REC)
        except OSError as error:
            raise failure("Failed to mark '/' as rslave", error) from error
        tell("Marked '/' as rslave")
        return
    for entry in reversed(mountinfo.breadth_first(mountinfo.read())):
        if entry.target in shared:
            continue
        try:
            mount.mount(None, entry.target, None, MS_SLAVE)
        except OSError as error:
            raise failure(f"Failed to mark '{entry.target}' as slave", error) from error


def _refuse_shared(step: MountStep) -> None:
    target = os.path.realpath(step.target)
    entries = mountinfo.breadth_first(mountinfo.read())
    entry = mountinfo.containing(entries, target)
    if entry is not None and entry.shared:
        raise LaunchFailure(
            f"Cannot perform mount '{step.json()}' because the target is under"
            f" a shared mount '{entry.target}'"
        )


def _mount(tree: Tree, step: MountStep, *, create: bool = False) -> None:
    """Do one step; ``create`` its target where missing. Raises LaunchFailure."""
    target = _open_target(tree, step, create)
    if target is None:
        return
    source: int | None = None
    try:
        name = step.source
        if name is not None and step.flags & MS_BIND and tree.split(name):
            source = target if name == step.target else tree.open_fd(name)
            name = mount.fd_path(source)
        inside = tree.split(step.target) is not None
        # The host's own paths by name: /proc itself may have been moved away just now.
        where = mount.fd_path(target) if inside else step.target
        mount.mount(name, where, step.type, step.flags, step.options)
        if not inside:
            # It may cover a root, or be one.
            tree.close()
        if step.flags & MS_BIND and step.flags & MS_RDONLY and not step.flags & MS_REMOUNT:
            _make_read_only(tree, step.target, step.flags)
    except OSError as error:
        raise failure(f"Failed to mount '{step.json()}'", error) from error
    finally:
        if source is not None and source != target:
            os.close(source)
        os.close(target)


def _open_target(tree: Tree, step: MountStep, create: bool) -> int | None:
    """Open where to mount; ``None`` if there is nothing to be done."""
    source = step.source if create else None
    try:
        try:
            return tree.open_fd(step.target)
        except FileNotFoundError:
            if _is_void(step):
                return None
            if source is None:
                raise
        pseudo = step.type is not None and not step.flags & MS_BIND
        return tree.create(step.target, directory=pseudo or _is_directory(tree, source))
    except OSError as error:
        what = (
            f"mount '{step.json()}'" if source is None else f"create mount target '{step.target}'"
        )
        raise failure(f"Failed to {what}", error) from error


def _is_directory(tree: Tree, source: str) -> bool:
    """Whether the source is a directory, or missing and thus the name of a pseudo file system."""
    try:
        if tree.split(source) is None:
            return stat.S_ISDIR(os.stat(source).st_mode)
        with tree.open(source) as fd:
            return stat.S_ISDIR(os.stat(fd).st_mode)
    except FileNotFoundError:
        return True


def _is_void(step: MountStep) -> bool:
    """Whether a path that does not exist is to be made read-only (/proc/sysrq-trigger)."""
    return bool(step.flags & MS_BIND and step.flags & MS_RDONLY and step.source == step.target)


def _make_read_only(tree: Tree, target: str, flags: int) -> None:
    """Do what the kernel ignores while binding; the flags of a remount replace all others."""
    with tree.open(target) as fd:
        kept = (os.statvfs(fd).f_flag | flags) & _KEPT
        again = MS_REMOUNT | MS_BIND | MS_RDONLY | flags & MS_REC | kept
        mount.mount_on(None, fd, None, again)


def _mask_all(tree: Tree, paths: Sequence[str]) -> None:
    """Hide paths, as far as they exist, behind something empty that nobody can write to.

    The first of a kind is made read-only, the others are binds of it and so read-only, too.
    """
    with contextlib.ExitStack() as stack:
        masks: dict[bool, int] = {}
        for path in paths:
            try:
                made = _mask(tree, path, masks)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                say(f"Failed to mask container paths: Failed to mask '{path}': {error.strerror}")
                continue
            if made is not None:
                stack.callback(os.close, made)


def _mask(tree: Tree, path: str, masks: dict[bool, int]) -> int | None:
    """Hide one path; return the descriptor of a mask that was made for it."""
    with tree.open(path) as fd:
        mode = os.stat(fd).st_mode
        directory = stat.S_ISDIR(mode)
        if not directory and not stat.S_ISREG(mode):
            return None
        if directory in masks:
            mount.mount_on(mount.fd_path(masks[directory]), fd, None, MS_BIND)
            return None
        if directory:
            mount.mount_on(None, fd, "tmpfs", MS_RDONLY, "size=0")
        else:
            mount.mount_on("/dev/null", fd, None, MS_BIND)
    if not directory:
        _make_read_only(tree, path, 0)
    made = tree.open_fd(path)
    masks[directory] = made
    return made


def _file_operation(tree: Tree, step: FileStep) -> None:
    try:
        match step:
            case MountStep():
                _mount(tree, step)
            case SymlinkStep():
                with tree.open_parent(step.target) as (directory, name):
                    os.symlink(step.source, name, dir_fd=directory)
            case DirectoryStep(recursive=True):
                os.close(tree.create(step.target, directory=True))
            case DirectoryStep():
                with tree.open_parent(step.target) as (directory, name):
                    os.mkdir(name, 0o755, dir_fd=directory)
            case RenameStep():
                _rename(tree, step)
    except OSError as error:
        raise failure(f"Failed to execute file operation on '{step.target}'", error) from error


def _rename(tree: Tree, step: RenameStep) -> None:
    with (
        tree.open_parent(step.source) as (source, source_name),
        tree.open_parent(step.target) as (target, target_name),
    ):
        try:
            os.rename(source_name, target_name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            # Another file system, or a directory in the way that mv deals with.
            me = f"/proc/{os.getpid()}/fd"
            arguments = (
                "mv",
                "-f",
                f"{me}/{source}/{source_name}",
                f"{me}/{target}/{target_name}",
            )
            try:
                status = os.spawnvp(os.P_WAIT, "mv", arguments)
            except OSError:
                raise error from None
            if status != 0:
                raise error from None
