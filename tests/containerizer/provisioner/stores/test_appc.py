# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import lzma
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from backports import zstd

from containerizer.provisioner.base import Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.stores.appc import create
from mesos_compat.base.errors import FlagError, ManifestError, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.provisioner.images import LABELS, Entry, aci, appc_document, write
from tests.suites.image_stores import StoreSuite, until
from tests.suites.openpgp import Signer, needs_gpg

ALL = {label["name"]: label["value"] for label in LABELS}
OS_ARCH = {"os": "linux", "arch": "amd64"}


def appc(
    name: str,
    labels: dict[str, str] | None = None,
    cached: bool = True,
    image_id: str | None = None,
) -> pb.Image:
    wanted = ALL if labels is None else labels
    return pb.Image(
        type=pb.Image.APPC,
        appc=pb.Image.Appc(
            name=name,
            id=image_id,
            labels=pb.Labels(labels=[pb.Label(key=k, value=v) for k, v in wanted.items()]),
        ),
        cached=cached,
    )


def store_of(tmp_path: Path, scope: Scope, prefix: str | None = None, **flags: Any) -> Store:
    config = ProvisionerConfig(
        work_dir=str(tmp_path),
        appc_store_dir=str(tmp_path / "store"),
        appc_simple_discovery_uri_prefix=prefix or f"{tmp_path}/aci/",
        **flags,
    )
    return create(config, scope, Metrics())


def put(tmp_path: Path, name: str, manifest: Any, contents: dict[str, bytes], **more: Any) -> str:
    image_id, data = aci(manifest, contents, **more)
    write(str(tmp_path / "aci" / f"{name}-latest-linux-amd64.aci"), data)
    return image_id


async def get(tmp_path: Path, image: pb.Image, **flags: Any) -> Any:
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope, **flags)
        await store.recover()
        try:
            return await store.get(image, "copy")
        finally:
            assert os.listdir(tmp_path / "store" / "staging") == []
            store.close()


class TestSuite(StoreSuite):
    def make(self, tmp_path: Path, scope: Scope) -> Store:
        return store_of(tmp_path, scope)

    def image(self, tmp_path: Path, content: bytes = b"1") -> pb.Image:
        put(tmp_path, "img", appc_document("img"), {"f": content, "g": os.urandom(3000)})
        return appc("img")

    def hide(self, tmp_path: Path) -> None:
        os.unlink(tmp_path / "aci" / "img-latest-linux-amd64.aci")

    def break_image(self, tmp_path: Path) -> None:
        os.truncate(tmp_path / "aci" / "img-latest-linux-amd64.aci", 2000)

    def staging(self, tmp_path: Path) -> str:
        return str(tmp_path / "store" / "staging")


