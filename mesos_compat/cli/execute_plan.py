# SPDX-License-Identifier: Apache-2.0
"""The flags of mesos-execute, and what they ask for.

Source: spec ``state-and-recovery`` 2.1 to 2.4, ``execute-flags.tsv``.
"""

from __future__ import annotations

import os
import posixpath
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesos_compat.base.errors import FlagError, MesosCompatError, WireError
from mesos_compat.base.flags import (
    BOOL,
    DURATION,
    JSON_ARRAY,
    JSON_STRINGS,
    STRING,
    STRING_SET,
    Flag,
    FlagKind,
    FlagSet,
)
from mesos_compat.cli.connect import ServerAddress
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import devolve, evolve
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.v1.scheduler_client import JSON, PROTOBUF

M = TypeVar("M", bound=Message)

DEFAULT_RESOURCES = "cpus:1;mem:128"
#: Seconds that we wait for an offer that fits before giving up; upstream waits for ever.
DEFAULT_OFFER_TIMEOUT_S = 60.0

_CONTENT_TYPES = {"json": JSON, JSON: JSON, "protobuf": PROTOBUF, PROTOBUF: PROTOBUF}
_EXCLUSIVE = ("name", "command", "env", "appc_image", "docker_image", "volumes")


class ExecuteError(MesosCompatError):
    """The program ends with 1 and this text, followed by its usage if that helps."""

    def __init__(self, text: str, *, usage: bool = False) -> None:
        super().__init__(text)
        self.usage = usage


def _message(message_type: type[M]) -> FlagKind[M]:
    return FlagKind(
        "json",
        _parser(message_type),
        lambda message: jsonpb.print_message(message).decode(),
        bare_path=True,
    )


def _parser(message_type: type[M]) -> Callable[[str], M]:
    def parse(text: str) -> M:
        try:
            return jsonpb.parse_message(message_type, text)
        except WireError as error:
            raise ValueError(str(error)) from None

    return parse


_CAPABILITIES = _message(v1.CapabilityInfo)

FLAGS = FlagSet(
    "mesos-execute",
    [
        Flag("help", BOOL, "Print this text and exit.", False),
        Flag(
            "master",
            STRING,
            "The master: host:port, zk://[user:password@]hosts/path, or http[s]://host:port.",
            required=True,
        ),
        Flag("name", STRING, "Name and id of the task."),
        Flag("task", _message(v1.TaskInfo), "A complete TaskInfo, or a file with one."),
        Flag("task_group", _message(v1.TaskGroupInfo), "A TaskGroupInfo, or a file with one."),
        Flag("shell", BOOL, "Run --command in a shell; else the image's entry point.", True),
        Flag("command", STRING, "Shell command to run."),
        Flag("env", JSON_STRINGS, "Environment variables of the command, a JSON object."),
        Flag("resources", STRING, "Resources of the task.", DEFAULT_RESOURCES),
        Flag("package", STRING, "File to upload to HDFS and fetch into the sandbox."),
        Flag("hadoop", STRING, "Hadoop client to upload --package with.", "hadoop"),
        Flag("hdfs", STRING, "host:port of the HDFS name node.", "localhost:9000"),
        Flag("overwrite", BOOL, "Replace a --package that is there already.", False),
        Flag("checkpoint", BOOL, "Let the task outlive restarts of its agent.", False),
        Flag("appc_image", STRING, "AppC image to run the task in."),
        Flag("docker_image", STRING, "Docker image to run the task in."),
        Flag("containerizer", STRING, "mesos or docker.", "mesos"),
        Flag("networks", STRING, "Names of the networks to join, comma separated."),
        Flag("volumes", JSON_ARRAY, "Volumes of the task, a JSON array of Volume."),
        Flag("framework_capabilities", STRING_SET, "More capabilities: GPU_RESOURCES."),
        Flag("partition_aware", BOOL, "Have the capability PARTITION_AWARE.", True),
        Flag("effective_capabilities", _CAPABILITIES, "Linux capabilities of the task."),
        Flag("bounding_capabilities", _CAPABILITIES, "Linux capabilities it can ever have."),
        Flag("rlimits", _message(v1.RLimitInfo), "Resource limits of the task's processes."),
        Flag("tty", BOOL, "Give the task a terminal.", False),
        Flag("role", STRING, "Role to subscribe with.", "*"),
        Flag("kill_after", DURATION, "Kill the task so long after it runs."),
        Flag("principal", STRING, "Principal to authenticate with."),
        Flag("secret", STRING, "Secret of --principal."),
        Flag("content_type", STRING, "How to talk to the master: protobuf or json.", "protobuf"),
        Flag(
            "offer_timeout",
            DURATION,
            "Give up when no offer that fits arrived for so long; 0secs: never.",
            DEFAULT_OFFER_TIMEOUT_S,
        ),
    ],
    about="Run one task, or one group of tasks, and show what becomes of it.",
)


