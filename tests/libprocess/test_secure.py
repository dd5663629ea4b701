# SPDX-License-Identifier: Apache-2.0
"""TLS and plain peers of a server and of links; certificates right and wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, web

from mesos_compat.base.errors import FlagError
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.base.tls_options import TlsOptions
from mesos_compat.libprocess import secure
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.links import Links
from mesos_compat.libprocess.secure import begins_tls
from mesos_compat.libprocess.server import Server, ServerLimits
from mesos_compat.libprocess.upid import UPID
from tests.certificates import Authority, Certificate
from tests.libprocess.waiting import until

OWN = UPID("slave(1)", "10.0.0.1", 5051)
NAME = "peer.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    return authority.sign("good", f"DNS:{NAME}", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def common(authority: Authority) -> Certificate:
    """Without alternative names."""
    return authority.sign(NAME)


@pytest.fixture(scope="module")
def foreign(folder: Path) -> Certificate:
    """Signed by somebody else."""
    return Authority(folder, "other").sign("foreign", f"DNS:{NAME}")


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reverse DNS knows."""

    async def name_of(ip: str) -> str:
        return NAME

    monkeypatch.setattr(secure, "name_of", name_of)


def tls(certificate: Certificate, authority: Authority | None = None, **more: object) -> Tls:
    base = TlsOptions(cert_file=certificate.cert, key_file=certificate.key)
    if authority is not None:
        more["ca_file"] = authority.cert
    return Tls(dataclasses.replace(base, **more))  # type: ignore[arg-type]


class Bench:
    """A server that keeps what it gets, and links to it."""

    def __init__(self, server: Server, links: Links, exited: list[UPID]) -> None:
        self.server = server
        self.links = links
        self.exited = exited
        self.names: list[str] = []
        self.target = UPID("slave(1)", "127.0.0.1", server.address.port)

    def send(self, name: str, body: bytes = b"x") -> None:
        self.links.send(OWN, self.target, name, body)

    async def arrives(self, *names: str) -> None:
        await until(lambda: self.names == list(names) or bool(self.exited))
        assert self.names == list(names)

    async def fails(self) -> None:
        await until(lambda: bool(self.exited))
        assert self.names == []


@asynccontextmanager
async def bench(
    at_server: Tls | None, at_links: Tls | None, limits: ServerLimits | None = None
) -> AsyncIterator[Bench]:
    names: list[str] = []

    def inbox(sender: UPID, target_id: str, name: str, body: bytes) -> bool:
        names.append(name)
        return True

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        return web.Response(text=f"{request.scheme} {len(body)}")

    bound = bind(ListenOptions(ip="127.0.0.1"))
    server = Server(bound, inbox, handler, limits, tls=at_server)
    await server.start()
    exited: list[UPID] = []
    async with Scope("links") as scope:
        links = Links(scope, OWN.address, inbox, exited.append, tls=at_links)
        made = Bench(server, links, exited)
        made.names = names
        try:
            yield made
        finally:
            await links.close(0.1)
            await server.close(0.1)


class TestLinks:
    async def test_messages_in_their_order(self, good: Certificate) -> None:
        side = tls(good)
        async with bench(side, side) as made:
            made.links.link(made.target)
            wanted = [f"m{number}" for number in range(20)]
            for name in wanted:
                made.send(name, b"x" * 100_000)
            await made.arrives(*wanted)
            assert made.links.linked(made.target)
            await made.server.close(0.1)
            await until(lambda: made.exited == [made.target])

    async def test_a_temporary_connection(self, good: Certificate) -> None:
        side = tls(good)
        async with bench(side, side) as made:
            made.send("one")
            await made.arrives("one")
            made.send("two")
            await made.arrives("one", "two")

    @pytest.mark.parametrize("downgrade", [False, True])
    async def test_a_plain_peer(self, good: Certificate, downgrade: bool) -> None:
        async with bench(None, tls(good, support_downgrade=downgrade)) as made:
            made.links.link(made.target)
            made.send("hello")
            if downgrade:
                await made.arrives("hello")
            else:
                await made.fails()

    @pytest.mark.parametrize("downgrade", [False, True])
    async def test_from_a_plain_peer(self, good: Certificate, downgrade: bool) -> None:
        async with bench(tls(good, support_downgrade=downgrade), None) as made:
            made.links.link(made.target)
            made.send("hello", b"x" * 100_000)
            if downgrade:
                await made.arrives("hello")
            else:
                await made.fails()

    async def test_a_wrong_certificate_is_not_followed_by_plain(
        self, good: Certificate, foreign: Certificate, authority: Authority
    ) -> None:
        wary = tls(good, authority, verify_server_cert=True, support_downgrade=True)
        async with bench(tls(foreign, support_downgrade=True), wary) as made:
            made.links.link(made.target)
            made.send("secret")
            await made.fails()