@pytest.mark.parametrize("compress", [True, False])
async def test_layout(tmp_path: Path, compress: bool) -> None:
    image_id = put(
        tmp_path,
        "img",
        appc_document("img", app={"exec": ["/a"]}),
        {"f": b"1"},
        compress=compress,
        extra=[Entry("other", b"left out")],
    )
    info = await get(tmp_path, appc("img"))
    root = tmp_path / "store" / "images" / image_id
    assert info.layers == (str(root / "rootfs"),)
    assert sorted(os.listdir(root)) == ["manifest", "origin.json", "rootfs"]
    assert info.appc_manifest.app.exec == ["/a"]


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress, zstd.compress])
async def test_compressions(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    image_id, data = aci(appc_document("img"), {"f": b"1"}, compress=False)
    write(str(tmp_path / "aci" / "img-latest-linux-amd64.aci"), compress(data))
    assert image_id in (await get(tmp_path, appc("img"))).layers[0]


async def test_labels_that_are_not_asked_for_miss_the_cache(tmp_path: Path) -> None:
    put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    await get(tmp_path, appc("img", OS_ARCH))
    os.unlink(tmp_path / "aci" / "img-latest-linux-amd64.aci")
    await get(tmp_path, appc("img"))
    path = tmp_path / "aci" / "img-latest-linux-amd64.aci"
    with pytest.raises(ProvisionError) as error:
        await get(tmp_path, appc("img", OS_ARCH))
    assert str(error.value) == (
        f"Failed to perform 'copy': cp: cannot stat '{path}': No such file or directory\n"
    )


async def test_no_labels_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    assert (await get(tmp_path, appc("img", {}))).layers


async def test_ids(tmp_path: Path) -> None:
    image_id = put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    for wrong in ("sha512-" + "0" * 128, "../../..", "x"):
        assert (await get(tmp_path, appc("img", image_id=wrong))).layers
    os.unlink(tmp_path / "aci" / "img-latest-linux-amd64.aci")
    assert (await get(tmp_path, appc("other name", {}, image_id=image_id))).layers


@pytest.mark.parametrize(
    ("manifest", "what"),
    [
        (
            appc_document("img", acKind="PodManifest"),
            "Failed to parse manifest from '{}/manifest': Schema validation failed: Incorrect"
            " acKind field: PodManifest",
        ),
        (
            {"acVersion": "1", "name": "img"},
            "Failed to parse manifest from '{}/manifest': Protobuf parse failed: Missing required"
            " fields: acKind",
        ),
        (
            b"{oops",
            "Failed to parse manifest from '{}/manifest': JSON parse failed: syntax error at line"
            " 1 near: oops",
        ),
        (None, "Failed to read manifest from '{}/manifest': No such file or directory"),
    ],
)
async def test_broken_manifests(tmp_path: Path, manifest: Any, what: str) -> None:
    image_id = put(tmp_path, "img", manifest, {"f": b"1"})
    root = tmp_path / "store" / "images" / image_id
    with pytest.raises(ProvisionError) as error:
        await get(tmp_path, appc("img"))
    assert str(error.value) == (
        f"Failed to add image 'img' with image id '{image_id}' to the cache: {what.format(root)}"
    )
    assert os.listdir(tmp_path / "store" / "images") == []


async def test_manifest_that_is_a_link(tmp_path: Path) -> None:
    put(tmp_path, "img", None, {}, extra=[Entry("manifest", kind="symlink", to="/etc/passwd")])
    with pytest.raises(ProvisionError, match="Too many levels of symbolic links"):
        await get(tmp_path, appc("img"))


async def test_rootfs_that_is_a_link(tmp_path: Path) -> None:
    put(
        tmp_path,
        "img",
        appc_document("img"),
        {},
        extra=[Entry("rootfs", kind="symlink", to="/etc")],
    )
    with pytest.raises(ProvisionError, match="is no directory"):
        await get(tmp_path, appc("img"))


def needs(*names: str) -> list[dict[str, Any]]:
    return [{"imageName": name, "labels": LABELS} for name in names]


async def test_dependencies_in_order(tmp_path: Path) -> None:
    put(tmp_path, "d", appc_document("d", app={"exec": ["/d"]}), {"f": b"d"})
    put(tmp_path, "b", appc_document("b", dependencies=needs("d")), {"f": b"b"})
    put(tmp_path, "c", appc_document("c", dependencies=needs("d")), {"f": b"c"})
    put(
        tmp_path,
        "a",
        appc_document("a", dependencies=needs("b", "c"), app={"exec": ["/a"]}),
        {"f": b"a"},
    )
    info = await get(tmp_path, appc("a"))
    assert [Path(layer, "f").read_text() for layer in info.layers] == ["d", "b", "d", "c", "a"]
    assert info.appc_manifest.app.exec == ["/a"]


async def test_dependencies_in_a_circle(tmp_path: Path) -> None:
    put(tmp_path, "a", appc_document("a", dependencies=needs("b")), {"f": b"a"})
    put(tmp_path, "b", appc_document("b", dependencies=needs("a")), {"f": b"b"})
    with pytest.raises(ProvisionError, match="depends on itself"):
        await get(tmp_path, appc("a"))


async def test_dependencies_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containerizer.provisioner.stores.appc.MAX_DEPTH", 3)
    for number in range(3):
        document = appc_document(f"i{number}", dependencies=needs(f"i{number + 1}"))
        put(tmp_path, f"i{number}", document, {})
    # what is too far away is not even fetched
    with pytest.raises(ProvisionError, match="'i3' consists of too many images"):
        await get(tmp_path, appc("i0"))
    monkeypatch.setattr("containerizer.provisioner.stores.appc.MAX_DEPTH", 4)
    put(tmp_path, "i3", appc_document("i3"), {})
    assert len((await get(tmp_path, appc("i0"))).layers) == 4


async def test_dependencies_that_explode(tmp_path: Path) -> None:
    for number in range(12):
        dependencies = needs(*[f"i{number - 1}"] * 2) if number else []
        put(tmp_path, f"i{number}", appc_document(f"i{number}", dependencies=dependencies), {})
    with pytest.raises(ProvisionError, match="consists of too many images"):
        await get(tmp_path, appc("i11"))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("dependency", "why"),
    [
        ({"imageID": "sha512-" + "0" * 128}, "was asked for as sha512-000"),
        ({"size": 77}, "was asked for with 77 bytes but has"),
        ({"labels": [{"name": "version", "value": "2"}]}, "asked for was 'b' with"),
    ],
)
async def test_dependencies_that_are_not_what_was_asked_for(
    tmp_path: Path, dependency: dict[str, Any], why: str, cached: bool
) -> None:
    put(tmp_path, "b", appc_document("b"), {"f": b"b"})
    data = (tmp_path / "aci" / "b-latest-linux-amd64.aci").read_bytes()
    write(str(tmp_path / "aci" / "b-2-linux-amd64.aci"), data)
    needed = {"imageName": "b", "labels": LABELS, **dependency}
    put(tmp_path, "a", appc_document("a", dependencies=[needed]), {"f": b"a"})
    if cached:
        await get(tmp_path, appc("b"))
    with pytest.raises(ManifestError, match=why):
        await get(tmp_path, appc("a"))
    lenient = get(tmp_path, appc("a"), appc_extensions=frozenset())
    if "labels" in dependency:
        with pytest.raises(ManifestError, match=why):
            await lenient
    else:
        assert len((await lenient).layers) == 2


