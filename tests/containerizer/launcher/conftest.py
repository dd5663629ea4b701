# SPDX-License-Identifier: Apache-2.0
"""Launchers on the real kernel."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from containerizer.launcher.linux import LinuxLauncherConfig
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import cgroup1, mountinfo
from tests.containerizer.launcher import host


@pytest.fixture
def spawner() -> Spawner:
    return Spawner(SpawnerConfig(programs={}))


@pytest.fixture
async def posix(spawner: Spawner, tmp_path: os.PathLike[str]) -> AsyncIterator[host.Host]:
    made = host.Host(PosixLauncher(spawner), os.fspath(tmp_path))
    yield made
    await made.clean()
    await made.launcher.close()


@pytest.fixture(params=["v1", "v2"])
async def linux(
    request: pytest.FixtureRequest, spawner: Spawner, tmp_path: os.PathLike[str]
) -> AsyncIterator[host.LinuxHost]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    config = LinuxLauncherConfig(cgroups_root=f"test-{uuid.uuid4()}", destroy_timeout_s=30)
    launcher = host.linux_launcher(request.param, config, spawner)
    if launcher is None:
        pytest.skip(f"needs cgroups {request.param}")
    made = host.LinuxHost(launcher, os.fspath(tmp_path), config=config, version=request.param)
    root = os.path.join(made.linux.hierarchies[0], config.cgroups_root)
    try:
        yield made
        await made.clean()
        assert cgroup1.descendants(root) == []
    finally:
        await made.launcher.close()
    assert not cgroup1.exists(root)


@pytest.fixture
def image(tmp_path: os.PathLike[str]) -> Iterator[str]:
    if not host.is_static_busybox():
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    root = host.make_image(os.path.realpath(os.path.join(tmp_path, "image")))
    yield root
    assert mountinfo.below(mountinfo.read(), root) == []
