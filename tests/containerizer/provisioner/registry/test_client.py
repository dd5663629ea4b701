# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from containerizer.provisioner.registry import transport as module
from containerizer.provisioner.registry.client import RepositoryClient
from containerizer.provisioner.registry.credentials import Credential
from containerizer.provisioner.registry.endpoint import parse_url
from containerizer.provisioner.registry.sources import Source
from containerizer.provisioner.registry.transport import (
    TransientError,
    Transport,
    shown,
    status_text,
)
from mesos_compat.base.errors import RegistryError
from tests.containerizer.provisioner.registry.fake import DOCKER, FakeRegistry

BASIC = "dTpw"

Make = Callable[..., RepositoryClient]


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as made:
        made.put_manifest("a:1", {}, DOCKER)
        yield made


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    """Something else on the net."""
    async with FakeRegistry() as made:
        yield made


@pytest.fixture
async def make(registry: FakeRegistry) -> AsyncIterator[Make]:
    async with Transport({}, 5.0) as transport:

        def client(
            credential: Credential | None = None,
            url: str | None = None,
            clock: Callable[[], float] = time.monotonic,
            **more: Any,
        ) -> RepositoryClient:
            address = parse_url(url or registry.url)
            assert address is not None
            return RepositoryClient(transport, Source(address, "a", **more), credential, clock)

        yield client


def hook(
    registry: FakeRegistry, part: str, answer: Callable[[web.Request], web.StreamResponse | None]
) -> None:
    async def asked(request: web.Request) -> web.StreamResponse | None:
        return answer(request) if part in request.path else None

    registry.hooks.append(asked)


async def blob(client: RepositoryClient, digest: str, offset: int = 0) -> bytes:
    async with client.blob(digest, offset) as chunks:
        return b"".join([chunk async for chunk in chunks])


def wants(registry: FakeRegistry, challenge: str, *good: str) -> None:
    """Let ``registry`` answer only to one of the Authorization headers ``good``."""

    def answer(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") in good:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    hook(registry, "/v2/", answer)


def tokens(issuer: FakeRegistry, *answers: Mapping[str, Any]) -> None:
    """Let ``issuer`` issue these tokens, one after the other, the last one again and again."""
    left = list(answers)

    def answer(request: web.Request) -> web.Response:
        return web.json_response(left.pop(0) if len(left) > 1 else left[0])

    hook(issuer, "/token", answer)


def authorizations(registry: FakeRegistry, part: str) -> list[str | None]:
    return [headers.get("Authorization") for headers in registry.headers(part)]


# --- authentication ---


async def test_basic_is_sent_at_once(registry: FakeRegistry, make: Make) -> None:
    wants(registry, 'Basic realm="x"', f"Basic {BASIC}")
    await make(Credential(basic=BASIC)).manifest("1")
    assert len(registry.requests) == 1


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ('Basic realm="x"', "Got unexpected BASIC Authorization response status: 401 Unauthorized"),
        ("Negotiate", "Got unsupported auth-scheme: NEGOTIATE from"),
        ("", "Got unexpected empty WWW-Authenticate header from"),
        (None, "Failed to get WWW-Authenticate header from"),
        ('"', "Failed to get WWW-Authenticate header from"),
        ('Bearer realm="ftp://x"', "is not the URL of an issuer of tokens"),
        ("Bearer service=x", "Got unexpected empty WWW-Authenticate header|Missing 'realm'"),
    ],
)
async def test_refusals(registry: FakeRegistry, make: Make, header: str | None, why: str) -> None:
    headers = {} if header is None else {"WWW-Authenticate": header}
    hook(registry, "/v2/", lambda request: web.Response(status=401, headers=headers))
    with pytest.raises(RegistryError, match=why):
        await make(Credential(basic="eDp5")).manifest("1")
    assert len(registry.requests) <= 3


async def test_token(registry: FakeRegistry, other: FakeRegistry, make: Make) -> None:
    challenge = f'Bearer realm="{other.url}/token?a=b",service="s s",scope="repository:a:pull"'
    wants(registry, challenge, "Bearer t")
    tokens(other, {"token": "t"})
    client = make(Credential(basic=BASIC))
    await client.manifest("1")
    await client.manifest("1")
    assert other.paths() == ["/token?a=b&service=s%20s&scope=repository:a:pull"]
    assert authorizations(other, "/token") == [f"Basic {BASIC}"]
    assert authorizations(registry, "/v2/") == [f"Basic {BASIC}", "Bearer t", "Bearer t"]


