# SPDX-License-Identifier: Apache-2.0
"""What an IO switchboard knows of one of its clients, and what that wants."""

from __future__ import annotations

import socket
from collections import deque

from containerizer.switchboard.poller import Handler, ignore_events
from containerizer.switchboard.records import RECORDIO, Encoding
from mesos_compat.base import http1, recordio


class AttachedClient:
    """One connection: its request, and what waits to be sent."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.on_events: Handler = ignore_events
        self.reader = http1.MessageReader()
        #: Whether a request has begun.
        self.busy = False
        self.head: http1.MessageHead | None = None
        self.body = bytearray()
        self.encoding = Encoding.JSON
        # of an input request
        #: Whether somebody is going to say that the answer has arrived.
        self.acknowledges = False
        self.decoder: recordio.Decoder | None = None
        self.records: deque[bytes] = deque()
        #: Whether the first record has come.
        self.named = False
        #: Whether the request's body is complete.
        self.ended = False
        self.queue: deque[bytes] = deque()
        self.backlog = 0
        #: Whatever comes is not for us any more.
        self.deaf = False
        self.half_closed = False
        #: To be closed once everything is sent.
        self.closing = False
        self.deadline: float | None = None


def encoding_of(media_type: str) -> Encoding | None:
    """Return what writes records in a media type."""
    return next((each for each in Encoding if each.value == media_type), None)


def answer_types(head: http1.MessageHead) -> tuple[Encoding, dict[str, str]] | None:
    """Return how to write records, and the headers that say so; ``None`` if nothing suits."""
    accept = head.headers.get("accept")
    for encoding in Encoding:
        if http1.accepts(accept, encoding.value):
            return encoding, {"Content-Type": encoding.value}
    if not http1.accepts(accept, RECORDIO):
        return None
    wanted = head.headers.get("message-accept")
    for encoding in Encoding:
        if http1.accepts(wanted, encoding.value):
            headers = {"Content-Type": RECORDIO, "Message-Content-Type": encoding.value}
            return encoding, headers
    return None
