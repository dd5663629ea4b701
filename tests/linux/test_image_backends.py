# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import mountinfo
from containerizer.provisioner.backends import bind, copy, overlay
from containerizer.provisioner.base import Backend
from containerizer.provisioner.config import ProvisionerConfig
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics
from tests.containerizer.provisioner.images import Entry, folder
from tests.suites.image_backends import BackendSuite, unpack_layers

pytestmark = pytest.mark.root


def config(tmp_path: Path) -> ProvisionerConfig:
    os.makedirs(tmp_path / "provisioner", exist_ok=True)
    os.makedirs(tmp_path / "short", exist_ok=True)
    return ProvisionerConfig(str(tmp_path), temporary_dir=str(tmp_path / "short"))


class TestCopy(BackendSuite):
    def make(self, tmp_path: Path) -> Backend:
        return copy.create(config(tmp_path), Metrics())

    async def test_existing_rootfs(self, tmp_path: Path) -> None:
        rootfs, directory = self.paths(tmp_path)
        os.makedirs(rootfs)
        with pytest.raises(ProvisionError, match="Rootfs is already provisioned"):
            await self.make(tmp_path).provision([str(tmp_path)], rootfs, directory)

    async def test_root_has_the_attributes_of_the_top_layer(self, tmp_path: Path) -> None:
        rootfs, directory = self.paths(tmp_path)
        layers = unpack_layers(tmp_path, [[folder(".", mode=0o711, uid=5)]], "rootfs")
        await self.make(tmp_path).provision(layers, rootfs, directory)
        assert (os.stat(rootfs).st_mode & 0o7777, os.stat(rootfs).st_uid) == (0o711, 5)


class TestOverlay(BackendSuite):
    tree = "rootfs.overlay"

    def make(self, tmp_path: Path) -> Backend:
        return overlay.create(config(tmp_path), Metrics())

    async def test_ephemeral_volumes_and_what_is_left(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        layers = unpack_layers(tmp_path, [[folder("."), Entry("f")]], self.tree)
        upper, work = await backend.provision(layers, rootfs, directory)
        scratch = f"{directory}/scratch/r"
        assert (upper, work) == (f"{scratch}/upperdir", f"{scratch}/workdir")
        assert sorted(os.listdir(scratch)) == ["upperdir", "workdir"]
        entry = next(e for e in mountinfo.read() if e.target == rootfs)
        assert entry.shared
        assert await backend.destroy(rootfs, directory) is True
        assert await backend.destroy(rootfs, directory) is False
        assert not os.path.exists(scratch)
        assert os.listdir(tmp_path / "short") == []
        assert not any(e.target.startswith(str(tmp_path)) for e in mountinfo.read())

    @pytest.mark.parametrize(
        ("names", "linked"),
        [
            (["sha256:aa", "b b"], False),
            (["a,b", "c"], True),
            (["a\\", "c"], True),
            ([f"{number}-{'x' * 200}" for number in range(20)], True),
        ],
    )
    async def test_names_of_layers(self, tmp_path: Path, names: list[str], linked: bool) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        layers = [str(tmp_path / name) for name in names]
        for number, layer in enumerate(layers):
            os.mkdir(layer)
            Path(layer, "top").write_text(str(number))
        await backend.provision(layers, rootfs, directory)
        try:
            assert Path(rootfs, "top").read_text() == str(len(layers) - 1)
            assert os.path.lexists(f"{directory}/scratch/r/links") is linked
        finally:
            assert await backend.destroy(rootfs, directory) is True
        assert os.listdir(tmp_path / "short") == []

    async def test_too_many_layers(self, tmp_path: Path) -> None:
        rootfs, directory = self.paths(tmp_path)
        layers = [str(tmp_path / str(number)) for number in range(501)]
        for layer in layers:
            os.mkdir(layer)
        backend = self.make(tmp_path)
        with pytest.raises(ProvisionError, match="501 layers are too many"):
            await backend.provision(layers, rootfs, directory)
        assert await backend.destroy(rootfs, directory) is False
        assert os.listdir(tmp_path / "short") == []

    async def test_links_that_are_none(self, tmp_path: Path) -> None:
        rootfs, directory = self.paths(tmp_path)
        os.makedirs(f"{directory}/scratch/r/links")
        with pytest.raises(ProvisionError, match="Invalid symlink"):
            await self.make(tmp_path).destroy(rootfs, directory)

    def test_trying_leaves_nothing(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        assert os.listdir(tmp_path / "provisioner") == []


class TestBind:
    async def test_one_layer_read_only(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        backend = bind.create(config(tmp_path), Metrics())
        rootfs = str(tmp_path / "r")
        [layer] = unpack_layers(tmp_path, [[folder("."), Entry("f", b"x")]], "rootfs")
        await backend.provision([layer], rootfs, "")
        try:
            assert os.listdir(rootfs) == ["f"]
            with pytest.raises(OSError, match="Read-only"):
                os.mkdir(f"{rootfs}/d")
        finally:
            assert await backend.destroy(rootfs, "") is True
        assert await backend.destroy(rootfs, "") is False
        assert not os.path.exists(rootfs)
        with pytest.raises(ProvisionError) as error:
            await backend.provision([layer, layer], rootfs, "")
        assert str(error.value) == "Multiple layers are not supported by the bind backend"


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A file system that can share the blocks of files."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs the package btrfs-progs")
    image, point = tmp_path / "disk", tmp_path / "btrfs"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    point.mkdir()
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


async def test_copies_share_their_blocks(btrfs: Path) -> None:
    layers = unpack_layers(btrfs, [[Entry("f", os.urandom(20 << 20))]], "rootfs")
    backend = copy.create(config(btrfs), Metrics())
    os.sync()
    before = os.statvfs(btrfs).f_bfree
    for name in ("a", "b", "c"):
        await backend.provision(layers, str(btrfs / name / "r"), str(btrfs / name))
    os.sync()
    found = os.statvfs(btrfs)
    assert (before - found.f_bfree) * found.f_frsize < 5 << 20
    content = Path(layers[0], "f").read_bytes()
    for name in ("a", "b", "c"):
        assert (btrfs / name / "r" / "f").read_bytes() == content
    with (btrfs / "a" / "r" / "f").open("r+b") as file:
        file.write(b"changed")
    assert Path(layers[0], "f").read_bytes() == content
