# SPDX-License-Identifier: Apache-2.0
"""Every file of a runtime directory, damaged in every way: one container suffers, all others go on.

Source: spec ``containerizer`` 9.1, ``state-and-recovery`` 5.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containerizer.switchboard.isolator import IOSwitchboard, SwitchboardConfig
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import NullLogger
from tests.containerizer.test_mesos import C, N, World, world
from tests.containerizer.test_recover import leave, running

__all__ = ["world"]

WHOLE = ContainerId("whole")
INSIDE = ContainerId("inside", WHOLE)

#: A process that has nothing to do with containers. All is fake here: nothing would kill it.
STRANGER = os.getppid()


def _absent(path: Path, outside: Path) -> None:
    """Nothing is there."""


def _empty(path: Path, outside: Path) -> None:
    path.touch()


def _garbage(path: Path, outside: Path) -> None:
    path.write_bytes(b"\xff\xfe\0garbage\n" * 9)


def _text(path: Path, outside: Path) -> None:
    path.write_text("/\0/etc/passwd")


def _truncated(path: Path, outside: Path) -> None:
    """A length and half of what it says."""
    path.write_bytes(b"\x40\0\0\0\x0a\x20abc")


def _huge_length(path: Path, outside: Path) -> None:
    path.write_bytes(b"\xff\xff\xff\xff")


def _huge_number(path: Path, outside: Path) -> None:
    path.write_text("9" * 30)


def _negative(path: Path, outside: Path) -> None:
    path.write_text("-1")


def _stranger(path: Path, outside: Path) -> None:
    path.write_text(str(STRANGER))


def _sparse(path: Path, outside: Path) -> None:
    """More than there is memory."""
    with path.open("wb") as file:
        file.truncate(1 << 42)


def _folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "in it").write_text("x")


def _fifo(path: Path, outside: Path) -> None:
    """Nobody ever writes into it."""
    os.mkfifo(path)


def _dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nowhere")


def _loop(path: Path, outside: Path) -> None:
    path.symlink_to(path)


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def _folder_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _device(path: Path, outside: Path) -> None:
    """One without an end."""
    path.symlink_to("/dev/zero")


def _unreadable(path: Path, outside: Path) -> None:
    path.write_text("?")  # to root, nothing is unreadable
    path.chmod(0)


Damage = Callable[[Path, Path], None]
DAMAGE: tuple[Damage, ...] = (
    _absent,
    _empty,
    _garbage,
    _text,
    _truncated,
    _huge_length,
    _huge_number,
    _negative,
    _stranger,
    _sparse,
    _folder,
    _fifo,
    _dangling,
    _loop,
    _link,
    _folder_link,
    _device,
    _unreadable,
)

GOES_ON, ORPHAN, EXITED = "goes on", "orphan", "exited"

#: What becomes of the container that runs; an absent file may be another matter than a damaged one.
FILES: dict[str, tuple[str, str]] = {
    "config": (GOES_ON, GOES_ON),
    "launch_info": (GOES_ON, GOES_ON),
    "pid": (ORPHAN, ORPHAN),
    # Nobody has it open, so init is gone.
    "status": (EXITED, EXITED),
    "standalone.marker": (ORPHAN, GOES_ON),
    "force_destroy_on_recovery": (GOES_ON, ORPHAN),
    # Only nested ones have it.
    "termination": (GOES_ON, GOES_ON),
    "io_switchboard": (GOES_ON, GOES_ON),
    "io_switchboard/pid": (GOES_ON, GOES_ON),
    "io_switchboard/socket": (GOES_ON, GOES_ON),
    "io_switchboard/status": (GOES_ON, GOES_ON),
    "devices": (GOES_ON, GOES_ON),
    "shm": (GOES_ON, GOES_ON),
    "mnt": (GOES_ON, GOES_ON),
    # What a write that was interrupted leaves.
    "Xq3fZ_": (GOES_ON, GOES_ON),
}


def _cases() -> Iterator[tuple[str, Damage]]:
    for name in FILES:
        for damage in DAMAGE:
            if damage is _stranger and name == "pid":
                continue  # as good as the right one: see the status file
            yield name, damage


def _damage(world: World, container_id: ContainerId, name: str, damage: Damage) -> None:
    """Put something in the place of a file."""
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    folder = Path(world.rundir.path(container_id))
    (folder / "io_switchboard").mkdir()
    (folder / "io_switchboard" / "socket").write_text("/nowhere")
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    damage(path, outside)


def _untouched(world: World) -> bool:
    outside = world.folder / "outside"
    return os.listdir(outside) == ["file"] and (outside / "file").read_text() == "not ours"


async def _recover(world: World) -> None:
    async with asyncio.timeout(60):
        await world.mesos.recover([])


async def _all_goes(world: World) -> None:
    """Destroy everything; nothing may be left, nor anything else be touched."""
    async with asyncio.timeout(60):
        for container_id in (C, WHOLE):
            await world.mesos.destroy(container_id)
    assert world.mesos.containers() == frozenset()
    assert os.listdir(world.rundir.root) == []
    assert _untouched(world)
    assert world.destroy_errors == 0


@pytest.mark.parametrize(("name", "damage"), list(_cases()))
async def test_a_standalone_container(world: World, name: str, damage: Damage) -> None:
    leave(world, C, N, WHOLE, INSIDE, standalone=True)
    with running(world, C, N, WHOLE, INSIDE):
        _damage(world, C, name, damage)
        expected = FILES[name][damage is not _absent]
        await _recover(world)
        assert set(world.a.recovered or ()) == ({C, N} if expected == ORPHAN else set())
        assert world.launcher.exited == ({C} if expected == EXITED or _pidless(world) else set())
        assert {C, WHOLE, INSIDE} <= world.mesos.containers()
        await _all_goes(world)


def _pidless(world: World) -> bool:
    return C not in world.launcher.adopted


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [name for name in FILES if name != "standalone.marker"])
async def test_a_nested_container(world: World, name: str, damage: Damage) -> None:
    leave(world, C, N, WHOLE, INSIDE, standalone=True)
    with running(world, C, N, WHOLE, INSIDE):
        _damage(world, N, name, damage)
        expected = FILES[name][damage is not _absent]
        await _recover(world)
        if name != "pid" or damage is not _stranger:
            assert set(world.a.recovered or ()) == ({N} if expected == ORPHAN else set())
        assert {C, WHOLE, INSIDE} <= world.mesos.containers()
        async with asyncio.timeout(60):
            await world.mesos.destroy(N)
        await _all_goes(world)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_the_folder_of_nested_containers(world: World, damage: Damage) -> None:
    leave(world, C, N, WHOLE, INSIDE, standalone=True)
    with running(world, C, N, WHOLE, INSIDE):
        _damage(world, C, "containers", damage)
        await _recover(world)
        assert world.mesos.containers() == {C, WHOLE, INSIDE}
        assert world.a.recovered == frozenset()
        await _all_goes(world)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_how_a_nested_container_ended(world: World, damage: Damage) -> None:
    """What is not to be read is not known, and no reason to refuse anything else."""
    leave(world, C, N, standalone=True)
    with running(world, C):
        _damage(world, N, "status", damage)
        await _recover(world)
        async with asyncio.timeout(60):
            ended = await world.mesos.wait(N)
        assert ended is not None
        if damage in (_absent, _empty, _dangling):
            assert ended == slave.ContainerTermination(status=9)
        elif damage is _stranger:
            assert ended == slave.ContainerTermination(status=STRANGER)
        else:
            assert ended == slave.ContainerTermination()
        assert await world.mesos.wait(N) == ended
        await _all_goes(world)


@pytest.fixture(scope="module")
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Be a process that is nobody's server."""
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process
        assert process.poll() is None, "it was killed"
        process.kill()


