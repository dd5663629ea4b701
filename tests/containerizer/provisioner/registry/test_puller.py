# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import base64
import bz2
import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from containerizer.provisioner.base import ImageInfo, Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.progress import LayerState, PullProgress, PullTable
from containerizer.provisioner.pullers import PulledImage, PullOrder
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.registry.endpoint import parse_registry
from containerizer.provisioner.registry.hosts import HostRules
from containerizer.provisioner.registry.puller import RegistryConfig, RegistryPuller
from containerizer.provisioner.registry.retry import RetryPolicy
from containerizer.provisioner.stores.docker import create
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.jsonpb import JsonObject
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.provisioner.images import Entry, configuration, sha256, tar
from tests.containerizer.provisioner.registry.fake import (
    DOCKER,
    DOCKER_LIST,
    OCI,
    OCI_INDEX,
    FakeRegistry,
    cut,
    described,
    once,
)
from tests.suites.image_stores import StoreSuite, until

BASE = tar([Entry("base", b"x" * 3000)])
TOP = tar([Entry("f", b"1"), Entry("random", os.urandom(300_000))])


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


class World:
    """A registry and a puller with a store of its own."""

    def __init__(self, folder: Path, scope: Scope, registry: FakeRegistry) -> None:
        self.folder = folder
        self.registry = registry
        self.layout = DockerLayout(str(folder / "store"))
        os.makedirs(self.layout.staging, exist_ok=True)
        self.layers = LayerDirectory(self.layout)
        self.table = PullTable()
        self.scope = scope
        self.puller = self.make()

    def make(self, **more: Any) -> RegistryPuller:
        values = {
            "default": parse_registry(self.registry.url),
            "stall_timeout_s": 10.0,
            "retry": RetryPolicy(sleep=no_sleep),
            "environment": {},
            **more,
        }
        return RegistryPuller(RegistryConfig(**values), self.layers, UnpackLimits(), self.scope)

    async def pull(self, name: str, **more: Any) -> PulledImage:
        with self.table.pull(name) as progress:
            order = PullOrder(Reference.parse(name), "rootfs", progress, **more)
            try:
                return await self.puller.pull(order)
            finally:
                self.progress: PullProgress = progress

    def content(self, layer_id: str, name: str) -> bytes:
        return Path(self.layout.layer(layer_id), "rootfs", name).read_bytes()

    def left(self) -> list[str]:
        return os.listdir(self.layout.staging)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with (
        Scope("test", on_error=lambda name, error: None) as scope,
        FakeRegistry() as registry,
    ):
        made = World(tmp_path, scope, registry)
        yield made
        assert made.left() == []
        assert made.table.running == ()


class TestSuite(StoreSuite):
    """What every store must do, with a registry behind it."""

    registry: FakeRegistry

    @pytest.fixture(autouse=True)
    async def _registry(self) -> AsyncIterator[None]:
        async with FakeRegistry() as self.registry:
            yield

    def make(self, tmp_path: Path, scope: Scope) -> Store:
        config = ProvisionerConfig(
            work_dir=str(tmp_path),
            docker_store_dir=str(tmp_path / "store"),
            docker_registry=self.registry.url,
        )
        return create(config, scope, Metrics())

    def image(self, tmp_path: Path, content: bytes = b"1") -> pb.Image:
        self.registry.put_image("busybox:latest", [tar([Entry("f", content)])])
        return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="busybox"))

    def hide(self, tmp_path: Path) -> None:
        self.registry.manifests.clear()

    def break_image(self, tmp_path: Path) -> None:
        layers = [tar([Entry("f", b"1")])]
        self.registry.put_image("busybox:latest", layers, compress=lambda x: gzip.compress(x)[:-20])

    def staging(self, tmp_path: Path) -> str:
        return str(tmp_path / "store" / "staging")


