# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestClient

from mesos_compat.authorization.api import Authorizer
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.clock import Clock
from mesos_compat.base.log import Logging
from mesos_compat.base.scope import Scope
from mesos_compat.http.app import create_app
from mesos_compat.http.authentication import Realms
from mesos_compat.model.jsonpb import JsonValue
from mesos_compat.v1.executor_api import ExecutorStreams
from tests.http.fakes import FakePort

Client: TypeAlias = TestClient[web.BaseRequest, None]


@asynccontextmanager
async def serving(
    port: FakePort,
    streams: ExecutorStreams | None = None,
    *,
    logs: Logging | None = None,
    clock: Clock | None = None,
    pulls: Callable[[], list[JsonValue]] = list,
    realms: Realms | None = None,
    authorizer: Authorizer | None = None,
    disabled: Sequence[str] = (),
) -> AsyncIterator[Client]:
    """Serve an agent's endpoints on a free port of this machine."""
    client: Client
    async with Scope("serving") as scope:
        app = create_app(
            port,
            streams if streams is not None else ExecutorStreams(),
            scope,
            logs=logs,
            clock=clock,
            pulls=pulls,
            realms=realms,
            gate=None if authorizer is None else Gate(authorizer, scope),
            disabled=disabled,
            environ={"LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT": ""},
        )
        server = RawTestServer(app, handler_cancellation=True)
        async with TestClient(
            server, skip_auto_headers=["Accept-Encoding"], auto_decompress=False
        ) as client:
            yield client