async def test_token_without_a_credential(
    registry: FakeRegistry, other: FakeRegistry, make: Make
) -> None:
    """Neither service nor scope in the challenge, and the other name of the token."""
    wants(registry, f"bearer realm={json.dumps(other.url + '/token')}", "Bearer t")
    tokens(other, {"access_token": "t"})
    await make().manifest("1")
    assert other.paths() == ["/token?scope=repository:a:pull"]
    assert authorizations(other, "/token") == [None]


async def test_realm_is_asked_for(registry: FakeRegistry, other: FakeRegistry, make: Make) -> None:
    def answer(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == "Bearer t":
            return None
        realm = f'realm="{other.url}/token"' if request.path == "/v2/" else "service=s"
        return web.Response(status=401, headers={"WWW-Authenticate": f"Bearer {realm}"})

    hook(registry, "/v2/", answer)
    tokens(other, {"token": "t"})
    await make().manifest("1")
    assert registry.paths() == ["/v2/a/manifests/1", "/v2/", "/v2/a/manifests/1"]


async def test_identity_token(registry: FakeRegistry, other: FakeRegistry, make: Make) -> None:
    wants(registry, f'Bearer realm="{other.url}/token",service=s', "Bearer t")
    forms: list[dict[str, str]] = []

    async def issue(request: web.Request) -> web.StreamResponse | None:
        forms.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"access_token": "t"})

    other.hooks.append(issue)
    await make(Credential(identity_token="i")).manifest("1")
    assert other.paths("POST") == ["/token"]
    assert forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "i",
            "client_id": "mesos-compat",
            "service": "s",
            "scope": "repository:a:pull",
        }
    ]


async def test_refused_token_is_replaced_once(
    registry: FakeRegistry, other: FakeRegistry, make: Make
) -> None:
    wants(registry, f'Bearer realm="{other.url}/token"', "Bearer 2")
    tokens(other, {"token": "1"}, {"token": "2"}, {"token": "3"})
    await make().manifest("1")
    assert authorizations(registry, "/v2/") == [None, "Bearer 1", "Bearer 2"]
    registry.hooks.clear()
    wants(registry, f'Bearer realm="{other.url}/token"', "Bearer never")
    with pytest.raises(RegistryError, match="Unexpected HTTP response '401 Unauthorized'"):
        await make().manifest("1")


async def test_old_token_is_replaced_before_it_is_refused(
    registry: FakeRegistry, other: FakeRegistry, make: Make
) -> None:
    wants(registry, f'Bearer realm="{other.url}/token"', "Bearer 1", "Bearer 2")
    tokens(other, {"token": "1", "expires_in": 100}, {"token": "2"})
    now = [0.0]
    client = make(clock=lambda: now[0])
    for now[0] in (0.0, 90.0, 96.0, 97.0):
        await client.manifest("1")
    used = authorizations(registry, "/v2/")
    assert used == [None, "Bearer 1", "Bearer 1", "Bearer 2", "Bearer 2"]


async def test_many_requests_share_a_token(
    registry: FakeRegistry, other: FakeRegistry, make: Make
) -> None:
    wants(registry, f'Bearer realm="{other.url}/token"', "Bearer 1")
    tokens(other, {"token": "1"}, {"token": "2"})
    client = make()
    await asyncio.gather(*(client.manifest("1") for _ in range(8)))
    assert len(other.requests) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (web.Response(status=403), "Unexpected HTTP response '403 Forbidden' when trying to GET"),
        (web.Response(body=b"x"), "Failed to parse the token"),
        (web.Response(body=b"{}"), "Failed to find token in JSON object"),
        (web.Response(body=b'{"token": 1}'), "Failed to parse the token"),
        (web.Response(body=b'{"token": "a\\r\\nX: y"}'), "not usable in a header"),
        (web.Response(body=b"x" * (5 << 20)), "the token has more than"),
    ],
)
async def test_unusable_tokens(
    registry: FakeRegistry, other: FakeRegistry, make: Make, answer: web.Response, why: str
) -> None:
    wants(registry, f'Bearer realm="{other.url}/token"', "Bearer t")
    hook(other, "/token", lambda request: answer)
    with pytest.raises(RegistryError, match=why):
        await make().manifest("1")


