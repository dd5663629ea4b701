# SPDX-License-Identifier: Apache-2.0
"""Volumes: which are refused, where the others are mounted, and what a planted link can do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from containerizer.isolators.base import Isolator
from containerizer.isolators.volume_host_path import HostPathVolumeIsolator
from containerizer.isolators.volume_sandbox_path import SandboxPathVolumeIsolator
from containerizer.isolators.volumes import isolator_of, volume_error
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.errors import IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")
N = ContainerId("n", C)
B = "/mnt/mesos/sandbox"
BIND_REC = 20480
SELF = pb.Volume.Source.SandboxPath.SELF
PARENT = pb.Volume.Source.SandboxPath.PARENT


class Box:
    """A sandbox, a root file system and a path of the host."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = folder / "sandbox"
        self.rootfs = folder / "rootfs"
        self.host = folder / "host"
        for path in (self.sandbox, self.rootfs, self.host):
            path.mkdir()

    def config(self, *volumes: pb.Volume, image: bool = True) -> slave.ContainerConfig:
        made = slave.ContainerConfig(directory=str(self.sandbox))
        if image:
            made.rootfs = str(self.rootfs)
        made.container_info.type = pb.ContainerInfo.MESOS
        made.container_info.volumes.extend(volumes)
        return made


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def host_volume(host: object, path: str, mode: pb.Volume.Mode = pb.Volume.RW) -> pb.Volume:
    made = pb.Volume(container_path=path, mode=mode)
    made.source.type = pb.Volume.Source.HOST_PATH
    made.source.host_path.path = str(host)
    return made


def sandbox_volume(
    source: str, path: str, kind: pb.Volume.Source.SandboxPath.Type | None = SELF
) -> pb.Volume:
    made = pb.Volume(container_path=path, mode=pb.Volume.RW)
    made.source.type = pb.Volume.Source.SANDBOX_PATH
    made.source.sandbox_path.path = source
    if kind is not None:
        made.source.sandbox_path.type = kind
    return made


async def mounts(
    isolator: Isolator, config: slave.ContainerConfig, container_id: ContainerId = C
) -> list[tuple[str, str, int]]:
    info = await isolator.prepare(container_id, config)
    assert info is not None
    return [(m.source, m.target, m.flags) for m in info.mounts]


def host_isolator(*creatable: str) -> HostPathVolumeIsolator:
    return HostPathVolumeIsolator(B, creatable)


async def test_host_paths_in_an_image(box: Box) -> None:
    (box.host / "file").write_text("x")
    config = box.config(
        host_volume(box.host, "/data/v"),
        host_volume(box.host, "rv/x", pb.Volume.RO),
        host_volume(box.host / "file", "/etc/sf"),
        pb.Volume(container_path="/old", mode=pb.Volume.RW, host_path=str(box.host)),
    )
    assert await mounts(host_isolator(), config) == [
        (str(box.host), f"{box.rootfs}/data/v", BIND_REC),
        (str(box.host), f"{box.rootfs}{B}/rv/x", BIND_REC | 1),
        (f"{box.host}/file", f"{box.rootfs}/etc/sf", BIND_REC),
        (str(box.host), f"{box.rootfs}/old", BIND_REC),
    ]
    assert (box.rootfs / "data" / "v").is_dir()
    assert (box.sandbox / "rv" / "x").is_dir()
    assert not (box.rootfs / "mnt" / "mesos" / "sandbox" / "rv").exists()
    assert (box.rootfs / "etc" / "sf").is_file()


async def test_host_paths_on_the_host(box: Box) -> None:
    here = str(box.rootfs)
    config = box.config(
        host_volume(box.host, "relv"),
        host_volume(box.host, here),
        host_volume(box.host, str(box.host), pb.Volume.RO),
        image=False,
    )
    assert await mounts(host_isolator(), config) == [
        (str(box.host), f"{box.sandbox}/relv", BIND_REC),
        (str(box.host), here, BIND_REC),
    ]


