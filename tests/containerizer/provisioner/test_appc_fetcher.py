# SPDX-License-Identifier: Apache-2.0
"""Images of sites, with real TLS and real signatures. ``hadoop`` is a script of the tests."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from containerizer.provisioner.appc_fetcher import AppcFetcher, FetchedImage
from containerizer.provisioner.config import ProvisionerConfig
from mesos_compat.base.errors import ProvisionError
from tests.suites.hadoop import fake_hadoop
from tests.suites.openpgp import Signer, needs_gpg
from tests.suites.tls import certificate, needs_openssl

LABELS = {"version": "1", "os": "linux", "arch": "amd64"}
FILE = "img-1-linux-amd64.aci"


def config(tmp_path: Path, **flags: Any) -> ProvisionerConfig:
    flags.setdefault("appc_simple_discovery_uri_prefix", f"{tmp_path}/aci/")
    return ProvisionerConfig(str(tmp_path), hadoop_home=str(tmp_path), **flags)


async def fetch(tmp_path: Path, name: str, **flags: Any) -> FetchedImage:
    staging = tempfile.mkdtemp(dir=tmp_path)
    return await AppcFetcher(config(tmp_path, **flags)).fetch(name, LABELS, staging)


def content(image: FetchedImage) -> bytes:
    return Path(image.path).read_bytes()


@dataclass
class Site:
    """A web server with pages and files, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    name: str = ""

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        server = TestServer(app, scheme="http" if tls is None else "https")
        await server.start_server(ssl=tls)
        self.name = f"{server.host}:{server.port}"
        try:
            yield
        finally:
            await server.close()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        data = self.files.get(request.path)
        if data is None:
            raise web.HTTPNotFound
        if data.startswith(b"-> "):
            raise web.HTTPFound(data[3:].decode())
        return web.Response(body=data)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    path, context = certificate(tmp_path)
    monkeypatch.setenv("CURL_CA_BUNDLE", path)
    return context


def page(site: Site, path: str = "files/{version}.{ext}", keys: str = "") -> bytes:
    place = f"https://{site.name}/{path}"
    pubkeys = f'<meta name="ac-discovery-pubkeys" content="{site.name} {keys}">' if keys else ""
    return f'<html><head><meta name="ac-discovery" content="{site.name} {place}">{pubkeys}'.encode()


async def test_hdfs(tmp_path: Path) -> None:
    fake_hadoop(tmp_path / "bin", tmp_path / "hdfs")
    (tmp_path / "hdfs" / "d").mkdir()
    (tmp_path / "hdfs" / "d" / FILE).write_bytes(b"image")
    prefix = {"appc_simple_discovery_uri_prefix": "hdfs://host:9000/d/"}
    assert content(await fetch(tmp_path, "img", **prefix)) == b"image"
    with pytest.raises(ProvisionError, match=r"HDFS copyToLocal failed: .*No such file"):
        await fetch(tmp_path, "none", **prefix)


@needs_openssl
async def test_a_site_says_where_it_is(tmp_path: Path, tls: ssl.SSLContext) -> None:
    site = Site()
    async with site.serve(tls):
        site.files = {"/a": page(site), "/files/1.aci": b"image"}
        image = await fetch(tmp_path, f"{site.name}/a/b", appc_meta_discovery=True)
        assert content(image) == b"image"
        assert image.discovered
        assert site.asked == ["/a/b?ac-discovery=1", "/a?ac-discovery=1", "/files/1.aci"]
        with pytest.raises(ProvisionError, match=r"cp: cannot stat '.*[^h]$"):
            await fetch(tmp_path, f"{site.name}/a/b")
        assert len(site.asked) == 3


@needs_openssl
async def test_simple_discovery_comes_first(tmp_path: Path, tls: ssl.SSLContext) -> None:
    site = Site()
    async with site.serve(tls):
        path = tmp_path / "aci" / site.name / FILE
        path.parent.mkdir(parents=True)
        path.write_bytes(b"here")
        image = await fetch(tmp_path, f"{site.name}/img", appc_meta_discovery=True)
    assert content(image) == b"here"
    assert not image.discovered
    assert site.asked == []


