# SPDX-License-Identifier: Apache-2.0
"""A store on a disk that is full at any point of a pull or a removal."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import mount
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.stores.docker import DockerStore, create_store
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.provisioner.images import Entry, saved, tar, write
from tests.suites.image_stores import until

pytestmark = pytest.mark.root

_PAGE = 4096
_DISK = 400 * _PAGE
#: Pages that an image of two layers takes, roughly, and the steps in which room is taken away.
_IMAGE = 48
_STEP = 5
CONTENT = random.Random(1).randbytes(10 * _PAGE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = tmp_path / "disk"
    path.mkdir()
    mount.mount("tmpfs", str(path), "tmpfs", 0, f"size={_DISK}")
    try:
        yield path
    finally:
        mount.umount(str(path), mount.MNT_DETACH)


def docker(name: str) -> pb.Image:
    return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name))


def store_of(disk: Path, scope: Scope) -> DockerStore:
    registry = disk.parent / "registry"
    for name in ("old", "new"):
        layers = [tar([Entry(f"{n}", name.encode() + CONTENT)]) for n in range(3)]
        write(str(registry / f"{name}.tar"), saved(layers, None, Cmd=[name]))
    config = ProvisionerConfig(
        work_dir=str(disk.parent),
        docker_store_dir=str(disk / "store"),
        docker_registry=str(registry),
    )
    return create_store(config, scope, Metrics())


def fill(disk: Path, pages: int) -> None:
    """Leave so many pages of the disk."""
    free = os.statvfs(disk).f_bfree
    with open(disk / "ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - pages) * _PAGE)


def whole(layers: tuple[str, ...], name: str) -> bool:
    return all(
        Path(layer, str(n)).read_bytes() == name.encode() + CONTENT
        for n, layer in enumerate(layers)
    )


async def test_pulls(disk: Path) -> None:
    refused: list[str] = []
    async with Scope("test", on_error=lambda name, error: None) as scope:
        store = store_of(disk, scope)
        await store.recover()
        old = await store.get(docker("old"), "copy")
        for pages in range(0, _IMAGE + _STEP, _STEP):
            fill(disk, pages)
            try:
                new = await store.get(docker("new"), "copy")
            except ProvisionError as error:
                refused.append(str(error))
                assert list(store.images) == ["old"]
            else:
                assert whole(new.layers, "new")
            assert os.listdir(disk / "store" / "staging") == []
            assert sorted(os.listdir(disk / "store")) == ["gc", "layers", "staging", "storedImages"]
            assert await store.get(docker("old"), "copy") == old
            os.unlink(disk / "ballast")
            assert whole((await store.get(docker("new"), "copy")).layers, "new")
            await store.forget(["new"], [])
        assert whole(old.layers, "old")
    assert len(refused) >= 3
    assert all("No space left on device" in text for text in refused), refused


async def test_room_is_made_on_a_full_disk(disk: Path) -> None:
    async with Scope("test") as scope:
        store = store_of(disk, scope)
        await store.recover()
        old = await store.get(docker("old"), "copy")
        new = await store.get(docker("new"), "copy")
        fill(disk, 0)
        await store.prune([docker("old")], [])
        await until(lambda: not len(scope))
        assert list(store.images) == ["old"]
        assert whole(old.layers, "old")
        assert not any(os.path.exists(layer) for layer in new.layers)
        store.close()
        store = store_of(disk, scope)
        await store.recover()
        assert list(store.images) == ["old"]
        store.close()
