# SPDX-License-Identifier: Apache-2.0
"""The rotating logger: settings, the program, and containers that write to it."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from pathlib import Path

import pytest

from containerizer.loggers import logrotate, logrotate_program
from containerizer.loggers.base import LoggerContext
from containerizer.loggers.load import create_logger
from containerizer.loggers.logrotate import LogrotateLogger, LogrotateSettings, container_settings
from containerizer.loggers.sandbox import SandboxLogger
from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.linux.test_switchboard import Host

C = ContainerId("c1")
NAME = "org_apache_mesos_LogrotateContainerLogger"


def command(**variables: str) -> pb.CommandInfo:
    made = pb.CommandInfo()
    for name, value in variables.items():
        made.environment.variables.add(name=name, value=value)
    return made


def test_loggers_by_name() -> None:
    assert isinstance(create_logger(None, LoggerContext()), SandboxLogger)
    assert isinstance(create_logger("sandbox", LoggerContext()), SandboxLogger)
    parameters = (("max_stdout_size", "1MB"), ("logrotate_path", "/x"))
    assert isinstance(create_logger(NAME, LoggerContext(parameters)), LogrotateLogger)
    with pytest.raises(FlagError, match=r"^Failed to create container logger 'what': Unknown"):
        create_logger("what", LoggerContext())


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_stdout_size", "1B", "Expected --max_stdout_size and --max_stderr_size of at least"),
        ("max_stderr_size", "x", "Invalid bytes"),
        ("whatever", "x", "Failed to load unknown flag 'whatever'"),
    ],
)
def test_bad_parameters(name: str, value: str, text: str) -> None:
    with pytest.raises(FlagError, match=text):
        logrotate.create(LoggerContext(((name, value),)))
    with pytest.raises(ContainerError, match=f"^Failed to load container logger settings: {text}"):
        container_settings(
            LogrotateSettings(), "CONTAINER_LOGGER_", command(**{f"CONTAINER_LOGGER_{name}": value})
        )


def test_containers_set_their_own() -> None:
    given = command(
        CONTAINER_LOGGER_MAX_STDOUT_SIZE="5MB",
        CONTAINER_LOGGER_LOGROTATE_STDERR_OPTIONS="rotate 3",
        OTHER_FOO="x",
    )
    made = container_settings(LogrotateSettings(), "CONTAINER_LOGGER_", given)
    assert made == LogrotateSettings(max_stdout_bytes=5 << 20, stderr_options="rotate 3")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing required option --log_filename"),
        (["--log_filename=x"], "Expected --log_filename to be an absolute path: 'x'"),
        (["--log_filename=/x", "--max_size=1B"], "Expected --max_size of at least"),
        (["--log_filename=/x", "--max_size=x"], "Failed to load --max_size: Invalid bytes 'x'"),
        (["--log_filename=/x", "--user=no such"], "Failed to get the uid of user 'no such'"),
        (["--foo=1"], "Failed to load unknown flag '--foo=1'"),
        (["--log_filename=/nowhere/at/all"], "[Errno 2]"),
    ],
)
def test_command_lines_of_the_program(
    arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert logrotate_program.main(["mesos-logrotate-logger", *arguments], {}) == 1
    assert capfd.readouterr().err.startswith(text)


async def written(path: Path, text: bytes) -> None:
    end = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().endswith(text)):
        assert time.monotonic() < end, path
        await asyncio.sleep(0.01)


@pytest.mark.root
@pytest.mark.parametrize("tty", [False, True])
async def test_containers(tmp_path: Path, tty: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    host = Host(
        tmp_path,
        container_logger=NAME,
        parameters={NAME: (("max_stdout_size", "64KB"), ("logrotate_stdout_options", "rotate 4"))},
    )
    try:
        config = host.configured("seq 100000; echo err >&2; echo end", tty=tty)
        config.user = "nobody"
        config.command_info.environment.variables.add(
            name="CONTAINER_LOGGER_MAX_STDOUT_SIZE", value="100KB"
        )
        entry = pwd.getpwnam("nobody")
        os.chown(host.sandbox(), entry.pw_uid, entry.pw_gid)
        await host.mesos.launch(C, config, {})
        await host.mesos.wait(C)
        folder = host.sandbox()
        await written(folder / "stdout", b"end\r\n" if tty else b"end\n")
        names = {"stdout", "stdout.1", "stdout.2", "stdout.3", "stdout.4", "stderr"}
        assert {path.name for path in folder.iterdir()} == names
        for path in folder.iterdir():
            assert path.stat().st_size <= 100 << 10
            assert path.stat().st_uid == entry.pw_uid
            assert path.stat().st_mode & 0o777 == 0o644
        kept = b"".join((folder / name).read_bytes() for name in sorted(names - {"stderr"})[::-1])
        # A line is cut where one file was full when only the line's beginning had come.
        numbers = kept.partition(b"\n")[2].split()
        last = [int(number) for number in numbers if number.isdigit()]
        assert last == list(range(last[0], 100001))
        assert (folder / "stderr").read_bytes() == (b"" if tty else b"err\n")

        config.command_info.environment.variables.add(name="CONTAINER_LOGGER_FOO", value="1")
        with pytest.raises(
            ContainerError, match=r"^Failed to load container logger settings: Failed to load"
        ):
            await host.mesos.launch(C, config, {})
        assert await host.mesos.destroy(C) == slave.ContainerTermination()
    finally:
        await host.mesos.close()
