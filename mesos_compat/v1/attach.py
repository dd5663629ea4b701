# SPDX-License-Identifier: Apache-2.0
"""Operator calls that stream: attach to input or output of a container, and sessions.

The agent stands between a client and the container's IO switchboard. Records are alike on both
sides, so they pass as they are. A client that detaches leaves the container alone; a session ends
with its client.

Source: spec ``operator-api`` 3.7, ``containerizer`` 14.6.

Deviation: input to a terminal whose container has ended is answered with 200, not with 500.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from containerizer.api import InputAnswer, OutputStream
from mesos_compat.agent.port import AgentPort
from mesos_compat.authorization.api import Action
from mesos_compat.base import recordio
from mesos_compat.base.errors import ApiError, ContainerError
from mesos_compat.base.scope import Scope
from mesos_compat.http import reply
from mesos_compat.http.body import probe, until_gone
from mesos_compat.http.principal import principal_of
from mesos_compat.http.reply import PlainStream, Reply
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.v1 import codec
from mesos_compat.v1.container_calls import ContainerCalls, not_found, read_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A streaming call and all that is needed to answer it."""

    request: web.BaseRequest
    media: codec.MediaTypes
    call: agent_pb2.Call
    #: What follows the first record of a streaming request.
    more: AsyncIterator[bytes]


class AttachCalls:
    """Relays between clients and containers."""

    def __init__(self, port: AgentPort, containers: ContainerCalls) -> None:
        self._port = port
        self._containers = containers
        #: Who sends input to which container.
        self._senders: dict[ContainerId, web.BaseRequest] = {}

    async def attach_input(self, exchange: Exchange) -> Reply:
        """Answer ATTACH_CONTAINER_INPUT, when the input or the container ends."""
        attach = exchange.call.attach_container_input
        if attach.type != attach.CONTAINER_ID:
            raise ApiError(400, "Expecting 'attach_container_input.type' to be CONTAINER_ID")
        container_id = self._owned(read_id(attach.container_id))
        subject = principal_of(exchange.request)
        await self._containers.require(subject, Action.ATTACH_CONTAINER_INPUT, container_id)
        try:
            answer = await self._relay_input(exchange, container_id)
        except ContainerError as error:
            raise ApiError(500, str(error)) from error
        return reply.text(answer.text, answer.status) if answer.text else Reply(answer.status)

    async def _relay_input(self, exchange: Exchange, container_id: ContainerId) -> InputAnswer:
        """Send input until it or the container ends; raises ConnectionAbortedError if its client
        is gone, who must not keep others from sending.
        """
        earlier = self._senders.get(container_id)
        if earlier is not None:
            await probe(earlier)
        name = f"input of {container_id}"
        alone = self._senders.setdefault(container_id, exchange.request) is exchange.request
        try:
            return await self._relay_while_there(exchange, container_id, name)
        finally:
            if alone:
                del self._senders[container_id]

    async def _relay_while_there(
        self, exchange: Exchange, container_id: ContainerId, name: str
    ) -> InputAnswer:
        async with Scope(name, on_error=_raised_anyway) as scope:
            attached = scope.spawn(
                self._port.containerizer.attach_input(
                    container_id, exchange.media.message, exchange.more
                ),
                name,
            )
            gone = scope.spawn(until_gone(exchange.request), f"client of {name}")
            await asyncio.wait({attached, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not attached.done():
                raise ConnectionAbortedError("the client is gone")
            return await attached

    async def attach_output(self, exchange: Exchange) -> web.StreamResponse:
        """Answer ATTACH_CONTAINER_OUTPUT, until the client or the container ends."""
        container_id = read_id(exchange.call.attach_container_output.container_id)
        return await self._relay_output(exchange, await self._attachable(exchange, container_id))

    async def session(self, exchange: Exchange) -> Reply | web.StreamResponse:
        """Answer LAUNCH_NESTED_CONTAINER_SESSION; the container ends with the answer."""
        wanted = exchange.call.launch_nested_container_session
        await self._containers.require(
            principal_of(exchange.request),
            Action.LAUNCH_NESTED_CONTAINER_SESSION,
            read_id(wanted.container_id),
            wanted.command,
        )
        launched = await self._containers.start(wanted, kind=slave.ContainerClass.DEBUG)
        if launched.status != 200:
            return launched
        container_id = read_id(wanted.container_id)
        try:
            await self._attachable(exchange, container_id)
            return await self._relay_output(exchange, container_id)
        finally:
            self._containers.abandon(container_id)

    def _owned(self, container_id: ContainerId) -> ContainerId:
        """Return the id of a container that has to belong to an executor."""
        if self._port.state.executor_by_container(container_id) is None:
            raise not_found(container_id)
        return container_id

    async def _attachable(self, exchange: Exchange, container_id: ContainerId) -> ContainerId:
        """Return the id of a container whose output the client may have."""
        subject = principal_of(exchange.request)
        owned = self._owned(container_id)
        await self._containers.require(subject, Action.ATTACH_CONTAINER_OUTPUT, owned)
        return owned

    async def _relay_output(
        self, exchange: Exchange, container_id: ContainerId
    ) -> web.StreamResponse:
        media = exchange.media
        try:
            stream = await self._port.containerizer.attach_output(
                container_id, media.message_accept
            )
        except ContainerError as error:
            raise ApiError(500, str(error)) from error
        try:
            return await _send(exchange.request, media, stream)
        except ContainerError as error:
            log.warning("Container %s: its output breaks off: %s", container_id, error)
            raise ConnectionAbortedError(str(error)) from error
        finally:
            await stream.aclose()


def _raised_anyway(name: str, error: Exception) -> None:
    """Nothing: whoever attached gets the error."""


async def _send(
    request: web.BaseRequest, media: codec.MediaTypes, stream: OutputStream
) -> web.StreamResponse:
    """Send the records of a container, one per chunk, until they end; waits without limit.

    They are framed whatever the type of the answer is.
    """
    headers = {"Content-Type": media.accept}
    if media.accept == codec.RECORDIO:
        headers["Message-Content-Type"] = media.message_accept
    response = PlainStream(headers=headers)
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    async for record in stream:
        await response.write(recordio.encode(record))
    await response.write_eof()
    return response
