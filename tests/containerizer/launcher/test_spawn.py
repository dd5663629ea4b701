# SPDX-License-Identifier: Apache-2.0
"""The spawner: programs in place of executables, its start, its end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from containerizer.init.spawner import SpawnRequest
from containerizer.launcher import spawn
from containerizer.launcher.base import Stdio
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import namespaces, proc
from mesos_compat.base.errors import LaunchError
from tests.containerizer.launcher.host import Host, eventually, launch_info

_HERE = "tests.containerizer.launcher.programs"


@pytest.fixture
async def programs(tmp_path: os.PathLike[str]) -> AsyncIterator[Host]:
    """A host whose spawner knows some programs, by a link to their paths."""
    folder = os.path.realpath(tmp_path)
    os.symlink(folder, f"{folder}/link")
    table = {
        f"{folder}/link/{name}": f"{_HERE}:{name}" for name in ("report", "crash", "leave", "serve")
    }
    made = Host(PosixLauncher(Spawner(SpawnerConfig(programs=table))), folder)
    yield made
    await made.clean()
    await made.launcher.close()


async def test_program_in_place_of_an_executable(programs: Host) -> None:
    path = f"{programs.folder}/report"
    info = launch_info(
        path, arguments=["a b", "--flag"], environment={"X": "y"}, working_directory="/"
    )
    outcome = await programs.run(info)
    assert outcome.status == str(42 << 8), outcome.stderr
    argv, environment, title, place, _, mask, fds = outcome.lines
    assert argv == "['a b', '--flag']"
    assert environment.startswith("[('PATH', '/usr/local/sbin:")
    assert environment.endswith("('X', 'y')] True")
    assert title == "a b --flag"
    assert place == f"{os.getuid()} / True"
    assert mask == "True"
    # 0, 1, 2 and the one that lists them
    assert fds == "4 False"
    assert outcome.stderr == "err"


async def test_program_is_the_init_and_reaps_orphans(programs: Host) -> None:
    # Not under pid 1 of a namespace nor a subreaper: the orphan of a posix container would come
    # to the spawner.
    info = launch_info(f"{programs.folder}/serve", arguments=["s", "kill -9 $$"])
    container_id, init = await programs.start(info)
    child, ended = await programs.written(container_id, 2)
    assert ended == "child 9"
    assert proc.children(init.pid) == []
    assert int(child) != init.pid
    os.kill(init.pid, signal.SIGTERM)
    assert (await programs.finish(container_id)).status == "15"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, ""), (signal.SIGHUP, "1"), (signal.SIGUSR1, "10"), (signal.SIGALRM, "14")],
)
async def test_signal_that_ends_a_program(
    programs: Host, number: signal.Signals, status: str
) -> None:
    info = launch_info(f"{programs.folder}/serve", arguments=["s", "exec sleep 9"])
    container_id, init = await programs.start(info)
    await programs.written(container_id)
    for harmless in (signal.SIGWINCH, signal.SIGCONT, signal.SIGURG):
        os.kill(init.pid, harmless)
    os.kill(init.pid, number)
    assert (await programs.finish(container_id)).status == status


@pytest.mark.root
async def test_program_of_another_user_keeps_no_capability(programs: Host) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    caps = {"capabilities": ["KILL", "CHOWN"]}
    path = f"{programs.folder}/report"
    info = launch_info(path, arguments=["r"], user="daemon", bounding_capabilities=caps)
    outcome = await programs.run(info)
    assert outcome.lines[3].startswith("1 ")
    assert outcome.lines[4] == "0 0 21 0"
    info = launch_info(path, arguments=["r"], user="daemon", effective_capabilities=caps)
    assert (await programs.run(info)).lines[4] == "21 21 21 21"
    info = launch_info(path, arguments=["r"], bounding_capabilities=caps)
    assert (await programs.run(info)).lines[4] == "21 21 21 0"


async def test_program_that_crashes_or_leaves(programs: Host) -> None:
    outcome = await programs.run(launch_info(f"{programs.folder}/crash", arguments=["c"]))
    assert outcome.status == "256"
    assert "RuntimeError: crash of c" in outcome.stderr
    outcome = await programs.run(launch_info(f"{programs.folder}/leave", arguments=["c"]))
    assert outcome.status == str(9 << 8)


async def test_shell_commands_are_never_programs(programs: Host) -> None:
    outcome = await programs.run(launch_info(f"{programs.folder}/leave"))
    assert outcome.status == str(127 << 8)


@pytest.mark.parametrize("reference", ["no.such.module:main", "os:no_such", "os:sep", "os"])
async def test_program_that_cannot_be_loaded(reference: str) -> None:
    spawner = Spawner(SpawnerConfig(programs={"/x": reference}))
    with pytest.raises(LaunchError, match=f"Failed to load program '{reference}'"):
        await spawner.start()
    await spawner.close()


async def test_python_that_is_missing() -> None:
    spawner = Spawner(SpawnerConfig(programs={}, python="/no/such/python"))
    with pytest.raises(LaunchError, match=r"Failed to start the spawner: .*No such file"):
        await spawner.start()
    await spawner.close()


@pytest.mark.parametrize(
    ("script", "why"), [("read -r never", "no answer in time"), ("exit 3", "it ended at once")]
)
async def test_python_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(spawn, "_START_S", 60.0 if "exit" in script else 0.2)
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    spawner = Spawner(SpawnerConfig(programs={}, python=str(program)))
    with pytest.raises(LaunchError, match=f"Failed to start the spawner: {why}"):
        await spawner.start()
    assert spawner.pid is None
    await spawner.close()


async def test_spawner_ends_with_its_owner_and_leaves_inits(tmp_path: os.PathLike[str]) -> None:
    spawner = Spawner(SpawnerConfig(programs={}))
    null = os.open(os.devnull, os.O_RDWR)
    init = await spawner.fork(
        SpawnRequest(os.fspath(tmp_path)),
        b'{"command":{"value":"exit 5"}}',
        Stdio(null, null, null),
    )
    os.close(null)
    pid = spawner.pid
    assert pid is not None
    await spawner.close()
    assert proc.is_zombie_or_gone(pid)
    assert not proc.is_zombie_or_gone(init.pid)
    init.release()
    await eventually(lambda: proc.is_zombie_or_gone(init.pid))
    with open(os.path.join(tmp_path, "status")) as file:
        assert file.read() == str(5 << 8)
    os.close(init.pidfd)
    with pytest.raises(LaunchError, match="closed"):
        await spawner.start()


async def test_many_at_once_and_cancelled_ones(tmp_path: os.PathLike[str]) -> None:
    spawner = Spawner(SpawnerConfig(programs={}))
    launcher = PosixLauncher(spawner)
    host = Host(launcher, os.fspath(tmp_path))
    tasks = [asyncio.create_task(host.run(launch_info(f"exit {n}"))) for n in range(12)]
    cancelled = [asyncio.create_task(host.run(launch_info("sleep 9"))) for _ in range(3)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    outcomes = await asyncio.gather(*tasks)
    assert [outcome.status for outcome in outcomes] == [str(n << 8) for n in range(12)]
    await asyncio.gather(*cancelled, return_exceptions=True)
    await host.clean()
    pid = spawner.pid
    assert pid is not None
    await eventually(lambda: not proc.children(pid))
    await launcher.close()


async def test_unusable_launch_info_is_the_containers_failure(posix: Host) -> None:
    outcome = await posix.run(launch_info(""))
    assert outcome.status == "256"
    assert outcome.stderr == "Shell command is not specified\n"


async def test_containers_start_with_the_limit_of_open_files_that_they_are_given(
    tmp_path: os.PathLike[str],
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config = SpawnerConfig(programs={}, open_files=(123, hard))
    made = Host(PosixLauncher(Spawner(config)), os.path.realpath(tmp_path))
    try:
        info = launch_info("/bin/sh", arguments=["sh", "-c", "ulimit -n"])
        assert (await made.run(info)).lines == ["123"]
    finally:
        await made.clean()
        await made.launcher.close()


@pytest.mark.root
async def test_nothing_that_the_spawner_maps_can_be_written() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    spawner = Spawner(SpawnerConfig(programs={"/x": "mesos_compat.executor.command:main"}))
    await spawner.start()
    try:
        maps = f"/proc/{spawner.pid}/map_files"
        mapped = [f"/proc/{spawner.pid}/exe", *(f"{maps}/{name}" for name in os.listdir(maps))]
        assert len(mapped) > 10
        for path in mapped:
            assert os.statvfs(path).f_flag & os.ST_RDONLY, os.readlink(path)
            # ETXTBSY for what is being executed, EROFS for all else.
            with pytest.raises(OSError, match=r"Read-only file system|Text file busy"):
                os.close(os.open(path, os.O_WRONLY))
        # It is back in the host's tree, where containers begin.
        assert spawner.pid is not None
        flag = namespaces.CLONE_NEWNS
        assert namespaces.identity(spawner.pid, flag) == namespaces.identity("self", flag)
        assert not os.statvfs(f"/proc/{spawner.pid}/root").f_flag & os.ST_RDONLY
        root = os.stat(f"/proc/{spawner.pid}/root")
        assert os.path.samestat(root, os.stat("/"))
    finally:
        await spawner.close()