# --- redirects ---


def redirect(registry: FakeRegistry, part: str, where: str, status: int = 307) -> None:
    hook(registry, part, lambda request: web.Response(status=status, headers={"Location": where}))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_blobs_elsewhere_are_asked_for_without_credentials(
    registry: FakeRegistry, other: FakeRegistry, make: Make, status: int
) -> None:
    where = f"{other.url}/bucket/x%2Fy?X-Amz-Signature=a%3Db"
    redirect(registry, "/blobs/", where, status)
    hook(other, "/bucket/", lambda request: other.blob(request, b"content"))
    client = make(Credential(basic=BASIC), headers=(("X-Key", "secret"),))
    assert await blob(client, "sha256:1", 3) == b"tent"
    ((_, path, headers),) = other.requests
    assert path == "/bucket/x%2Fy?X-Amz-Signature=a%3Db"
    assert not {"Authorization", "X-Key", "Cookie"} & headers.keys()
    assert headers["Range"] == "bytes=3-"
    assert registry.headers("/blobs/")[0]["X-Key"] == "secret"


async def test_redirects_on_the_registry(registry: FakeRegistry, make: Make) -> None:
    redirect(registry, "/v2/a/blobs/", "/storage/x")
    redirect(registry, "/v2/a/manifests/", "/v2/b/manifests/1")
    hook(registry, "/storage/", lambda request: web.Response(body=b"content"))
    registry.put_manifest("b:1", {}, DOCKER)
    client = make(Credential(basic=BASIC))
    assert await blob(client, "sha256:1") == b"content"
    assert authorizations(registry, "/storage/") == [None]
    await client.manifest("1")
    assert authorizations(registry, "/v2/b/") == [f"Basic {BASIC}"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("/v2/a/blobs/x", "redirects more than 10 times"),
        ("file:///etc/passwd", "which is no web site"),
        ("gopher://x/", "which is no web site"),
        ("//", "redirects"),
        ("", "redirects to nowhere"),
        ("http://[x/", "redirects to no URL|which is no web site"),
        ("http://x:99999/", "which is no web site"),
        ("/" + "x" * 8190, "redirects to nowhere|unusable reply"),
    ],
)
async def test_redirects_that_lead_nowhere(
    registry: FakeRegistry, make: Make, where: str, why: str
) -> None:
    redirect(registry, "/blobs/", where)
    with pytest.raises(RegistryError, match=why):
        await blob(make(), "sha256:1")
    assert len(registry.requests) <= 11


LOCAL = [
    "http://localhost/",
    "http://127.0.0.1/",
    "http://127.1.2.3:8080/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
]


@pytest.mark.parametrize("where", LOCAL)
async def test_addresses_of_this_host(
    registry: FakeRegistry, make: Make, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A registry that is elsewhere does not lead back here."""
    monkeypatch.setattr("containerizer.provisioner.registry.client.local_registry", lambda h: False)
    redirect(registry, "/blobs/", where)
    wants(registry, f'Bearer realm="{where}token"', "Bearer x")
    client = make()
    with pytest.raises(RegistryError, match="it is not followed"):
        await blob(client, "sha256:1")
    with pytest.raises(RegistryError, match="it is not followed"):
        await client.manifest("1")
    with pytest.raises(RegistryError, match="it is not followed"):
        async with client.foreign(where, 0):
            pass


async def test_names_that_resolve_to_this_host(
    registry: FakeRegistry, other: FakeRegistry, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containerizer.provisioner.registry.client.local_registry", lambda h: False)
    monkeypatch.setattr(module, "_check_literal", lambda host, url: None)
    redirect(registry, "/blobs/", f"http://localhost:{other.server.port}/x")
    with pytest.raises(RegistryError, match="it is not followed"):
        await blob(make(), "sha256:1")
    assert other.requests == []


# --- replies ---


async def test_header_bombs(registry: FakeRegistry, make: Make) -> None:
    many = {f"X-{number}": "x" for number in range(5000)}
    hook(registry, "/manifests/", lambda request: web.Response(headers=many))
    hook(registry, "/blobs/", lambda request: web.Response(headers={"X": "x" * 100_000}))
    with pytest.raises(RegistryError):
        await make().manifest("1")
    with pytest.raises(RegistryError):
        await blob(make(), "sha256:1")


async def raw(answer: bytes) -> asyncio.Server:
    """Return a server that says ``answer`` to whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 999 " + b"x" * 100_000,
        b"SSH-2.0-x\r\n",
    ],
)
async def test_no_http(make: Make, answer: bytes) -> None:
    server = await raw(answer)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(RegistryError):
            await make(url=f"http://127.0.0.1:{port}").manifest("1")
    finally:
        server.close()
        await server.wait_closed()