@pytest.mark.parametrize("kind", [DOCKER, OCI])
@pytest.mark.parametrize("typed", [True, False])
async def test_manifests_of_one_image(world: World, kind: str, typed: bool) -> None:
    world.registry.put_image("a/b:1", [BASE, TOP], kind, typed=typed or kind == DOCKER)
    pulled = await world.pull("a/b:1")
    assert len(pulled.layer_ids) == 2
    assert world.content(pulled.layer_ids[1], "f") == b"1"
    assert pulled.config_digest is not None
    with open(world.layout.layer(pulled.config_digest), "rb") as file:
        assert file.read() == configuration([BASE, TOP])
    accept = world.registry.headers("/manifests/")[0]["Accept"]
    assert accept.startswith(
        "application/vnd.docker.distribution.manifest.v2+json,"
        "application/vnd.docker.distribution.manifest.v1+json,"
        "application/vnd.docker.distribution.manifest.v1+prettyjws,"
    )
    assert all(each["Accept-Encoding"] == "identity" for each in world.registry.headers("/"))


async def test_compressions_are_told_by_their_bytes(world: World) -> None:
    layers = [tar([Entry(f"f{n}", bytes([n]))]) for n in range(3)]
    packs = iter([layers[0], bz2.compress(layers[1]), gzip.compress(layers[2])])
    world.registry.put_image("a:latest", layers, OCI, compress=lambda data: next(packs))
    pulled = await world.pull("a")
    assert [world.content(each, f"f{n}") for n, each in enumerate(pulled.layer_ids)] == [
        b"\0",
        b"\1",
        b"\2",
    ]


async def test_zstd(world: World) -> None:
    zstd = shutil.which("zstd")
    if zstd is None:
        pytest.skip("needs the program zstd")

    def compress(data: bytes) -> bytes:
        return subprocess.run([zstd, "-qc"], input=data, capture_output=True, check=True).stdout

    world.registry.put_image(
        "a:latest",
        [TOP],
        DOCKER,
        compress=compress,
        layer_type="application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    pulled = await world.pull("a")
    assert world.content(pulled.layer_ids[0], "f") == b"1"


def place(architecture: str, variant: str | None = None, system: str = "linux") -> dict[str, Any]:
    found = {"os": system, "architecture": architecture}
    return {"platform": found if variant is None else {**found, "variant": variant}}


@pytest.mark.parametrize("kind", [DOCKER_LIST, OCI_INDEX])
async def test_platform_of_an_index(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    right = world.registry.put_image("a:right", [TOP])
    wrong = described(b"nowhere", DOCKER)
    entries = [
        {**wrong, **place("unknown", system="unknown")},
        {**wrong, **place("arm64", "v8")},
        {**wrong, **place("amd64", system="windows")},
        {**wrong, **place("amd64", "v3")},
        {**right, **place("amd64")},
        {**wrong, "mediaType": "application/vnd.example"},
    ]
    digest = world.registry.put_manifest(
        "a:latest", {"schemaVersion": 2, "manifests": entries}, kind
    )
    pulled = await world.pull("a")
    assert world.content(pulled.layer_ids[0], "f") == b"1"
    assert (await world.pull(f"a@{digest}")) == pulled
    nested = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    outer = {"schemaVersion": 2, "manifests": [described(nested, kind)]}
    world.registry.put_manifest("a:nested", outer, OCI_INDEX)
    assert (await world.pull("a:nested")) == pulled
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(ProvisionError, match="no image for linux/s390x, only for linux/amd64"):
        await world.pull("a")


async def test_index_without_end(world: World) -> None:
    inner: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
    for number in range(8):
        body = json.dumps(inner).encode()
        world.registry.put_manifest(f"a:{number}", body, OCI_INDEX)
        inner = {"schemaVersion": 2, "manifests": [described(body, OCI_INDEX)] * 3}
    world.registry.put_manifest("a:latest", inner, OCI_INDEX)
    with pytest.raises(ProvisionError, match="too many indexes"):
        await world.pull("a")
    assert len(world.registry.requests) < 15


def schema1(registry: FakeRegistry, layers: list[bytes], signed: bool) -> bytes:
    """Return a schema 1 manifest, layers bottom first."""
    blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
    digests = [registry.put_blob(blob) for blob in blobs]
    history = [{"id": f"{n}" * 64, "config": {"Cmd": [str(n)]}} for n in range(len(layers))]
    document = {
        "schemaVersion": 1,
        "name": "a",
        "tag": "latest",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest} for digest in reversed(digests)],
        "history": [{"v1Compatibility": json.dumps(item)} for item in reversed(history)],
    }
    payload = json.dumps(document, indent=3).encode()
    if not signed:
        return payload
    head, tail = payload[:-2], payload[-2:]
    protected = {
        "formatLength": len(head),
        "formatTail": base64.urlsafe_b64encode(tail).decode().rstrip("="),
        "time": "2016-01-01T00:00:00Z",
    }
    coded = base64.urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    signatures = [{"header": {}, "signature": "x", "protected": coded}]
    return head + b',\n   "signatures": ' + json.dumps(signatures).encode() + tail


