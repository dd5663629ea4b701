# SPDX-License-Identifier: Apache-2.0
"""A framework's side of the v1 scheduler API, as far as command line tools need it.

One subscription at a time; calls go over connections of their own, each awaited, to the master that
is subscribed with.

Source: spec ``state-and-recovery`` 2.5; Mesos scheduler HTTP API.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import aiohttp

from mesos_compat.base.errors import MesosCompatError, WireError
from mesos_compat.base.recordio import Decoder
from mesos_compat.libprocess.http_client import HttpClient, HttpPeer, why
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from mesos_compat.v1.codec import from_bytes

PATH = "/master/api/v1/scheduler"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"

#: Seconds to connect, and for the master to answer a call.
CONNECT_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 30.0
#: Seconds without a byte on the event stream after which the master counts as gone.
SILENCE_TIMEOUT_S = 90.0

_STREAM_ID = "Mesos-Stream-Id"
_MAX_ERROR_BYTES = 64 << 10


class MasterUnavailable(MesosCompatError):
    """The master cannot serve us now; trying again later makes sense."""


class NotLeading(MasterUnavailable):
    """The master does not lead; ``leader`` (``host:port``) does, if it is not empty."""

    def __init__(self, text: str, leader: str) -> None:
        super().__init__(text)
        self.leader = leader


class CallRefused(MesosCompatError):
    """The master refused a call for good, in the words of its answer."""


class SchedulerClient:
    """Calls and events of one framework."""

    def __init__(
        self,
        client: HttpClient,
        master: HttpPeer | None = None,
        *,
        content_type: str = PROTOBUF,
        credential: tuple[str, str] | None = None,
    ) -> None:
        """``credential`` is principal and secret."""
        self._client = client
        #: Whom to subscribe with; not to be changed during a subscription.
        self.master = master
        self._events: aiohttp.ClientResponse | None = None
        self._content_type = content_type
        self._headers = {"Accept": content_type, "Content-Type": content_type}
        if credential is not None:
            secret = base64.b64encode(":".join(credential).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"
        self._stream_id: str | None = None

    async def subscribe(self, framework: v1.FrameworkInfo) -> AsyncGenerator[api.Event, None]:
        """Subscribe and yield events; ends when the master ends the stream.

        With ``framework.id`` it is a re-subscription. Raises MasterUnavailable, CallRefused and
        WireError.
        """
        master = self._known_master()
        call = api.Call(type=api.Call.SUBSCRIBE)
        call.subscribe.framework_info.CopyFrom(framework)
        if framework.HasField("id"):
            call.framework_id.CopyFrom(framework.id)
        self._stream_id = None
        # Endless, but the master's heartbeats come every 15 seconds: a silent one is gone.
        endless = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
        )
        try:
            async with self._post(master, call, endless) as response:
                if response.status != 200:
                    await self._refused("SUBSCRIBE", response)
                self._stream_id = response.headers.get(_STREAM_ID)
                self._events = response
                decoder = Decoder()
                async for data in response.content.iter_any():
                    for record in decoder.feed(data):
                        yield self._event(record)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MasterUnavailable(f"{master}: {why(error)}") from error
        finally:
            self._events = None

    def unsubscribe(self) -> None:
        """End the subscription, if there is one: ``subscribe`` raises MasterUnavailable."""
        if self._events is not None:
            self._events.close()

    async def call(self, call: api.Call) -> None:
        """Make any other call. Raises MasterUnavailable and CallRefused."""
        master = self._known_master()
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        name = api.Call.Type.Name(call.type)
        try:
            async with self._post(master, call, timeout) as response:
                if response.status != 202:
                    await self._refused(name, response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MasterUnavailable(f"{master}: {why(error)}") from error

    def _known_master(self) -> HttpPeer:
        if self.master is None:
            raise MasterUnavailable("there was no master yet")
        return self.master

    def _post(
        self, master: HttpPeer, call: api.Call, timeout: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = dict(self._headers)
        if self._stream_id is not None:
            headers[_STREAM_ID] = self._stream_id
        json = self._content_type == JSON
        return self._client.request(
            "POST",
            master,
            PATH,
            data=jsonpb.print_message(call) if json else call.SerializeToString(),
            headers=headers,
            timeout=timeout,
        )

    async def _refused(self, name: str, response: aiohttp.ClientResponse) -> None:
        status = f"{response.status} {response.reason}"
        if response.status == 307:
            leader = urlsplit(response.headers.get("Location", "")).netloc
            raise NotLeading(f"{self.master} does not lead, but {leader or 'nobody'}", leader)
        text = (await response.content.read(_MAX_ERROR_BYTES)).decode("utf-8", "replace")
        if response.status in (404, 503):
            raise MasterUnavailable(f"{self.master}: '{status}' ({text}) for {name}")
        raise CallRefused(f"Received unexpected '{status}' ({text}) for {name}")

    def _event(self, record: bytes) -> api.Event:
        if self._content_type == JSON:
            return jsonpb.parse_message(api.Event, record)
        event = from_bytes(api.Event, record)
        if event is None:
            raise WireError("the master sent an event that does not parse")
        return event
