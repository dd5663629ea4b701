# SPDX-License-Identifier: Apache-2.0
"""Who gets which stdio, without any process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from containerizer.init.helper import HelperRequest
from containerizer.launcher.spawn import SpawnedInit
from containerizer.switchboard.isolator import IOSwitchboard, SwitchboardConfig
from mesos_compat.base.errors import ContainerError, LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")


class Logger:
    """Opens /dev/null."""

    def __init__(self) -> None:
        self.asked = 0

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        self.asked += 1
        return os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)


class Broken:
    """Starts nothing."""

    async def start_helper(self, request: HelperRequest, descriptors: Sequence[int]) -> SpawnedInit:
        for descriptor in descriptors:
            os.fstat(descriptor)
        raise LaunchError("no")


def made(folder: Path, config: SwitchboardConfig | None = None) -> tuple[IOSwitchboard, Logger]:
    logger = Logger()
    (folder / "c").mkdir(exist_ok=True)
    config = config or SwitchboardConfig()
    return IOSwitchboard(config, logger, lambda each: str(folder / each.value), Broken()), logger


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def with_terminal() -> slave.ContainerConfig:
    config = slave.ContainerConfig()
    config.container_info.type = pb.ContainerInfo.MESOS
    config.container_info.tty_info.SetInParent()
    return config


async def test_most_containers_have_what_the_logger_opened(tmp_path: Path) -> None:
    switchboard, logger = made(tmp_path)
    before = open_descriptors()
    assert await switchboard.prepare(C, slave.ContainerConfig()) is None
    stdio = switchboard.take_io(C)
    assert os.read(stdio.stdin, 1) == b""
    stdio.close()
    stdio.close()
    with pytest.raises(ContainerError):
        switchboard.take_io(C)
    text = "^I/O switchboard server was disabled for this container$"
    with pytest.raises(ContainerError, match=text):
        await switchboard.address(C)
    await switchboard.cleanup(C)
    assert logger.asked == 1
    assert open_descriptors() == before


async def test_stdio_that_nobody_takes_is_closed(tmp_path: Path) -> None:
    switchboard, _ = made(tmp_path)
    before = open_descriptors()
    await switchboard.prepare(C, slave.ContainerConfig())
    switchboard.drop_io(C)
    switchboard.drop_io(C)
    await switchboard.prepare(C, slave.ContainerConfig())
    await switchboard.cleanup(C)
    assert open_descriptors() == before


class Nonsense:
    """A plug-in that does not know what it was asked for."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def prepare(self, container_id: ContainerId, config: slave.ContainerConfig) -> Any:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        "12",
        (),
        (1, 2),
        (0, 1),
        (-1, -1),
        (10**6, 10**6),
        (2**70, 2**70),
        (True, True),
        (1.5, 2.5),
        ("3", "4"),
        (3, 4, 5),
    ],
    ids=repr,
)
async def test_a_logger_that_answers_nonsense(tmp_path: Path, answer: object) -> None:
    before = open_descriptors()
    switchboard = IOSwitchboard(SwitchboardConfig(), Nonsense(answer), str, Broken())
    for config in (slave.ContainerConfig(), with_terminal()):
        with pytest.raises(ContainerError, match="did not return open descriptors"):
            await switchboard.prepare(C, config)
        with pytest.raises(ContainerError, match="has no stdio"):
            switchboard.take_io(C)
    assert open_descriptors() == before


async def test_a_logger_with_one_descriptor_for_both(tmp_path: Path) -> None:
    before = open_descriptors()
    both = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    switchboard = IOSwitchboard(SwitchboardConfig(), Nonsense([both, both]), str, Broken())
    await switchboard.prepare(C, slave.ContainerConfig())
    stdio = switchboard.take_io(C)
    assert stdio.stdout != stdio.stderr
    stdio.close()
    assert open_descriptors() == before


async def test_local_mode(tmp_path: Path) -> None:
    switchboard, logger = made(tmp_path, SwitchboardConfig(local=True))
    await switchboard.prepare(C, with_terminal())
    stdio = switchboard.take_io(C)
    assert os.path.sameopenfile(stdio.stdout, 1)
    assert os.path.sameopenfile(stdio.stderr, 2)
    stdio.close()
    assert logger.asked == 0
    with pytest.raises(ContainerError, match=r"^Not supported in local mode$"):
        await switchboard.address(C)
    await switchboard.cleanup(C)


@pytest.mark.parametrize("session", [False, True])
async def test_a_server_that_cannot_be_started(tmp_path: Path, session: bool) -> None:
    switchboard, _ = made(tmp_path)
    config = slave.ContainerConfig() if session else with_terminal()
    if session:
        config.container_class = slave.ContainerClass.DEBUG
    before = open_descriptors()
    with pytest.raises(LaunchError):
        await switchboard.prepare(C, config)
    assert open_descriptors() == before
    address = (tmp_path / "c" / "io_switchboard" / "socket").read_text()
    assert address.startswith("/tmp/mesos-io-switchboard-")
    await switchboard.cleanup(C)
    assert not os.path.exists(address)
    assert open_descriptors() == before


async def test_damaged_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "io_switchboard"
    folder.mkdir(parents=True)
    state = slave.ContainerState(container_id=C.message(), pid=1, directory="")
    for pid in (None, "", "x", "99999999999999999999", "-1"):
        if pid is not None:
            (folder / "pid").write_text(pid)
        switchboard, _ = made(tmp_path)
        await switchboard.recover([state], [])
        with pytest.raises(ContainerError, match=r"^Failed to get the io switchboard address"):
            await switchboard.address(C)
        async with asyncio.timeout(60):
            await switchboard.cleanup(C)


async def test_a_server_that_ended_well_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "io_switchboard"
    folder.mkdir(parents=True)
    (folder / "pid").write_text("1")
    os.utime(folder / "pid", (0, 0))
    (folder / "socket").write_text(str(tmp_path / "nowhere"))
    state = slave.ContainerState(container_id=C.message(), pid=1, directory="")
    for status, message in (
        ("0", None),
        (None, None),
        ("256", "'IOSwitchboard' exited with status 1"),
        ("", "'IOSwitchboard' terminated with signal Killed"),
        ("x", None),
    ):
        if status is not None:
            (folder / "status").write_text(status)
        else:
            (folder / "status").unlink()
        switchboard, _ = made(tmp_path)
        await switchboard.recover([state], [])
        with pytest.raises(ContainerError, match=r"^I/O switchboard has shutdown$"):
            await switchboard.address(C)
        if message is None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await switchboard.watch(C)
        else:
            limitation = await switchboard.watch(C)
            assert limitation.message == message
            assert limitation.reason == pb.TaskStatus.REASON_IO_SWITCHBOARD_EXITED