@pytest.mark.parametrize(
    ("volume", "image", "text"),
    [
        (
            host_volume("/nonexist", "/x"),
            True,
            "Path '/nonexist' in HOST_PATH volume does not exist",
        ),
        (host_volume("rel", "/x"), True, "Path 'rel' in HOST_PATH volume is not absolute"),
        (
            host_volume("/tmp", "/nonexist/here"),
            False,
            "Mount point '/nonexist/here' is an absolute path. It must exist if the container"
            " shares the host filesystem",
        ),
        (
            host_volume("/tmp", "/../../x"),
            True,
            "Invalid volume: path '/../../x' must not contain '..'",
        ),
        (
            pb.Volume(container_path="x", mode=pb.Volume.RW),
            True,
            "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'",
        ),
    ],
)
async def test_refused_host_paths(box: Box, volume: pb.Volume, image: bool, text: str) -> None:
    with pytest.raises(IsolatorError) as caught:
        await host_isolator().prepare(C, box.config(volume, image=image))
    assert str(caught.value) == text


async def test_only_listed_host_paths_are_made(box: Box) -> None:
    new = box.host / "a" / "b"
    isolator = host_isolator(str(box.host))
    await isolator.prepare(C, box.config(host_volume(new, "/x")))
    assert new.is_dir()
    escaping = f"{box.host}/../elsewhere"
    with pytest.raises(IsolatorError, match=r"is not whitelisted for creation: Path '.*' is not"):
        await isolator.prepare(C, box.config(host_volume(escaping, "/x")))


async def test_links_of_images_and_sandboxes(box: Box, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (box.rootfs / "data").symlink_to(victim)
    (box.sandbox / "planted").symlink_to(victim)
    inside = await mounts(host_isolator(), box.config(host_volume(box.host, "/data/x")))
    assert inside[0][1] == f"{box.rootfs}{victim}/x"
    for path in ("planted", "planted/x"):
        for image in (True, False):
            with pytest.raises(IsolatorError, match=r"^Failed to create the mount point at "):
                await host_isolator().prepare(
                    C, box.config(host_volume(box.host, path), image=image)
                )
    assert list(victim.iterdir()) == []


async def test_parts_of_the_own_sandbox(box: Box) -> None:
    isolator = SandboxPathVolumeIsolator(B, binds=True)
    legacy = pb.Volume(container_path="/old", mode=pb.Volume.RO, host_path="o")
    config = box.config(sandbox_volume("d", "/data"), legacy)
    assert await mounts(isolator, config) == [
        (f"{box.sandbox}/d", f"{box.rootfs}/data", BIND_REC),
        (f"{box.sandbox}/o", f"{box.rootfs}/old", BIND_REC | 1),
    ]
    assert (box.sandbox / "d").is_dir()


@pytest.mark.root
async def test_what_another_user_shares_has_a_group(box: Box, tmp_path: Path) -> None:
    """Unless root comes, or its owner."""
    gids = VolumeGids(((10000, 10009),), str(tmp_path), str(tmp_path), Metrics())
    isolator = SandboxPathVolumeIsolator(B, binds=True, gids=gids)
    assert await isolator.prepare(C, box.config()) is None
    inner = Box(tmp_path / "sandbox")
    for user, path, found in (
        ("root", "of-root", []),
        ("nobody", "of-root", [10000]),
        ("daemon", "of-root", [10000]),
        ("daemon", "of-root/below", [10000]),
        ("nobody", "of-nobody", []),
    ):
        (box.sandbox / path).mkdir(exist_ok=True)
        if path == "of-nobody":
            shutil.chown(box.sandbox / path, "nobody")
        config = inner.config(sandbox_volume(path, "here", PARENT), image=False)
        config.user = user
        info = await isolator.prepare(N, config)
        assert info is not None
        assert list(info.supplementary_groups) == found
        await isolator.cleanup(N)
    own = box.config(sandbox_volume("mine", "/data", SELF))
    own.user = "nobody"
    await isolator.cleanup(C)
    info = await isolator.prepare(C, own)
    assert info is not None
    assert not info.supplementary_groups


async def test_parts_of_the_parents_sandbox(box: Box, tmp_path: Path) -> None:
    isolator = SandboxPathVolumeIsolator(B, binds=True)
    assert await isolator.prepare(C, box.config()) is None
    inner = Box(tmp_path / "sandbox")
    config = inner.config(sandbox_volume("shared", "here", PARENT), image=False)
    assert await mounts(isolator, config, N) == [
        (f"{box.sandbox}/shared", f"{inner.sandbox}/here", BIND_REC)
    ]
    await isolator.cleanup(N)
    (box.sandbox / "evil").symlink_to("/etc")
    for path in ("evil", "evil/ssl"):
        with pytest.raises(IsolatorError, match=r"^Failed to "):
            await isolator.prepare(
                N, inner.config(sandbox_volume(path, "there", PARENT), image=False)
            )
        await isolator.cleanup(N)


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        (
            sandbox_volume("x", "rel"),
            "'container_path' is relative for SANDBOX_PATH volume SELF type",
        ),
        (sandbox_volume("/sd", "/x"), "Path '/sd' in SANDBOX_PATH volume is absolute"),
        (
            sandbox_volume("x", "/x", PARENT),
            "SANDBOX_PATH volume PARENT type only works for nested container",
        ),
        (sandbox_volume("x", "/x", None), "Unknown SANDBOX_PATH volume type"),
        (sandbox_volume("a/../..", "/x"), "Invalid volume: path 'a/../..' must not contain '..'"),
    ],
)
async def test_refused_sandbox_paths(box: Box, volume: pb.Volume, text: str) -> None:
    with pytest.raises(IsolatorError) as caught:
        await SandboxPathVolumeIsolator(B, binds=True).prepare(C, box.config(volume))
    assert str(caught.value) == text


