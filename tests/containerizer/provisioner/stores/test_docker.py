# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from containerizer.provisioner.base import Store
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.provisioner.stores.docker import DockerStore, create, create_store
from mesos_compat.base.checkpoint import read_record
from mesos_compat.base.errors import FlagError, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.provisioner.docker import (
    message_pb2 as stored,
)
from tests.containerizer.provisioner.images import (
    Entry,
    docker25,
    legacy,
    saved,
    sha256,
    tar,
    write,
)
from tests.suites.image_stores import StoreSuite, until

BASE = tar([Entry("base", b"x" * 3000)])


def docker(name: str, cached: bool = True) -> pb.Image:
    return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name), cached=cached)


def store_of(
    tmp_path: Path, scope: Scope, metrics: Metrics | None = None, shared: bool = False
) -> DockerStore:
    os.makedirs(tmp_path / "registry", exist_ok=True)
    config = ProvisionerConfig(
        work_dir=str(tmp_path),
        docker_store_dir=str(tmp_path / "store"),
        docker_registry=str(tmp_path / "registry"),
        shared_stores=shared,
    )
    return create_store(config, scope, metrics or Metrics())


def put(tmp_path: Path, name: str, data: bytes) -> None:
    write(str(tmp_path / "registry" / f"{name}.tar"), data)


class TestSuite(StoreSuite):
    def make(self, tmp_path: Path, scope: Scope) -> Store:
        return store_of(tmp_path, scope)

    def image(self, tmp_path: Path, content: bytes = b"1") -> pb.Image:
        put(tmp_path, "busybox", legacy([BASE, tar([Entry("f", content)])]))
        return docker("busybox")

    def hide(self, tmp_path: Path) -> None:
        os.unlink(tmp_path / "registry" / "busybox.tar")

    def break_image(self, tmp_path: Path) -> None:
        os.truncate(tmp_path / "registry" / "busybox.tar", 6000)

    def staging(self, tmp_path: Path) -> str:
        return str(tmp_path / "store" / "staging")


async def test_layout_and_record(tmp_path: Path) -> None:
    layer = tar([Entry("f", b"1")])
    put(tmp_path, "reg.io:5000/a/b:1", docker25([layer], "reg.io:5000/a/b:1", Env=["A=1"]))
    metrics = Metrics()
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope, metrics)
        await store.recover()
        info = await store.get(docker("reg.io:5000/a/b:1"), "copy")
        again = await store.get(docker("reg.io:5000/a/b:1"), "copy")
    assert again == info
    layer_id = f"sha256:{sha256(layer)}"
    root = tmp_path / "store"
    assert info.layers == (str(root / "layers" / layer_id / "rootfs"),)
    assert info.docker_manifest is not None
    assert info.docker_manifest.config.Env == ["A=1"]
    assert info.config is not None
    assert sorted(os.listdir(root)) == ["gc", "layers", "staging", "storedImages"]
    assert sorted(os.listdir(root / "layers")) == sorted([layer_id, os.path.basename(info.config)])
    record = stored.Images.FromString(read_record(str(root / "storedImages")) or b"")
    [image] = record.images
    assert image.reference.registry == "reg.io:5000"
    assert image.reference.repository == "a/b"
    assert image.reference.tag == "1"
    assert not image.reference.HasField("digest")
    assert list(image.layer_ids) == [layer_id]
    assert image.config_digest == os.path.basename(info.config)
    timer = "containerizer/mesos/provisioner/docker_store/image_pull_ms"
    assert metrics.snapshot()[timer] > 0
    assert f"{timer}/count" not in metrics.snapshot()


