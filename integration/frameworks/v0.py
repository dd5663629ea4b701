# SPDX-License-Identifier: Apache-2.0
"""Processes that speak libprocess messages, like the drivers of upstream's libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self, TypeVar

from aiohttp import web
from google.protobuf.message import Message

from mesos_compat.base.scope import Scope
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.links import Links
from mesos_compat.libprocess.server import Server
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

M = TypeVar("M", bound=Message)

_PACKAGE = "mesos.internal."
_TIMEOUT_S = 30.0


class V0Process:
    """Sends what it is told to its peer, and keeps what it gets with its sender."""

    def __init__(self, name: str, peer: str, ip: str = "127.0.0.1") -> None:
        bound = bind(ListenOptions(ip=ip))
        self.upid = UPID(name, bound.address.ip, bound.address.port)
        self.peer = UPID.parse(peer)
        self.received: list[tuple[str, Message]] = []
        self._arrived = asyncio.Event()
        self._server = Server(bound, self._take, self._refuse)
        self._links: Links | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen, and be linked with the peer; nobody knows of it yet."""
        await self._server.start()
        async with Scope(self.upid.id) as scope:
            self._links = Links(scope, self.upid.address, self._take, self.exited)
            self.link()
            try:
                yield self
            finally:
                await self._links.close()
                await self._server.close(0.1)

    def link(self) -> None:
        """Open a connection to the peer, unless there is one."""
        assert self._links is not None
        self._links.link(self.peer)

    def exited(self, upid: UPID) -> None:
        """The connection to a peer is gone."""

    def send(self, message: Message, target: UPID | None = None) -> None:
        """Send a message, to the peer unless another target is given."""
        assert self._links is not None
        name = message.DESCRIPTOR.full_name
        body = message.SerializeToString()
        self._links.send(self.upid, target or self.peer, name, body)

    async def next(
        self, kind: type[M], fits: Callable[[M], bool] = lambda _: True
    ) -> tuple[str, M]:
        """Wait for a message, which is forgotten then; return it with its sender."""
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                for place, (sender, message) in enumerate(self.received):
                    if isinstance(message, kind) and fits(message):
                        del self.received[place]
                        return sender, message
                self._arrived.clear()
                await self._arrived.wait()

    def take(self, sender: str, message: Message) -> None:
        """Keep a message."""
        self.received.append((sender, message))
        self._arrived.set()

    def _take(self, sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        if target_id != self.upid.id:
            return False
        kind = getattr(messages, name.removeprefix(_PACKAGE))
        self.take(str(sender), kind.FromString(body))
        return True

    async def _refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)


@asynccontextmanager
async def scheduler(name: str, master: str) -> AsyncIterator[V0Process]:
    """A scheduler that listens; its master does not know of it yet."""
    async with V0Process(name, f"master@{master}").running() as made:
        yield made
