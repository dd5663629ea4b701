# SPDX-License-Identifier: Apache-2.0
"""``docker/runtime``: command, environment and working directory of a Docker or OCI image.

``Volumes``, ``ExposedPorts`` and the rest of the image's configuration are ignored, as upstream
does; so is ``User`` without ``--docker_image_user``. With it, it counts where the task names no
user. An image cannot make somebody root who is not: its uid or gid 0 is for tasks of root alone.

Source: spec ``images`` 12.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from containerizer.isolators.base import Isolator, executor_argument, is_command_task
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.image_user import image_user
from containerizer.isolators.runtime_command import image_command
from containerizer.linux import users
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


class DockerRuntimeIsolator(Isolator):
    """Reads the image's configuration; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, ignore_runtime: bool = False, image_user: bool = False) -> None:
        self._ignore_runtime = ignore_runtime
        self._image_user = image_user

    @classmethod
    def create(cls, context: IsolatorContext) -> DockerRuntimeIsolator:
        """Make the isolator; there is nothing to refuse."""
        return cls(context.config.docker_ignore_runtime, context.config.docker_image_user)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return what the image says; nothing for a container without a Docker image."""
        if not config.HasField("container_info"):
            return None
        if config.container_info.type != pb.ContainerInfo.MESOS:
            raise IsolatorError("Can only prepare docker runtime for a MESOS container")
        if not config.HasField("docker") or self._ignore_runtime:
            return None
        runtime = config.docker.manifest.config
        info = runtime_info(
            config, _variables(runtime.Env), runtime.WorkingDir, runtime.Entrypoint, runtime.Cmd
        )
        if runtime.User and not self._image_user:
            log.warning(
                "Container user '%s' is not supported yet for container %s",
                runtime.User,
                container_id,
            )
        elif runtime.User and config.rootfs and not names_user(config):
            identity = await asyncio.to_thread(image_user, config.rootfs, runtime.User)
            await become(info, container_id, config, identity)
        return info


async def become(
    info: slave.ContainerLaunchInfo,
    container_id: ContainerId,
    config: slave.ContainerConfig,
    identity: users.Identity,
) -> bool:
    """Let the container be whom its image says, unless that is root and the task is not.

    Return whether it is so. Raises IsolatorError.
    """
    if not _is_root(config) and 0 in (identity.uid, identity.gid, *identity.groups):
        log.warning(
            "Container %s: user %d of its image is or has the group of root: ignored",
            container_id,
            identity.uid,
        )
        return False
    info.user = users.numbered(identity)
    if not is_command_task(config):
        await asyncio.to_thread(_give, config.directory, identity)
    return True


def names_user(config: slave.ContainerConfig) -> bool:
    """Whether the task says who it is to be."""
    command = config.task_info.command if is_command_task(config) else config.command_info
    return command.HasField("user")


def _is_root(config: slave.ContainerConfig) -> bool:
    """Whether the container would run as root if its image said nothing."""
    return not config.HasField("user") or users.uid_of(config.user) == 0


def _give(sandbox: str, identity: users.Identity) -> None:
    """Let the user of the image write into its sandbox. Raises IsolatorError."""
    try:
        os.chown(sandbox, identity.uid, identity.gid, follow_symlinks=False)
    except OSError as error:
        raise IsolatorError(f"Failed to chown '{sandbox}': {error.strerror}") from error


def runtime_info(
    config: slave.ContainerConfig,
    environment: Sequence[pb.Environment.Variable],
    working_directory: str,
    entrypoint: Sequence[str],
    cmd: Sequence[str],
) -> slave.ContainerLaunchInfo:
    """Turn an image's configuration into launch info.

    A command executor stays outside of the image and is told all of it by arguments. Raises
    IsolatorError if there is nothing to execute.
    """
    info = slave.ContainerLaunchInfo()
    command_task = is_command_task(config)
    command = config.task_info.command if command_task else config.command_info
    changed = image_command(command, entrypoint, cmd)
    if not command_task:
        if environment:
            info.environment.variables.extend(environment)
        if working_directory:
            info.working_directory = working_directory
        if changed is not None:
            info.command.CopyFrom(changed)
        return info
    if environment:
        info.task_environment.variables.extend(environment)
    if working_directory:
        info.command.arguments.append(f"--working_directory={working_directory}")
    if changed is not None:
        info.command.arguments.append(executor_argument("task_command", changed))
    return info


def _variables(entries: Sequence[str]) -> list[pb.Environment.Variable]:
    """Read ``NAME=value`` entries; upstream skips those without ``=``."""
    pairs = (entry.partition("=") for entry in entries)
    return [pb.Environment.Variable(name=name, value=value) for name, sign, value in pairs if sign]
