# SPDX-License-Identifier: Apache-2.0
"""Where executors find the agent's Unix socket, and what they can ask there."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mesos_compat.agent.domain_socket import DomainSocket, domain_socket
from mesos_compat.agent.flags import parse_agent_flags
from mesos_compat.base.errors import FlagError
from mesos_compat.http.domain_socket import only_for_executors
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.server import Server, ServerLimits
from mesos_compat.libprocess.upid import UPID
from tests.libprocess.waiting import until


def opened(folder: Path, *flags: str, environ: dict[str, str] | None = None) -> DomainSocket | None:
    given = parse_agent_flags(["--master=127.0.0.1:5050", "--work_dir=/w", *flags], {})
    return domain_socket(given, str(folder), {} if environ is None else environ)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name: sockets have little room for theirs."""
    return tmp_path_factory.mktemp("d")


ON = "--http_executor_domain_sockets"


def test_only_if_wanted(folder: Path) -> None:
    assert opened(folder) is None
    assert opened(folder, f"--domain_socket_location={folder}/x") is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("location", [None, "other"])
def test_everybody_can_connect(folder: Path, location: str | None) -> None:
    path = folder / (location or "agent.sock")
    flags = [] if location is None else [f"--domain_socket_location={path}"]
    for _ in range(2):  # the second time one is left over
        made = opened(folder, ON, *flags)
        assert made is not None
        assert made.path == str(path)
        assert stat.S_IMODE(path.lstat().st_mode) == 0o666
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(made.path)
        assert not made.socket.get_inheritable()
        made.socket.close()


def test_other_files_are_left_alone(folder: Path) -> None:
    (folder / "agent.sock").write_text("precious")
    with pytest.raises(FlagError, match="is in the way of the domain socket, and is no socket"):
        opened(folder, ON)
    assert (folder / "agent.sock").read_text() == "precious"


def test_a_path_that_is_too_long(folder: Path) -> None:
    path = "/" + "x" * 107
    with pytest.raises(FlagError) as caught:
        opened(folder, ON, f"--domain_socket_location={path}")
    assert str(caught.value) == (
        f"Domain socket location '{path}' must have less than 108 characters."
    )


def test_a_folder_that_is_missing(folder: Path) -> None:
    with pytest.raises(FlagError, match=r"Failed to listen on .*No such file or directory"):
        opened(folder, ON, f"--domain_socket_location={folder}/missing/x")


# What systemd listens on.


@pytest.fixture
def at_three(folder: Path) -> Iterator[Path]:
    """A listening socket as descriptor 3, and whatever was there back afterwards."""
    path = folder / "systemd.sock"
    try:
        kept = os.dup(3)
    except OSError:
        kept = None
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        os.dup2(made.fileno(), 3)
    yield path
    if kept is None:
        os.close(3)
    else:
        os.dup2(kept, 3)
        os.close(kept)


@pytest.mark.parametrize("names", ["executors", "unknown", ""])
def test_a_socket_of_systemd(at_three: Path, names: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": names}
    location = "--domain_socket_location=systemd:executors"
    made = opened(at_three.parent, ON, location, environ=environ)
    assert made is not None
    assert made.path == str(at_three)
    assert environ == {}
    assert not made.socket.get_inheritable()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(made.path)
    made.socket.detach()


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({}, "was not started by a socket of systemd"),
        ({"LISTEN_PID": "1"}, "was not started by a socket of systemd"),
        ({"LISTEN_FDNAMES": "others"}, "Expecting one socket 'executors' from systemd, got 0"),
        ({"LISTEN_FDS": "0"}, "Expecting one socket 'executors' from systemd, got 0"),
        ({"LISTEN_FDS": "x"}, "was not started by a socket of systemd"),
    ],
)
def test_no_socket_of_systemd(at_three: Path, variables: dict[str, str], error: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "executors"}
    environ = environ | variables if variables else {}
    with pytest.raises(FlagError, match=error):
        opened(at_three.parent, ON, "--domain_socket_location=systemd:executors", environ=environ)


# What is served there.


@asynccontextmanager
async def serving(folder: Path, limits: ServerLimits | None = None) -> AsyncIterator[str]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=f"{request.method} {request.raw_path} {await request.text()}")

    def inbox(sender: UPID, target: str, name: str, body: bytes) -> bool:
        raise AssertionError("a message by the Unix socket")

    made = opened(folder, ON)
    assert made is not None
    server = Server(bind(ListenOptions(ip="127.0.0.1")), inbox, handle, limits)
    await server.start()
    await server.start_unix(made.socket, only_for_executors(handle))
    try:
        yield made.path
    finally:
        await server.close(0.1)


async def test_two_paths_to_the_letter(folder: Path) -> None:
    async with (
        serving(folder) as path,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
    ):
        for target in ("/slave(1)/api/v1", "/slave(1)/api/v1/executor", "/slave(1)/api/v1?x=y"):
            async with session.post(f"http://agent{target}", data=b"body") as answer:
                assert (answer.status, await answer.text()) == (200, f"POST {target} body")
        for target in (
            "/",
            "/api/v1",
            "/api/v1/executor",
            "/slave(1)/state",
            "/slave(1)/api/v1/",
            "/slave(1)/api/v1/executor/x",
            "/health",
            "/files/debug",
        ):
            async with session.get(f"http://agent{target}") as answer:
                assert (answer.status, await answer.text()) == (403, "403 Forbidden.")
                assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def raw(path: str, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    try:
        return await reader.readuntil(b"\r\n")
    finally:
        writer.close()


async def test_there_are_no_messages(folder: Path) -> None:
    async with serving(folder) as path:
        message = b"POST /slave(1)/%b HTTP/1.1\r\nHost: a\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\n"
        assert await raw(path, message % b"mesos.internal.Ping") == b"HTTP/1.1 403 Forbidden\r\n"
        assert await raw(path, message % b"api/v1") == b"HTTP/1.1 200 OK\r\n"
        encoded = b"GET /slave%281%29/api/v1 HTTP/1.1\r\nHost: a\r\n\r\n"
        assert await raw(path, encoded) == b"HTTP/1.1 403 Forbidden\r\n"


async def test_connections_are_counted(folder: Path) -> None:
    async with serving(folder, ServerLimits(connections=3)) as path:
        several = [await asyncio.open_unix_connection(path) for _ in range(8)]
        # Five had to go for the last three.
        gone = [asyncio.create_task(reader.read()) for reader, _ in several]
        await until(lambda: sum(task.done() for task in gone) == 5)
        last = b"GET /slave(1)/api/v1 HTTP/1.1\r\nHost: a\r\n\r\n"
        assert await raw(path, last) == b"HTTP/1.1 200 OK\r\n"
        for task in gone:
            task.cancel()
        for _, writer in several:
            writer.close()
