# SPDX-License-Identifier: Apache-2.0
"""How commands reach an agent, and say to it who they are."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.cli.containers.client import OperatorClient
from mesos_compat.cli.images.agent import prune
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from tests.certificates import Authority

OPS = "Basic b3BzOnM6M2NyZXQ="


async def asked(of: web.BaseRequest) -> web.StreamResponse:
    """Answer those who are ops."""
    return web.Response(status=200 if of.headers.get("Authorization") == OPS else 401)


@pytest.fixture
def credential(tmp_path: Path) -> str:
    file = tmp_path / "credential"
    file.write_text('{"principal": "ops", "secret": "s:3cret"}')
    file.chmod(0o600)
    return str(file)


async def health(address: str, credential: str | None = None) -> None:
    client = OperatorClient(address, credential)
    try:
        await client.call(agent_pb2.Call(type=agent_pb2.Call.KILL_CONTAINER))
    finally:
        await client.close()


async def test_who_we_are(credential: str) -> None:
    async with RawTestServer(asked) as server:
        address = f"{server.host}:{server.port}"
        await health(address, credential)
        await health(f"http://ops:s%3A3cret@{address}")
        await prune(address, credential, [])


async def test_an_agent_that_does_not_know_us(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("ops guess\n")
    wrong.chmod(0o600)
    async with RawTestServer(asked) as server:
        address = f"{server.host}:{server.port}"
        for url, file in (
            (address, None),
            (address, str(wrong)),
            (f"http://a:s3cret@{address}", None),
        ):
            with pytest.raises(ContainerError) as caught:
                await health(url, file)
            assert f"{address} does not know us: give a file" in str(caught.value)
            assert "s3cret" not in str(caught.value)
            assert "guess" not in str(caught.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="Failed to read credential file"):
        OperatorClient("127.0.0.1:1", str(tmp_path / "missing"))


async def test_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credential: str) -> None:
    authority = Authority(tmp_path)
    made = authority.sign("agent", "IP:127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)
    hosts: list[str] = []

    async def kept(request: web.BaseRequest) -> web.StreamResponse:
        hosts.append(request.host)
        return await asked(request)

    server = RawTestServer(kept)
    await server.start_server(ssl=context)
    try:
        address = f"{server.host}:{server.port}"
        for unusable in (address, f"http://{address}", f"https://{address}"):
            with pytest.raises(ContainerError, match="No answer of the agent"):
                await health(unusable, credential)
        assert hosts == []
        # as the agent of this host is found
        await health(f"tls://{address}", credential)
        monkeypatch.setenv("LIBPROCESS_SSL_CA_FILE", authority.cert)
        await health(f"https://{address}", credential)
        monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "true")
        await health(address, credential)
    finally:
        await server.close()


def test_unusable_addresses() -> None:
    with pytest.raises(FlagError, match="Failed to parse"):
        OperatorClient("https://h/path")
