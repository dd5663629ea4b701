# SPDX-License-Identifier: Apache-2.0
"""What the volume isolators share: which volumes make sense, and where they are mounted.

Deviation: a path with ``..`` in it is refused; upstream lets it lead out of root file system and
sandbox. Mount points are made without following links out of either.

Source: spec ``isolators-fs-net`` 5.
"""

from __future__ import annotations

import errno
import os
import stat

from containerizer.isolators.inside import make_directory, make_mount_point
from containerizer.linux.mount import MS_BIND, MS_RDONLY, MS_REC
from containerizer.sandbox import open_sandbox
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_SOURCES = {
    pb.Volume.Source.DOCKER_VOLUME: ("docker_volume", "DOCKER_VOLUME"),
    pb.Volume.Source.HOST_PATH: ("host_path", "HOST_PATH"),
    pb.Volume.Source.SANDBOX_PATH: ("sandbox_path", "SANDBOX_PATH"),
    pb.Volume.Source.SECRET: ("secret", "SECRET"),
    pb.Volume.Source.CSI_VOLUME: ("csi_volume", "CSI"),
}


_MISSING = (
    "Mount point '{}' is an absolute path. It must exist if the container shares the host"
    " filesystem"
)


def volume_error(volume: pb.Volume) -> str | None:
    """Say in upstream's words why a volume is none."""
    given = [volume.HasField(name) for name in ("host_path", "image", "source")]
    if sum(given) != 1:
        return "Only one of them should be set: 'host_path', 'image' and 'source'"
    if not volume.HasField("source"):
        return None
    if volume.source.type not in _SOURCES:
        return "'source.type' is unknown"
    name, kind = _SOURCES[volume.source.type]
    if not volume.source.HasField(name):
        return f"'source.{name}' is not set for {kind} volume"
    return None


def isolator_of(volume: pb.Volume) -> str:
    """Return the name of the isolator that handles a volume."""
    if volume.HasField("image"):
        return "volume/image"
    if volume.HasField("host_path"):
        return "volume/host_path" if os.path.isabs(volume.host_path) else "volume/sandbox_path"
    if volume.source.type == pb.Volume.Source.DOCKER_VOLUME:
        return "docker/volume"
    name, _ = _SOURCES.get(volume.source.type, ("unknown", ""))
    return "volume/csi" if name == "csi_volume" else f"volume/{name}"


def check(volume: pb.Volume, config: slave.ContainerConfig) -> None:
    """Raise IsolatorError if a volume of the container is unusable."""
    why = volume_error(volume)
    if why is not None:
        raise IsolatorError(f"Invalid volume: {why}")
    if config.container_info.type != pb.ContainerInfo.MESOS:
        raise IsolatorError("Only support MESOS containers")
    refuse_parents(volume.container_path)


def refuse_parents(path: str) -> None:
    """Raise IsolatorError for a path that goes up."""
    if ".." in path.split("/"):
        raise IsolatorError(f"Invalid volume: path '{path}' must not contain '..'")


def flags_of(volume: pb.Volume) -> int:
    """Return how a volume is bound."""
    return MS_BIND | MS_REC | (MS_RDONLY if volume.mode == pb.Volume.RO else 0)


def mount_target(
    container_id: ContainerId,
    config: slave.ContainerConfig,
    path: str,
    sandbox_directory: str,
    *,
    directory: bool,
    missing: str = _MISSING,
) -> str:
    """Make the mount point of a volume; return where to mount, as the host sees it.

    ``directory`` says what the source is, ``missing`` what is said of a mount point that has to be
    there. Raises IsolatorError.
    """
    rootfs = config.rootfs if config.HasField("rootfs") else None
    if os.path.isabs(path) and rootfs is None:
        if not os.path.lexists(path):
            raise IsolatorError(missing.format(path))
        return path
    try:
        if rootfs is None:
            _make_in_sandbox(container_id, config, path, directory=directory)
            return os.path.join(config.directory, path)
        if os.path.isabs(path):
            return make_mount_point(rootfs, path, directory=directory)
        # the sandbox will be mounted there, so the mount point has to be in it
        _make_in_sandbox(container_id, config, path, directory=directory)
        return os.path.join(make_directory(rootfs, sandbox_directory), path)
    except OSError as error:
        where = config.directory if rootfs is None or not os.path.isabs(path) else rootfs
        raise IsolatorError(
            f"Failed to create the mount point at '{os.path.join(where, path.lstrip('/'))}':"
            f" {error.strerror or error}"
        ) from error


def _make_in_sandbox(
    container_id: ContainerId, config: slave.ContainerConfig, path: str, *, directory: bool
) -> None:
    with open_sandbox(container_id, config.directory) as sandbox:
        make_in_sandbox(sandbox, path, directory=directory)


def make_in_sandbox(sandbox: Root, path: str, *, directory: bool) -> bool:
    """Make a directory or file below a sandbox, following no link; whether it was missing.

    Raises OSError.
    """
    try:
        mode = sandbox.lstat(path).st_mode
    except FileNotFoundError:
        pass
    else:
        _expect(not stat.S_ISLNK(mode), errno.ELOOP, path)
        if directory:
            _expect(stat.S_ISDIR(mode), errno.ENOTDIR, path)
        else:
            _expect(not stat.S_ISDIR(mode), errno.EISDIR, path)
        return False
    if directory:
        sandbox.makedirs(path, 0o755)
    else:
        sandbox.makedirs(os.path.dirname(path), 0o755)
        os.close(sandbox.create(path, 0o644))
    return True


def _expect(holds: bool, number: int, path: str) -> None:
    if not holds:
        raise OSError(number, os.strerror(number), path)


def make_source(
    container_id: ContainerId, sandbox: str, path: str, owner: tuple[int, int] | None = None
) -> bool:
    """Make the source directory if it is missing; whether it is one.

    It belongs to ``owner`` (uid and gid), who is that of the sandbox if nobody is given.

    No link is followed: the sandbox belongs to a task.
    """
    try:
        with open_sandbox(container_id, sandbox) as root:
            directory = not _is_file(root, path)
            if make_in_sandbox(root, path, directory=directory):
                status = os.fstat(root.fd)
                made = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fchown(made, *(owner or (status.st_uid, status.st_gid)))
                finally:
                    os.close(made)
            return directory
    except OSError as error:
        raise IsolatorError(
            f"Failed to create the directory '{os.path.join(sandbox, path)}' in the sandbox:"
            f" {error.strerror or error}"
        ) from error


def _is_file(sandbox: Root, path: str) -> bool:
    try:
        return stat.S_ISREG(sandbox.lstat(path).st_mode)
    except FileNotFoundError:
        return False