@pytest.mark.parametrize("kind", ["v1+prettyjws", "v1+json", "json"])
async def test_schema1(world: World, kind: str) -> None:
    signed = kind != "v1+json"
    body = schema1(world.registry, [BASE, BASE, TOP], signed)
    whole = f"application/vnd.docker.distribution.manifest.{kind}"
    if kind == "json":
        whole = "application/json"
    payload = schema1(world.registry, [BASE, BASE, TOP], signed=False)
    digest = f"sha256:{sha256(payload)}"
    world.registry.manifests["a:latest"] = whole, body
    world.registry.manifests[f"a:{digest}"] = whole, body
    pulled = await world.pull("a")
    assert len(pulled.layer_ids) == 2
    assert world.content(pulled.layer_ids[1], "f") == b"1"
    assert pulled.config_digest is not None
    with open(world.layout.layer(pulled.config_digest), "rb") as file:
        assert json.load(file)["config"] == {"Cmd": ["2"]}
    assert await world.pull(f"a@{digest}") == pulled


async def test_damaged_blob(world: World) -> None:
    world.registry.put_image("b:latest", [BASE])
    await world.pull("b")
    world.registry.put_image("a:latest", [BASE, TOP])
    digest = list(world.registry.blobs)[-1]
    blob = world.registry.blobs[digest]
    other = gzip.compress(tar([Entry("f", b"2")]), 1, mtime=0)
    world.registry.blobs[digest] = other + b"\0" * (len(blob) - len(other))
    with pytest.raises(ProvisionError) as error:
        await world.pull("a")
    assert digest in str(error.value)
    assert "instead of" in str(error.value)
    assert not os.path.exists(world.layout.layer(digest))
    world.registry.blobs[digest] = blob
    pulled = await world.pull("a")
    assert world.content(pulled.layer_ids[1], "f") == b"1"
    # the other layer was here before
    first = [path for path in world.registry.paths() if pulled.layer_ids[0] in path]
    assert len(first) == 1
    assert [layer.state for layer in world.progress.layers] == [
        LayerState.PRESENT,
        LayerState.DONE,
    ]


async def test_sha512(world: World) -> None:
    blob = gzip.compress(TOP, 1)
    digest = f"sha512:{hashlib.sha512(blob).hexdigest()}"
    world.registry.blobs[digest] = blob
    config = configuration([TOP])
    layer = {"digest": digest, "size": len(blob)}
    manifest = {"schemaVersion": 2, "config": described(config, None), "layers": [layer]}
    world.registry.put_blob(config)
    world.registry.put_manifest("a:latest", manifest, OCI)
    pulled = await world.pull("a")
    assert pulled.layer_ids == (digest,)
    assert world.content(digest, "f") == b"1"


@pytest.mark.parametrize(
    "name", ["busybox", "library/busybox", "docker.io/x/y:1"], ids=lambda text: text
)
async def test_wrong_manifest_for_a_digest(world: World, name: str) -> None:
    world.registry.put_image("a:latest", [BASE])
    kind, body = world.registry.manifests["a:latest"]
    digest = f"sha256:{sha256(name.encode())}"
    world.registry.manifests[f"a:{digest}"] = kind, body
    with pytest.raises(ProvisionError, match=f"sha256:{sha256(body)} instead of {digest}"):
        await world.pull(f"a@{digest}")