@dataclass(frozen=True, slots=True)
class Package:
    """A file to upload before anything is launched."""

    local: str
    remote: str
    hadoop: str
    overwrite: bool


@dataclass(frozen=True, slots=True)
class ExecutePlan:
    """What to run and how to get there; ``group`` says how ``tasks`` are launched."""

    #: Without a scheme of URLs whatever detectors understand.
    master: ServerAddress
    framework: v1.FrameworkInfo
    tasks: tuple[v1.TaskInfo, ...]
    group: bool
    content_type: str
    credential: tuple[str, str] | None
    kill_after_s: float | None
    #: ``None``: wait for ever.
    offer_timeout_s: float | None
    #: For the executor of a group.
    networks: tuple[str, ...]
    package: Package | None

    @property
    def role(self) -> str:
        """The role that offers are for."""
        return self.framework.role


def plan(given: dict[str, Any]) -> ExecutePlan:
    """Check the values of ``FLAGS`` in upstream's order. Raises ExecuteError."""
    _check_combination(given)
    content_type = _CONTENT_TYPES.get(given["content_type"])
    if content_type is None:
        raise ExecuteError(f"Invalid content type '{given['content_type']}'")
    user = _user()
    package, uri = _package(given, user)
    if given["docker_image"] is not None and given["appc_image"] is not None:
        raise ExecuteError("Flags '--docker-image' and '--appc-image' are both set")
    framework = _framework(given, user)
    tasks = _tasks(given, uri)
    credential = None
    if given["principal"] is not None and given["secret"] is not None:
        credential = (given["principal"], given["secret"])
    return ExecutePlan(
        master=_master(given["master"]),
        framework=framework,
        tasks=tasks,
        group=given["task_group"] is not None,
        content_type=content_type,
        credential=credential,
        kill_after_s=given["kill_after"],
        offer_timeout_s=given["offer_timeout"] or None,
        networks=_networks(given),
        package=package,
    )


def _check_combination(given: dict[str, Any]) -> None:
    whole = given["task"] is not None or given["task_group"] is not None
    if given["task"] is not None and given["task_group"] is not None:
        raise ExecuteError(
            "Either task or task group should be set but not both."
            " Provide either '--task' OR '--task_group'",
            usage=True,
        )
    if not whole and given["name"] is None:
        raise ExecuteError("Missing required option --name", usage=True)
    if not whole and given["shell"] and given["command"] is None:
        raise ExecuteError("Missing required option --command", usage=True)
    if whole and any(given[name] is not None for name in _EXCLUSIVE):
        names = ", ".join(f"'--{name}'" for name in _EXCLUSIVE)
        raise ExecuteError(
            f"{names} can only be set when both '--task' and '--task_group' are not set",
            usage=True,
        )
    if given["task"] is not None and given["networks"] is not None:
        raise ExecuteError("'--networks' can only be set when '--task' is not set", usage=True)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise ExecuteError(f"No username for uid {os.getuid()}") from None


def _package(given: dict[str, Any], user: str) -> tuple[Package | None, str | None]:
    local = given["package"]
    if local is None:
        return None, None
    remote = posixpath.join("/", user, local.lstrip("/"))
    made = Package(local, remote, given["hadoop"], given["overwrite"])
    return made, f"hdfs://{given['hdfs']}{remote}"


def _framework(given: dict[str, Any], user: str) -> v1.FrameworkInfo:
    framework = v1.FrameworkInfo(
        user=user,
        name="mesos-execute instance",
        checkpoint=given["checkpoint"],
        role=given["role"],
    )
    if given["principal"] is not None:
        framework.principal = given["principal"]
    names = ["RESERVATION_REFINEMENT", "TASK_KILLING_STATE", "REVOCABLE_RESOURCES"]
    if given["partition_aware"]:
        names.append("PARTITION_AWARE")
    for name in given["framework_capabilities"] or ():
        known = name in v1.FrameworkInfo.Capability.Type.keys()  # noqa: SIM118
        if name != "GPU_RESOURCES":
            kind = "unsupported" if known else "unknown"
            raise ExecuteError(
                f"Flags '--framework_capabilities' specifies an {kind} capability '{name}'"
            )
        names.append(name)
    for name in names:
        framework.capabilities.add(type=v1.FrameworkInfo.Capability.Type.Value(name))
    return framework


