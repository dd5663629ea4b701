# SPDX-License-Identifier: Apache-2.0
"""``filesystem/linux``: mount namespaces, and root file systems that show nothing of the host.

Every container gets a mount namespace whose tree is a slave of the host's: what init mounts stays
inside, what the agent unmounts is gone inside, too. One with an image gets its own ``/proc``,
``/sys``, ``/dev`` and the sandbox mounted into its root file system. Persistent volumes are mounted
into the sandbox on the host, and spread from there.

Deviations: binds of ``/proc`` entries that this kernel does not have are left out (upstream fails
every image container there). Mount points are made here, with the image's links resolved inside of
it; upstream lets links lead out.

Source: spec ``isolators-fs-net`` 3.3.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.inside import make_directory
from containerizer.isolators.persistent_mounts import VolumeMounts
from containerizer.isolators.persistent_volumes import (
    PersistentVolumes,
    add_groups,
    refuse_volumes,
)
from containerizer.isolators.volumes import isolator_of
from containerizer.linux import mount, mountinfo, users
from containerizer.linux.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_STRICTATIME,
    UMOUNT_NOFOLLOW,
)
from containerizer.linux.namespaces import CLONE_NEWNS
from mesos_compat.base.errors import CheckpointError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_METRIC = "containerizer/mesos/filesystem/containers_new_rootfs"

_PSEUDO = MS_NOSUID | MS_NOEXEC | MS_NODEV

#: Parts of ``/proc`` that a container must not write to.
_READ_ONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")

_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")

#: Links below ``/dev``: target as seen inside, name.
_DEVICE_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)

#: Hidden from containers: they tell of, or reach into, the kernel and the host.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
)


class LinuxFilesystemIsolator(Isolator):
    """Decides what is mounted; knows the sandbox of each container."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, context: IsolatorContext) -> None:
        self._own_mounts = (context.config.work_dir, _containers_directory(context))
        self._sandbox_directory = context.config.sandbox_directory
        self._container_directory: Callable[[ContainerId], str] = context.container_directory
        self._container_config = context.container_config
        self._isolation = context.isolation
        self._own_shm = not context.names("namespaces/ipc")
        #: Host sandbox of each known container; ``None`` for an orphan without one.
        self._sandboxes: dict[ContainerId, str | None] = {}
        self._with_image: set[ContainerId] = set()
        self._volumes = PersistentVolumes(
            context.config.work_dir, VolumeMounts(context.container_directory), context.gids
        )
        context.metrics.gauge(_METRIC, lambda: float(len(self._with_image)))

    @classmethod
    def create(cls, context: IsolatorContext) -> LinuxFilesystemIsolator:
        """Make the isolator; makes the work directory a shared mount of its own."""
        if os.geteuid() != 0:
            raise IsolatorError("'filesystem/linux' isolator requires root privileges")
        if context.config.launcher != "linux":
            raise IsolatorError("'filesystem/linux' isolator requires 'linux' launcher")
        if not os.path.exists("/proc/self/ns/mnt"):
            raise IsolatorError("The 'filesystem/linux' isolator requires mount namespace support")
        share_work_directory(context.config.work_dir)
        allow_devices(_containers_directory(context))
        return cls(context)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remember the sandboxes of all containers."""
        for state in states:
            container_id = ContainerId.of(state.container_id)
            self._sandboxes[container_id] = state.directory or None
            if _has_image(state.executor_info.container) or _has_image(state.container_info):
                self._with_image.add(container_id)
        for container_id in orphans:
            config = None
            with contextlib.suppress(CheckpointError):
                config = self._container_config(container_id)
            directory = config.directory if config is not None else None
            self._sandboxes.setdefault(container_id, directory or None)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the namespace and, for a container with a root file system, its mounts."""
        if is_debug(config):
            if config.HasField("rootfs"):
                raise IsolatorError("A 'rootfs' cannot be set for DEBUG containers")
            if config.container_info.volumes:
                raise IsolatorError("Volumes not supported for DEBUG containers")
            return slave.ContainerLaunchInfo(enter_namespaces=[CLONE_NEWNS])
        if container_id in self._sandboxes:
            raise IsolatorError("Container has already been prepared")
        self._refuse_volumes(container_id, config)
        self._sandboxes[container_id] = config.directory
        if container_id.parent is None and _has_image(config.executor_info.container):
            self._with_image.add(container_id)
        info = slave.ContainerLaunchInfo(clone_namespaces=[CLONE_NEWNS])
        if container_id.parent is None:
            groups = await self._volumes.update(container_id, config.directory, config.resources)
            add_groups(info, config, groups)
        if config.HasField("rootfs"):
            devices = self._make_devices(container_id, config)
            self._add_mounts(info, config, devices)
            if not self._is_privileged(container_id, config):
                info.masked_paths.extend(config.rootfs + path for path in _MASKED)
        return info

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Mount the persistent volumes that there are now, and no others."""
        sandbox = self._sandboxes.get(container_id)
        if sandbox is None:
            raise IsolatorError("Unknown container")
        await self._volumes.update(container_id, sandbox, requests)

    async def cleanup(self, container_id: ContainerId) -> None:
        """Unmount what is mounted below the sandbox on the host, so that nobody deletes it."""
        if container_id not in self._sandboxes:
            return
        for other in self._sandboxes:
            if other.parent == container_id:
                raise IsolatorError(
                    f"Container {container_id} has non terminated child container {other}"
                )
        sandbox = self._sandboxes[container_id]
        failures = list(_unmount_below(sandbox)) if sandbox else []
        if failures:
            raise IsolatorError(", ".join(failures))
        del self._sandboxes[container_id]
        self._volumes.forget(container_id, sandbox)
        self._with_image.discard(container_id)

    def close(self) -> None:
        """Take back the mounts of the work and the runtime directory."""
        for directory in self._own_mounts:
            unshare_directory(directory)

    def _refuse_volumes(self, container_id: ContainerId, config: slave.ContainerConfig) -> None:
        """Refuse volumes that no isolator would handle; upstream silently leaves them out."""
        # Those of a nested container are its executor's, who shows them by other volumes.
        if container_id.parent is None and not config.HasField("executor_info"):
            refuse_volumes(config.resources, "standalone")
        for volume in config.container_info.volumes:
            isolator = isolator_of(volume)
            if isolator not in self._isolation:
                raise IsolatorError(
                    f"Volume '{volume.container_path}' cannot be mounted: '{isolator}' is not"
                    " enabled or not supported yet"
                )

    def _make_devices(self, container_id: ContainerId, config: slave.ContainerConfig) -> str:
        """Make the device nodes that are bound into the container; return their directory."""
        directory = os.path.join(self._container_directory(container_id), "devices")
        try:
            os.mkdir(directory, 0o700)
            if config.HasField("user"):
                identity = users.identity_of(config.user)
                if identity is None:
                    raise OSError(f"Failed to get the uid of user '{config.user}': not found")
                os.chown(directory, identity.uid, identity.gid)
        except OSError as error:
            raise IsolatorError(f"Failed to prepare standard devices: {error}") from error
        for name in _DEVICES:
            try:
                host = os.stat(f"/dev/{name}")
                path = os.path.join(directory, name)
                os.mknod(path, host.st_mode, host.st_rdev)
                os.chmod(path, stat.S_IMODE(host.st_mode))
            except OSError as error:
                raise IsolatorError(
                    f"Failed to prepare standard devices: Failed to import device '{name}': {error}"
                ) from error
        return directory

    def _add_mounts(
        self, info: slave.ContainerLaunchInfo, config: slave.ContainerConfig, devices: str
    ) -> None:
        rootfs = config.rootfs
        add = info.mounts.add
        proc, sys, dev = (_mount_point(rootfs, path) for path in ("/proc", "/sys", "/dev"))
        add(source=rootfs, target=rootfs, flags=MS_BIND | MS_REC)
        add(source="proc", target=proc, type="proc", flags=_PSEUDO)
        for name in _READ_ONLY_PROC:
            if os.path.exists(f"/proc/{name}"):
                path = f"{proc}/{name}"
                add(source=path, target=path, flags=MS_BIND | MS_RDONLY | _PSEUDO)
        add(source="sysfs", target=sys, type="sysfs", flags=MS_RDONLY | _PSEUDO)
        add(
            source="tmpfs",
            target=f"{sys}/fs/cgroup",
            type="tmpfs",
            flags=_PSEUDO,
            options="mode=755",
        )
        add(
            source="tmpfs",
            target=dev,
            type="tmpfs",
            flags=MS_NOSUID | MS_NOEXEC | MS_STRICTATIME,
            options="mode=755",
        )
        add(
            source="devpts",
            target=f"{dev}/pts",
            type="devpts",
            flags=MS_NOSUID | MS_NOEXEC,
            options="newinstance,ptmxmode=0666,mode=0620,gid=5",
        )
        if self._own_shm:
            add(
                source="tmpfs",
                target=f"{dev}/shm",
                type="tmpfs",
                flags=MS_NOSUID | MS_NODEV | MS_STRICTATIME,
                options="mode=1777",
            )
        for name in _DEVICES:
            add(source=f"{devices}/{name}", target=f"{dev}/{name}", flags=MS_BIND)
        add(
            source=config.directory,
            target=self._sandbox_mount_point(rootfs),
            flags=MS_BIND | MS_REC,
        )
        for source, name in _DEVICE_LINKS:
            operation = info.file_operations.add(operation=slave.ContainerFileOperation.SYMLINK)
            operation.symlink.source = source
            operation.symlink.target = f"{dev}/{name}"

    def _sandbox_mount_point(self, rootfs: str) -> str:
        try:
            return make_directory(rootfs, self._sandbox_directory)
        except OSError as error:
            raise IsolatorError(
                f"Failed to create sandbox mount point at '{rootfs}{self._sandbox_directory}':"
                f" {error.strerror or error}"
            ) from error

    def _is_privileged(self, container_id: ContainerId, config: slave.ContainerConfig) -> bool:
        """Whether the container sees the agent's processes: all around it share their pids."""
        outer: slave.ContainerConfig | None = config
        while True:
            if outer is None:
                raise IsolatorError(f"Failed to find config for parent container {container_id}")
            if not outer.container_info.linux_info.share_pid_namespace:
                return False
            if container_id.parent is None:
                return True
            container_id = container_id.parent
            try:
                outer = self._container_config(container_id)
            except CheckpointError as error:
                raise IsolatorError(str(error)) from error