async def test_content_digest_of_the_registry_is_checked(world: World) -> None:
    world.registry.put_image("a:latest", [BASE])

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if "/manifests/" not in request.path:
            return None
        kind, body = world.registry.manifests["a:latest"]
        headers = {"Content-Type": kind, "Docker-Content-Digest": "sha256:" + "0" * 64}
        return web.Response(body=body, headers=headers)

    world.registry.hooks.append(hook)
    with pytest.raises(ProvisionError, match="instead of sha256:0000"):
        await world.pull("a")


@pytest.mark.parametrize("ranges", [True, False])
async def test_broken_connections_are_taken_up_again(world: World, ranges: bool) -> None:
    world.registry.put_image("a:latest", [TOP])
    world.registry.ranges = ranges
    blob = world.registry.blobs[list(world.registry.blobs)[-1]]
    broken: list[int] = []

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if f"blobs/sha256:{sha256(blob)}" in request.path and len(broken) < 3:
            start = 0
            if ranges and "Range" in request.headers:
                start = int(request.headers["Range"][6:-1])
            broken.append(start)
            if ranges and start:
                return once_range(blob, start)
            return await cut(request, blob[start : start + 100_000], len(blob) - start)
        return None

    def once_range(blob: bytes, start: int) -> web.Response:
        headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
        return web.Response(status=206, body=blob[start : start + 50_000], headers=headers)

    world.registry.hooks.append(hook)
    pulled = await world.pull("a")
    assert world.content(pulled.layer_ids[0], "f") == b"1"
    assert len(broken) == 3
    if ranges:
        asked = [h["Range"] for h in world.registry.headers(sha256(blob)) if "Range" in h]
        assert len(asked) == 3
        assert world.progress.received == len(blob)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("what", ["manifests", "blobs"])
async def test_failures_that_pass(world: World, status: int, what: str) -> None:
    world.registry.put_image("a:latest", [BASE])
    first = once(status, Retry_After="1")

    async def hook(request: web.Request) -> web.StreamResponse | None:
        return await first(request) if f"/{what}/" in request.path else None

    world.registry.hooks.append(hook)
    assert len((await world.pull("a")).layer_ids) == 1


async def test_failures_that_stay(world: World) -> None:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=503)

    world.registry.hooks.append(hook)
    with pytest.raises(ProvisionError) as error:
        await world.pull("a")
    assert str(error.value) == (
        "Unexpected HTTP response '503 Service Unavailable' when trying to get the manifest"
    )
    assert len(world.registry.requests) == 5


async def test_missing(world: World) -> None:
    with pytest.raises(ProvisionError) as error:
        await world.pull("a")
    assert str(error.value) == (
        "Unexpected HTTP response '404 Not Found' when trying to get the manifest"
    )
    assert len(world.registry.requests) == 1


async def test_foreign_layer(world: World) -> None:
    blob = gzip.compress(TOP, 1)
    config = configuration([TOP])
    world.registry.put_blob(config)
    urls = ["ftp://nowhere/", f"{world.registry.url}/missing", f"{world.registry.url}/elsewhere"]
    layer = described(blob, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=urls)
    manifest = {
        "schemaVersion": 2,
        "config": described(config, "application/vnd.docker.container.image.v1+json"),
        "layers": [layer],
    }
    world.registry.put_manifest("a:latest", manifest, DOCKER)

    async def hook(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=blob) if request.path == "/elsewhere" else None

    world.registry.hooks.append(hook)
    pulled = await world.pull("a")
    assert world.content(pulled.layer_ids[0], "f") == b"1"


async def test_an_image_that_did_not_change_is_not_downloaded(world: World) -> None:
    world.registry.put_image("a:latest", [BASE, TOP])
    first = await world.pull("a")
    world.registry.requests.clear()
    assert await world.pull("a") == first
    assert [path for path in world.registry.paths() if "/blobs/" in path] == []
    assert len([path for path in world.registry.paths() if "/manifests/" in path]) == 1
    changed = tar([Entry("new", b"2")])
    world.registry.put_image("a:latest", [BASE, changed])
    second = await world.pull("a")
    assert second.layer_ids[0] == first.layer_ids[0]
    assert second.layer_ids[1] != first.layer_ids[1]
    fetched = [path for path in world.registry.paths() if "/blobs/" in path]
    assert len(fetched) == 2  # the configuration and the layer that is new
    assert not any(first.layer_ids[0] in path for path in fetched)
    assert all(world.layers.has(layer_id, "rootfs") for layer_id in first.layer_ids)