async def test_second_backend_adds_its_tree(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    put(tmp_path, "a", legacy([BASE, tar([Entry(".wh.base")])], name="a"))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        plain = await store.get(docker("a"), "copy")
        overlay = await store.get(docker("a"), "overlay")
        assert await store.get(docker("a"), "copy") == plain
    top = os.path.dirname(plain.layers[1])
    assert os.path.dirname(overlay.layers[1]) == top
    found = ["VERSION", "implicit.json", "json", "rootfs", "rootfs.overlay"]
    assert sorted(os.listdir(top)) == found
    assert os.listdir(plain.layers[1]) == [".wh.base"]
    assert os.listdir(overlay.layers[1]) == ["base"]


async def test_two_backends_at_the_same_time(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    put(tmp_path, "a", legacy([BASE, tar([Entry(".wh.base")])], name="a"))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        plain, overlay = await asyncio.gather(
            store.get(docker("a"), "copy"), store.get(docker("a"), "overlay")
        )
    assert os.listdir(plain.layers[1]) == [".wh.base"]
    assert os.listdir(overlay.layers[1]) == ["base"]


@pytest.mark.parametrize("lost", ["rootfs", "json", ""])
async def test_lost_parts_are_pulled_again(tmp_path: Path, lost: str) -> None:
    put(tmp_path, "a", legacy([BASE, tar([Entry("f", b"1")])], name="a"))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        info = await store.get(docker("a"), "copy")
        below = os.stat(info.layers[0]).st_ino
        layer = os.path.dirname(info.layers[1])
        for name in os.listdir(layer) if not lost else [lost]:
            os.rename(os.path.join(layer, name), tmp_path / f"lost-{name}")
        if lost == "json":
            os.rename(info.layers[1], tmp_path / "lost-tree")
        assert await store.get(docker("a"), "copy") == info
        assert os.stat(info.layers[0]).st_ino == below


@pytest.mark.parametrize(
    "name", ["nosuch", "nosuch:tag", "lib/none", "reg.io:5000/a/b:1", "a@sha256:x"]
)
async def test_missing_archive(tmp_path: Path, name: str) -> None:
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError) as error:
            await store.get(docker(name), "copy")
    path = tmp_path / "registry" / f"{name}.tar"
    assert str(error.value) == f"Failed to find archive for image '{name}' at '{path}'"


async def test_absolute_names_stay_below_the_registry(tmp_path: Path) -> None:
    outside = write(str(tmp_path / "outside.tar"), legacy([BASE], name="x"))
    name = outside.removesuffix(".tar")
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError, match="Failed to find archive for image"):
            await store.get(docker(name), "copy")


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (b"garbage" * 100, "not a tar archive"),
        (tar([Entry("../../../evil", b"e")]), "member '../../../evil': name contains '..'"),
        (
            tar([Entry("esc", kind="symlink", to="/tmp"), Entry("esc/evil", b"e")]),
            "member 'esc/evil': 'esc' is a symbolic link",
        ),
    ],
)
async def test_hostile_layers(tmp_path: Path, layer: bytes, why: str) -> None:
    put(tmp_path, "bad", legacy([BASE, layer], name="bad"))
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError) as error:
            await store.get(docker("bad"), "copy")
    text = str(error.value)
    archive = tmp_path / "registry" / "bad.tar"
    assert text.startswith("Collect failed: Failed to extract layer '")
    assert text.endswith(f"' of image 'bad' from '{archive}': {why}")
    assert not os.path.exists(tmp_path / "store" / "layers")
    assert os.listdir(tmp_path / "store" / "staging") == []


async def test_layer_that_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "a", legacy([BASE], name="a", drop="layer.tar"))
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError, match=r"of image 'a' .*: No such file or directory"):
            await store.get(docker("a"), "copy")


async def test_layer_whose_content_is_another(tmp_path: Path) -> None:
    data = saved([BASE], None).replace(b"x" * 100, b"y" * 100)
    put(tmp_path, "a", data)
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError, match=f"instead of sha256:{sha256(BASE)}"):
            await store.get(docker("a"), "copy")


async def test_null_configuration(tmp_path: Path) -> None:
    put(tmp_path, "a", legacy([BASE], name="a", config=None))
    async with Scope("test") as scope:
        info = await store_of(tmp_path, scope).get(docker("a"), "copy")
    assert info.docker_manifest is not None
    assert info.docker_manifest.HasField("config")


async def test_prune(tmp_path: Path) -> None:
    for name in ("kept", "used", "gone"):
        put(tmp_path, name, saved([BASE, tar([Entry("f", name.encode())])], None, Cmd=[name]))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        await store.recover()
        await store.prune([], [])
        infos = {n: await store.get(docker(n), "copy") for n in ("kept", "used", "gone")}
        used = infos["used"]
        assert used.config is not None
        await store.prune([docker("kept")], [*used.layers, used.config])
        await until(lambda: not len(scope))
    layers = tmp_path / "store" / "layers"
    left = {os.path.dirname(layer) for n in ("kept", "used") for layer in infos[n].layers}
    left |= {str(infos[n].config) for n in ("kept", "used")}
    assert {str(layers / name) for name in os.listdir(layers)} == left
    assert os.listdir(tmp_path / "store" / "gc") == []
    record = stored.Images.FromString(read_record(str(tmp_path / "store" / "storedImages")) or b"")
    assert [image.reference.repository for image in record.images] == ["kept"]