@pytest.mark.parametrize("name", ["pid", "socket", "status"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("live", [True, False])
async def test_a_server_of_which_nobody_knows(
    tmp_path: Path, bystander: subprocess.Popen[bytes], name: str, damage: Damage, live: bool
) -> None:
    """Nobody is killed and no file is removed because a file says so."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    folder = tmp_path / "io_switchboard"
    folder.mkdir()
    texts = {"pid": str(bystander.pid), "socket": str(outside / "file"), "status": ""}
    for each, text in texts.items():
        (folder / each).write_text(text)
    (folder / name).unlink()
    damage(folder / name, outside)
    config = SwitchboardConfig(patience_s=0.01, kill_after_s=0.01)
    switchboard = IOSwitchboard(config, NullLogger(), lambda _: str(tmp_path))
    state = slave.ContainerState(container_id=C.message(), pid=1, directory="/")
    async with asyncio.timeout(60):
        await switchboard.recover([state] if live else [], [] if live else [C])
        if name == "socket":
            with pytest.raises(ContainerError):
                await switchboard.address(C)
        await switchboard.cleanup(C)
    assert (outside / "file").read_text() == "not ours"
    assert bystander.poll() is None


@pytest.mark.parametrize("damage", [each for each in DAMAGE if each not in (_absent, _folder)])
async def test_something_that_is_no_container(world: World, damage: Damage) -> None:
    leave(world, WHOLE, INSIDE, standalone=True)
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    damage(Path(world.rundir.path(C)), outside)
    damage(Path(world.rundir.root, ".removed-0123"), outside)
    with running(world, WHOLE, INSIDE):
        await _recover(world)
        assert world.mesos.containers() == {WHOLE, INSIDE}
        assert os.listdir(world.rundir.root).count(".removed-0123") == 0
        # its place is free
        await world.launch(C, image=False)
        await _all_goes(world)