async def test_concurrent_pulls_share_a_layer(world: World) -> None:
    go = asyncio.Event()
    world.registry.put_image("a:latest", [BASE, TOP])
    world.registry.put_image("b:latest", [TOP])
    digest = f"sha256:{sha256(gzip.compress(TOP, 1, mtime=0))}"

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if digest in request.path:
            await go.wait()
        return None

    world.registry.hooks.append(hook)
    first = world.scope.spawn(world.pull("a"), "a")
    await until(lambda: any(digest in path for path in world.registry.paths()))
    second = world.scope.spawn(world.pull("b"), "b")
    third = world.scope.spawn(world.pull("b:latest"), "c")
    await until(
        lambda: (
            sum(
                layer.state is LayerState.PULLING
                for pull in world.table.running
                for layer in pull.layers
            )
            >= 3
        )
    )
    # the one that began it goes away
    first.cancel()
    await asyncio.wait([first])
    third.cancel()
    await asyncio.wait([third])
    go.set()
    pulled = await second
    assert world.content(pulled.layer_ids[0], "f") == b"1"
    assert sum(digest in path for path in world.registry.paths()) == 1


async def test_last_cancellation_ends_the_download(world: World) -> None:
    world.registry.put_image("a:latest", [TOP])

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" in request.path and request.path.endswith(
            sha256(gzip.compress(TOP, 1, mtime=0))
        ):
            await asyncio.Event().wait()
        return None

    world.registry.hooks.append(hook)
    pull = world.scope.spawn(world.pull("a"), "a")
    await until(lambda: bool(world.left()))
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    await until(lambda: not len(world.scope))
    assert world.left() == []


async def test_stalled_blob(world: World) -> None:
    world.puller = world.make(stall_timeout_s=0.2, retry=RetryPolicy(attempts=2, sleep=no_sleep))
    world.registry.put_image("a:latest", [TOP])
    blob = world.registry.blobs[list(world.registry.blobs)[-1]]

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if sha256(blob) not in request.path:
            return None
        reply = web.StreamResponse(headers={"Content-Length": str(len(blob))})
        await reply.prepare(request)
        # one byte again and again, never enough to be a download
        for number in range(1000):
            await reply.write(blob[number : number + 1])
            await asyncio.sleep(0.03)
        return reply

    world.registry.hooks.append(hook)
    with pytest.raises(ProvisionError, match=r"no data for 0\.2 seconds"):
        await world.pull("a")


async def test_progress(world: World) -> None:
    world.registry.put_image("a:latest", [BASE, TOP])
    seen: list[JsonObject] = []
    end = world.table.watch(lambda pull: seen.append(pull.document()))
    pulled = await world.pull("a")
    end()
    assert seen[-1]["image"] == "a"
    assert seen[-1]["source"] == f"{world.registry.url}/v2/a"
    layers = seen[-1]["layers"]
    assert isinstance(layers, list)
    assert len(layers) == len(pulled.layer_ids)
    for layer in layers:
        assert isinstance(layer, dict)
        assert layer["state"] == "done"
        assert layer["received_bytes"] == layer["size_bytes"]
    before = len(seen)
    await world.pull("a")
    assert len(seen) == before


HUGE = b'{"x": "' + b"x" * (5 << 20) + b'"}'


