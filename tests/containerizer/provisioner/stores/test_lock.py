# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from containerizer.provisioner.stores.lock import StoreLock, holder
from mesos_compat.base.errors import FlagError, ProvisionError

_HOLD = """
import sys, time
from containerizer.provisioner.stores.lock import StoreLock
lock = StoreLock(sys.argv[1], shared=False)
print("held", flush=True)
sys.stdin.read()
"""


def test_whoever_is_killed_lets_go(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FlagError) as error:
            StoreLock(str(tmp_path), shared=False)
        assert str(error.value).startswith(f"The store '{tmp_path}' is used by process {other.pid}")
        other.kill()
        other.wait()
    StoreLock(str(tmp_path), shared=False).close()
    assert holder(str(tmp_path)) is None


async def test_many_use_it_and_one_has_it_alone(tmp_path: Path) -> None:
    one, two = (StoreLock(str(tmp_path), shared=True) for _ in range(2))
    order: list[str] = []

    async def alone() -> None:
        async with two.alone():
            order.append("alone")

    async with one.using(), two.using(), one.using():
        with one.if_alone() as mine:
            assert not mine
        waiting = asyncio.ensure_future(alone())
        await asyncio.sleep(0)
        order.append("used")
    await waiting
    assert order == ["used", "alone"]
    with one.if_alone() as mine:
        assert mine
        with two.if_alone() as other:
            assert not other
    two.close()
    one.close()
    one.close()


async def test_alone_among_tasks_of_one_process(tmp_path: Path) -> None:
    ours, other = (StoreLock(str(tmp_path), shared=True) for _ in range(2))
    order: list[str] = []

    async def alone() -> None:
        async with ours.alone():
            order.append("alone")

    async with ours.using():
        waiting = asyncio.ensure_future(alone())
        await asyncio.sleep(0)
        order.append("used")
        # and what one of them waits for, the others do not lose
        with other.if_alone() as mine:
            assert not mine
    await waiting
    assert order == ["used", "alone"]
    ours.close()
    other.close()


async def test_patience_ends(tmp_path: Path) -> None:
    owner = StoreLock(str(tmp_path), shared=False)
    async with owner.using(), owner.alone():
        with owner.if_alone() as mine:
            assert mine
    command = StoreLock(str(tmp_path), shared=True, patience_s=0.0)
    with pytest.raises(ProvisionError, match=f"used by process {os.getpid()}"):
        async with command.using():
            pass
    owner.close()
    async with command.using():
        pass
    command.close()


async def test_who_is_cancelled_while_waiting_holds_nothing(tmp_path: Path) -> None:
    one, two = (StoreLock(str(tmp_path), shared=True) for _ in range(2))
    async with one.alone():
        entered = asyncio.Event()

        async def use() -> None:
            entered.set()
            async with two.using():
                raise AssertionError

        using = asyncio.ensure_future(use())
        await entered.wait()
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
    async with one.alone():
        pass
    one.close()
    two.close()


def test_a_store_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="No such file or directory"):
        StoreLock(str(tmp_path / "none"), shared=True)
