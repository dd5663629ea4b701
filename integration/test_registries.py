# SPDX-License-Identifier: Apache-2.0
"""Images from real registries, pushed there by the programs that people use."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containerizer.provisioner.base import ImageInfo
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.provisioner.stores.docker import create
from integration.images import Member
from integration.processes import command, environment, get_json
from integration.registry import (
    PASSWORD,
    USER,
    RealRegistry,
    TokenServer,
    TroubledRegistry,
    make_certificate,
    missing_tools,
    push,
    run,
    write_archive,
    write_htpasswd,
)
from integration.scene import Scene
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.suites.image_backends import describe

pytestmark = pytest.mark.root

AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

IMAGE_FLAGS: dict[str, object] = {
    "isolation": "docker/runtime,filesystem/linux",
    "image_providers": "docker",
    "launcher": "linux",
    "executor_registration_timeout": "2mins",
}

#: How each image is pushed.
FORMATS = {
    "v2s1": ("skopeo", "--format=v2s1"),
    "v2s2": ("skopeo", "--format=v2s2"),
    "oci": ("skopeo", "--format=oci"),
    "zstd": ("skopeo", "--format=oci", "--dest-compress-format=zstd"),
    "buildah": ("buildah", "--format=oci"),
    "buildah-v2s2": ("buildah", "--format=v2s2"),
}

EXTRA = [
    Member("etc", tarfile.DIRTYPE),
    Member("etc/name", data=b"above\n", mode=0o644),
    Member("etc/.wh.group"),
    Member("var", tarfile.DIRTYPE),
    Member("var/hard", data=os.urandom(200_000), mode=0o4755),
]


@pytest.fixture(scope="module", autouse=True)
def _bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing between us and the registries, and no credentials of whoever runs the tests."""
    missing = missing_tools()
    if missing:
        pytest.skip(f"needs the programs {', '.join(missing)}")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        home = tmp_path_factory.mktemp("docker")
        (home / "config.json").write_text('{"auths": {}}')
        patch.setenv("DOCKER_CONFIG", str(home))
        yield


@pytest.fixture
def registries() -> Iterator[list[RealRegistry]]:
    """Whatever a test puts here is ended after it."""
    made: list[RealRegistry] = []
    yield made
    for registry in made:
        registry.kill()


@pytest.fixture(scope="module")
def full(
    tmp_path_factory: pytest.TempPathFactory, _bare_environment: None
) -> Iterator[RealRegistry]:
    """A registry with an image in every format, and a list of them."""
    folder = str(tmp_path_factory.mktemp("registry"))
    enabled = {"schema1": {"enabled": True}}
    registry = RealRegistry(folder, compatibility=enabled).start()
    try:
        for name, (tool, *options) in FORMATS.items():
            archive = write_archive(folder, name, [EXTRA[:3], EXTRA[3:]])
            push(archive, registry, f"test/{name}:latest", *options, tool=tool)
        _push_list(folder, registry)
        yield registry
    finally:
        registry.kill()


def _push_list(folder: str, registry: RealRegistry) -> None:
    """Push a manifest list: the image of this host, and another one for all others."""
    storage = ("buildah", "--root", f"{folder}/buildah", "--storage-driver", "vfs")
    run(*storage, "manifest", "create", "many")
    here = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    for name, architecture in (("v2s2", "s390x"), ("oci", here), ("zstd", "ppc64le")):
        where = f"docker://{registry.address}/test/{name}:latest"
        options = ("--tls-verify=false", f"--arch={architecture}", "--os=linux")
        run(*storage, "manifest", "add", *options, "many", where)
    target = f"docker://{registry.address}/test/many:latest"
    run(*storage, "manifest", "push", "--all", "--tls-verify=false", "many", target)


async def pull(tmp_path: Path, url: str, name: str, **flags: Any) -> ImageInfo:
    """Pull an image into the store of ``tmp_path``."""
    config = ProvisionerConfig(
        work_dir=str(tmp_path),
        docker_store_dir=str(tmp_path / "store"),
        docker_registry=url,
        **flags,
    )
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = create(config, scope, Metrics())
        await store.recover()
        try:
            image = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name))
            found = await store.get(image, "copy")
        finally:
            store.close()
        assert os.listdir(tmp_path / "store" / "staging") == []
        return found


def name_in(info: ImageInfo, layer: int = 0) -> str:
    with open(os.path.join(info.layers[layer], "etc", "name"), encoding="ascii") as file:
        return file.read().strip()


