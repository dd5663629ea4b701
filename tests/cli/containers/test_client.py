# SPDX-License-Identifier: Apache-2.0
"""How commands say to an agent who they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.cli.containers.client import OperatorClient
from mesos_compat.cli.images.agent import prune
from mesos_compat.pb.mesos.v1.agent import agent_pb2

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
