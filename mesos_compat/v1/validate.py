# SPDX-License-Identifier: Apache-2.0
"""Checks of operator API calls before anything is done. Pure.

Each returns a reason in upstream's words, or ``None``.

Source: spec ``operator-api`` 3.2 and 3.3; upstream ``slave/validation.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from google.protobuf.message import Message

from mesos_compat.model import resources
from mesos_compat.model.evolve import devolve
from mesos_compat.model.ids import MAX_ID_LENGTH
from mesos_compat.model.jsonpb import text_of
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

#: Longest value of a container id: a directory of this name must leave room for suffixes.
MAX_CONTAINER_ID_LENGTH: Final = 242

_Types = agent_pb2.Call
#: Calls that need the message named like them.
_NEEDS_MESSAGE: Final = frozenset(
    {
        _Types.GET_METRICS,
        _Types.SET_LOGGING_LEVEL,
        _Types.LIST_FILES,
        _Types.READ_FILE,
        _Types.LAUNCH_NESTED_CONTAINER,
        _Types.WAIT_NESTED_CONTAINER,
        _Types.KILL_NESTED_CONTAINER,
        _Types.REMOVE_NESTED_CONTAINER,
        _Types.LAUNCH_NESTED_CONTAINER_SESSION,
        _Types.ATTACH_CONTAINER_INPUT,
        _Types.ATTACH_CONTAINER_OUTPUT,
        _Types.LAUNCH_CONTAINER,
        _Types.WAIT_CONTAINER,
        _Types.KILL_CONTAINER,
        _Types.REMOVE_CONTAINER,
        _Types.ADD_RESOURCE_PROVIDER_CONFIG,
        _Types.UPDATE_RESOURCE_PROVIDER_CONFIG,
        _Types.REMOVE_RESOURCE_PROVIDER_CONFIG,
        _Types.MARK_RESOURCE_PROVIDER_GONE,
    }
)
_NEEDS_PARENT: Final = frozenset(
    {
        _Types.LAUNCH_NESTED_CONTAINER,
        _Types.WAIT_NESTED_CONTAINER,
        _Types.KILL_NESTED_CONTAINER,
        _Types.REMOVE_NESTED_CONTAINER,
        _Types.LAUNCH_NESTED_CONTAINER_SESSION,
    }
)
_WITH_CONTAINER_ID: Final = _NEEDS_PARENT | {
    _Types.ATTACH_CONTAINER_OUTPUT,
    _Types.LAUNCH_CONTAINER,
    _Types.WAIT_CONTAINER,
    _Types.KILL_CONTAINER,
    _Types.REMOVE_CONTAINER,
}
_LAUNCHES: Final = frozenset(
    {
        _Types.LAUNCH_NESTED_CONTAINER,
        _Types.LAUNCH_NESTED_CONTAINER_SESSION,
        _Types.LAUNCH_CONTAINER,
    }
)

_Launch = (
    agent_pb2.Call.LaunchContainer
    | agent_pb2.Call.LaunchNestedContainer
    | agent_pb2.Call.LaunchNestedContainerSession
)


def call_error(call: agent_pb2.Call) -> str | None:
    """Check a call."""
    if not call.HasField("type"):
        return "Expecting 'type' to be present"
    name = agent_pb2.Call.Type.Name(call.type).lower()
    if call.type not in _NEEDS_MESSAGE:
        return None
    if not cast(Message, call).HasField(name):
        return f"Expecting '{name}' to be present"
    inner = getattr(call, name)
    if call.type == _Types.ATTACH_CONTAINER_INPUT:
        return _attach_input_error(call.attach_container_input)
    if call.type in (_Types.ADD_RESOURCE_PROVIDER_CONFIG, _Types.UPDATE_RESOURCE_PROVIDER_CONFIG):
        return f"Expecting '{name}.info.id' to be unset" if inner.info.HasField("id") else None
    if call.type not in _WITH_CONTAINER_ID:
        return None
    why = container_id_error(inner.container_id)
    if why is not None:
        return f"'{name}.container_id' is invalid: {why}"
    if call.type in _NEEDS_PARENT and not inner.container_id.HasField("parent"):
        return f"Expecting '{name}.container_id.parent' to be present"
    return _launch_error(name, inner) if call.type in _LAUNCHES else None


def container_id_error(container_id: v1.ContainerID) -> str | None:
    """Check each level of a container id."""
    prefix = ""
    while True:
        why = _id_error(text_of(container_id.value))
        if why is not None:
            return prefix + why
        if not container_id.HasField("parent"):
            return None
        container_id = container_id.parent
        prefix += "'ContainerID.parent' is invalid: "


def _id_error(value: str) -> str | None:
    if not value:
        return "ID must not be empty"
    if len(value) > MAX_ID_LENGTH:
        return f"ID must not be greater than {MAX_ID_LENGTH} characters"
    if value in (".", ".."):
        return f"'{value}' is disallowed"
    if any(c in "/\\" or ord(c) < 32 or ord(c) == 127 for c in value):
        return f"'{value}' contains invalid characters"
    if len(value) > MAX_CONTAINER_ID_LENGTH:
        return (
            f"'ContainerID.value' '{value}' exceeds the maximum length ({MAX_CONTAINER_ID_LENGTH})"
        )
    if "." in value or " " in value:
        return f"'ContainerID.value' '{value}' contains invalid characters"
    return None


def _attach_input_error(attach: agent_pb2.Call.AttachContainerInput) -> str | None:
    if not attach.HasField("type"):
        return "Expecting 'attach_container_input.type' to be present"
    if attach.type == attach.UNKNOWN:
        return "'attach_container_input.type' is unknown"
    if attach.type == attach.CONTAINER_ID:
        if not attach.HasField("container_id"):
            return "Expecting 'attach_container_input.container_id' to be present"
        why = container_id_error(attach.container_id)
        if why is not None:
            return f"'attach_container_input.container_id' is invalid: {why}"
    return None


# Launches.


def _launch_error(name: str, launch: _Launch) -> str | None:
    if isinstance(launch, agent_pb2.Call.LaunchContainer):
        why = _resources_error(name, launch)
        if why is not None:
            return why
    why = command_error(launch.command)
    if why is not None:
        return f"'{name}.command' is invalid: {why}"
    why = container_error(launch.container)
    if why is not None:
        return f"'{name}.container' is invalid: {why}"
    return _cgroups_error(name, launch)


def _resources_error(name: str, launch: agent_pb2.Call.LaunchContainer) -> str | None:
    given = [devolve(resource, pb.Resource) for resource in launch.resources]
    for resource in given:
        why = resources.resource_error(resource)
        if why is not None:
            return f"Invalid resources: {why}"
    for resource in given:
        if resource.name == "gpus" and not resource.scalar.value.is_integer():
            return "Invalid GPU resources: The 'gpus' resource must be an unsigned integer"
    for limited, limit in launch.limits.items():
        if not limit.value >= 0:
            return f"Invalid resource limits: '{limited}' must not be negative"
    for resource in given if not launch.container_id.HasField("parent") else ():
        resources.upgrade(resource)
        if resource.reservations:
            return f"'{name}.resources' must be unreserved"
        if resources.is_persistent_volume(resource):
            return f"'{name}.resources' may not use persistent volumes"
        if resource.HasField("revocable"):
            return f"'{name}.resources' must be non-revocable"
    return None


def _cgroups_error(name: str, launch: _Launch) -> str | None:
    nested = launch.container_id.HasField("parent")
    deep = nested and launch.container_id.parent.HasField("parent")
    linux = launch.container.linux_info
    own_cgroup = launch.container.HasField("linux_info") and not linux.share_cgroups
    if isinstance(launch, agent_pb2.Call.LaunchNestedContainerSession) and own_cgroup:
        return (
            f"'{name}.container.linux_info' is invalid: 'share_cgroups' cannot be set to "
            "'false' for nested container sessions"
        )
    second = f"'{name}' is invalid: containers nested at the second level or greater cannot"
    if deep and isinstance(launch, agent_pb2.Call.LaunchContainer):
        if launch.resources:
            return f"{second} specify resources"
        if launch.limits:
            return f"{second} specify resource limits"
    if deep and own_cgroup:
        return f"{second} set 'share_cgroups' to 'false'"
    if not nested and linux.HasField("share_cgroups") and linux.share_cgroups:
        return (
            f"'{name}' is invalid: containers without a parent cannot set 'share_cgroups' to 'true'"
        )
    return None


def command_error(command: v1.CommandInfo) -> str | None:
    """Check the environment of a command."""
    return environment_error(command.environment.variables)


def environment_error(variables: Iterable[v1.Environment.Variable]) -> str | None:
    """Check the kind and content of each variable."""
    for variable in variables:
        where = f"Environment variable '{text_of(variable.name)}'"
        match variable.type:
            case v1.Environment.Variable.SECRET:
                if not variable.HasField("secret"):
                    return f"{where} of type 'SECRET' must have a secret set"
                if variable.HasField("value"):
                    return f"{where} of type 'SECRET' must not have a value set"
                why = _secret_error(variable.secret)
                if why is not None:
                    return f"{where} specifies an invalid secret: {why}"
            case v1.Environment.Variable.VALUE:
                if not variable.HasField("value"):
                    return f"{where} of type 'VALUE' must have a value set"
                if variable.HasField("secret"):
                    return f"{where} of type 'VALUE' must not have a secret set"
            case _:
                return "Environment variable of type 'UNKNOWN' is not allowed"
    return None


def _secret_error(secret: v1.Secret) -> str | None:
    match secret.type:
        case v1.Secret.REFERENCE:
            if not secret.HasField("reference") or secret.HasField("value"):
                return "Secret of type REFERENCE must have the 'reference' field set only"
        case v1.Secret.VALUE:
            if not secret.HasField("value") or secret.HasField("reference"):
                return "Secret of type VALUE must have the 'value' field set only"
            if b"\0" in secret.value.data:
                return "Secret of type VALUE must not contain null bytes"
        case _:
            return "Secret of unknown type"
    return None


def container_error(container: v1.ContainerInfo) -> str | None:
    """Check the volumes of a container and what its type needs."""
    for volume in container.volumes:
        given = sum(volume.HasField(name) for name in ("host_path", "image", "source"))
        if given != 1:
            return (
                "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'"
            )
        if volume.HasField("source"):
            why = _source_error(volume.source)
            if why is not None:
                return f"Invalid volume: {why}"
    if container.HasField("type") and container.type == v1.ContainerInfo.DOCKER:
        if not container.HasField("docker"):
            return "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"
        if any(parameter.key == "name" for parameter in container.docker.parameters):
            return "Parameter in DockerInfo must not be 'name'"
    return None


def _source_error(source: v1.Volume.Source) -> str | None:
    if not source.HasField("type") or source.type == v1.Volume.Source.UNKNOWN:
        return "'source.type' is unknown"
    name = v1.Volume.Source.Type.Name(source.type).lower()
    field = "docker_volume" if name == "docker_volume" else name
    if not cast(Message, source).HasField(field):
        return f"'source.{field}' is not set for {name.upper()} volume"
    if field == "csi_volume" and not source.csi_volume.HasField("static_provisioning"):
        return "'source.csi_volume.static_provisioning' is not set for CSI_VOLUME volume"
    return None
