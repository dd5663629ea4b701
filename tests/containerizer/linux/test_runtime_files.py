# SPDX-License-Identifier: Apache-2.0
"""The files of a container's runtime directory, as real launches and ends write them.

Source: spec ``containerizer`` 9.1; the numbers of its checklist are named.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from containerizer.linux import cgroup1
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.linux.test_containers import (
    ISOLATION,
    C,
    Host,
    N,
    corner,
    first_version,
)

pytestmark = pytest.mark.root

S = ContainerId("standalone")

M = TypeVar("M", bound=Message)


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async for made in corner(tmp_path, "linux", ISOLATION):
        yield made


class Written:
    """Notes, in order, which files this process makes below a folder, by their final names."""

    def __init__(self, folder: Path) -> None:
        self._below = f"{folder}/"
        self._on = True
        self.names: list[str] = []
        # There is no way to remove it.
        sys.addaudithook(self._hear)

    def stop(self) -> list[str]:
        self._on = False
        return self.names

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._on:
            return
        if event == "os.rename":
            self._note(arguments[1])
        elif event == "open" and _makes(arguments[2]):
            self._note(arguments[0])

    def _note(self, path: object) -> None:
        if isinstance(path, str) and path.startswith(self._below):
            self.names.append(path.removeprefix(self._below))


def _makes(flags: object) -> bool:
    """Whether a file is opened to be made, and not as a temporary one."""
    return isinstance(flags, int) and flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT


def directory(host: Host, container_id: ContainerId = C) -> Path:
    return host.folder / "run" / "containers" / "/containers/".join(container_id.path)


def message(path: Path, kind: type[M]) -> M:
    """Read a file as upstream does."""
    content = path.read_bytes()
    length = int.from_bytes(content[:4], "little")
    assert len(content) == 4 + length
    return kind.FromString(content[4:])


def nested(command: str) -> slave.ContainerConfig:
    made = slave.ContainerConfig()
    made.command_info.value = command
    return made


async def test_the_order(host: Host) -> None:
    """6: config, launch_info, forked.pid, pid; what tells the kind of container comes first."""
    forked = host.folder / "run" / "containers" / "forked.pid"
    await host.mesos.recover([])
    written = Written(host.folder / "run" / "containers")
    await host.mesos.launch(C, host.configured("sleep 600"), {}, str(forked))
    assert written.stop() == ["c1/config", "c1/launch_info", "forked.pid", "c1/pid"]
    assert (directory(host) / "status").read_bytes() == b""
    assert (directory(host) / "pid").read_text() == forked.read_text()
    assert forked.read_text() == str(host.launcher.pid(C))

    written = Written(directory(host))
    session = nested("sleep 600")
    session.container_class = slave.ContainerClass.DEBUG
    await host.mesos.launch(N, session, {})
    order = [name.removeprefix("containers/n1/") for name in written.stop()]
    switchboard = [name for name in order if name.startswith("io_switchboard/")]
    assert [name for name in order if name not in switchboard] == [
        "force_destroy_on_recovery",
        "config",
        "launch_info",
        "pid",
    ]
    assert switchboard == ["io_switchboard/socket", "io_switchboard/pid"]

    written = Written(host.folder / "run" / "containers")
    alone = host.configured("sleep 600", container_id=S)
    alone.ClearField("executor_info")
    await host.mesos.launch(S, alone, {})
    order = [f"standalone/{name}" for name in ("standalone.marker", "config", "launch_info", "pid")]
    assert written.stop() == order
    for each in (C, S):
        await host.mesos.destroy(each)
    forked.unlink()


async def test_their_content(host: Host) -> None:
    """7: records begin with their length; numbers have nothing around them; all is private."""
    await host.mesos.recover([])
    config = host.configured("sleep 600")
    await host.mesos.launch(C, config, {"A": "b"})
    kept = message(directory(host) / "config", slave.ContainerConfig)
    assert kept.directory == config.directory
    assert kept.command_info == config.command_info
    # In the old form of reservations.
    assert [(r.name, r.role) for r in kept.resources] == [("cpus", "*"), ("mem", "*")]
    info = message(directory(host) / "launch_info", slave.ContainerLaunchInfo)
    assert info.command.value == "sleep 600"
    assert "A" in [variable.name for variable in info.environment.variables]
    for name in ("config", "launch_info", "pid", "status"):
        mode = (directory(host) / name).lstat().st_mode
        assert (stat.S_ISREG(mode), stat.S_IMODE(mode)) == (True, 0o600), name
    await host.mesos.launch(N, nested("exit 3"), {})
    ended = await host.mesos.wait(N)
    termination = message(directory(host, N) / "termination", slave.ContainerTermination)
    assert termination == ended
    await host.mesos.destroy(C)
    assert not directory(host).exists()


@pytest.mark.parametrize(
    ("command", "text"), [("exit 3", "768"), ("kill -9 $$", "9"), ("kill -15 $$", "15"), ("", "0")]
)
async def test_how_a_command_ends(host: Host, command: str, text: str) -> None:
    """9: the raw wait status."""
    await host.mesos.recover([])
    await host.mesos.launch(C, host.configured("sleep 600"), {})
    await host.mesos.launch(N, nested(command or "true"), {})
    assert await host.mesos.wait(N) == slave.ContainerTermination(status=int(text))
    assert (directory(host, N) / "status").read_text() == text
    await host.mesos.destroy(C)


async def test_an_init_that_is_killed(host: Host) -> None:
    """9: it tells nothing, which means SIGKILL."""
    await host.mesos.recover([])
    await host.mesos.launch(C, host.configured("sleep 600"), {})
    await host.mesos.launch(N, nested("sleep 600"), {})
    pid = host.launcher.pid(N)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await host.mesos.wait(N) == slave.ContainerTermination(status=9)
    assert (directory(host, N) / "status").read_bytes() == b""
    await host.mesos.destroy(C)


@first_version
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_busy_cgroup_is_tried_again() -> None:
    """31: EBUSY is no failure as long as somebody is in it."""
    hierarchy = cgroup1.hierarchies()["cpu"]
    cgroup = os.path.join(hierarchy, f"mesos-compat-test-busy-{os.getpid()}")
    inner = os.path.join(cgroup, "inner")
    cgroup1.create(inner)
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            cgroup1.assign(inner, process.pid)
            delays = cgroup1.remove(cgroup)
            for _ in range(3):
                next(delays)
            with pytest.raises(OSError, match="busy"):
                os.rmdir(inner)
        finally:
            process.kill()
    for delay_s in delays:
        time.sleep(delay_s)
    assert not os.path.exists(cgroup)