class TestNames:
    """Both schemes, as far as they ask for names."""

    @pytest.mark.parametrize("which", ["good", "common"])
    async def test_legacy(
        self, which: str, authority: Authority, request: pytest.FixtureRequest
    ) -> None:
        peer = request.getfixturevalue(which)
        async with bench(tls(peer), tls(peer, authority, verify_server_cert=True)) as made:
            made.links.link(made.target)
            made.send("hello")
            await made.arrives("hello")

    async def test_legacy_and_another_name(
        self,
        good: Certificate,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def name_of(ip: str) -> str:
            return "other.example"

        monkeypatch.setattr(secure, "name_of", name_of)
        async with bench(tls(good), tls(good, authority, verify_server_cert=True)) as made:
            made.links.link(made.target)
            made.send("hello")
            await made.fails()
            assert f"is of {NAME}, not of other.example" in caplog.text
        # unless the address itself is among the names
        wary = tls(good, authority, verify_server_cert=True, verify_ip=True)
        async with bench(tls(good), wary) as made:
            made.links.link(made.target)
            made.send("hello")
            await made.arrives("hello")

    @pytest.mark.parametrize("required", [False, True])
    async def test_legacy_without_any_name(
        self,
        good: Certificate,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
        required: bool,
    ) -> None:
        async def name_of(ip: str) -> None:
            return None

        monkeypatch.setattr(secure, "name_of", name_of)
        wary = tls(good, authority, verify_server_cert=True, require_client_cert=required)
        async with bench(tls(good), wary) as made:
            made.links.link(made.target)
            made.send("hello")
            if required:
                await made.fails()
            else:
                await made.arrives("hello")

    @pytest.mark.parametrize(
        ("dialled", "by_ip", "passes"),
        [
            (NAME, False, True),
            ("other.example", False, False),
            ("", True, True),
            ("", False, False),
        ],
    )
    async def test_openssl(
        self, good: Certificate, authority: Authority, dialled: str, by_ip: bool, passes: bool
    ) -> None:
        wary = tls(
            good,
            authority,
            verify_server_cert=True,
            hostname_validation_scheme="openssl",
            verify_ip=by_ip,
        )
        async with bench(tls(good), wary) as made:
            if dialled:
                made.links.names[made.target.address] = dialled
            made.links.link(made.target)
            made.send("hello")
            if passes:
                await made.arrives("hello")
            else:
                await made.fails()


class TestClientCertificates:
    @pytest.mark.parametrize("which", ["good", "foreign"])
    async def test_they_are_demanded(
        self, which: str, good: Certificate, authority: Authority, request: pytest.FixtureRequest
    ) -> None:
        strict = tls(good, authority, require_client_cert=True, verify_server_cert=True)
        async with bench(strict, tls(request.getfixturevalue(which), authority)) as made:
            made.links.link(made.target)
            made.send("hello")
            if which == "good":
                await made.arrives("hello")
            else:
                await made.fails()


class TestHttp:
    async def test_both_on_one_port(self, good: Certificate, authority: Authority) -> None:
        trusting = ssl.create_default_context(cafile=authority.cert)
        async with bench(tls(good, support_downgrade=True), None) as made:
            where = f"127.0.0.1:{made.server.address.port}"
            for scheme in ("http", "https"):
                connector = TCPConnector(ssl=trusting)
                async with ClientSession(connector=connector) as session:
                    for size in (0, 300_000):
                        async with session.post(f"{scheme}://{where}/x", data=b"y" * size) as reply:
                            assert await reply.text() == f"{scheme} {size}"

    async def test_openssls_own_client(self, good: Certificate, authority: Authority) -> None:
        async with bench(tls(good), None) as made:
            for option, works in (("-tls1_2", True), ("-tls1_3", False), ("-tls1_1", False)):
                done = await asyncio.to_thread(
                    subprocess.run,
                    [
                        *("openssl", "s_client", "-quiet", option, "-verify_return_error"),
                        *("-CAfile", authority.cert),
                        *("-connect", f"127.0.0.1:{made.server.address.port}"),
                    ],
                    input=b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
                assert (b"https 0" in done.stdout) == works, done

    async def test_upstreams_ciphers_are_served(
        self, good: Certificate, authority: Authority
    ) -> None:
        async with bench(tls(good), None) as made:
            old = ssl.create_default_context(cafile=authority.cert)
            old.set_ciphers("AES128-SHA")
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            connector = TCPConnector(ssl=old)
            async with ClientSession(connector=connector) as session:
                where = f"https://127.0.0.1:{made.server.address.port}/x"
                async with session.get(where) as reply:
                    assert await reply.text() == "https 0"


class TestHostile:
    async def test_silence_and_nonsense(
        self, good: Certificate, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        side = tls(good)
        async with bench(side, side) as made:
            port = made.server.address.port
            silent = await asyncio.open_connection("127.0.0.1", port)
            for data in (
                b"\x16",
                b"\x16\x03\x01\x02\x00\x01" + b"\xff" * 600,
                b"GET / HTTP/1.1\r\n",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(data)
                if len(data) == 1:
                    writer.write_eof()
                async with asyncio.timeout(60):
                    try:
                        while await reader.read(1000):
                            pass
                    except ConnectionError:
                        pass
                writer.close()
            made.links.link(made.target)
            made.send("hello")
            await made.arrives("hello")
            silent[1].close()
        assert "it is no TLS" in caplog.text
        assert "Task exception" not in caplog.text

    async def test_silent_ones_make_place(self, good: Certificate) -> None:
        side = tls(good)
        async with bench(side, side, ServerLimits(connections=3)) as made:
            port = made.server.address.port
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
            made.links.link(made.target)
            made.send("hello")
            await made.arrives("hello")
            for _, writer in silent:
                writer.close()


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\x16\x03\x01\x02\x00\x01", True),
        (b"\x16", True),
        (b"\x80\x2e\x01\x00\x02\x00", True),
        (b"\x80\x2e\x00", False),
        (b"\x16\x02\x01\x02\x00\x01", False),
        (b"\x16\x03\x01\x02\x00\x02", False),
        (b"POST /", False),
        (b"G", False),
    ],
)
def test_first_bytes(data: bytes, wanted: bool) -> None:
    assert begins_tls(data) == wanted


def test_unusable_files(good: Certificate, authority: Authority) -> None:
    for more in (
        {"key_file": "/missing"},
        {"cert_file": good.key},
        {"ca_file": "/missing"},
        {"ciphers": "nonsense"},
        {"ecdh_curves": "nonsense"},
    ):
        with pytest.raises(FlagError):
            tls(good, None, **more)


@pytest.mark.parametrize("curves", ["auto", "P-384", "X25519", "secp384r1:P-256"])
def test_curves(good: Certificate, curves: str) -> None:
    warnings = tls(good, ecdh_curves=curves).warnings
    one = ":" in curves and not hasattr(ssl.SSLContext, "set_groups")
    assert ["one curve only" in warning for warning in warnings] == [True] * one


def test_depth(good: Certificate) -> None:
    class Connection:
        def get_verified_chain(self) -> list[bytes]:
            return [b""] * 5

    tls(good, verification_depth=3).check_depth(Connection())
    with pytest.raises(Exception, match="3 certificates between"):
        tls(good, verification_depth=2).check_depth(Connection())