async def test_formats(tmp_path: Path, full: RealRegistry) -> None:
    trees = []
    for name in FORMATS:
        info = await pull(tmp_path, full.url, f"test/{name}")
        assert name_in(info) == name
        assert name_in(info, 1) == "above"
        assert info.docker_manifest is not None
        assert list(info.docker_manifest.config.Cmd) == ["sh"]
        trees.append([describe(layer) for layer in info.layers])
        trees[-1][0].pop("etc/name")
        assert "var/hard" in trees[-1][2]
    # What is unpacked does not depend on how it came.
    assert all(tree[2] == trees[0][2] and tree[0].keys() == trees[0][0].keys() for tree in trees)
    listed = await pull(tmp_path, full.url, "test/many")
    assert name_in(listed) == "oci"
    kinds = {_layer_magic(full, name) for name in FORMATS}
    assert kinds == {b"\x1f\x8b", b"\x28\xb5"}
    archives = await pull(tmp_path / "local", full.folder, "v2s2")
    assert describe(archives.layers[2]) == trees[0][2]


def _layer_magic(registry: RealRegistry, name: str) -> bytes:
    """Return the first bytes of the bottom layer as the registry has it."""
    source = f"docker://{registry.address}/test/{name}"
    manifest = json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", source))
    if "layers" in manifest:
        digest = manifest["layers"][0]["digest"]
    else:
        digest = manifest["fsLayers"][-1]["blobSum"]
    encoded = digest.removeprefix("sha256:")
    root = f"{registry.folder}/data/docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}"
    with open(f"{root}/data", "rb") as file:
        return file.read(2)


async def test_by_digest(tmp_path: Path, full: RealRegistry) -> None:
    for name in ("v2s1", "oci", "many"):
        source = f"docker://{full.address}/test/{name}"
        raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", source)
        (tmp_path / "manifest").write_bytes(raw)
        digest = run("skopeo", "manifest-digest", str(tmp_path / "manifest")).decode().strip()
        info = await pull(tmp_path, full.url, f"{full.address}/test/{name}@{digest}")
        assert len(info.layers) == 3


async def test_trouble(tmp_path: Path, full: RealRegistry) -> None:
    troubled = TroubledRegistry(full)
    try:
        info = await pull(tmp_path, troubled.url, "test/oci", fetcher_stall_timeout_s=2.0)
    finally:
        troubled.close()
    whole = await pull(tmp_path / "whole", full.url, "test/oci")
    assert [describe(layer) for layer in info.layers] == [describe(layer) for layer in whole.layers]
    ways = {way for _, _, way in troubled.requests}
    assert ways == {*TroubledRegistry.WAYS, "good"}
    assert any(wanted is not None for _, wanted, _ in troubled.requests)


async def test_htpasswd(tmp_path: Path, registries: list[RealRegistry]) -> None:
    folder = str(tmp_path / "registry")
    write_htpasswd(str(tmp_path / "users"))
    auth = {"htpasswd": {"realm": "x", "path": str(tmp_path / "users")}}
    registry = RealRegistry(folder, auth=auth).start()
    registries.append(registry)
    push(write_archive(folder, "locked"), registry, "locked:1")
    with pytest.raises(ProvisionError, match="Got unexpected BASIC Authorization response status"):
        await pull(tmp_path, registry.url, "locked:1")
    config = {"auths": {registry.address: {"auth": AUTH}}}
    info = await pull(tmp_path, registry.url, "locked:1", docker_config=config)
    assert name_in(info) == "locked"


@pytest.mark.parametrize("anonymous", [True, False])
async def test_tokens(tmp_path: Path, registries: list[RealRegistry], anonymous: bool) -> None:
    tokens = TokenServer(str(tmp_path / "tokens"), anonymous=anonymous)
    try:
        registry = RealRegistry(str(tmp_path / "registry"), auth=tokens.settings).start()
        registries.append(registry)
        push(write_archive(registry.folder, "a"), registry, "team/a:1")
        tokens.queries.clear()
        config = None if anonymous else {"auths": {registry.address: {"auth": AUTH}}}
        info = await pull(tmp_path, registry.url, "team/a:1", docker_config=config)
        assert name_in(info) == "a"
        assert tokens.queries == [
            {"x": ["1"], "service": ["test registry"], "scope": ["repository:team/a:pull"]}
        ]
        if not anonymous:
            with pytest.raises(ProvisionError, match="401 Unauthorized"):
                await pull(tmp_path / "other", registry.url, "team/a:1")
    finally:
        tokens.close()


