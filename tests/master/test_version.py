# SPDX-License-Identifier: Apache-2.0
"""Masters are asked for their version until they answer, and may answer anything."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mesos_compat.base.clock import RealClock
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master.version import version


class Late(RealClock):
    """The master comes while somebody waits for it."""

    def __init__(self, server: TestServer) -> None:
        super().__init__()
        self.pauses = 0
        self._server = server

    async def sleep(self, delay_s: float) -> None:
        self.pauses += 1
        await self._server.start_server()


def server(answer: web.Response, port: int = 0) -> TestServer:
    async def handle(request: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/version", handle)
    return TestServer(app, host="127.0.0.1", port=port)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (web.json_response({"version": "1.11.0", "build_date": "x"}), "1.11.0"),
        (web.json_response({"version": 5}), ""),
        (web.json_response([1]), ""),
        (web.Response(text="{"), ""),
        (web.Response(body=b"\xff" * 100_000), ""),
        (web.Response(status=403), ""),
    ],
)
async def test_answers(answer: web.Response, expected: str) -> None:
    async with server(answer) as running:
        upid = UPID("master", "127.0.0.1", running.port or 0)
        assert await version(upid, RealClock()) == expected


async def test_a_master_that_is_not_there_yet() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    made = server(web.json_response({"version": "1.4.3"}), port)
    clock = Late(made)
    try:
        assert await version(UPID("master", "127.0.0.1", port), clock) == "1.4.3"
    finally:
        await made.close()
    assert clock.pauses == 1
