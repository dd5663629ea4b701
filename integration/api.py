# SPDX-License-Identifier: Apache-2.0
"""The agent's operator API as a raw HTTP client sees it: answers to the letter, single records."""

import base64
import contextlib
import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: A container id in JSON.
ContainerID = dict[str, Any]


def container_id(*path: str) -> ContainerID:
    """Return an id, outermost value first."""
    made: ContainerID = {}
    for value in path:
        made = {"value": value, "parent": made} if made else {"value": value}
    return made


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the agent, without its date."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def shown(self) -> tuple[int, str]:
        """Status and text."""
        return self.status, self.text

    @property
    def value(self) -> Any:
        """The message of a reply in JSON, named like the call."""
        found = json.loads(self.text)
        return found[found["type"].lower()]


class Api:
    """POSTs calls to /api/v1."""

    def __init__(self, address: str) -> None:
        self._address = address

    def call(self, kind: str, **fields: Any) -> Answer:
        """Make a call in JSON."""
        body = json.dumps({"type": kind, kind.lower(): fields})
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request("POST", "/api/v1", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            headers = {k: v for k, v in response.getheaders() if k != "Date"}
            return Answer(response.status, headers, response.read().decode())
        finally:
            connection.close()

    def stream(self, kind: str, accept: str = "application/recordio", **fields: Any) -> "Stream":
        """Make a call whose answer is a stream, in JSON."""
        return Stream(self._address, {"type": kind, kind.lower(): fields}, accept)

    def input(self, container: ContainerID) -> "Input":
        """Attach to the input of a container."""
        return Input(self._address, container)


def raw_head(sock: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65536)
        assert piece, received
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def connected(address: str) -> socket.socket:
    ip, port = address.rsplit(":", 1)
    return socket.create_connection((ip, int(port)), timeout=60)


class Stream:
    """The answer to a streaming call, byte by byte."""

    def __init__(self, address: str, call: dict[str, Any], accept: str) -> None:
        body = json.dumps(call).encode()
        self._socket = connected(address)
        self._socket.sendall(
            b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Accept: %b\r\nContent-Length: %d\r\n\r\n%b" % (accept.encode(), len(body), body)
        )
        head, self._rest = raw_head(self._socket)
        lines = head.decode().split("\r\n")
        self.status_line = lines[0]
        self.headers = [line for line in lines[1:] if not line.startswith("Date: ")]

    def body(self) -> bytes:
        """Read to the end of a chunked body and return its bytes as they came."""
        while not self._rest.endswith(b"0\r\n\r\n"):
            piece = self._socket.recv(65536)
            assert piece, self._rest
            self._rest += piece
        self._socket.close()
        return self._rest

    def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Read until the records so far are ``enough``; return them."""
        while True:
            whole = self._rest[: self._rest.rfind(b"\r\n") + 2]
            with contextlib.suppress(ValueError, AssertionError):
                found = records(dechunked(whole))
                if enough(found):
                    return found
            piece = self._socket.recv(65536)
            assert piece, self._rest
            self._rest += piece

    def output(self) -> dict[str, bytes]:
        """Read to the end; return what came by stream."""
        found: dict[str, bytes] = {}
        for record in records(dechunked(self.body())):
            if record["type"] == "DATA":
                data = base64.b64decode(record["data"]["data"])
                kind = record["data"]["type"]
                found[kind] = found.get(kind, b"") + data
        return found

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


def dechunked(body: bytes) -> list[bytes]:
    """Return the chunks of a body."""
    chunks = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(body[:length])
        body = body[length + 2 :]
    return [chunk for chunk in chunks if chunk]


def records(chunks: list[bytes]) -> list[dict[str, Any]]:
    """Return the record of each chunk, which has exactly one."""
    found = []
    for chunk in chunks:
        length, _, record = chunk.partition(b"\n")
        assert int(length) == len(record)
        found.append(json.loads(record))
    return found


class Input:
    """A client that attached to input."""

    def __init__(self, address: str, container: ContainerID) -> None:
        self._socket = connected(address)
        self._socket.sendall(
            b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/recordio\r\n"
            b"Message-Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self._send({"type": "CONTAINER_ID", "container_id": container})

    def _send(self, attach: dict[str, Any]) -> None:
        call = {"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": attach}
        record = json.dumps(call).encode()
        framed = b"%d\n%b" % (len(record), record)
        self._socket.sendall(b"%x\r\n%b\r\n" % (len(framed), framed))

    def send(self, process_io: dict[str, Any]) -> "Input":
        """Send one record."""
        self._send({"type": "PROCESS_IO", "process_io": process_io})
        return self

    def type(self, data: bytes) -> "Input":
        """Send input."""
        text = base64.b64encode(data).decode()
        return self.send({"type": "DATA", "data": {"type": "STDIN", "data": text}})

    def flood(self) -> "Input":
        """Send input until nobody takes any more."""
        self._socket.settimeout(0.5)
        try:
            while True:
                self.type(bytes(65536))
        except TimeoutError:
            return self

    def end(self) -> "Input":
        """End the request."""
        self._socket.sendall(b"0\r\n\r\n")
        return self

    def answer(self) -> tuple[int, str]:
        """Wait for the answer."""
        head, rest = raw_head(self._socket)
        lines = head.decode().split("\r\n")
        length = next(int(x.split()[1]) for x in lines if x.lower().startswith("content-length:"))
        while len(rest) < length:
            rest += self._socket.recv(65536)
        self._socket.close()
        return int(lines[0].split()[1]), rest.decode()

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
