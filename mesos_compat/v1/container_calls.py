# SPDX-License-Identifier: Apache-2.0
"""Operator calls that act on containers and images: launch, wait, kill, remove, prune.

A call with a parent in its id means a nested container, whatever the call is named. Whoever
disconnects stops waiting and nothing else, except for a launch, which ends with its client.

Source: spec ``operator-api`` 3.6, ``containerizer`` 7.6, 12, 13.

Deviations: removing a top-level container is an error instead of the agent's end; a known id is
answered before anything is done to its sandbox; a launch that failed is answered once its container
is destroyed, so that the id can be used again.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from containerizer.api import Containerizer, LaunchOutcome
from mesos_compat.agent import paths
from mesos_compat.agent.port import AgentPort
from mesos_compat.agent.sandbox import SandboxError, make_standalone
from mesos_compat.authorization.api import Action, Principal
from mesos_compat.base.errors import ApiError, ContainerError, WireError
from mesos_compat.base.scope import Scope, ScopeClosed
from mesos_compat.http.access import Access, container_object
from mesos_compat.http.reply import Reply
from mesos_compat.model import resources
from mesos_compat.model.evolve import devolve, evolve
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

log = logging.getLogger(__name__)

_Calls = agent_pb2.Call
_Response = agent_pb2.Response

#: A call that launches a container.
Launch: TypeAlias = (
    agent_pb2.Call.LaunchContainer
    | agent_pb2.Call.LaunchNestedContainer
    | agent_pb2.Call.LaunchNestedContainerSession
)

_LAUNCHED: Final = Reply()


@dataclass(frozen=True, slots=True)
class _Actions:
    """The same done to containers of both kinds."""

    nested: Action
    standalone: Action

    def of(self, container_id: ContainerId) -> Action:
        """Return the one for a container."""
        return self.standalone if container_id.parent is None else self.nested


_LAUNCH: Final = _Actions(Action.LAUNCH_NESTED_CONTAINER, Action.LAUNCH_STANDALONE_CONTAINER)
_WAIT: Final = _Actions(Action.WAIT_NESTED_CONTAINER, Action.WAIT_STANDALONE_CONTAINER)
_KILL: Final = _Actions(Action.KILL_NESTED_CONTAINER, Action.KILL_STANDALONE_CONTAINER)
_REMOVE: Final = _Actions(Action.REMOVE_NESTED_CONTAINER, Action.REMOVE_STANDALONE_CONTAINER)
_UNSUPPORTED: Final = "The provided ContainerInfo is not supported"


class ContainerCalls:
    """Acts on containers for operators and executors.

    Clean-up that nobody waits for runs in ``scope``.
    """

    def __init__(self, port: AgentPort, scope: Scope, access: Access) -> None:
        self._port = port
        self._access = access
        self._scope = scope

    @property
    def _containerizer(self) -> Containerizer:
        return self._port.containerizer

    async def require(
        self,
        subject: Principal | None,
        action: Action,
        container_id: ContainerId,
        command: v1.CommandInfo | None = None,
    ) -> None:
        """Return if ``subject`` may do that to a container, or launch ``command`` as it.

        Raises ApiError.
        """
        if not self._access.limited:
            return
        made = None if command is None else devolve(command, pb.CommandInfo)
        what = container_object(self._port.state, container_id, made)
        await self._access.require(subject, action, what)

    # Launch.

    async def launch(self, call: agent_pb2.Call, subject: Principal | None) -> Reply:
        """Answer LAUNCH_CONTAINER and LAUNCH_NESTED_CONTAINER."""
        if call.type == _Calls.LAUNCH_CONTAINER:
            wanted = call.launch_container
            given = [devolve(resource, pb.Resource) for resource in wanted.resources]
            limits = {name: limit.value for name, limit in wanted.limits.items()}
            await self._require_launch(subject, wanted)
            return await self.start(wanted, given, limits)
        await self._require_launch(subject, call.launch_nested_container)
        return await self.start(call.launch_nested_container)

    async def _require_launch(self, subject: Principal | None, wanted: Launch) -> None:
        container_id = read_id(wanted.container_id)
        await self.require(subject, _LAUNCH.of(container_id), container_id, wanted.command)

    async def start(
        self,
        wanted: Launch,
        given: Iterable[pb.Resource] = (),
        limits: Mapping[str, float] | None = None,
        kind: slave.ContainerClass = slave.ContainerClass.DEFAULT,
    ) -> Reply:
        """Launch a container; one that cannot be launched (in time for the client) is destroyed."""
        container_id = read_id(wanted.container_id)
        if container_id in self._containerizer.containers():
            return Reply(202)
        config = self._config(wanted, given, limits or {}, kind)
        if config.HasField("container_info") and config.container_info.type != (
            pb.ContainerInfo.MESOS
        ):
            raise ApiError(400, _UNSUPPORTED)
        if container_id.parent is None:
            self._make_sandbox(container_id, config)
        try:
            outcome = await self._containerizer.launch(container_id, config, {})
        except ContainerError as error:
            log.warning("Container %s cannot be launched: %s", container_id, error)
            destruction = self.abandon(container_id)
            if destruction is not None:
                await asyncio.wait([destruction])
            raise ApiError(400, str(error)) from error
        except asyncio.CancelledError:
            self.abandon(container_id)
            raise
        match outcome:
            case LaunchOutcome.ALREADY_LAUNCHED:
                return Reply(202)
            case LaunchOutcome.NOT_SUPPORTED:
                raise ApiError(400, _UNSUPPORTED)
            case LaunchOutcome.SUCCESS:
                return _LAUNCHED

    def abandon(self, container_id: ContainerId) -> asyncio.Task[None] | None:
        """Destroy a container that its client has no use for; returns at once what does so."""
        if container_id not in self._containerizer.containers():
            return None
        try:
            return self._scope.spawn(self._destroy(container_id), f"destroy {container_id}")
        except ScopeClosed:
            log.info("Container %s is left to the next agent", container_id)
            return None

    async def _destroy(self, container_id: ContainerId) -> None:
        try:
            await self._containerizer.destroy(container_id)
        except ContainerError as error:
            log.error("Container %s cannot be destroyed: %s", container_id, error)

    def _config(
        self,
        wanted: Launch,
        given: Iterable[pb.Resource],
        limits: Mapping[str, float],
        kind: slave.ContainerClass,
    ) -> slave.ContainerConfig:
        config = slave.ContainerConfig(container_class=kind)
        config.command_info.SetInParent()
        config.command_info.CopyFrom(devolve(wanted.command, pb.CommandInfo))
        if wanted.HasField("container"):
            config.container_info.CopyFrom(devolve(wanted.container, pb.ContainerInfo))
        if self._port.state.config.switch_user and config.command_info.HasField("user"):
            config.user = config.command_info.user
        for resource in given:
            resources.upgrade(resource)
            config.resources.append(resource)
        for name, limit in limits.items():
            config.limits[name].value = limit
        return config

    def _make_sandbox(self, container_id: ContainerId, config: slave.ContainerConfig) -> None:
        directory = paths.standalone(self._port.state.config.work_dir, container_id)
        try:
            make_standalone(directory, config.user if config.HasField("user") else None)
        except SandboxError as error:
            raise ApiError(500, f"Failed to create sandbox: {error}") from error
        config.directory = directory

    # Wait, kill, remove.

    async def wait(self, call: agent_pb2.Call, subject: Principal | None) -> agent_pb2.Response:
        """Answer WAIT_CONTAINER and WAIT_NESTED_CONTAINER, once the container has ended."""
        nested = call.type == _Calls.WAIT_NESTED_CONTAINER
        container_id = read_id(
            call.wait_nested_container.container_id if nested else call.wait_container.container_id
        )
        await self.require(subject, _WAIT.of(container_id), container_id)
        try:
            ended = await self._containerizer.wait(container_id)
        except ContainerError as error:
            raise ApiError(500, str(error)) from error
        if ended is None:
            raise not_found(container_id)
        if nested:
            response = _Response(type=_Response.WAIT_NESTED_CONTAINER)
            _fill(response.wait_nested_container, ended)
        else:
            response = _Response(type=_Response.WAIT_CONTAINER)
            _fill(response.wait_container, ended)
        return response

    async def kill(self, call: agent_pb2.Call, subject: Principal | None) -> None:
        """Answer KILL_CONTAINER and KILL_NESTED_CONTAINER."""
        nested = call.type == _Calls.KILL_NESTED_CONTAINER
        wanted = call.kill_nested_container if nested else call.kill_container
        container_id = read_id(wanted.container_id)
        await self.require(subject, _KILL.of(container_id), container_id)
        number = wanted.signal if wanted.HasField("signal") else signal.SIGKILL
        try:
            known = await self._containerizer.kill(container_id, number)
        except ContainerError as error:
            raise ApiError(500, str(error)) from error
        if not known:
            raise ApiError(
                404, f"Container '{container_id}' cannot be found (or is already killed)"
            )

    async def remove(self, call: agent_pb2.Call, subject: Principal | None) -> None:
        """Answer REMOVE_CONTAINER and REMOVE_NESTED_CONTAINER."""
        nested = call.type == _Calls.REMOVE_NESTED_CONTAINER
        wanted = call.remove_nested_container if nested else call.remove_container
        container_id = read_id(wanted.container_id)
        await self.require(subject, _REMOVE.of(container_id), container_id)
        try:
            await self._containerizer.remove(container_id)
        except ContainerError as error:
            raise ApiError(500, str(error)) from error

    # Images.

    async def prune_images(self, call: agent_pb2.Call, subject: Principal | None) -> None:
        """Answer PRUNE_IMAGES, once it is done."""
        await self._access.require(subject, Action.PRUNE_IMAGES)
        excluded = [devolve(image, pb.Image) for image in call.prune_images.excluded_images]
        try:
            await self._containerizer.prune_images(excluded)
        except ContainerError as error:
            raise ApiError(500, str(error)) from error


def read_id(message: v1.ContainerID) -> ContainerId:
    """Read a container id of a call that was checked. Raises ApiError."""
    try:
        return ContainerId.of(message)
    except WireError as error:
        raise ApiError(400, f"Failed to validate agent::Call: {error}") from error


def not_found(container_id: ContainerId) -> ApiError:
    """Return the answer about a container that does not exist."""
    return ApiError(404, f"Container {container_id} cannot be found")


def _fill(
    made: agent_pb2.Response.WaitContainer | agent_pb2.Response.WaitNestedContainer,
    ended: slave.ContainerTermination,
) -> None:
    made.SetInParent()
    if ended.HasField("status"):
        made.exit_status = ended.status
    if ended.HasField("state"):
        made.state = cast(v1.TaskState, ended.state)
    if ended.HasField("reason"):
        made.reason = cast(v1.TaskStatus.Reason, ended.reason)
    if ended.limited_resources:
        made.limitation.resources.extend(
            evolve(resource, v1.Resource) for resource in ended.limited_resources
        )
    if ended.HasField("message"):
        made.message = ended.message
