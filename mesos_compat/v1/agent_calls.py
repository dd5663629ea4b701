# SPDX-License-Identifier: Apache-2.0
"""The v1 operator API: ``POST /api/v1``. Calls that ask are answered here.

Source: spec ``operator-api`` 3. Calls that act on resource providers are checked like all others
and then answered with 501.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias

from aiohttp import web

from containerizer.api import Containerizer
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.agent.port import AgentPort
from mesos_compat.authorization.api import Action, Principal
from mesos_compat.base import recordio
from mesos_compat.base.errors import ApiError, WireError
from mesos_compat.base.scope import Scope
from mesos_compat.http import files, monitor, reply
from mesos_compat.http.access import Access
from mesos_compat.http.body import BODY_TIMEOUT_S, endless_pieces_of, read_body
from mesos_compat.http.principal import principal_of
from mesos_compat.http.reply import Reply
from mesos_compat.http.state_view import Build
from mesos_compat.http.task_volumes import with_task_volumes
from mesos_compat.http.verbosity import Verbosity
from mesos_compat.http.view import View
from mesos_compat.model.evolve import evolve
from mesos_compat.model.jsonpb import text_of
from mesos_compat.model.operations import consumed
from mesos_compat.model.quantity import SECOND_NS
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.v1 import codec, listings, validate
from mesos_compat.v1.attach import AttachCalls, Exchange
from mesos_compat.v1.container_calls import ContainerCalls

log = logging.getLogger(__name__)

Call: TypeAlias = agent_pb2.Call
Response: TypeAlias = agent_pb2.Response

#: Messages whose lists are shown even when empty.
FULL_LISTS: Final = frozenset(
    message.DESCRIPTOR.full_name
    for message in (
        agent_pb2.Response.GetMetrics,
        agent_pb2.Response.GetFrameworks,
        agent_pb2.Response.GetExecutors,
        agent_pb2.Response.GetTasks,
    )
)

_STREAMED: Final = frozenset(
    {agent_pb2.Call.ATTACH_CONTAINER_OUTPUT, agent_pb2.Call.LAUNCH_NESTED_CONTAINER_SESSION}
)

#: What calls that are not there yet are about.
_NOT_THERE: Final = {
    agent_pb2.Call.ADD_RESOURCE_PROVIDER_CONFIG: Action.MODIFY_RESOURCE_PROVIDER_CONFIG,
    agent_pb2.Call.UPDATE_RESOURCE_PROVIDER_CONFIG: Action.MODIFY_RESOURCE_PROVIDER_CONFIG,
    agent_pb2.Call.REMOVE_RESOURCE_PROVIDER_CONFIG: Action.MODIFY_RESOURCE_PROVIDER_CONFIG,
    agent_pb2.Call.MARK_RESOURCE_PROVIDER_GONE: Action.MARK_RESOURCE_PROVIDER_GONE,
}

#: ``None`` for calls without a reply message.
_Answer: TypeAlias = "Callable[[Call, Principal | None], Awaitable[Response | Reply | None]]"
_Stream: TypeAlias = "Callable[[Exchange], Awaitable[Reply | web.StreamResponse]]"


class AgentCalls:
    """The handler of ``/api/v1``."""

    def __init__(
        self,
        port: AgentPort,
        build: Build,
        verbosity: Verbosity,
        scope: Scope,
        access: Access,
    ) -> None:
        self._port = port
        self._access = access
        self._build = build
        self._verbosity = verbosity
        kinds = agent_pb2.Call
        containers = ContainerCalls(port, scope, access)
        streams = AttachCalls(port, containers)
        self._streams: dict[int, _Stream] = {
            kinds.ATTACH_CONTAINER_INPUT: streams.attach_input,
            kinds.ATTACH_CONTAINER_OUTPUT: streams.attach_output,
            kinds.LAUNCH_NESTED_CONTAINER_SESSION: streams.session,
        }
        self._answers: dict[int, _Answer] = {
            kinds.GET_HEALTH: self._get_health,
            kinds.GET_FLAGS: self._get_flags,
            kinds.GET_VERSION: self._get_version,
            kinds.GET_METRICS: self._get_metrics,
            kinds.GET_LOGGING_LEVEL: self._get_logging_level,
            kinds.SET_LOGGING_LEVEL: self._set_logging_level,
            kinds.LIST_FILES: self._list_files,
            kinds.READ_FILE: self._read_file,
            kinds.GET_STATE: self._get_state,
            kinds.GET_CONTAINERS: self._get_containers,
            kinds.GET_FRAMEWORKS: self._get_frameworks,
            kinds.GET_EXECUTORS: self._get_executors,
            kinds.GET_OPERATIONS: self._get_operations,
            kinds.GET_TASKS: self._get_tasks,
            kinds.GET_AGENT: self._get_agent,
            kinds.GET_RESOURCE_PROVIDERS: self._get_resource_providers,
            kinds.LAUNCH_CONTAINER: containers.launch,
            kinds.LAUNCH_NESTED_CONTAINER: containers.launch,
            kinds.WAIT_CONTAINER: containers.wait,
            kinds.WAIT_NESTED_CONTAINER: containers.wait,
            kinds.KILL_CONTAINER: containers.kill,
            kinds.KILL_NESTED_CONTAINER: containers.kill,
            kinds.REMOVE_CONTAINER: containers.remove,
            kinds.REMOVE_NESTED_CONTAINER: containers.remove,
            kinds.PRUNE_IMAGES: containers.prune_images,
        }

    async def handle(self, request: web.BaseRequest) -> Reply | web.StreamResponse:
        """Answer one call. Raises ApiError."""
        if self._port.state.phase is AgentPhase.RECOVERING:
            raise ApiError(503, "Agent has not finished recovery")
        if request.method != "POST":
            return reply.method_not_allowed(request.method, ["POST"])
        media = codec.negotiate(request.headers)
        records = _Records(request)
        streamed = media.content == codec.RECORDIO
        body = await (records.first() if streamed else read_body(request))
        call = codec.parse(agent_pb2.Call, body, media.message)
        check(call, media)
        stream = self._streams.get(call.type)
        if stream is not None:
            return await stream(Exchange(request, media, call, records.others()))
        subject = principal_of(request)
        answer = self._answers.get(call.type)
        if answer is None:
            missing = _NOT_THERE.get(call.type)
            if missing is not None:
                await self._access.require(subject, missing)
            raise ApiError(501, reply.default_body(501))
        response = await answer(call, subject)
        if response is None:
            return Reply()
        if isinstance(response, Reply):
            return response
        return Reply(200, codec.serialize(response, media.accept, FULL_LISTS), media.accept)

    # The program.

    async def _get_health(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_HEALTH)
        response.get_health.healthy = True
        return response

    async def _get_flags(self, _: Call, subject: Principal | None) -> Response:
        await self._access.require(subject, Action.VIEW_FLAGS)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_FLAGS)
        response.get_flags.SetInParent()
        for name, value in sorted(self._port.flags.items()):
            response.get_flags.flags.add(name=name, value=value)
        return response

    async def _get_version(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_VERSION)
        info = response.get_version.version_info
        info.version = self._build.version
        info.build_date = self._build.date
        info.build_time = self._build.time
        info.build_user = self._build.user
        return response

    async def _get_metrics(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_METRICS)
        response.get_metrics.SetInParent()
        for name, value in self._port.metrics.snapshot().items():
            response.get_metrics.metrics.add(name=name, value=value)
        return response

    async def _get_logging_level(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_LOGGING_LEVEL)
        response.get_logging_level.level = self._verbosity.level
        return response

    async def _set_logging_level(self, call: Call, subject: Principal | None) -> None:
        await self._access.require(subject, Action.SET_LOG_LEVEL)
        wanted = call.set_logging_level
        self._verbosity.set(wanted.level, max(0, wanted.duration.nanoseconds) / 1e9)

    # Files.

    async def _list_files(self, call: Call, subject: Principal | None) -> Response:
        path = text_of(call.list_files.path)
        entries = await asyncio.to_thread(files.browse, await self._attached(subject, path), path)
        response = agent_pb2.Response(type=agent_pb2.Response.LIST_FILES)
        response.list_files.SetInParent()
        for entry in entries:
            shown = response.list_files.file_infos.add(
                path=_printable(entry.path),
                nlink=entry.info.st_nlink,
                size=entry.info.st_size,
                mode=entry.info.st_mode,
                uid=entry.user,
                gid=entry.group,
            )
            shown.mtime.nanoseconds = int(entry.info.st_mtime) * 1_000_000_000
        return response

    async def _read_file(self, call: Call, subject: Principal | None) -> Response:
        wanted = call.read_file
        offset = wanted.offset if wanted.offset < 2**63 else -1
        length = min(wanted.length, files.MAX_READ_BYTES) if wanted.HasField("length") else -1
        path = text_of(wanted.path)
        attached = await self._attached(subject, path)
        piece = await asyncio.to_thread(files.read, attached, path, offset, length)
        response = agent_pb2.Response(type=agent_pb2.Response.READ_FILE)
        response.read_file.size = piece.size
        response.read_file.data = piece.data
        return response

    async def _attached(self, subject: Principal | None, path: str) -> Mapping[str, str]:
        port = self._port
        await self._access.require_file(subject, port.state, port.files, path)
        return with_task_volumes(port.state, port.files, path)

    # Frameworks, executors, tasks.

    async def _get_state(self, _: Call, subject: Principal | None) -> Response:
        view = await self._access.view(subject, listings.ACTIONS)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_STATE)
        listings.tasks(response.get_state.get_tasks, self._port.state, view)
        listings.executors(response.get_state.get_executors, self._port.state, view)
        listings.frameworks(response.get_state.get_frameworks, self._port.state, view)
        return response

    async def _get_frameworks(self, _: Call, subject: Principal | None) -> Response:
        view = await self._access.view(subject, listings.ACTIONS)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_FRAMEWORKS)
        listings.frameworks(response.get_frameworks, self._port.state, view)
        return response

    async def _get_executors(self, _: Call, subject: Principal | None) -> Response:
        view = await self._access.view(subject, listings.ACTIONS)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_EXECUTORS)
        listings.executors(response.get_executors, self._port.state, view)
        return response

    async def _get_tasks(self, _: Call, subject: Principal | None) -> Response:
        view = await self._access.view(subject, listings.ACTIONS)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_TASKS)
        listings.tasks(response.get_tasks, self._port.state, view)
        return response

    async def _get_agent(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_AGENT)
        state = self._port.state
        response.get_agent.agent_info.CopyFrom(evolve(state.info(), v1.AgentInfo))
        if state.drain is not None:
            response.get_agent.drain_config.CopyFrom(evolve(state.drain.config, v1.DrainConfig))
            started_ns = round(state.drain.started_at * SECOND_NS)
            response.get_agent.estimated_drain_start_time.nanoseconds = started_ns
        return response

    async def _get_operations(self, _: Call, subject: Principal | None) -> Response:
        view = await self._access.view(subject, [Action.VIEW_ROLE])
        response = agent_pb2.Response(type=agent_pb2.Response.GET_OPERATIONS)
        response.get_operations.SetInParent()
        for operation in self._port.state.operations.values():
            if not all(map(view.resource, consumed(operation.info))):
                continue
            response.get_operations.operations.append(evolve(operation, v1.Operation))
        return response

    async def _get_resource_providers(self, _: Call, subject: Principal | None) -> Response:
        response = agent_pb2.Response(type=agent_pb2.Response.GET_RESOURCE_PROVIDERS)
        response.get_resource_providers.SetInParent()
        return response

    # Containers.

    async def _get_containers(self, call: Call, subject: Principal | None) -> Response:
        containerizer = self._port.containerizer
        view = await self._access.view(
            subject, [Action.VIEW_CONTAINER, Action.VIEW_STANDALONE_CONTAINER]
        )
        subjects = monitor.executor_containers(self._port.state, view)
        subjects += _others(subjects, containerizer, call.get_containers, view)
        response = agent_pb2.Response(type=agent_pb2.Response.GET_CONTAINERS)
        for observed in await monitor.observe(containerizer, subjects):
            _add_container(response.get_containers, observed)
        return response


def check(call: Call, media: codec.MediaTypes) -> None:
    """Check a call and whether it may be streamed (rows 12 to 15). Raises ApiError."""
    why = validate.call_error(call)
    if why is not None:
        raise ApiError(400, f"Failed to validate agent::Call: {why}")
    name = agent_pb2.Call.Type.Name(call.type)
    takes_stream = call.type == agent_pb2.Call.ATTACH_CONTAINER_INPUT
    if media.content == codec.RECORDIO and not takes_stream:
        raise ApiError(
            415, f"Streaming 'Content-Type' {codec.RECORDIO} is not supported for {name} call"
        )
    if takes_stream and media.content != codec.RECORDIO:
        raise ApiError(415, f"Expecting 'Content-Type' to be {codec.RECORDIO} for {name} call")
    if media.accept == codec.RECORDIO and call.type not in _STREAMED:
        raise ApiError(406, f"Streaming response is not supported for {name} call")


class _Records:
    """The records of a streaming request."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._pieces = endless_pieces_of(request)
        self._received = bytearray()

    async def first(self) -> bytes:
        """Return the first record. Raises ApiError."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await self._first()
        except TimeoutError:
            raise ApiError(408, "The body did not arrive in time.") from None

    async def _first(self) -> bytes:
        async for piece in self._pieces:
            self._received += piece
            record = codec.first_record(self._received)
            if record is not None:
                del self._received[: self._received.index(b"\n") + 1 + len(record)]
                return record
        if self._received:
            # a length line that never ended is complete now
            codec.first_record(self._received + b"\n")
        raise ApiError(400, "Received EOF while reading request body")

    async def others(self) -> AsyncIterator[bytes]:
        """Give the other records as they come; waits without limit. Raises ApiError."""
        decoder = recordio.Decoder(codec.MAX_RECORD_BYTES)
        try:
            for record in decoder.feed(bytes(self._received)):
                yield record
            async for piece in self._pieces:
                for record in decoder.feed(piece):
                    yield record
        except WireError as error:
            raise ApiError(500, f"Decoder failure: {error}") from error


def _others(
    owned: Iterable[monitor.Subject],
    containerizer: Containerizer,
    wanted: agent_pb2.Call.GetContainers,
    view: View,
) -> list[monitor.Subject]:
    """Choose containers that are not those of executors themselves."""
    roots = {subject.container_id for subject in owned}
    found = []
    for container_id in sorted(containerizer.containers(), key=lambda each: each.path):
        if container_id in roots:
            continue
        nested = container_id.parent is not None
        standalone = containerizer.is_standalone(container_id)
        if (nested and not wanted.show_nested) or (
            not nested and standalone and not wanted.show_standalone
        ):
            continue
        if view.standalone(container_id) if standalone else container_id.root in roots:
            found.append(monitor.Subject(container_id))
    return found


def _add_container(made: agent_pb2.Response.GetContainers, observed: monitor.Observed) -> None:
    subject = observed.subject
    shown = made.containers.add()
    if subject.framework_id is not None and subject.executor_id is not None:
        shown.framework_id.value = _printable(subject.framework_id)
        shown.executor_id.value = _printable(subject.executor_id)
        shown.executor_name = _printable(subject.executor_name)
    # without parent, as upstream does: the full id is in the status
    shown.container_id.value = subject.container_id.value
    if observed.status is not None:
        shown.container_status.CopyFrom(evolve(observed.status, v1.ContainerStatus))
    if observed.statistics is not None:
        shown.resource_statistics.CopyFrom(evolve(observed.statistics, v1.ResourceStatistics))


def _printable(text: str) -> str:
    """Make text storable in a message; file names may hold any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