async def test_damaged_record(tmp_path: Path) -> None:
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        put(tmp_path, "a", legacy([BASE], name="a"))
        for damaged in (b"", b"\x05\0\0\0abc", b"\x03\0\0\0abc", b"\xff" * 100):
            write(str(tmp_path / "store" / "storedImages"), damaged)
            await store.recover()
            assert not store.images
            info = await store.get(docker("a"), "copy")
            assert list(store.images) == ["a"]
            inode = os.stat(info.layers[0]).st_ino
        await store.recover()
        assert await store.get(docker("a"), "copy") == info
        assert os.stat(info.layers[0]).st_ino == inode
        os.unlink(tmp_path / "store" / "storedImages")
        os.mkdir(tmp_path / "store" / "storedImages")
        with pytest.raises(ProvisionError, match="Failed to read images from"):
            await store.recover()


@pytest.mark.parametrize("damage", [b"", b"{", b"not what it was"])
@pytest.mark.parametrize("kind", ["legacy", "saved"])
async def test_damaged_documents_are_fetched_again(
    tmp_path: Path, damage: bytes, kind: str
) -> None:
    layers = [BASE, tar([Entry("f", b"1")])]
    put(tmp_path, "a", legacy(layers, name="a") if kind == "legacy" else saved(layers, None))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        info = await store.get(docker("a"), "copy")
        path = info.config or os.path.join(os.path.dirname(info.layers[-1]), "json")
        write(path, damage)
        store.close()
        store = store_of(tmp_path, scope)
        await store.recover()
        assert await store.get(docker("a"), "copy") == info
        assert Path(path).read_bytes() != damage
        store.close()


@pytest.mark.parametrize("what", ["layer", "tree"])
async def test_a_file_in_the_place_of_a_layer(tmp_path: Path, what: str) -> None:
    put(tmp_path, "a", saved([BASE], None))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        info = await store.get(docker("a"), "copy")
        path = Path(info.layers[0] if what == "tree" else os.path.dirname(info.layers[0]))
        path.rename(tmp_path / "away")
        path.write_bytes(b"")
        assert await store.get(docker("a"), "copy") == info
        assert os.listdir(info.layers[0]) == ["base"]


async def test_commands_share_a_store(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path, name, saved([BASE, tar([Entry("f", name.encode())])], None))
    async with Scope("test") as scope:
        first, second = (store_of(tmp_path, scope, shared=True) for _ in range(2))
        for store, name in ((first, "a"), (second, "b")):
            await store.recover()
            async with store.using():
                await store.get(docker(name), "copy")
        async with first.using():
            assert sorted(first.images) == ["a", "b"]
            os.mkdir(tmp_path / "store" / "staging" / "under-way")
            await second.recover()
            assert os.listdir(tmp_path / "store" / "staging") == ["under-way"]
            with pytest.raises(FlagError, match="is used by process"):
                store_of(tmp_path, scope)
            forgetting = asyncio.ensure_future(second.forget(["a"], []))
            await asyncio.sleep(0)
            assert sorted(first.images) == ["a", "b"]
        await forgetting
        await second.recover()
        assert os.listdir(tmp_path / "store" / "staging") == []
        async with first.using():
            assert sorted(first.images) == ["b"]
        agent = store_of(tmp_path, scope)
        second._lock._patience_s = 0.0
        with pytest.raises(ProvisionError, match="is used by process"):
            async with second.using():
                pass
        with pytest.raises(ProvisionError, match="is used by process"):
            await second.forget(["b"], [])
        agent.close()


async def test_an_image_fetched_again_leaves_the_old_one_alone(tmp_path: Path) -> None:
    old, new = (saved([BASE, tar([Entry("f", data)])], None) for data in (b"1", b"2"))
    put(tmp_path, "a", old)
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        before = await store.get(docker("a"), "copy")
        put(tmp_path, "a", new)
        after = await store.get(docker("a", cached=False), "copy")
        assert after.layers[0] == before.layers[0]
        assert Path(before.layers[1], "f").read_bytes() == b"1"
        assert Path(after.layers[1], "f").read_bytes() == b"2"
        assert await store.get(docker("a"), "copy") == after
        assert before.config is not None
        await store.prune([docker("a")], [*before.layers, before.config])
        await until(lambda: not len(scope))
        assert Path(before.layers[1], "f").read_bytes() == b"1"
        await store.prune([docker("a")], [])
        await until(lambda: not len(scope))
        assert not os.path.exists(before.layers[1])
        assert not os.path.exists(before.config)
        assert await store.get(docker("a"), "copy") == after