@pytest.mark.parametrize(
    ("document", "kind", "why"),
    [
        (b"[]", DOCKER, "not a JSON object"),
        (b"{", DOCKER, "syntax error"),
        (b'{"schemaVersion": 2}', DOCKER, "has no 'config'"),
        (b'{"schemaVersion": 3, "layers": []}', OCI, "'schemaVersion' is not 2"),
        (b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX, "no image for linux"),
        (b'{"schemaVersion": 2, "manifests": []}', OCI, "is an index but is called"),
        (b'{"schemaVersion": 2, "manifests": [], "layers": []}', OCI_INDEX, "at once"),
        (b"{}", "text/html", "Unsupported manifest MIME type: text/html"),
        (b'{"schemaVersion": 1}', "application/json", "'schemaVersion' is not 2"),
        (HUGE, OCI, "the manifest has more than"),
        (b"[" * 100_000, OCI, "nested too deeply"),
    ],
)
async def test_unusable_manifests(world: World, document: bytes, kind: str, why: str) -> None:
    world.registry.manifests["a:latest"] = kind, document
    with pytest.raises(ProvisionError, match=why):
        await world.pull("a")


@pytest.mark.parametrize(
    "digest", ["../../etc/passwd", "sha256:../x", "md5:" + "0" * 32, "sha256:" + "A" * 64, ""]
)
async def test_names_in_manifests_lead_nowhere(world: World, digest: str) -> None:
    config = configuration([BASE])
    world.registry.put_blob(config)
    layer = {"mediaType": "x", "digest": digest, "size": 3}
    manifest = {"schemaVersion": 2, "config": described(config, None), "layers": [layer]}
    world.registry.put_manifest("a:latest", manifest, OCI)
    with pytest.raises(ProvisionError, match="digest"):
        await world.pull("a")
    assert len(world.registry.requests) == 1


async def test_blob_that_does_not_end(world: World) -> None:
    world.registry.put_image("a:latest", [TOP])
    blob = world.registry.blobs[list(world.registry.blobs)[-1]]

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if sha256(blob) not in request.path:
            return None
        reply = web.StreamResponse()
        reply.enable_chunked_encoding()
        await reply.prepare(request)
        while True:
            await reply.write(blob)

    world.registry.hooks.append(hook)
    with pytest.raises(ProvisionError, match=f"has more than {len(blob)} bytes"):
        await world.pull("a")


async def test_artifact(world: World) -> None:
    config = b"{}"
    world.registry.put_blob(config)
    manifest = {
        "schemaVersion": 2,
        "config": described(config, "application/vnd.cncf.helm.config.v1+json"),
        "layers": [described(b"x", "x")],
    }
    world.registry.put_manifest("a:latest", manifest, OCI)
    with pytest.raises(ProvisionError, match="an artifact of type 'application"):
        await world.pull("a")


async def test_store_gives_credentials_of_the_image(tmp_path: Path) -> None:
    basic = base64.b64encode(b"u:p").decode()

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") == f"Basic {basic}":
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    async with (
        Scope("test", on_error=lambda name, error: None) as scope,
        FakeRegistry() as registry,
    ):
        registry.put_image("a:latest", [TOP])
        registry.hooks.append(hook)
        config = ProvisionerConfig(
            work_dir=str(tmp_path),
            docker_store_dir=str(tmp_path / "store"),
            docker_registry=registry.url,
            docker_config={"auths": {registry.host: {"auth": base64.b64encode(b"u:q").decode()}}},
        )
        store = create(config, scope, Metrics())
        image = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="a"))
        with pytest.raises(ProvisionError, match="Got unexpected BASIC Authorization response"):
            await store.get(image, "copy")
        secret = image.docker.config
        secret.type = pb.Secret.REFERENCE
        secret.reference.name = "x"
        with pytest.raises(ProvisionError, match="Default secret resolver cannot resolve refer"):
            await store.get(image, "copy")
        secret.Clear()
        secret.type = pb.Secret.VALUE
        secret.value.data = json.dumps({"auths": {registry.url: {"auth": basic}}}).encode()
        info: ImageInfo = await store.get(image, "copy")
        assert len(info.layers) == 1


# --- mirrors ---


def mirrored(world: World, mirror: FakeRegistry, **more: Any) -> RegistryPuller:
    """Return a puller that asks ``mirror`` first."""
    folder = world.folder / "hosts" / world.registry.host
    folder.mkdir(parents=True)
    lines = [f'[host."{mirror.url}"]', *(f"{name} = {value}" for name, value in more.items())]
    (folder / "hosts.toml").write_text("\n".join(lines))
    return world.make(rules=HostRules(str(world.folder / "hosts")))


