# SPDX-License-Identifier: Apache-2.0
"""The other end of an IO switchboard's socket: attach to output or input of a container.

Records pass as they are: whoever relays them for somebody else decodes nothing twice.

Source: spec ``containerizer`` 14.3, 14.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from types import TracebackType

from containerizer.switchboard import records
from containerizer.switchboard.records import RECORDIO, AttachTarget, Encoding
from containerizer.switchboard.server import ACKNOWLEDGE_PATH
from mesos_compat.base import http1, recordio
from mesos_compat.base.errors import ContainerError, WireError
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 << 10
_MAX_RECORD_BYTES = 16 << 20
_MAX_ANSWER_BYTES = 1 << 20
#: The server is on this host and does nothing that takes long.
_CONNECT_S = 10.0
_RETRY_S = 0.01
_SHUTDOWN = "I/O switchboard has shutdown"


@dataclass(frozen=True, slots=True)
class AttachAnswer:
    """The answer to an input stream: a status code of HTTP and a text."""

    status: int
    text: str


class AttachedOutput:
    """Records of a container's output, to be iterated once and closed.

    A record is a ``ProcessIO`` in the encoding asked for. The iteration ends with the container's
    output; it raises ContainerError if the stream broke. Who does not read holds up nobody, but
    loses the stream once too much waits.
    """

    def __init__(self, connection: _Connection, encoding: Encoding) -> None:
        self._connection = connection
        self.encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = recordio.Decoder(_MAX_RECORD_BYTES)
        try:
            async for piece in self._connection.body():
                for record in decoder.feed(piece):
                    yield record
        except (OSError, WireError) as error:
            raise ContainerError(f"Failed to read the container's output: {error}") from error

    async def __aenter__(self) -> AttachedOutput:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Detach."""
        await self._connection.close()


async def attach_output(
    address: str, container_id: ContainerId, encoding: Encoding = Encoding.PROTOBUF
) -> AttachedOutput:
    """Attach to the output of the container whose server is at ``address``.

    Raises ContainerError.
    """
    connection = await _Connection.open(address)
    try:
        body = records.encode_attach_output(container_id.path, encoding)
        headers = {
            "Accept": RECORDIO,
            "Message-Accept": encoding.value,
            "Content-Type": encoding.value,
        }
        async with asyncio.timeout(_CONNECT_S):
            await connection.send(http1.request("/", headers, body))
            head = await connection.head()
            if head.status != 200:
                text = await connection.text()
                raise ContainerError(text or f"The I/O switchboard answered {head.status}")
    except BaseException as error:
        await connection.close()
        if isinstance(error, OSError | WireError | TimeoutError):
            raise ContainerError(f"Failed to attach to the output: {error}") from error
        raise
    return AttachedOutput(connection, encoding)


async def attach_input(
    address: str,
    container_id: ContainerId,
    calls: AsyncIterable[bytes],
    encoding: Encoding = Encoding.PROTOBUF,
) -> AttachAnswer:
    """Send ``calls`` to the container whose server is at ``address``; return its answer.

    ``calls`` are ATTACH_CONTAINER_INPUT of type PROCESS_IO in ``encoding``, v0 or v1; that the
    container is named first is done here. The answer may come before they end. If reading
    ``calls`` fails the connection is closed, which frees the place for somebody else, and the
    error is raised. Raises ContainerError.
    """
    connection = await _Connection.open(address)
    try:
        headers = {"Content-Type": RECORDIO, "Message-Content-Type": encoding.value}
        target = records.encode_input(AttachTarget(container_id.path), encoding)
        first = http1.request("/", headers, None) + http1.chunk(recordio.encode(target))
        async with Scope(f"input of {container_id}", on_error=_raised_anyway) as scope:
            answering = scope.spawn(_read_answer(connection), f"input answer of {container_id}")
            sending = scope.spawn(_send_calls(connection, first, calls), f"input of {container_id}")
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                sending.result()
            answer = await answering
    finally:
        await connection.close()
    await _acknowledge(address)
    return answer


def _raised_anyway(name: str, error: Exception) -> None:
    """Nothing: whoever attached gets the error."""


async def _send_calls(connection: _Connection, first: bytes, calls: AsyncIterable[bytes]) -> None:
    """Send until the calls end or the server has enough, whose answer says why."""
    with contextlib.suppress(ConnectionError):
        await connection.send(first)
        async for call in calls:
            await connection.send(http1.chunk(recordio.encode(call)))
        await connection.send(http1.LAST_CHUNK)


async def _read_answer(connection: _Connection) -> AttachAnswer:
    try:
        head = await connection.head()
        return AttachAnswer(head.status, await connection.text())
    except (OSError, WireError) as error:
        raise ContainerError(_SHUTDOWN) from error


async def _acknowledge(address: str) -> None:
    """Tell the server that it may end, as far as this answer is concerned."""
    try:
        connection = await _Connection.open(address)
    except ContainerError:
        return
    try:
        async with asyncio.timeout(_CONNECT_S):
            await connection.send(http1.request(ACKNOWLEDGE_PATH, {}, b""))
            await connection.head()
    except (OSError, WireError, TimeoutError) as error:
        log.debug("The I/O switchboard at %s took no acknowledgement: %s", address, error)
    finally:
        await connection.close()


class _Connection:
    """One request and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = http1.MessageReader()
        self._parts: list[http1.Part] = []

    @classmethod
    async def open(cls, address: str) -> _Connection:
        """Connect. Raises ContainerError."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                while True:
                    try:
                        return cls(*await asyncio.open_unix_connection(address))
                    except BlockingIOError:
                        # too many are waiting to be accepted
                        await asyncio.sleep(_RETRY_S)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ContainerError(_SHUTDOWN) from error
        except (OSError, TimeoutError) as error:
            text = f"Failed to connect to the I/O switchboard: {error}"
            raise ContainerError(text) from error

    async def send(self, data: bytes) -> None:
        """Send, and wait while the server does not read."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> http1.MessageHead:
        """Return the start of the answer. Raises OSError, WireError."""
        part = await self._next()
        assert isinstance(part, http1.MessageHead)
        return part

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the answer's body. Raises OSError, WireError."""
        while not isinstance(part := await self._next(), http1.MessageEnd):
            assert isinstance(part, bytes)
            yield part

    async def text(self) -> str:
        """Return the answer's body. Raises OSError, WireError."""
        collected = bytearray()
        async for piece in self.body():
            collected += piece
            if len(collected) > _MAX_ANSWER_BYTES:
                raise WireError("the answer is too long")
        return collected.decode("utf-8", "replace")

    async def close(self) -> None:
        """Close the connection; what waits to be sent is lost."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _next(self) -> http1.Part:
        while not self._parts:
            data = await self._reader.read(_CHUNK_BYTES)
            if not data:
                raise ConnectionResetError("the connection was closed")
            self._parts = self._parser.feed(data)
        return self._parts.pop(0)
