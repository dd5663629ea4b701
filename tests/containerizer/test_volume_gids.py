# SPDX-License-Identifier: Apache-2.0
"""Groups of volumes: one for each, for as long as it is there, whatever tasks do meanwhile."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from containerizer import group_walk
from containerizer.volume_gids import PERSISTENT, SANDBOX_PATH, VolumeGids, parse_range
from mesos_compat.base import checkpoint
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import CheckpointError, FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.pb.mesos.internal.slave.volume_gid_manager import state_pb2

RANGE = ((10000, 10001),)


class Host:
    """A work directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "meta" / "volume_gids"
        self.metrics = Metrics(FakeClock())

    def manager(self, ranges: Sequence[tuple[int, int]] = RANGE) -> VolumeGids:
        """Start a process."""
        self.metrics = Metrics(FakeClock())
        return VolumeGids(ranges, str(self.folder), str(self.file.parent), self.metrics)

    async def recovered(self, *volumes: Path, rebooted: bool = False) -> VolumeGids:
        """Start a process that goes on, with these persistent volumes."""
        made = self.manager()
        await made.recover(rebooted=rebooted, volumes=map(str, volumes))
        return made

    def free(self) -> float:
        """The gauge."""
        return self.metrics.snapshot()["volume_gid_manager/volume_gids_free"]

    def tree(self, name: str) -> Path:
        """Make a volume with something of everything."""
        top = self.folder / name
        (top / "below").mkdir(parents=True)
        (top / "below" / "file").write_text("x")
        (top / "link").symlink_to("/etc/hostname")
        return top

    def stored(self) -> dict[str, tuple[int, int]]:
        """What is written down: kind and gid by path."""
        content = checkpoint.read_record(str(self.file)) or b""
        infos = state_pb2.VolumeGidInfos.FromString(content).infos
        return {info.path: (info.type, info.gid) for info in infos}


def groups(top: Path) -> set[int]:
    """Of all below, and of the top."""
    return {path.lstat().st_gid for path in (top, *top.rglob("*"))}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Failed to parse volume gid range ''"),
        ("[5", "Failed to parse volume gid range '\\[5'"),
        ("[7-5]", "Failed to parse volume gid range '\\[7-5\\]'"),
        ("5", "Invalid volume gid range type SCALAR, expecting RANGES"),
        ("{a}", "Invalid volume gid range type SET, expecting RANGES"),
        ("[]", "Empty volume gid range"),
        ("[0-5]", "Invalid volume gid range '\\[0-5\\]': gids are numbers from 1"),
        ("[5-4294967295]", "Invalid volume gid range"),
    ],
)
def test_ranges(text: str, why: str) -> None:
    with pytest.raises(FlagError, match=f"^{why}"):
        parse_range(text)
    assert parse_range("[7-9, 1-3,4-5]") == ((1, 5), (7, 9))


def test_who_is_not_root_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    why = "Failed to initialize volume gid manager: Volume gid manager requires root privileges"
    with pytest.raises(FlagError, match=why):
        VolumeGids.create("[1-2]", str(tmp_path), str(tmp_path), Metrics(FakeClock()))


@pytest.mark.root
async def test_each_volume_has_its_own_until_none_is_left(host: Host) -> None:
    gids = host.manager()
    one, two, three = (host.tree(name) for name in ("one", "two", "three"))
    assert host.free() == 2.0
    assert await gids.allocate(str(one), PERSISTENT) == 10000
    assert await gids.allocate(f"{two}/", PERSISTENT) == 10001
    assert await gids.allocate(str(one), PERSISTENT) == 10000
    assert groups(one) == {10000}
    assert groups(two) == {10001}
    for directory in (one, one / "below"):
        assert directory.stat().st_mode & (stat.S_ISGID | stat.S_IWGRP) == 0o2020
    assert not (one / "below" / "file").stat().st_mode & stat.S_IWGRP
    assert Path("/etc/hostname").stat().st_gid == 0
    why = "Failed to allocate gid to the volume path .*three' because the free gid range is exhaus"
    with pytest.raises(IsolatorError, match=why):
        await gids.allocate(str(three), PERSISTENT)
    assert host.stored() == {str(one): (PERSISTENT, 10000), str(two): (PERSISTENT, 10001)}
    assert host.free() == 0.0
    await gids.deallocate(str(one))
    assert host.free() == 1.0
    assert await gids.allocate(str(three), PERSISTENT) == 10000