async def test_dependencies_that_are_what_was_asked_for(tmp_path: Path) -> None:
    image_id = put(tmp_path, "b", appc_document("b"), {"f": b"b"})
    size = os.path.getsize(tmp_path / "aci" / "b-latest-linux-amd64.aci")
    needed = [
        {"imageName": "b", "labels": LABELS[:1], "imageID": image_id, "size": size},
        {"imageName": "b", "labels": LABELS, "size": size},
    ]
    put(tmp_path, "a", appc_document("a", dependencies=needed), {"f": b"a"})
    assert len((await get(tmp_path, appc("a"))).layers) == 3
    os.unlink(tmp_path / "aci" / "b-latest-linux-amd64.aci")
    assert len((await get(tmp_path, appc("a"))).layers) == 3


async def test_path_whitelist(tmp_path: Path) -> None:
    document = appc_document("b", pathWhitelist=["/f", "/b"])
    put(tmp_path, "b", document, {"f": b"b", "b": b"b", "gone": b"b"})
    more = {"dependencies": needs("b"), "pathWhitelist": ["/f", "/kept"]}
    put(tmp_path, "a", appc_document("a", **more), {"kept": b"a", "dropped": b"a"})
    put(tmp_path, "c", appc_document("c", dependencies=needs("b")), {"f": b"c"})

    async def trees(name: str, **flags: Any) -> list[list[str]]:
        found = await get(tmp_path, appc(name), **flags)
        return [sorted(os.listdir(layer)) for layer in found.layers]

    assert await trees("b") == [["b", "f"]]
    assert await trees("a") == [["f", "kept"]]
    assert await trees("c") == [["b", "f"], ["f"]]
    assert await trees("a") == [["f", "kept"]]
    ignored = await trees("a", appc_extensions=frozenset({"dependency_ids"}))
    assert ignored == [["b", "f", "gone"], ["dropped", "kept"]]
    assert len(os.listdir(tmp_path / "store" / "rendered")) == 2
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        await store.recover()
        used = await store.get(appc("a"), "copy")
        await store.prune([], used.layers)
        await until(lambda: not len(scope))
        assert len(os.listdir(tmp_path / "store" / "rendered")) == 1
        assert sorted(os.listdir(used.layers[0])) == ["f", "kept"]
        store.close()


async def test_unusable_path_whitelist(tmp_path: Path) -> None:
    put(tmp_path, "b", appc_document("b", pathWhitelist=["/a/../../x"]), {"f": b"b"})
    with pytest.raises(ManifestError, match="pathWhitelist"):
        await get(tmp_path, appc("b"))


