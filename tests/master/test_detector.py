# SPDX-License-Identifier: Apache-2.0
"""Masters by address and by file."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import FlagError
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master import detector as module
from mesos_compat.master.detector import FILE_INTERVAL_S, detect, parse_master

ONE = UPID("master", "10.0.0.1", 5050)
TWO = UPID("master", "10.0.0.2", 5050)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look-up leaves the machine."""

    async def hostname(ip: str) -> str:
        return f"name-of-{ip}"

    monkeypatch.setattr(module, "_hostname", hostname)


@pytest.mark.parametrize(
    ("text", "upid"),
    [
        ("10.0.0.1:5050", ONE),
        (" master@10.0.0.1:5050\n", ONE),
        ("other@10.0.0.1:5050", UPID("other", "10.0.0.1", 5050)),
        ("localhost:5050", UPID("master", "127.0.0.1", 5050)),
    ],
)
def test_addresses(text: str, upid: UPID) -> None:
    assert parse_master(text) == upid


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Failed to create a master detector: Failed to parse ''"),
        ("10.0.0.1", "Failed to create a master detector: Failed to parse '10.0.0.1'"),
        ("10.0.0.1:0", "Failed to parse"),
        ("10.0.0.1:99999", "Failed to parse"),
        ("@10.0.0.1:5050", "Failed to parse"),
        ("10.0.0.1:5050 10.0.0.2:5050", "Failed to parse"),
        ("zk://10.0.0.1:2181/mesos", r"ZooKeeper \(zk://\) are not implemented yet"),
        ("file:///x", "names a file within a file"),
        ("x" * 300 + ":5050", "cannot resolve"),
    ],
)
def test_unusable_texts(text: str, error: str) -> None:
    with pytest.raises(FlagError, match=error):
        parse_master(text)


async def test_a_standalone_master_never_changes() -> None:
    detector = detect("10.0.0.1:5050")
    found = await detector.next(None)
    assert found is not None
    assert (found.upid, found.pid) == (ONE, "master@10.0.0.1:5050")
    assert found.hostname == "name-of-10.0.0.1"
    assert await detector.next(TWO) == found
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await detector.next(ONE)


class TestFile:
    async def test_it_is_read_again_while_somebody_waits(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = tmp_path / "master"
        file.write_text("10.0.0.1:5050\n")
        clock = FakeClock()
        detector = detect(f"file://{file}", clock)
        found = await detector.next(None)
        assert found is not None
        assert found.upid == ONE
        waiting = asyncio.ensure_future(detector.next(ONE))
        for content in ("10.0.0.1:5050 ", "nonsense", "nonsense"):
            await self._pass(clock)
            file.write_text(content)
        await self._pass(clock)
        assert caplog.text.count("Staying with master@10.0.0.1:5050") == 1
        file.unlink()
        await self._pass(clock)
        assert not waiting.done()
        file.write_text("master@10.0.0.2:5050")
        await self._pass(clock)
        moved = await waiting
        assert moved is not None
        assert moved.upid == TWO
        assert await detector.next(None) == moved

    async def _pass(self, clock: FakeClock) -> None:
        async with asyncio.timeout(10):
            while not clock.pending:  # noqa: ASYNC110 - a thread parses
                await asyncio.sleep(0)
        clock.advance(FILE_INTERVAL_S)
        await asyncio.sleep(0)

    def test_it_must_be_usable_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(FlagError, match="Error reading file"):
            detect(f"file://{tmp_path}/not-there")
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(FlagError, match="Failed to parse"):
            detect(f"file://{tmp_path}/empty")
        (tmp_path / "bad").write_bytes(b"\xff")
        with pytest.raises(FlagError, match="UTF-8"):
            detect(f"file://{tmp_path}/bad")


class TestHostname:
    @pytest.fixture(autouse=True)
    def _real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()

    async def test_names_and_addresses_without_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def lookup(address: tuple[str, int], flags: int) -> tuple[str, str]:
            if address[0] == "10.0.0.1":
                return "one.example", "0"
            raise socket.gaierror(-2, "unknown")

        monkeypatch.setattr(asyncio.get_running_loop(), "getnameinfo", lookup)
        assert await module._hostname("10.0.0.1") == "one.example"
        assert await module._hostname("10.0.0.2") == "10.0.0.2"