def _tasks(given: dict[str, Any], uri: str | None) -> tuple[v1.TaskInfo, ...]:
    if given["task"] is not None:
        return (_checked(given["task"]),)
    if given["task_group"] is not None:
        return tuple(_checked(task) for task in given["task_group"].tasks)
    volumes = _volumes(given)
    task = v1.TaskInfo(name=given["name"])
    task.task_id.value = given["name"]
    task.agent_id.value = ""
    try:
        resources = Resources.parse(given["resources"])
    except WireError as error:
        raise ExecuteError(f"Failed to parse resources '{given['resources']}': {error}") from error
    task.resources.extend(evolve(resource, v1.Resource) for resource in resources)
    task.command.shell = given["shell"]
    if given["shell"]:
        task.command.value = given["command"]
    for name, value in (given["env"] or {}).items():
        task.command.environment.variables.add(name=name, value=value)
    if uri is not None:
        task.command.uris.add(value=uri)
    container = _container(given, volumes)
    if container is not None:
        task.container.CopyFrom(container)
    return (task,)


def _checked(task: v1.TaskInfo) -> v1.TaskInfo:
    try:
        required((task,))
    except WireError as error:
        raise ExecuteError(f"Task '{task.task_id.value}' is unusable: {error}") from error
    return task


def required(tasks: tuple[v1.TaskInfo, ...]) -> Resources:
    """Return what ``tasks`` need together. Raises WireError."""
    total = Resources()
    for task in tasks:
        total += resources_of(task.resources)
    return total


def resources_of(messages: Iterable[v1.Resource]) -> Resources:
    """Collect v1 resources. Raises WireError."""
    return Resources.of(devolve(message, pb.Resource) for message in messages)


def _volumes(given: dict[str, Any]) -> list[v1.Volume]:
    try:
        return [jsonpb.from_value(v1.Volume, volume) for volume in given["volumes"] or ()]
    except WireError as error:
        raise ExecuteError(f"Failed to convert '--volumes' to protobuf: {error}") from error


def _networks(given: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in (given["networks"] or "").split(",") if name)


def _container(given: dict[str, Any], volumes: list[v1.Volume]) -> v1.ContainerInfo | None:
    kind = given["containerizer"]
    if kind == "docker":
        return _docker_container(given, volumes)
    if kind == "mesos":
        return _mesos_container(given, volumes)
    if kind == "":
        return None
    raise ExecuteError(f"Unsupported containerizer: {kind}")


def _mesos_container(given: dict[str, Any], volumes: list[v1.Volume]) -> v1.ContainerInfo | None:
    made = v1.ContainerInfo(type=v1.ContainerInfo.MESOS)
    made.volumes.extend(volumes)
    if given["docker_image"] is not None:
        image = made.mesos.image
        image.type = v1.Image.DOCKER
        image.docker.name = given["docker_image"]
    elif given["appc_image"] is not None:
        image = made.mesos.image
        image.type = v1.Image.APPC
        image.appc.name = given["appc_image"]
        image.appc.labels.labels.add(key="os", value="linux")
        image.appc.labels.labels.add(key="arch", value="amd64")
    for name in _networks(given):
        made.network_infos.add(name=name)
    if given["effective_capabilities"] is not None:
        made.linux_info.effective_capabilities.CopyFrom(given["effective_capabilities"])
    if given["bounding_capabilities"] is not None:
        made.linux_info.bounding_capabilities.CopyFrom(given["bounding_capabilities"])
    if given["rlimits"] is not None:
        made.rlimit_info.CopyFrom(given["rlimits"])
    if given["tty"]:
        made.tty_info.SetInParent()
    return made if len(made.ListFields()) > 1 else None


def _docker_container(given: dict[str, Any], volumes: list[v1.Volume]) -> v1.ContainerInfo:
    if given["docker_image"] is None:
        raise ExecuteError("'Docker' containerizer requires docker image name")
    networks = _networks(given)
    if len(networks) > 1:
        raise ExecuteError("'Docker' containerizer can only support a single network")
    if given["tty"]:
        raise ExecuteError("'Docker' containerizer does not allow attaching a TTY")
    made = v1.ContainerInfo(type=v1.ContainerInfo.DOCKER)
    made.volumes.extend(volumes)
    made.docker.image = given["docker_image"]
    for name in networks:
        made.docker.network = v1.ContainerInfo.DockerInfo.USER
        made.network_infos.add(name=name)
    return made


def _master(text: str) -> ServerAddress:
    """Raises ExecuteError."""
    try:
        return ServerAddress.parse(text)
    except FlagError as error:
        raise ExecuteError(f"Failed to create a master detector: {error}") from error