async def test_no_prune_during_a_pull(tmp_path: Path) -> None:
    put(tmp_path, "a", saved([BASE], None))
    async with Scope("test") as scope:
        store = store_of(tmp_path, scope)
        pull = asyncio.ensure_future(store.get(docker("a"), "copy"))
        await until(lambda: bool(os.listdir(tmp_path / "store" / "staging")))
        with pytest.raises(ProvisionError, match="Cannot prune and pull at the same time"):
            await store.prune([], [])
        assert (await pull).layers
        await store.prune([], [])
    assert (tmp_path / "store" / "storedImages").read_bytes() == bytes(4)


async def test_record_that_leads_out(tmp_path: Path) -> None:
    evil = stored.Image(layer_ids=["../../.."])
    evil.reference.repository = "a"
    data = stored.Images(images=[evil]).SerializeToString()
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        write(str(tmp_path / "store" / "storedImages"), len(data).to_bytes(4, "little") + data)
        await store.recover()
        with pytest.raises(ProvisionError, match="Failed to find archive"):
            await store.get(docker("a"), "copy")


@pytest.mark.parametrize(
    ("registry", "why"),
    [
        ("hdfs://x", "Failed to parse HDFS URI 'hdfs://x'"),
        ("foo", "Missing scheme in url string"),
        ("https://", "Host not found in url"),
        ("https://a:1:2", "Found multiple ports in url"),
        ("https://a:b", "Failed to parse port: 'b'"),
        ("ftp://a", "Unable to determine port from url"),
    ],
)
async def test_unusable_registries(tmp_path: Path, registry: str, why: str) -> None:
    config = ProvisionerConfig(
        str(tmp_path), docker_store_dir=str(tmp_path), docker_registry=registry
    )
    async with Scope("test") as scope:
        with pytest.raises(FlagError) as error:
            create(config, scope, Metrics())
    prefix = "Failed to create Docker puller: "
    if not registry.startswith("hdfs"):
        prefix += "Failed to create registry puller: Failed to parse the default Docker registry: "
    assert str(error.value).startswith(prefix + why)


@pytest.mark.parametrize(
    "flags",
    [
        {"docker_config": {"auths": {"a": "b"}}},
        {"docker_config": {"credsStore": "../x"}},
        {"docker_insecure_registries": "10.0.0.0/x"},
        {"docker_registry_mirrors": "/does/not/exist"},
    ],
)
async def test_unusable_flags_of_registries(tmp_path: Path, flags: dict[str, Any]) -> None:
    config = ProvisionerConfig(str(tmp_path), docker_store_dir=str(tmp_path), **flags)
    async with Scope("test") as scope:
        with pytest.raises(FlagError, match="Failed to create Docker puller: "):
            create(config, scope, Metrics())


@pytest.mark.root
@pytest.mark.parametrize(("name", "backend"), [("both", "copy"), ("plain", "overlay")])
async def test_each_image_gets_the_backend_that_can_show_it(
    tmp_path: Path, name: str, backend: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    put(tmp_path, "both", legacy([BASE, tar([Entry("q", b"1"), Entry(".wh.q")])], name="both"))
    put(tmp_path, "plain", legacy([BASE, tar([Entry("q", b"1")])], name="plain"))
    config = ProvisionerConfig(
        str(tmp_path / "work"),
        image_providers=("docker",),
        docker_store_dir=str(tmp_path / "store"),
        docker_registry=str(tmp_path / "registry"),
    )
    provisioner = create_provisioner(config, Metrics())
    container_id = ContainerId("c")
    try:
        await provisioner.recover([])
        made = await provisioner.provision(container_id, docker(name))
        assert f"/backends/{backend}/" in made.rootfs
        assert Path(made.rootfs, "q").read_bytes() == b"1"
    finally:
        await provisioner.destroy(container_id)
        await provisioner.close()


@pytest.mark.root
async def test_whiteout_beside_its_name(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    layers = [BASE, tar([Entry("q", b"1"), Entry(".wh.q")])]
    put(tmp_path, "whex", legacy(layers, name="whex"))
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(tmp_path, scope)
        with pytest.raises(ProvisionError) as error:
            await store.get(docker("whex"), "overlay")
        assert (await store.get(docker("whex"), "copy")).layers
    text = str(error.value)
    assert text.startswith("Collect failed: Failed to convert the whiteout files under '")
    assert text.endswith("/rootfs.overlay/q': File exists")