@needs_openssl
async def test_nothing_found(tmp_path: Path, tls: ssl.SSLContext) -> None:
    site = Site()
    async with site.serve(tls):
        with pytest.raises(ProvisionError, match=r"cannot stat.*meta discovery: .*404 Not Found"):
            await fetch(tmp_path, f"{site.name}/a", appc_meta_discovery=True)
        site.files = {"/": b"<html></html>", "/a": page(site)}
        with pytest.raises(ProvisionError, match=r"files/1.aci': 404 Not Found"):
            await fetch(tmp_path, f"{site.name}/a", appc_meta_discovery=True)
        with pytest.raises(ProvisionError, match="does not begin with the name of a site"):
            await fetch(tmp_path, "ubuntu", appc_meta_discovery=True)


async def test_without_tls(tmp_path: Path) -> None:
    site = Site()
    async with site.serve(None):
        place = page(site).replace(b"https:", b"http:")
        site.files = {"/a": place, "/files/1.aci": b"image"}
        with pytest.raises(ProvisionError, match="meta discovery"):
            await fetch(tmp_path, f"{site.name}/a", appc_meta_discovery=True)
        assert site.asked == []
        both = {"appc_meta_discovery": True, "appc_meta_discovery_insecure": True}
        assert content(await fetch(tmp_path, f"{site.name}/a", **both)) == b"image"


@needs_openssl
async def test_redirects_keep_tls(tmp_path: Path, tls: ssl.SSLContext) -> None:
    site, plain = Site(), Site()
    async with site.serve(tls), plain.serve(None):
        plain.files = {"/page": page(site)}
        site.files = {"/a": f"-> http://{plain.name}/page".encode(), "/files/1.aci": b"image"}
        with pytest.raises(ProvisionError, match="leads to a place without TLS"):
            await fetch(tmp_path, f"{site.name}/a", appc_meta_discovery=True)
        site.files["/a"] = b"-> /b"
        site.files["/b"] = page(site)
        image = await fetch(tmp_path, f"{site.name}/a", appc_meta_discovery=True)
    assert content(image) == b"image"


@pytest.fixture
def signer() -> Iterator[Signer]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Signer(Path(folder, "a"), "alice")
        yield made
        made.close()


@needs_gpg
async def test_signatures(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "aci" / FILE
    path.parent.mkdir()
    path.write_bytes(b"image")
    keys = tmp_path / "keys" / "prefix.d" / "img"
    keys.mkdir(parents=True)
    trusted = {"appc_trusted_keys": str(tmp_path / "keys")}
    with pytest.raises(ProvisionError, match=r"is not trusted: .*cannot stat '.*.aci.asc'"):
        await fetch(tmp_path, "img", **trusted)
    Path(f"{path}.asc").write_bytes(signer.sign(path))
    with pytest.raises(ProvisionError, match="is not trusted: no trusted key may sign it"):
        await fetch(tmp_path, "img", **trusted)
    (keys / "alice").write_bytes(signer.key())
    image = await fetch(tmp_path, "img", **trusted)
    assert content(image) == b"image"
    assert image.path != str(path)
    assert image.signer is not None
    path.write_bytes(b"another")
    with pytest.raises(ProvisionError, match=r"its signature is not good: .*BAD signature"):
        await fetch(tmp_path, "img", **trusted)


@needs_gpg
@needs_openssl
async def test_keys_of_a_site(tmp_path: Path, tls: ssl.SSLContext, signer: Signer) -> None:
    os.mkdir(tmp_path / "keys")
    (tmp_path / "image").write_bytes(b"image")
    trusted = {"appc_trusted_keys": str(tmp_path / "keys"), "appc_meta_discovery": True}
    site = Site()
    async with site.serve(tls):
        site.files = {
            "/a": page(site, keys=f"https://{site.name}/key"),
            "/key": signer.key(),
            "/files/1.aci": b"image",
            "/files/1.aci.asc": signer.sign(tmp_path / "image"),
        }
        with pytest.raises(ProvisionError, match="no trusted key may sign it"):
            await fetch(tmp_path, f"{site.name}/a", **trusted)
        image = await fetch(tmp_path, f"{site.name}/a", **trusted, appc_trust_discovered_keys=True)
        assert image.signer is not None
