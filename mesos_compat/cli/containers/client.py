# SPDX-License-Identifier: Apache-2.0
"""A client of an agent's v1 operator API, as far as commands on containers need it.

Source: spec ``operator-api`` 3.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator
from typing import TypeVar

import aiohttp
from google.protobuf.message import Message

from mesos_compat.agent.credentials import load_credential
from mesos_compat.base.errors import ContainerError, FlagError, WireError
from mesos_compat.base.recordio import Decoder, encode
from mesos_compat.cli.connect import ServerAddress, peer_of
from mesos_compat.libprocess.http_client import HttpPeer, why
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.v1.codec import PROTOBUF, RECORDIO, from_bytes

M = TypeVar("M", bound=Message)

_PATH = "/api/v1"
_CONNECT_S = 10.0
#: A launch may have to download an image.
_CALL_S = 600.0
_MAX_ERROR_BYTES = 64 << 10


class OperatorClient:
    """Calls to one agent. Whatever goes wrong is a ContainerError."""

    def __init__(self, address: str, credential: str | None = None) -> None:
        """``address`` is ``host:port``, or ``http[s]://[user:password@]host:port``.

        ``credential`` is a file with principal and secret. Raises FlagError.
        """
        self._address = ServerAddress.parse(address)
        self._headers: dict[str, str] = {}
        if credential is not None:
            found = load_credential(credential)
            self._headers["Authorization"] = _basic(found.principal, found.secret)
        elif self._address.credentials is not None:
            self._headers["Authorization"] = _basic(*self._address.credentials)
        self._client = self._address.client(os.environ)
        self._peer: HttpPeer | None = None

    async def call(self, call: agent_pb2.Call, *, endless: bool = False) -> agent_pb2.Response:
        """Make one call and return its answer, an empty one if it has none.

        ``endless`` is for calls that wait for the end of a container.
        """
        headers = {"Content-Type": PROTOBUF, "Accept": PROTOBUF}
        total_s = None if endless else _CALL_S
        async with self._posted(call.SerializeToString(), headers, total_s) as answer:
            return _parsed(agent_pb2.Response, await answer.read())

    @contextlib.asynccontextmanager
    async def stream(
        self, call: agent_pb2.Call
    ) -> AsyncIterator[AsyncIterator[agent_pb2.ProcessIO]]:
        """Make a call that is answered by a container's output; in the block there is one."""
        headers = {"Content-Type": PROTOBUF, "Accept": RECORDIO, "Message-Accept": PROTOBUF}
        async with self._posted(call.SerializeToString(), headers, None) as answer:
            yield _records(answer)

    async def send(self, calls: AsyncIterator[agent_pb2.Call]) -> None:
        """Send the records of an input stream until they end."""

        async def body() -> AsyncIterator[bytes]:
            async for call in calls:
                yield encode(call.SerializeToString())

        headers = {
            "Content-Type": RECORDIO,
            "Message-Content-Type": PROTOBUF,
            "Accept": PROTOBUF,
        }
        async with self._posted(body(), headers, None) as answer:
            await answer.read()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    @contextlib.asynccontextmanager
    async def _posted(
        self,
        data: bytes | AsyncIterator[bytes],
        headers: dict[str, str],
        total_s: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Hold the answer, if it is a good one."""
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_S)
        headers = headers | self._headers
        try:
            if self._peer is None:
                self._peer = await asyncio.to_thread(peer_of, self._address.rest)
            async with self._client.request(
                "POST", self._peer, _PATH, data=data, headers=headers, timeout=timeout
            ) as answer:
                if answer.status == 401:
                    raise ContainerError(
                        f"The agent at {self._address} does not know us: give a file with principal"
                        " and secret by --credential"
                    )
                if answer.status not in (200, 202):
                    text = (await answer.content.read(_MAX_ERROR_BYTES)).decode("utf-8", "replace")
                    raise ContainerError(text.strip() or f"The agent answers {answer.status}")
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, FlagError) as error:
            raise ContainerError(
                f"No answer of the agent at {self._address}: {why(error)}"
            ) from error
        except WireError as error:
            raise ContainerError(f"Unusable answer of the agent: {error}") from error


def _basic(user: str, password: str) -> str:
    text = f"{user}:{password}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


async def _records(answer: aiohttp.ClientResponse) -> AsyncIterator[agent_pb2.ProcessIO]:
    decoder = Decoder()
    async for piece in answer.content.iter_any():
        for record in decoder.feed(piece):
            yield _parsed(agent_pb2.ProcessIO, record)


def _parsed(kind: type[M], content: bytes) -> M:
    message = from_bytes(kind, content)
    if message is None:
        raise WireError(f"no {kind.DESCRIPTOR.name}")
    return message
