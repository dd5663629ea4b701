# SPDX-License-Identifier: Apache-2.0
"""Requests in plain and by TLS; certificates right and wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mesos_compat.base.tls import Tls
from mesos_compat.base.tls_options import TlsOptions
from mesos_compat.libprocess import http_client
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.http_client import HttpClient, HttpPeer, why
from mesos_compat.libprocess.server import Server
from mesos_compat.libprocess.upid import UPID
from tests.certificates import Authority, Certificate

NAME = "peer.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    return authority.sign("good", f"DNS:{NAME}", "IP:127.0.0.1")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reverse DNS calls everybody: the last of these."""
    names = [NAME]

    async def name_of(ip: str) -> str:
        return names[-1]

    monkeypatch.setattr(http_client, "name_of", name_of)
    return names


def tls(certificate: Certificate | None, authority: Authority, **more: object) -> Tls:
    files = {} if certificate is None else dataclasses.asdict(certificate)
    base = TlsOptions(
        cert_file=files.get("cert", ""), key_file=files.get("key", ""), ca_file=authority.cert
    )
    return Tls(dataclasses.replace(base, **more))  # type: ignore[arg-type]


class Listener:
    """A server that answers with what it was asked."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.hosts.append(request.host)
        return web.Response(text=f"{request.scheme} {request.path} {await request.text()}")

    def peer(self, name: str = "") -> HttpPeer:
        return HttpPeer("127.0.0.1", self.port, name)


@asynccontextmanager
async def listening(tls: Tls | None = None) -> AsyncIterator[Listener]:
    made = Listener()

    def inbox(sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        return False

    server = Server(bind(ListenOptions(ip="127.0.0.1")), inbox, made.handle, tls=tls)
    await server.start()
    made.port = server.address.port
    try:
        yield made
    finally:
        await server.close(0.1)


async def ask(client: HttpClient, peer: HttpPeer) -> str:
    async with client.request("POST", peer, "/x", data=b"secret") as answer:
        return await answer.text()


async def test_in_plain() -> None:
    async with listening() as server, HttpClient() as client:
        assert client.scheme == "http"
        assert await ask(client, server.peer()) == "http /x secret"
        assert await ask(client, server.peer(NAME)) == "http /x secret"
        assert server.hosts == [f"127.0.0.1:{server.port}", f"{NAME}:{server.port}"]


async def test_by_tls(authority: Authority, good: Certificate) -> None:
    async with (
        listening(tls(good, authority)) as server,
        HttpClient(tls(None, authority)) as client,
    ):
        assert client.scheme == "https"
        assert await ask(client, server.peer()) == "https /x secret"


@pytest.mark.parametrize("downgrade", [False, True])
async def test_a_plain_server(authority: Authority, downgrade: bool) -> None:
    side = tls(None, authority, support_downgrade=downgrade)
    async with listening() as server, HttpClient(side) as client:
        if downgrade:
            assert await ask(client, server.peer()) == "http /x secret"
        else:
            with pytest.raises(aiohttp.ClientError):
                await ask(client, server.peer())


async def refused(server: Listener, tls: Tls, name: str = "") -> str:
    """Ask in vain; return what is told about it."""
    async with HttpClient(tls) as client:
        with pytest.raises(aiohttp.ClientError) as raised:
            await ask(client, server.peer(name))
    assert server.hosts == []
    return why(raised.value)


class TestVerification:
    async def test_by_reverse_dns(
        self, authority: Authority, good: Certificate, called: list[str]
    ) -> None:
        wary = tls(None, authority, verify_server_cert=True)
        async with listening(tls(good, authority)) as server:
            async with HttpClient(wary) as client:
                assert await ask(client, server.peer()) == "https /x secret"
            server.hosts.clear()
            called.append("other.example")
            text = await refused(server, wary)
            assert f"the certificate of 127.0.0.1 is of {NAME}, not of other.example" in text

    async def test_by_the_name_that_was_dialled(
        self, authority: Authority, good: Certificate
    ) -> None:
        wary = tls(None, authority, verify_server_cert=True, hostname_validation_scheme="openssl")
        async with listening(tls(good, authority)) as server:
            async with HttpClient(wary) as client:
                assert await ask(client, server.peer(NAME)) == "https /x secret"
            server.hosts.clear()
            assert "other.example" in await refused(server, wary, "other.example")
            assert "LIBPROCESS_SSL_VERIFY_IPADD" in await refused(server, wary)

    async def test_a_foreign_certificate_is_not_followed_by_plain(
        self, authority: Authority, tmp_path: Path, called: list[str]
    ) -> None:
        foreign = Authority(tmp_path, "other").sign("foreign", f"DNS:{NAME}")
        wary = tls(None, authority, verify_server_cert=True, support_downgrade=True)
        async with listening(tls(foreign, authority, support_downgrade=True)) as server:
            assert "local issuer certificate" in await refused(server, wary)

    async def test_chains_that_are_too_long(
        self, authority: Authority, good: Certificate, called: list[str]
    ) -> None:
        wary = tls(None, authority, verify_server_cert=True, verification_depth=-1)
        async with listening(tls(good, authority)) as server:
            assert "0 certificates between" in await refused(server, wary)

    async def test_servers_that_demand_certificates(
        self, authority: Authority, good: Certificate
    ) -> None:
        strict = tls(
            good, authority, require_client_cert=True, hostname_validation_scheme="openssl"
        )
        async with listening(strict) as server:
            async with HttpClient(tls(good, authority)) as client:
                assert await ask(client, server.peer()) == "https /x secret"
            server.hosts.clear()
            await refused(server, tls(None, authority))
