# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fetcher.transports.http import download
from mesos_compat.base.errors import FetchError

BODY = bytes(range(256)) * 10_000


async def serve_body(request: web.Request) -> web.StreamResponse:
    return web.Response(body=BODY)


async def serve_gzip(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(BODY), headers={"Content-Encoding": "gzip"})


async def redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/body")


async def circle(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/circle")


async def cut_off(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": "1000"})
    await reply.prepare(request)
    await reply.write(b"x" * 500)
    assert request.transport is not None
    request.transport.close()
    return reply


async def stall(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    await reply.write(b"x")
    await asyncio.Event().wait()
    return reply


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    for path, handler in {
        "/body": serve_body,
        "/gzip": serve_gzip,
        "/redirect": redirect,
        "/circle": circle,
        "/cut": cut_off,
        "/stall": stall,
    }.items():
        app.router.add_get(path, handler)
    running = TestServer(app)
    async with running:
        yield running


async def fetch(server: TestServer, path: str, target: Path, most: int = 1 << 30) -> bytes:
    stall_s = 0.2 if path == "/stall" else 60.0
    url = str(server.make_url(path))
    await download(url, str(target), stall_timeout_s=stall_s, most_bytes=most)
    return target.read_bytes()


async def test_content_is_not_touched(server: TestServer, tmp_path: Path) -> None:
    assert await fetch(server, "/body", tmp_path / "a") == BODY
    assert await fetch(server, "/redirect", tmp_path / "b") == BODY
    assert gzip.decompress(await fetch(server, "/gzip", tmp_path / "c")) == BODY


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "Unexpected HTTP response code for '{}': 404 Not Found"),
        ("/circle", "Failed to perform 'curl' for '{}': "),
        ("/cut", "Failed to perform 'curl' for '{}': "),
        ("/stall", "Failed to perform 'curl' for '{}': no data for 0.2 seconds"),
    ],
)
async def test_failures(server: TestServer, tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(FetchError) as error:
        await fetch(server, path, tmp_path / "a")
    assert str(error.value).startswith(why.format(server.make_url(path)))


async def test_size_limit(server: TestServer, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="has more than 1000 bytes"):
        await fetch(server, "/body", tmp_path / "a", most=1000)


async def test_nobody_there(tmp_path: Path) -> None:
    for uri in ("http://127.0.0.1:1/x", "http://", "gopher://x/", "http://[::bad/"):
        with pytest.raises(FetchError):
            await download(uri, str(tmp_path / "a"), stall_timeout_s=1, most_bytes=1)
