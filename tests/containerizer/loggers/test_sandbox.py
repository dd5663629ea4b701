# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from containerizer.loggers.sandbox import SandboxLogger
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")


async def opened(folder: Path, user: str | None = None) -> None:
    descriptors = await SandboxLogger().prepare(
        C, slave.ContainerConfig(directory=str(folder), user=user)
    )
    for descriptor, text in zip(descriptors, (b"out", b"err"), strict=True):
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, text)
        os.close(descriptor)


async def test_two_files_that_grow(tmp_path: Path) -> None:
    await opened(tmp_path)
    await opened(tmp_path)
    assert (tmp_path / "stdout").read_bytes() == b"outout"
    assert (tmp_path / "stderr").read_bytes() == b"errerr"
    mode = (tmp_path / "stdout").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644


async def test_an_unknown_user(tmp_path: Path) -> None:
    with pytest.raises(
        ContainerError, match=r"^Failed to get the uid of user 'nobody-there': not found$"
    ):
        await opened(tmp_path, "nobody-there")


@pytest.mark.parametrize("trap", ["link", "hard link", "fifo", "directory"])
async def test_traps(tmp_path: Path, trap: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    planted = sandbox / "stderr"
    if trap == "link":
        planted.symlink_to(victim)
    elif trap == "hard link":
        planted.hardlink_to(victim)
    elif trap == "fifo":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ContainerError, match=r"^Failed to open '.*/stderr': "):
        await opened(sandbox)
    assert victim.read_text() == "precious"
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_no_sandbox(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"No such file or directory$"):
        await opened(tmp_path / "none")