async def test_nobody_there(make: Make) -> None:
    with pytest.raises(TransientError) as error:
        await make(url="http://127.0.0.1:1").manifest("1")
    assert str(error.value) == (
        "Failed to perform 'curl' for 'http://127.0.0.1:1/v2/a/manifests/1':"
        " Failed to connect to 127.0.0.1 port 1: Connect call failed ('127.0.0.1', 1)"
    )


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (206, {}, "another range"),
        (206, {"Content-Range": "bytes 0-9/10"}, "another range"),
        (206, {"Content-Range": "x"}, "another range"),
        (416, {"Content-Range": "bytes */3"}, "has less of the blob"),
        (416, {}, "has less of the blob"),
        (404, {}, "Unexpected HTTP response '404 Not Found' when trying to download the blob"),
        (204, {}, "Unexpected HTTP response '204 No Content' when trying to download the blob"),
    ],
)
async def test_unusable_ranges(
    registry: FakeRegistry, make: Make, status: int, headers: dict[str, str], why: str
) -> None:
    hook(registry, "/blobs/", lambda request: web.Response(status=status, headers=headers))
    with pytest.raises(RegistryError, match=why):
        await blob(make(), "sha256:1", 5)


async def test_nothing_is_left_of_the_blob(registry: FakeRegistry, make: Make) -> None:
    headers = {"Content-Range": "bytes */5"}
    hook(registry, "/blobs/", lambda request: web.Response(status=416, headers=headers))
    assert await blob(make(), "sha256:1", 5) == b""


async def test_manifest_without_a_type(make: Make) -> None:
    server = await raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(RegistryError, match="No Content-Type present"):
            await make(url=f"http://127.0.0.1:{port}").manifest("1")
    finally:
        server.close()
        await server.wait_closed()


async def test_headers_that_come_too_slowly() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(1000):
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = parse_url(f"http://127.0.0.1:{port}")
    assert address is not None
    try:
        async with Transport({}, 0.2) as transport:
            with pytest.raises(TransientError, match=r"no data for 0\.2 seconds"):
                await RepositoryClient(transport, Source(address, "a"), None).manifest("1")
        await ended.wait()
    finally:
        server.close()


# --- proxies ---


@pytest.mark.parametrize("user", ["", "me:p%40ss@"])
async def test_proxy(registry: FakeRegistry, other: FakeRegistry, user: str) -> None:
    """``other`` is the proxy: it is asked for the whole URL."""
    asked: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.StreamResponse | None:
        asked.append((str(request.url), request.headers.get("Proxy-Authorization")))
        return web.Response(body=b"{}", headers={"Content-Type": "x"})

    other.hooks.append(answer)
    address = parse_url("http://reg.example:5000")
    assert address is not None
    async with Transport({"http_proxy": f"http://{user}{other.host}"}, 5.0) as transport:
        await RepositoryClient(transport, Source(address, "a"), None).manifest("1")
    wanted = "Basic bWU6cEBzcw==" if user else None
    assert asked == [("http://reg.example:5000/v2/a/manifests/1", wanted)]


async def test_unusable_proxy() -> None:
    address = parse_url("http://reg.example:5000")
    assert address is not None
    async with Transport({"http_proxy": "socks5://x:1"}, 5.0) as transport:
        with pytest.raises(RegistryError, match="a proxy of the kind 'socks5' is not supported"):
            await RepositoryClient(transport, Source(address, "a"), None).manifest("1")


# --- what is shown ---


def test_secrets_are_not_shown() -> None:
    assert shown("https://u:p@h/a?sig=x#y") == "https://h/a"
    assert shown("https://h/\x1b[31m\n") == "https://h/[31m"
    assert status_text(404) == "404 Not Found"
    assert status_text(799) == "799"