@needs_gpg
async def test_signatures(tmp_path: Path) -> None:
    put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    path = tmp_path / "aci" / "img-latest-linux-amd64.aci"
    keys = tmp_path / "keys"
    keys.mkdir()
    trusted = {"appc_trusted_keys": str(keys)}
    assert (await get(tmp_path, appc("img"))).layers
    with pytest.raises(ProvisionError, match="is not trusted"):
        await get(tmp_path, appc("img"), **trusted)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        alice = Signer(Path(folder, "a"), "alice")
        (keys / "alice.gpg").write_bytes(alice.key(armour=False))
        Path(f"{path}.asc").write_bytes(alice.sign(path))
        alice.close()
    first = await get(tmp_path, appc("img"), **trusted)
    os.unlink(path)
    assert await get(tmp_path, appc("img"), **trusted) == first


async def test_details(tmp_path: Path) -> None:
    app = {"exec": ["/a"], "user": "u", "mountPoints": [{"name": "d", "path": "/data"}]}
    put(tmp_path, "img", appc_document("img", app=app), {"f": b"1"})
    found = (await get(tmp_path, appc("img"))).appc_app
    assert (found.user, found.mount_points[0].path) == ("u", "/data")
    put(tmp_path, "img", appc_document("img", app={**app, "mountPoints": [{"path": "x"}]}), {})
    assert (await get(tmp_path, appc("img", cached=False))).appc_app is None


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"appc_trusted_keys": "/does/not/exist"}, "does not exist"),
        ({"appc_trust_discovered_keys": True}, "only besides a directory"),
        ({"appc_extensions": frozenset({"magic"})}, "Unknown AppC extension 'magic'"),
    ],
)
async def test_unusable_flags(tmp_path: Path, flags: dict[str, Any], why: str) -> None:
    async with Scope("test") as scope:
        with pytest.raises(FlagError, match=why):
            store_of(tmp_path, scope, **flags)


async def test_operators_may_put_images_there(tmp_path: Path) -> None:
    image_id = put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    await get(tmp_path, appc("img"))
    images = tmp_path / "store" / "images"
    os.rename(images / image_id, images / "my image")
    (images / "no manifest").mkdir()
    (images / "file").write_text("")
    os.unlink(tmp_path / "aci" / "img-latest-linux-amd64.aci")
    info = await get(tmp_path, appc("img"))
    assert info.layers == (str(images / "my image" / "rootfs"),)


async def test_http(tmp_path: Path) -> None:
    image_id = put(tmp_path, "img", appc_document("img"), {"f": b"1"})
    app = web.Application()
    app.router.add_static("/files/", tmp_path / "aci")
    async with TestServer(app) as server, Scope("test", on_error=lambda n, e: None) as scope:
        prefix = str(server.make_url("/files/"))
        store = store_of(tmp_path, scope, prefix)
        await store.recover()
        info = await store.get(appc("img"), "copy")
        assert image_id in info.layers[0]
        with pytest.raises(ProvisionError) as error:
            await store.get(appc("none"), "copy")
        uri = f"{prefix}none-latest-linux-amd64.aci"
        assert str(error.value) == f"Unexpected HTTP response code for '{uri}': 404 Not Found"
    assert os.listdir(tmp_path / "store" / "staging") == []


async def test_prefix_is_checked(tmp_path: Path) -> None:
    async with Scope("test") as scope:
        with pytest.raises(FlagError) as error:
            store_of(tmp_path, scope, "ftp://x/")
    assert str(error.value) == (
        "Failed to create image fetcher: Invalid simple discovery uri prefix: ftp://x/"
    )


async def test_prune(tmp_path: Path) -> None:
    documents = {
        "base": appc_document("base"),
        "kept": appc_document("kept", dependencies=[{"imageName": "base", "labels": LABELS}]),
        "used": appc_document("used"),
        "gone": appc_document("gone"),
    }
    ids = {name: put(tmp_path, name, each, {name: b"1"}) for name, each in documents.items()}
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        await store.recover()
        found = {name: await store.get(appc(name), "copy") for name in documents}
        await store.prune([appc("kept"), appc("nosuch")], found["used"].layers)
        await until(lambda: not len(scope))
        left = {ids["base"], ids["kept"], ids["used"]}
        assert set(os.listdir(tmp_path / "store" / "images")) == left
        assert os.listdir(tmp_path / "store" / "gc") == []
        os.rename(tmp_path / "aci", tmp_path / "away")
        assert await store.get(appc("kept"), "copy") == found["kept"]
        with pytest.raises(ProvisionError):
            await store.get(appc("gone"), "copy")
        os.rename(tmp_path / "away", tmp_path / "aci")
        assert await store.get(appc("gone"), "copy") == found["gone"]
