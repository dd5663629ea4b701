# SPDX-License-Identifier: Apache-2.0
"""A scheduler that speaks libprocess messages, like the drivers of upstream's libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

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
_TIMEOUT_S = 60.0


class V0Scheduler:
    """Sends what it is told, and keeps what it gets with its sender."""

    def __init__(self, name: str, master: str) -> None:
        bound = bind(ListenOptions(ip="127.0.0.1"))
        self.upid = UPID(name, bound.address.ip, bound.address.port)
        self.master = UPID.parse(f"master@{master}")
        self.received: list[tuple[str, Message]] = []
        self._arrived = asyncio.Event()
        self.server = Server(bound, self._take, self._refuse)
        self._address = bound.address
        self.links: Links | None = None

    def open(self, scope: Scope) -> None:
        """Be ready to send."""
        self.links = Links(scope, self._address, self._take, lambda upid: None)
        self.links.link(self.master)

    def send(self, message: Message, target: UPID | None = None) -> None:
        """Send a message, to the master unless another target is given."""
        assert self.links is not None
        name = message.DESCRIPTOR.full_name
        body = message.SerializeToString()
        self.links.send(self.upid, target or self.master, name, body)

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

    def _take(self, sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        if target_id != self.upid.id:
            return False
        kind = getattr(messages, name.removeprefix(_PACKAGE))
        self.received.append((str(sender), kind.FromString(body)))
        self._arrived.set()
        return True

    async def _refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)


@asynccontextmanager
async def scheduler(name: str, master: str) -> AsyncIterator[V0Scheduler]:
    """A scheduler that listens; nobody knows of it yet."""
    made = V0Scheduler(name, master)
    await made.server.start()
    async with Scope(name) as scope:
        made.open(scope)
        assert made.links is not None
        try:
            yield made
        finally:
            await made.links.close()
            await made.server.close(0.1)