@pytest.mark.root
async def test_what_is_in_a_volume_has_its_group(host: Host) -> None:
    """A nested container uses a volume of its parent by the parent's sandbox."""
    gids = host.manager()
    volume = host.tree("volume")
    assert await gids.allocate(str(volume), PERSISTENT) == 10000
    assert await gids.allocate(str(volume / "below"), SANDBOX_PATH) == 10000
    assert list(host.stored()) == [str(volume)]


@pytest.mark.root
async def test_a_volume_in_a_sandbox_is_itself(host: Host) -> None:
    """It is there when the sandbox is gone, and others must not get its group then."""
    gids = host.manager()
    volume, sandbox = host.tree("volume"), host.tree("sandbox")
    (sandbox / "data").mkdir()
    gids.mounted(str(sandbox / "data"), str(volume))
    assert await gids.allocate(str(sandbox / "data" / "below"), SANDBOX_PATH) == 10000
    assert host.stored() == {str(volume): (PERSISTENT, 10000)}
    assert groups(volume) == {10000}
    gids.unmounted(str(sandbox / "data"))
    await gids.deallocate(str(sandbox))
    assert await gids.allocate(str(sandbox / "data"), SANDBOX_PATH) == 10001


@pytest.mark.root
async def test_files_of_sandboxes_go_back_to_their_owners(host: Host) -> None:
    gids = host.manager()
    shared = host.tree("sandbox/shared")
    nobody = pwd.getpwnam("nobody")
    os.chown(shared / "below", nobody.pw_uid, 0)
    os.chown(shared / "below" / "file", 4_000_000, 0)
    assert await gids.allocate(str(shared), SANDBOX_PATH) == 10000
    assert groups(shared) == {10000}
    other = host.tree("sandbox2")
    assert await gids.allocate(str(other), SANDBOX_PATH) == 10001
    await gids.deallocate(str(host.folder / "sandbox"))
    assert list(host.stored()) == [str(other)]
    assert (shared / "below").stat().st_gid == nobody.pw_gid
    assert (shared / "below" / "file").stat().st_gid == host.folder.stat().st_gid
    assert shared.stat().st_gid == 0
    for directory in (shared, shared / "below"):
        assert not directory.stat().st_mode & (stat.S_ISGID | stat.S_IWGRP)


@pytest.mark.root
async def test_they_are_known_after_a_restart(host: Host) -> None:
    volume, gone, shared, removed = (host.tree(n) for n in ("volume", "gone", "shared", "removed"))
    gids = host.manager(((10000, 10009),))
    for path in (volume, gone, removed):
        await gids.allocate(str(path), PERSISTENT)
    assert await gids.allocate(str(shared), SANDBOX_PATH) == 10003
    gone.rename(host.folder / "elsewhere")
    again = await host.recovered(volume, gone)
    assert set(host.stored()) == {str(volume), str(shared)}
    assert await again.allocate(str(volume), PERSISTENT) == 10000
    # What is out of the range now stays, and counts for nothing.
    assert await again.allocate(str(shared), SANDBOX_PATH) == 10003
    assert host.free() == 1.0
    await host.recovered(volume, rebooted=True)
    assert set(host.stored()) == {str(volume)}
    assert groups(shared) == {0}
    assert groups(volume) == {10000}


@pytest.mark.root
async def test_a_disk_has_another_volume(host: Host) -> None:
    """Where the volume was the whole disk, its directory stays, with the group."""
    gids = host.manager()
    disk, other = host.tree("disk"), host.tree("other")
    assert await gids.allocate(str(disk), PERSISTENT) == 10000
    await gids.deallocate(str(disk))
    assert await gids.allocate(str(other), PERSISTENT) == 10000
    assert await gids.allocate(str(disk), PERSISTENT) == 10001
    assert groups(disk) == {10001}