async def test_tls(tmp_path: Path, registries: list[RealRegistry]) -> None:
    certificate, key = make_certificate(str(tmp_path / "own"), "registry")
    tls = {"certificate": certificate, "key": key}
    registry = RealRegistry(str(tmp_path / "registry"), http={"tls": tls}).start()
    registries.append(registry)
    push(write_archive(registry.folder, "a"), registry, "a:1")
    with pytest.raises(ProvisionError, match=r"certificate verify failed|self-signed"):
        await pull(tmp_path, registry.url, "a:1")
    trusted = tmp_path / "certs" / registry.address
    trusted.mkdir(parents=True)
    shutil.copy(certificate, trusted / "ca.crt")
    info = await pull(tmp_path, registry.url, "a:1", docker_registry_certs=str(tmp_path / "certs"))
    assert name_in(info) == "a"
    other = tmp_path / "other"
    info = await pull(other, registry.url, "a:1", docker_insecure_registries="127.0.0.0/8")
    assert name_in(info) == "a"


async def test_mirror(tmp_path: Path, full: RealRegistry, registries: list[RealRegistry]) -> None:
    """A mirror that proxies a registry, and what happens when it ends."""
    settings = {"proxy": {"remoteurl": full.url}}
    mirror = RealRegistry(str(tmp_path / "mirror"), **settings).start()
    registries.append(mirror)
    rules = tmp_path / "hosts" / full.address
    rules.mkdir(parents=True)
    (rules / "hosts.toml").write_text(f'server = "{full.url}"\n[host."{mirror.url}"]\n')
    flags = {"docker_registry_mirrors": str(tmp_path / "hosts")}
    info = await pull(tmp_path, full.url, "test/oci", **flags)
    assert name_in(info) == "oci"
    assert "test/oci" in "".join(
        folder for folder, _, _ in os.walk(os.path.join(mirror.folder, "data"))
    )
    mirror.kill()
    info = await pull(tmp_path, full.url, "test/v2s2", **flags)
    assert name_in(info) == "v2s2"


def test_tasks(scene: Scene, full: RealRegistry) -> None:
    """Images of registries run as tasks of a real master."""
    master = scene.master()
    agent = scene.agent(master, docker_registry=full.url, **IMAGE_FLAGS)
    names = ("v2s1", "zstd", "many")
    for name in names:
        done = scene.execute(
            master,
            f"--name={name}",
            f"--docker_image=test/{name}",
            "--containerizer=mesos",
            "--command=grep above /etc/name && [ ! -e /etc/group ] && [ -u /var/hard ]",
        )
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    failed = scene.execute(
        master, "--name=none", "--docker_image=none", "--containerizer=mesos", "--command=true"
    )
    assert failed.states == ["TASK_FAILED"]
    assert (
        "Failed to launch container: Unexpected HTTP response '404 Not Found' when trying to get"
        " the manifest" in failed.stdout
    )
    assert "pulled from" in agent.log_text()
    metrics = get_json(agent.address, "/metrics/snapshot")
    assert (
        metrics["containerizer/mesos/provisioner/docker_store/image_pull_ms/count"]
        == len(names) + 1
    )


def test_agent_killed_in_the_middle_of_a_pull(scene: Scene, full: RealRegistry) -> None:
    troubled = TroubledRegistry(full, ["held"])
    try:
        master = scene.master()
        agent = scene.agent(master, docker_registry=troubled.url, **IMAGE_FLAGS)
        arguments = ("--docker_image=test/oci", "--containerizer=mesos", "--command=true")
        first = subprocess.Popen(
            command("execute", f"--master={master.address}", "--name=first", *arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            assert troubled.held.wait(30)
            agent.kill()
        finally:
            first.kill()
            first.wait()
        troubled.go.set()
        staging = os.path.join(agent.folder, "store", "docker", "staging")
        assert os.listdir(staging)
        agent.start()
        done = scene.execute(master, "--name=second", *arguments)
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
        assert os.listdir(staging) == []
    finally:
        troubled.go.set()
        troubled.close()


async def test_twenty_launches_pull_once(tmp_path: Path, full: RealRegistry) -> None:
    proxy = TroubledRegistry(full, [])
    provisioner = create_provisioner(
        ProvisionerConfig(
            work_dir=str(tmp_path / "work"),
            image_providers=("docker",),
            docker_store_dir=str(tmp_path / "store"),
            docker_registry=proxy.url,
            temporary_dir=str(tmp_path),
        ),
        Metrics(),
    )
    image = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="test/oci"))
    containers = [ContainerId.new() for _ in range(20)]
    try:
        await provisioner.recover([])
        made = await asyncio.gather(*(provisioner.provision(each, image) for each in containers))
        assert len({info.rootfs for info in made}) == 20
        paths = [path for path, _, _ in proxy.requests]
        assert len(paths) == len(set(paths)) == 5
    finally:
        for each in containers:
            await provisioner.destroy(each)
        await provisioner.close()
        proxy.close()
