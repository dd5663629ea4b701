# SPDX-License-Identifier: Apache-2.0
"""Runs of checks, of the real thing: servers that a fork of the test plays."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mesos_compat.executor import fetch
from mesos_compat.executor.checks import HttpProbe, Probe, Result, TcpProbe
from mesos_compat.executor.children import Children
from mesos_compat.executor.loop import Loop
from mesos_compat.executor.probes import start_remote
from tests.certificates import Authority

LIMIT_S = 60.0
Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve answers by path on 127.0.0.1 or ::1; returns the port."""
    pids: list[int] = []

    def start(
        answers: Mapping[str, bytes],
        *,
        context: ssl.SSLContext | None = None,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> int:
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        listener = socket.create_server((host, 0), family=family)
        pid = os.fork()
        if pid == 0:
            _serve(listener, answers, context)
        pids.append(pid)
        port: int = listener.getsockname()[1]
        listener.close()
        return port

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(
    listener: socket.socket, answers: Mapping[str, bytes], context: ssl.SSLContext | None
) -> None:
    try:
        while True:
            peer: socket.socket = listener.accept()[0]
            if context is not None:
                peer = context.wrap_socket(peer, server_side=True)
            path = peer.recv(4096).split(b" ")[1].decode()
            if path in answers:
                peer.sendall(answers[path])
                peer.close()
            else:
                signal.pause()
    finally:
        os._exit(1)


def plain(status: int, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def moved(target: str, status: int = 302) -> bytes:
    return plain(status, f"Location: {target}")


def test_status_codes(serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    port = serve(
        {
            "/": plain(200, body="hello"),
            "/no": plain(404, body="no such thing"),
            "/bad": plain(503),
            "/chunked": chunked,
            "/early": b"HTTP/1.1 100 Continue\r\n\r\n" + plain(204),
            "/a%20b?c=d%20e": plain(202),
            "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "/nothing": b"",
            "/noise": b"noise\r\n\r\n",
        }
    )
    url = f"http://127.0.0.1:{port}"
    for path, status in (
        ("", 200),
        ("/", 200),
        ("/no", 404),
        ("/bad", 503),
        ("/chunked", 200),
        ("/early", 204),
        ("/a b?c=d e", 202),
    ):
        assert fetch.status_of(url + path) == status
    for path in ("/half", "/nothing", "/noise"):
        with pytest.raises(Exception, match=r"ends in its middle|Empty reply|unusable status"):
            fetch.status_of(url + path)


def test_redirects(serve: Serve) -> None:
    other = serve({"/x": plain(201)})
    port = serve(
        {
            "/a/one": moved("two"),
            "/a/two": moved("/three", 308),
            "/three": moved(f"http://localhost:{other}/x", 301),
            "/nowhere": plain(302),
            "/round": moved("/round"),
            "/out": moved("file:///etc/passwd"),
        }
    )
    url = f"http://127.0.0.1:{port}"
    assert fetch.status_of(f"{url}/a/one") == 201
    assert fetch.status_of(f"{url}/nowhere") == 302
    for path, why in (("/round", "redirects followed"), ("/out", "unsupported URL")):
        with pytest.raises(Exception, match=why):
            fetch.status_of(url + path)


def test_any_certificate_will_do(serve: Serve, tmp_path: Path) -> None:
    made = Authority(tmp_path).sign("server", "DNS:somebody.else")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    port = serve({"/": plain(200)}, context=context)
    fetch.load_for("https://x")
    assert fetch.status_of(f"https://127.0.0.1:{port}/") == 200


def run(probe: Probe, *, timed_out: str | None = None, cancelled: bool = False) -> Result | None:
    """Return the result of a run; ``None`` if there is none until its process is gone."""
    assert isinstance(probe, HttpProbe | TcpProbe)
    loop = Loop()
    children = Children(loop, None)
    results: list[Result] = []

    def concluded(result: Result) -> None:
        results.append(result)
        loop.stop(0)

    def stop_when_reaped() -> None:
        if children._ended:
            loop.later(0.01, stop_when_reaped)
        else:
            loop.stop(0)

    running = start_remote(loop, children, probe, concluded)
    assert not results
    if cancelled:
        running.cancel()
        loop.later(0.05, stop_when_reaped)
    elif timed_out is not None:
        loop.later(0.01, lambda: running.time_out(timed_out))
    loop.later(LIMIT_S, lambda: loop.stop(1))
    loop.run()
    return results[0] if results else None


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_http_in_a_child(serve: Serve, closed_port: int) -> None:
    port = serve({"/": plain(404)})
    assert run(HttpProbe(f"http://127.0.0.1:{port}/")) == Result(404)
    refused = run(HttpProbe(f"http://127.0.0.1:{closed_port}/"))
    assert refused is not None
    assert refused.error is not None
    assert "refused" in refused.error
    for url in ("http://127.0.0.1:99999/", "http://x\x00/", "nonsense"):
        odd = run(HttpProbe(url))
        assert odd is not None
        assert odd.error


def test_http_over_ipv6(serve: Serve) -> None:
    try:
        port = serve({"/": plain(200)}, family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    assert run(HttpProbe(f"http://[::1]:{port}/")) == Result(200)
    assert run(TcpProbe("::1", port)) == Result(1)


def test_a_server_that_does_not_answer(serve: Serve) -> None:
    url = f"http://127.0.0.1:{serve({})}/"

    why = "it took too long"
    assert run(HttpProbe(url), timed_out=why) == Result(error=why)
    assert run(HttpProbe(url), cancelled=True) is None


def test_tcp(serve: Serve, closed_port: int) -> None:
    assert run(TcpProbe("127.0.0.1", serve({}))) == Result(1)
    assert run(TcpProbe("127.0.0.1", closed_port)) == Result(0)
    odd = run(TcpProbe("127.0.0.1", 99999))
    assert odd is not None
    assert odd.error
    assert run(TcpProbe("127.0.0.1", closed_port), cancelled=True) is None


def test_the_program_for_others(serve: Serve, closed_port: int) -> None:
    """``mesos-tcp-connect``, which upstream's executors ask for."""
    program = [sys.executable, "-m", "mesos_compat.executor.tcp_connect"]

    def connect(*arguments: str) -> int:
        return subprocess.run([*program, *arguments], capture_output=True, check=False).returncode

    assert connect("--ip=127.0.0.1", f"--port={serve({})}") == 0
    assert connect("--ip=127.0.0.1", f"--port={closed_port}") != 0
    assert connect("--ip=127.0.0.1") != 0
    assert connect("--help") == 0