@pytest.mark.root
async def test_other_names_of_volumes(host: Host) -> None:
    """Upstream's agent had the same work directory by another path."""
    volume = host.tree("volume")
    (host.folder / "link").symlink_to(host.folder)
    await host.manager().allocate(str(host.folder / "link" / "volume"), PERSISTENT)
    again = await host.recovered(volume)
    assert await again.allocate(str(volume), PERSISTENT) == 10000


@pytest.mark.root
async def test_what_was_interrupted_is_done_again(host: Host) -> None:
    volume = host.tree("volume")
    gids = host.manager()
    await gids.allocate(str(volume), PERSISTENT)
    os.chown(volume, 0, 0)  # it is given last
    os.chown(volume / "below" / "file", 0, 0)
    again = await host.recovered(volume)
    assert await again.allocate(str(volume), PERSISTENT) == 10000
    assert groups(volume) == {10000}
    os.chmod(volume, 0o755)  # as if it was killed before its very last step
    again = await host.recovered(volume)
    assert await again.allocate(str(volume), PERSISTENT) == 10000
    assert volume.stat().st_mode & (stat.S_ISGID | stat.S_IWGRP) == 0o2020


@pytest.mark.root
async def test_what_fails_is_done_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = host.tree("volume")
    gids = host.manager()

    def fail(*given: object) -> None:
        assert host.stored() == {str(volume): (PERSISTENT, 10000)}
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(group_walk, "give", fail)
        why = "Failed to set the owner group of the volume path .* to 10000: Operation not permitt"
        with pytest.raises(IsolatorError, match=why):
            await gids.allocate(str(volume), PERSISTENT)
    assert await gids.allocate(str(volume), PERSISTENT) == 10000
    assert groups(volume) == {10000}


@pytest.mark.root
async def test_who_comes_second_waits(host: Host) -> None:
    volume = host.tree("volume")
    gids = host.manager()
    found = await asyncio.gather(*(gids.allocate(str(volume), PERSISTENT) for _ in range(5)))
    assert found == [10000] * 5
    assert groups(volume) == {10000}


@pytest.mark.root
async def test_links_of_tasks_lead_nowhere(host: Host) -> None:
    gids = host.manager()
    sandbox = host.folder / "sandbox"
    victim = host.tree("victim")
    sandbox.mkdir()
    (sandbox / "planted").symlink_to(victim)
    for path in ("planted", "planted/below"):
        with pytest.raises(IsolatorError, match="Failed to find the owner group"):
            await gids.allocate(str(sandbox / path), SANDBOX_PATH)
    shared = host.tree("sandbox/shared")
    await gids.allocate(str(shared), SANDBOX_PATH)
    shared.rename(sandbox / "moved")
    shared.symlink_to(victim)
    with pytest.raises(IsolatorError, match="Failed to take the owner group"):
        await gids.deallocate(str(sandbox))
    assert groups(victim) == {0}
    shared.unlink()
    await gids.deallocate(str(sandbox))
    assert host.stored() == {}


@pytest.mark.root
async def test_depth_is_no_way_out(host: Host) -> None:
    top = host.folder / "volume"
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d" * 100, dir_fd=folder)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    assert await host.manager().allocate(str(top), PERSISTENT) == 10000
    assert os.fstat(folder).st_gid == 10000
    os.close(folder)


@pytest.mark.root
async def test_a_file_shared_by_itself(host: Host) -> None:
    path = host.folder / "file"
    path.touch()
    gids = host.manager()
    assert await gids.allocate(str(path), SANDBOX_PATH) == 10000
    assert path.stat().st_gid == 10000
    await gids.deallocate(str(path))
    assert path.stat().st_gid == 0


async def test_a_damaged_file_is_told(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.file.parent.mkdir()
    host.file.write_bytes(b"")
    await host.recovered()
    assert "volume_gids' is empty" in caplog.text
    checkpoint.write_record(str(host.file), b"\xff")
    with pytest.raises(CheckpointError, match="Failed to parse"):
        await host.recovered()


@pytest.mark.root
async def test_the_end_of_a_volume_is_not_that_of_its_neighbour(host: Host) -> None:
    gids = host.manager()
    one, ten = host.tree("v1"), host.tree("v10")
    for path in (one, ten):
        await gids.allocate(str(path), PERSISTENT)
    await gids.deallocate(str(one))
    assert list(host.stored()) == [str(ten)]
