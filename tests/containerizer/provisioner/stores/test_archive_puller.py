# SPDX-License-Identifier: Apache-2.0
"""Archives that are not on this host. The ``hadoop`` program is a script of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from containerizer.provisioner.base import ImageInfo
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.stores.archive_puller import archive_source
from containerizer.provisioner.stores.docker import create
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import FlagError, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.provisioner.images import Entry, docker25, legacy, tar, write
from tests.suites.hadoop import fake_hadoop

LAYERS = [tar([Entry("base", b"x" * 3000)]), tar([Entry("f", b"1")])]


def config(tmp_path: Path, registry: str, limits: UnpackLimits | None = None) -> ProvisionerConfig:
    return ProvisionerConfig(
        work_dir=str(tmp_path),
        docker_store_dir=str(tmp_path / "store"),
        docker_registry=registry,
        hadoop_home=str(tmp_path),
        limits=limits or UnpackLimits(),
    )


async def pull(tmp_path: Path, given: ProvisionerConfig, name: str) -> ImageInfo:
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = create(given, scope, Metrics())
        await store.recover()
        try:
            image = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name))
            return await store.get(image, "copy")
        finally:
            assert os.listdir(tmp_path / "store" / "staging") == []
            store.close()


def content(info: ImageInfo) -> str:
    return Path(info.layers[-1], "f").read_text()


@pytest.mark.parametrize(
    ("registry", "asked"),
    [
        ("hdfs://host/images/", "hdfs://host:8020/images"),
        ("hdfs://host:9000/images", "hdfs://host:9000/images"),
        ("hdfs:///images", "/images"),
    ],
)
async def test_hdfs(tmp_path: Path, registry: str, asked: str) -> None:
    hadoop = fake_hadoop(tmp_path / "bin", tmp_path / "hdfs")
    write(str(tmp_path / "hdfs/images/library/redis:7.tar"), legacy(LAYERS, "library/redis", "7"))
    info = await pull(tmp_path, config(tmp_path, registry), "library/redis:7")
    assert content(info) == "1"
    [call] = hadoop.calls()
    assert call.startswith(f"fs -copyToLocal {asked}/library/redis:7.tar {tmp_path}/store/staging/")
    with pytest.raises(ProvisionError, match=f"'hdfs://.*/none.tar'.*{asked}/none.tar': No such"):
        await pull(tmp_path, config(tmp_path, registry), "none")


async def test_web_server(tmp_path: Path) -> None:
    write(str(tmp_path / "www/a/b:1.tar"), docker25(LAYERS, "a/b:1"))
    app = web.Application()
    app.router.add_static("/images/", tmp_path / "www")
    async with TestServer(app) as server:
        registry = f"archive+{server.make_url('/images')}"
        info = await pull(tmp_path, config(tmp_path, registry), "a/b:1")
        assert content(info) == "1"
        with pytest.raises(ProvisionError, match=r"images/none.tar': 404 Not Found"):
            await pull(tmp_path, config(tmp_path, registry), "none")
        write(str(tmp_path / "www/large.tar"), docker25(LAYERS, "large:latest"))
        small = config(tmp_path, registry, UnpackLimits(size_bytes=5000))
        with pytest.raises(ProvisionError, match="has more than 5000 bytes"):
            await pull(tmp_path, small, "large")


@pytest.mark.parametrize(
    "registry", ["hdfs://host", "hdfs://host/a b", "archive+https://", "archive+http://h/d?x=1"]
)
def test_unusable_places(tmp_path: Path, registry: str) -> None:
    with pytest.raises(FlagError):
        archive_source(config(tmp_path, registry))


def test_other_registries(tmp_path: Path) -> None:
    assert archive_source(config(tmp_path, "https://registry-1.docker.io")) is None
