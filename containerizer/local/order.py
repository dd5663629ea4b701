# SPDX-License-Identifier: Apache-2.0
"""What somebody wants to run, and the messages that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mesos_compat.pb.mesos import mesos_pb2 as pb

#: How much output of a detached container is kept: files of each stream, and their largest size.
LOG_FILES = 5
LOG_BYTES = 10 << 20


@dataclass(frozen=True, slots=True)
class BindVolume:
    """A path of the host that the container sees at ``target``."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """What somebody wants to run."""

    #: May be empty if the image says what to run.
    command: tuple[str, ...]
    name: str = ""
    image: str | None = None
    #: ``docker`` (which includes OCI) or ``appc``.
    image_type: str = "docker"
    #: Folder or address of images; for AppC the prefix of simple discovery.
    registry: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[BindVolume, ...] = ()
    working_directory: str | None = None
    user: str | None = None
    #: Hard limits; ``None`` for none.
    cpus: float | None = None
    memory_bytes: int | None = None
    isolation: str | None = None
    detached: bool = False
    remove: bool = False
    #: Output of a detached one is kept in so many files of each stream, none of them larger.
    log_files: int = LOG_FILES
    log_bytes: int = LOG_BYTES


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """What somebody wants to run inside of a container."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    working_directory: str | None = None


def command_info(command: Sequence[str], environment: Mapping[str, str]) -> pb.CommandInfo:
    """Return a command that is executed without a shell; an empty one if the image has one."""
    made = pb.CommandInfo(shell=False)
    if command:
        made.value = command[0]
        made.arguments.extend(command)
    for name, value in environment.items():
        made.environment.variables.add(name=name, value=value, type=pb.Environment.Variable.VALUE)
    return made


def container_info(order: ContainerOrder) -> pb.ContainerInfo:
    """Return the image and the volumes of an order."""
    made = pb.ContainerInfo(type=pb.ContainerInfo.MESOS)
    if order.image is not None:
        image = made.mesos.image
        if order.image_type == "docker":
            image.type = pb.Image.DOCKER
            image.docker.name = order.image
        else:
            image.type = pb.Image.APPC
            image.appc.name = order.image
    for volume in order.volumes:
        made.volumes.add(
            container_path=volume.target,
            host_path=volume.source,
            mode=pb.Volume.RO if volume.read_only else pb.Volume.RW,
        )
    return made