def unshare_directory(directory: str) -> None:
    """Unmount a directory that is mounted onto itself and not in use."""
    path = os.path.realpath(directory)
    entries = mountinfo.read()
    own = mountinfo.containing(entries, path)
    if own is None or own.target != path:
        return
    holding = mountinfo.containing([each for each in entries if each.target != path], path)
    if holding is None or holding.device != own.device:
        return
    if own.root != os.path.normpath(
        os.path.join(holding.root, os.path.relpath(path, holding.target))
    ):
        return
    try:
        mount.umount(path, UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.EBUSY:
            log.warning("Failed to unmount '%s': %s", path, error.strerror)


def share_work_directory(work_dir: str) -> None:
    """Make the work directory a shared mount in a peer group of its own.

    Only then unmounts on the host reach the containers. Raises IsolatorError.
    """
    path = os.path.realpath(work_dir)
    entries = mountinfo.read()
    holding = mountinfo.containing(entries, path)
    if holding is None:
        raise IsolatorError(f"Failed to find the mount that contains '{path}'")
    if holding.shared and not _has_peer_above(entries, holding, path):
        return
    try:
        if holding.target != path:
            mount.mount(path, path, None, MS_BIND)
        mount.mount(None, path, None, MS_PRIVATE)
        mount.mount(None, path, None, MS_SHARED)
    except OSError as error:
        what = "make" if holding.target == path else "bind mount"
        end = "a shared mount" if holding.target == path else "and make it a shared mount"
        raise IsolatorError(f"Failed to {what} '{path}' {end}: {error.strerror}") from error


def allow_devices(directory: str) -> None:
    """Make device nodes in ``directory`` usable, whatever it is mounted with.

    Raises IsolatorError.
    """
    try:
        os.makedirs(directory, 0o755, exist_ok=True)
        path = os.path.realpath(directory)
        holding = mountinfo.containing(mountinfo.read(), path)
        if holding is None or "nodev" not in holding.options:
            return
        if holding.target != path:
            mount.mount(path, path, None, MS_BIND)
        kept = {"nosuid": MS_NOSUID, "noexec": MS_NOEXEC, "ro": MS_RDONLY}
        flags = sum(flag for name, flag in kept.items() if name in holding.options)
        mount.mount(None, path, None, MS_REMOUNT | MS_BIND | flags)
    except OSError as error:
        raise IsolatorError(
            f"Failed to allow device nodes in '{directory}': {error.strerror}"
        ) from error


def _containers_directory(context: IsolatorContext) -> str:
    return os.path.join(context.config.runtime_dir, "containers")


def _has_peer_above(
    entries: Sequence[mountinfo.MountEntry], holding: mountinfo.MountEntry, path: str
) -> bool:
    """Whether a directory above ``path`` is another mount of the same peer group."""
    group = next(tag for tag in holding.tags if tag.startswith("shared:"))
    return any(
        entry.id != holding.id
        and group in entry.tags
        and entry.target != path
        and mountinfo.is_below(path, entry.target)
        for entry in entries
    )


def _mount_point(rootfs: str, path: str) -> str:
    try:
        return make_directory(rootfs, path)
    except OSError as error:
        raise IsolatorError(
            f"Failed to create mount point at '{rootfs}{path}': {error.strerror or error}"
        ) from error


def _unmount_below(sandbox: str) -> Iterator[str]:
    """Detach every mount at or below ``sandbox`` on the host, last one first; yields failures."""
    for entry in reversed(mountinfo.read_below(sandbox)):
        try:
            mount.umount(entry.target, MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            yield f"Failed to unmount volume '{entry.target}': {error.strerror}"


def _has_image(container: pb.ContainerInfo) -> bool:
    return container.type == pb.ContainerInfo.MESOS and container.mesos.HasField("image")
