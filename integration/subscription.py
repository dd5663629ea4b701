# SPDX-License-Identifier: Apache-2.0
"""A stream of JSON records from a real master, read in a thread, subscribed again when it ends."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]

#: Seconds between two attempts to subscribe, and of silence after which a stream counts as ended.
_RETRY_S = 0.2
_SILENCE_S = 60.0


class Refused(AssertionError):
    """The master answered a request with an error."""


class Subscription:
    """One subscription at a time: ``request`` makes its body, ``take`` gets each record.

    Both are called in the thread of the subscription. ``began`` gets the headers of an answer.
    """

    def __init__(
        self,
        address: str,
        path: str,
        request: Callable[[], Record],
        take: Callable[[Record], None],
        began: Callable[[Mapping[str, str]], None] = lambda headers: None,
    ) -> None:
        self.address = address
        self.path = path
        self._request = request
        self._take = take
        self._began = began
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        #: Why the last attempt failed, for messages.
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to subscribe."""
        self._thread.start()

    def close(self) -> None:
        """Hang up and end the thread; without effect on what was taken already."""
        self._closed.set()
        self.interrupt()
        self._thread.join(60.0)
        assert not self._thread.is_alive(), f"the subscription to {self.address} does not end"

    def interrupt(self) -> None:
        """Hang up, as a broken connection would; it is subscribed again."""
        current = self._socket
        if current is not None:
            with contextlib.suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError, Refused) as error:
                self.problem = f"{type(error).__name__}: {error}"
            self._closed.wait(_RETRY_S)

    def _follow(self) -> None:
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=_SILENCE_S)
        try:
            connection.connect()
            self._socket = connection.sock
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            connection.request("POST", self.path, json.dumps(self._request()), headers)
            response = connection.getresponse()
            with response:
                if response.status != 200:
                    raise Refused(f"{response.status} {response.read().decode()}")
                self._began({name.lower(): value for name, value in response.getheaders()})
                while not self._closed.is_set() and (head := response.readline()):
                    self._take(json.loads(response.read(int(head))))
        finally:
            self._socket = None
            connection.close()


def post(
    address: str, path: str, value: Record, headers: Mapping[str, str] | None = None
) -> Record | None:
    """POST JSON; returns the JSON answer, None if it is empty. Raises Refused and OSError."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    both = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        connection.request("POST", path, json.dumps(value), both | dict(headers or {}))
        with connection.getresponse() as response:
            body = response.read()
            if response.status not in (200, 202):
                raise Refused(f"{response.status} {body.decode(errors='replace')}: {value}")
            return json.loads(body) if body else None
    except http.client.HTTPException as error:
        raise ConnectionError(f"{address}: {error!r}") from error
    finally:
        connection.close()
