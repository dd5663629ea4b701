# SPDX-License-Identifier: Apache-2.0
"""What becomes of the containers of an earlier agent, with fakes for everything around them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from containerizer.rundir import RuntimeDirectory
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.test_mesos import C, N, World, world

__all__ = ["world"]


async def watched(world: World, container_id: ContainerId) -> None:
    """Let the watches begin."""
    while container_id not in world.a.watching:  # noqa: ASYNC110 a turn, not a time
        await asyncio.sleep(0)


async def all_gone(world: World) -> None:
    for container_id in world.mesos.containers():
        await world.mesos.wait(container_id)


def leave(world: World, *ids: ContainerId, standalone: bool = False) -> None:
    """Leave the runtime directory of an earlier agent, with this process as every init."""
    for container_id in ids:
        world.rundir.make(container_id)
        if standalone and container_id.parent is None:
            world.rundir.mark_standalone(container_id)
        world.rundir.write_config(container_id, world.config())
        world.rundir.write_launch_info(container_id, slave.ContainerLaunchInfo(user="u"))
        world.rundir.write_pid(container_id, os.getpid())


@contextmanager
def running(world: World, *ids: ContainerId) -> Iterator[None]:
    """Be the init of containers: keep their status files open."""
    with ExitStack() as stack:
        for container_id in ids:
            stack.enter_context(open(world.rundir.status_path(container_id), "w"))
        yield


def executor(container_id: ContainerId, pid: int = os.getpid()) -> slave.ContainerState:
    """What an agent checkpointed of a container."""
    return slave.ContainerState(container_id=container_id.message(), pid=pid, directory="/sandbox")


async def test_recovery_destroys_what_nobody_knows(world: World) -> None:
    leave(world, C, N)
    deep = ContainerId("y", ContainerId("x"))
    world.launcher.orphans = frozenset({C, deep})
    with running(world, C, N):
        await world.mesos.recover([])
    everything = frozenset({C, N, deep, ContainerId("x")})
    assert world.mesos.containers() == everything == world.provisioner.recovered
    assert world.a.recovered == everything
    assert world.a.states == []
    # the launcher has to find the processes, if only by their pids
    assert world.launcher.adopted == [C, N]
    assert world.launcher.exited == frozenset()
    await all_gone(world)
    assert {"kill c", "kill c.n", "kill x.y", "kill x"} <= set(world.steps.done)
    assert "a cleanup x.y" in world.steps.done
    assert list(world.rundir.ids()) == []


@pytest.mark.parametrize("standalone", [True, False])
async def test_recovery_takes_over(world: World, standalone: bool) -> None:
    leave(world, C, N, standalone=standalone)
    with running(world, C, N):
        await world.mesos.recover([] if standalone else [executor(C)])
    assert world.mesos.containers() == {C, N}
    assert world.provisioner.recovered == frozenset({C, N})
    assert world.mesos.is_standalone(N) is standalone
    assert world.a.recovered == frozenset()
    assert [state.pid for state in world.a.states] == [os.getpid(), os.getpid()]
    assert [ContainerId.of(state.container_id) for state in world.a.states] == [C, N]
    assert world.a.states[1].container_info == world.config().container_info
    assert len(world.top.states) == (0 if standalone else 1)
    await watched(world, N)
    assert world.a.watching == {C, N}
    waiting = asyncio.ensure_future(world.mesos.wait(N))
    Path(world.rundir.status_path(N)).write_text("768")
    world.launcher.exit(N, None)
    assert await waiting == slave.ContainerTermination(status=768)
    assert await world.mesos.wait(N) == slave.ContainerTermination(status=768)
    assert world.mesos.containers() == {C}
    waiting = asyncio.ensure_future(world.mesos.wait(C))
    Path(world.rundir.status_path(C)).write_text("9")
    world.launcher.exit(C, None)
    assert await waiting == slave.ContainerTermination(status=9)
    assert list(world.rundir.ids()) == []


async def test_containers_of_another_containerizer_are_left_alone(world: World) -> None:
    docker = executor(ContainerId("d"))
    docker.executor_info.container.type = pb.ContainerInfo.DOCKER
    await world.mesos.recover([docker])
    assert world.mesos.containers() == frozenset()


async def test_recovery_tells_of_exits_meanwhile(world: World) -> None:
    leave(world, C, N, standalone=True)
    Path(world.rundir.status_path(C)).write_text("256")
    await world.mesos.recover([])
    # this process lives, but it does not have their status files open
    assert world.launcher.exited == {C, N}
    assert len(world.a.states) == 2
    waiting = [asyncio.ensure_future(world.mesos.wait(each)) for each in (C, N)]
    # the child never said how it ended
    assert [await each for each in waiting] == [
        slave.ContainerTermination(status=256),
        slave.ContainerTermination(status=9),
    ]
    assert list(world.rundir.ids()) == []


async def test_recovery_of_nested_containers(world: World) -> None:
    ended, session, lost, below = (ContainerId(name, C) for name in ("e", "s", "l", "b"))
    child = ContainerId("x", session)
    leave(world, C, ended, session, child, lost, below, standalone=True)
    termination = slave.ContainerTermination(status=3)
    world.rundir.write_termination(ended, termination)
    world.rundir.mark_force_destroy(session)
    os.unlink(os.path.join(world.rundir.path(lost), "pid"))
    os.unlink(os.path.join(world.rundir.path(below), "config"))
    with running(world, C, session, child, below):
        await world.mesos.recover([])
        assert set(world.a.recovered or ()) == {session, child, lost}
        directories = {
            ContainerId.of(state.container_id): state.directory for state in world.a.states
        }
        sandbox = world.config().directory
        assert directories == {C: sandbox, below: os.path.join(sandbox, "containers/b")}
        for each in (session, lost):
            await world.mesos.wait(each)
    assert world.mesos.containers() == {C, below}
    assert await world.mesos.wait(ended) == termination
    await world.mesos.destroy(C)


async def test_recovery_survives_damage(world: World) -> None:
    whole, bad_pid, empty = ContainerId("whole"), ContainerId("bad"), ContainerId("empty")
    leave(world, C, whole, bad_pid, standalone=True)
    for name in ("config", "launch_info"):
        Path(world.rundir.path(C), name).write_bytes(b"\xff\xff\xff\xff")
    Path(world.rundir.path(bad_pid), "pid").write_text("-4")
    Path(world.rundir.path(empty)).mkdir()
    root = Path(world.rundir.root)
    (root / "a file").touch()
    (root / "no id").mkdir()
    (root / ".removed-0123").mkdir()
    with running(world, C, whole, bad_pid):
        await world.mesos.recover([])
        assert set(world.a.recovered or ()) == {bad_pid, empty}
        for each in (bad_pid, empty):
            await world.mesos.wait(each)
    assert world.mesos.containers() == {C, whole}
    # where its sandbox has to be
    assert world.a.states[0].directory == str(world.folder / "containers" / "c")
    assert (root / "no id").is_dir()
    assert not (root / ".removed-0123").exists()
    for each in (C, whole):
        await world.mesos.destroy(each)


async def test_recovery_without_a_runtime_directory(world: World) -> None:
    await world.mesos.recover([executor(C), executor(ContainerId("never"), pid=0)])
    assert world.mesos.containers() == {C}
    assert world.launcher.exited == frozenset()
    # nobody but its parent could know how it ended
    assert await world.mesos.destroy(C) == slave.ContainerTermination()


async def test_half_a_removal_tells_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.launch(image=False)
    world.launcher.exit(C)
    await world.mesos.wait(C)
    leave(world, C, standalone=True)
    with monkeypatch.context() as patched:
        patched.setattr(RuntimeDirectory, "_remove", lambda self, path: None)
        world.rundir.remove(C)
    assert list(world.rundir.ids()) == []
    await world.mesos.recover([])
    assert os.listdir(world.rundir.root) == []


@pytest.mark.parametrize("leads", [True, False])
async def test_a_process_of_which_nothing_can_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    """It may be init; one that leads no session is not, and the host's first never is."""

    def forbidden(pid: int, path: str) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("containerizer.linux.fds.has_open", forbidden)
    first = ContainerId("first")
    with subprocess.Popen(["sleep", "600"], start_new_session=leads) as process:  # noqa: ASYNC220 starts
        leave(world, C, first, standalone=True)
        world.rundir.write_pid(C, process.pid)
        world.rundir.write_pid(first, 1)
        await world.mesos.recover([])
        assert world.launcher.exited == ({first} if leads else {first, C})
        process.kill()
    for each in (C, first):
        await world.mesos.destroy(each)