async def test_links_where_nothing_can_be_mounted(box: Box, tmp_path: Path) -> None:
    isolator = SandboxPathVolumeIsolator(B, binds=False)
    await isolator.prepare(C, box.config(image=False))
    inner = Box(tmp_path / "sandbox")
    volume = sandbox_volume("shared", "a/here", PARENT)
    assert await isolator.prepare(N, inner.config(volume, image=False)) is None
    assert os.readlink(inner.sandbox / "a" / "here") == f"{box.sandbox}/shared"
    await isolator.cleanup(N)
    with pytest.raises(IsolatorError, match=r"must be enabled to change the rootfs"):
        await isolator.prepare(N, inner.config(volume))


def with_source(kind: int) -> pb.Volume:
    made = pb.Volume(container_path="x", mode=pb.Volume.RW)
    made.source.type = pb.Volume.Source.Type.Name(kind)  # type: ignore[assignment]  # by name
    return made


@pytest.mark.parametrize(
    ("make", "text", "isolator"),
    [
        (
            lambda: with_source(pb.Volume.Source.DOCKER_VOLUME),
            "'source.docker_volume' is not set for DOCKER_VOLUME volume",
            "docker/volume",
        ),
        (
            lambda: with_source(pb.Volume.Source.SECRET),
            "'source.secret' is not set for SECRET volume",
            "volume/secret",
        ),
        (
            lambda: with_source(pb.Volume.Source.CSI_VOLUME),
            "'source.csi_volume' is not set for CSI volume",
            "volume/csi",
        ),
        (
            lambda: with_source(pb.Volume.Source.UNKNOWN),
            "'source.type' is unknown",
            "volume/unknown",
        ),
        (
            lambda: pb.Volume(image=pb.Image(type=pb.Image.DOCKER)),
            None,
            "volume/image",
        ),
    ],
)
def test_what_is_a_volume(make: Callable[[], pb.Volume], text: str | None, isolator: str) -> None:
    assert volume_error(make()) == text
    assert isolator_of(make()) == isolator


@pytest.mark.parametrize("way", ["made/here", "a/../made/here", "made/../../../secret/here"])
async def test_a_link_of_a_container_decides_nothing_about_host_paths(box: Box, way: str) -> None:
    """Containers may write below the directories in which host paths are created."""
    secret = box.host.parent / "secret"
    secret.mkdir()
    (box.host / "made").symlink_to(secret)
    with pytest.raises(IsolatorError, match=r"^(Failed to create the host path|Path '.*' in)"):
        await mounts(host_isolator(str(box.host)), box.config(host_volume(box.host / way, "/x")))
    assert list(secret.iterdir()) == []
