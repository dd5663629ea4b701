# SPDX-License-Identifier: Apache-2.0
"""Programs run to their end within limits."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import time

import pytest

from mesos_compat.base import procs


async def test_output_input_and_exit_code() -> None:
    done = await procs.run(
        ["sh", "-c", "cat; pwd >&2; echo $A; exit 3"],
        timeout_s=60,
        stdin=b"in\n",
        cwd="/",
        env={"A": "b", "PATH": os.environ["PATH"]},
    )
    assert (done.stdout, done.stderr, done.exit_code) == (b"in\nb\n", b"/\n", 3)
    assert not done.truncated
    assert done.end == "exited with status 3"


async def test_a_signal_is_a_negative_exit_code() -> None:
    done = await procs.run(["sh", "-c", "kill -TERM $$"], timeout_s=60)
    assert done.exit_code == -signal.SIGTERM
    assert done.end == "terminated by signal 15"


async def test_output_beyond_the_limit_is_thrown_away() -> None:
    done = await procs.run(
        ["sh", "-c", "head -c 300000 /dev/zero"], timeout_s=60, max_output_bytes=1000
    )
    assert len(done.stdout) == 1000
    assert done.truncated
    assert done.exit_code == 0


async def test_large_input_to_a_program_that_does_not_read() -> None:
    done = await procs.run(["true"], timeout_s=60, stdin=b"x" * 300_000)
    assert done.exit_code == 0


async def test_what_is_missing_is_named() -> None:
    with pytest.raises(procs.ProgramError, match="Failed to start '/not/there': No such file"):
        await procs.run(["/not/there"], timeout_s=60)


async def test_the_whole_group_is_killed_at_the_timeout() -> None:
    start = time.monotonic()
    with pytest.raises(procs.ProgramError, match=r"did not end within 0\.05 seconds"):
        await procs.run(["sh", "-c", "sleep 100 & sleep 100"], timeout_s=0.05)
    assert time.monotonic() - start < 90


async def test_cancelling_kills_the_program() -> None:
    task = asyncio.ensure_future(procs.run(["sleep", "100"], timeout_s=100))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_limits_hold() -> None:
    done = await procs.run(
        ["sh", "-c", "read x; ulimit -n"],
        timeout_s=60,
        stdin=b"\n",
        limits={resource.RLIMIT_NOFILE: 33},
    )
    assert done.stdout == b"33\n"


async def test_wait_returns_when_a_process_ends() -> None:
    with subprocess.Popen(["sleep", "0.01"]) as process:  # noqa: ASYNC220
        async with asyncio.timeout(60):
            await procs.wait(process.pid)
        assert process.wait(0) == 0
    await procs.wait(process.pid)


def test_as_many_open_files_as_the_hard_limit_admits() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert procs.raise_open_files() == (256, before[1])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (soft, hard) == (min(before[1], 1 << 20), before[1])
        assert procs.raise_open_files() == (soft, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
