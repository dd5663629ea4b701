# SPDX-License-Identifier: Apache-2.0
"""Calls of the agent's operator API, by which an executor has containers within its own.

Source: spec ``executors`` 6.1, 6.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mesos_compat.base import http1
from mesos_compat.executor.client import ClientSettings, call_headers
from mesos_compat.executor.connection import Connection
from mesos_compat.executor.loop import Loop
from mesos_compat.pb.mesos.v1.agent import agent_pb2

#: More than any answer about a container has.
_MAX_BODY_BYTES = 4 << 20

#: The status of an answer that never came.
_LOST = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent says to a call, or why it says nothing."""

    status: int
    body: bytes = b""

    @classmethod
    def none(cls, why: str) -> Answer:
        """There is no answer, because of ``why``."""
        return cls(_LOST, why.encode("utf-8", "surrogateescape"))

    @property
    def lost(self) -> bool:
        """Whether nobody knows what became of the call."""
        return self.status == _LOST

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


Answered = Callable[[Answer], None]


class Line:
    """Makes one call after the other, on one connection as long as that holds."""

    def __init__(self, loop: Loop, settings: ClientSettings) -> None:
        self._loop = loop
        self._settings = settings
        self._connection: Connection | None = None
        self._answered: Answered | None = None
        self._request = b""
        self._head: http1.MessageHead | None = None
        self._body = bytearray()

    @property
    def busy(self) -> bool:
        """Whether a call has no answer yet."""
        return self._answered is not None

    def connect(self, connected: Answered) -> None:
        """Connect; ``connected`` gets an empty answer, or one that is lost."""
        self._begin(b"", connected)

    def ask(self, call: agent_pb2.Call, answered: Answered) -> None:
        """Make a call; ``answered`` is called once, unless the line is closed before."""
        path = self._settings.endpoint.operator_path
        body = call.SerializeToString()
        self._begin(http1.request(path, call_headers(self._settings), body), answered)

    def close(self) -> None:
        """Hang up; it can be used again."""
        self._answered = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _begin(self, request: bytes, answered: Answered) -> None:
        assert self._answered is None, "one call at a time"
        self._answered = answered
        self._request = request
        self._head = None
        if self._connection is None:
            self._connection = Connection(
                self._loop,
                self._settings.endpoint,
                opened=self._opened,
                received=self._received,
                closed=self._closed,
            )
        elif self._connection.is_open:
            self._connection.send(request)

    def _opened(self) -> None:
        assert self._connection is not None
        if self._request:
            self._connection.send(self._request)
        else:
            self._finish(Answer(200))

    def _received(self, part: http1.Part) -> None:
        if isinstance(part, http1.MessageHead):
            self._head = part
            self._body.clear()
        elif isinstance(part, bytes):
            self._body += part
            if len(self._body) > _MAX_BODY_BYTES:
                self._fail("the answer is too long")
        elif self._head is not None:
            status, body = self._head.status, bytes(self._body)
            self._head = None
            self._body.clear()
            self._finish(Answer(status, body))

    def _closed(self, why: str) -> None:
        self._connection = None
        self._finish(Answer.none(why))

    def _fail(self, why: str) -> None:
        answered = self._answered
        self.close()
        if answered is not None:
            answered(Answer.none(why))

    def _finish(self, answer: Answer) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(answer)