async def test_mirror(world: World) -> None:
    async with FakeRegistry() as mirror:
        world.puller = mirrored(world, mirror)
        mirror.put_image("a:latest", [TOP])
        pulled = await world.pull("a")
        assert world.content(pulled.layer_ids[0], "f") == b"1"
        assert world.registry.requests == []
        assert all(path.endswith(f"?ns={world.registry.host}") for path in mirror.paths())


async def test_mirror_for_digests_only(world: World) -> None:
    async with FakeRegistry() as mirror:
        world.puller = mirrored(world, mirror, capabilities='["pull"]')
        for registry in (mirror, world.registry):
            registry.put_image("a:latest", [TOP])
        pulled = await world.pull("a")
        assert len(pulled.layer_ids) == 1
        assert mirror.paths() == []
        digest = f"sha256:{sha256(world.registry.manifests['a:latest'][1])}"
        await world.pull(f"a@{digest}")
        assert len(mirror.paths()) == 1


@pytest.mark.parametrize("how", ["missing", "damaged", "broken", "down", "locked"])
async def test_mirror_that_fails(world: World, how: str) -> None:
    async with FakeRegistry() as mirror:
        world.puller = mirrored(world, mirror)
        for registry in (mirror, world.registry):
            registry.put_image("a:latest", [TOP])
        digest = list(mirror.blobs)[-1]
        whole = mirror.blobs[digest]

        async def hook(request: web.Request) -> web.StreamResponse | None:
            if how == "locked":
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if how == "broken" and digest in request.path:
                return await cut(request, whole[:100_000], len(whole))
            return None

        mirror.hooks.append(hook)
        if how == "missing":
            del mirror.blobs[digest]
        elif how == "damaged":
            mirror.blobs[digest] = whole[:1000] + b"\0" * (len(whole) - 1000)
        elif how == "down":
            await mirror.server.close()
        pulled = await world.pull("a")
        assert world.content(pulled.layer_ids[0], "f") == b"1"
        ranges = [h.get("Range") for h in world.registry.headers(digest)]
        assert ranges == (["bytes=100000-"] if how == "broken" else [None])


async def test_credentials_are_not_for_mirrors(world: World) -> None:
    async with FakeRegistry() as mirror:
        world.puller = mirrored(world, mirror)
        for registry in (mirror, world.registry):
            registry.put_image("a:latest", [TOP])
        mirror.blobs.clear()
        config = json.dumps({"auths": {world.registry.host: {"auth": "dTpw"}}}).encode()
        await world.pull("a", docker_config=config)
        assert all("Authorization" not in headers for headers in mirror.headers("/"))
        assert all("Authorization" in headers for headers in world.registry.headers("/"))


async def test_users_own_credentials(world: World) -> None:
    home = world.folder / "home" / ".docker"
    home.mkdir(parents=True)
    auths = {world.registry.host: {"auth": "dTpw"}}
    (home / "config.json").write_text(json.dumps({"auths": auths}))
    world.puller = world.make(environment={"HOME": str(world.folder / "home")})
    world.registry.put_image("a:latest", [TOP])
    await world.pull("a")
    assert all(h["Authorization"] == "Basic dTpw" for h in world.registry.headers("/"))
    (home / "config.json").write_text("damaged")
    world.registry.requests.clear()
    await world.pull("a:latest")
    assert all("Authorization" not in h for h in world.registry.headers("/"))


async def test_cancelled_at_any_moment(world: World) -> None:
    """Whenever a pull is cancelled, nothing stays but whole layers, and another one works."""
    world.registry.put_image("a:latest", [BASE, TOP])
    ended = False
    step = 0
    while not ended:
        pull = world.scope.spawn(world.pull("a"), f"pull cancelled at {step}")
        for _ in range(step):
            await asyncio.sleep(0)
        pull.cancel()
        await asyncio.wait([pull])
        ended = not pull.cancelled()
        await until(lambda: not len(world.scope))
        assert world.left() == []
        assert world.table.running == ()
        step = step + 3 if step < 150 else step * 2
    assert len(pull.result().layer_ids) == 2
