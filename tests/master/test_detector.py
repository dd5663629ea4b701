# SPDX-License-Identifier: Apache-2.0
"""Masters by address and by file."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group, Parameters
from mesos_compat.base.scope import Scope
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master import detector as module
from mesos_compat.master.detected import DetectedMaster, DetectionError, hostname_of, parse_location
from mesos_compat.master.detector import FILE_INTERVAL_S, detect, load_detector

ONE = UPID("master", "10.0.0.1", 5050)
TWO = UPID("master", "10.0.0.2", 5050)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look-up leaves the machine."""

    async def hostname(ip: str) -> str:
        return f"name-of-{ip}"

    monkeypatch.setattr(module, "hostname_of", hostname)


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    """What detectors do besides answering."""
    async with Scope("test") as made:
        yield made


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
    name = "localhost" if text.startswith("localhost") else ""
    assert parse_location(text) == (upid, name)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Failed to create a master detector: Failed to parse ''"),
        ("10.0.0.1", "Failed to create a master detector: Failed to parse '10.0.0.1'"),
        ("10.0.0.1:0", "Failed to parse"),
        ("10.0.0.1:99999", "Failed to parse"),
        ("@10.0.0.1:5050", "Failed to parse"),
        ("10.0.0.1:5050 10.0.0.2:5050", "Failed to parse"),
        (
            "zk://10.0.0.1:2181/",
            r"Failed to create a master detector: Expecting a \(chroot\) path for ZooKeeper"
            r" \('/' is not supported\)$",
        ),
        ("file:///x", "names a file within a file"),
        ("x" * 300 + ":5050", "cannot resolve"),
    ],
)
async def test_unusable_texts(text: str, error: str, scope: Scope, tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=error):
        detect(text if text != "file:///x" else f"file://{_file(tmp_path, text)}", scope)


def _file(folder: Path, content: str) -> Path:
    (folder / "master").write_text(content)
    return folder / "master"


async def test_a_standalone_master_never_changes(scope: Scope) -> None:
    detector = detect("10.0.0.1:5050", scope)
    found = await detector.next(None)
    assert found is not None
    assert (found.upid, found.pid) == (ONE, "master@10.0.0.1:5050")
    assert found.hostname == "name-of-10.0.0.1"
    assert await detector.next(DetectedMaster(TWO, "")) == found
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await detector.next(found)


class TestFile:
    async def test_it_is_read_again_while_somebody_waits(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, scope: Scope
    ) -> None:
        file = tmp_path / "master"
        file.write_text("10.0.0.1:5050\n")
        clock = FakeClock()
        detector = detect(f"file://{file}", scope, clock)
        found = await detector.next(None)
        assert found is not None
        assert found.upid == ONE
        waiting = asyncio.ensure_future(detector.next(found))
        for content in ("10.0.0.1:5050 ", "nonsense", "nonsense"):
            await self._pass(clock)
            file.write_text(content)
        await self._pass(clock)
        assert caplog.text.count("Staying with the master of before") == 1
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
        async with asyncio.timeout(60):
            while not clock.pending:  # noqa: ASYNC110 - a thread parses
                await asyncio.sleep(0)
        clock.advance(FILE_INTERVAL_S)
        await asyncio.sleep(0)

    async def test_it_must_be_usable_at_the_start(self, tmp_path: Path, scope: Scope) -> None:
        with pytest.raises(FlagError, match="Error reading file"):
            detect(f"file://{tmp_path}/not-there", scope)
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(FlagError, match="Failed to parse"):
            detect(f"file://{tmp_path}/empty", scope)
        (tmp_path / "bad").write_bytes(b"\xff")
        with pytest.raises(FlagError, match="UTF-8"):
            detect(f"file://{tmp_path}/bad", scope)


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
        assert await hostname_of("10.0.0.1") == "one.example"
        assert await hostname_of("10.0.0.2") == "10.0.0.2"


class TestPlugins:
    """The contract of ``mesos_compat.master_detectors``."""

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(group: Group, name: str, limit_s: float = 0) -> object:
            return {"good": _Good, "broken": _Broken, "strange": _Strange, "none": object}[name]

        monkeypatch.setattr(Group, "load", load)

    async def test_it_finds_the_master(self) -> None:
        detector = load_detector("good", {"good": (("master", "10.0.0.2"),)})
        assert await detector.next(None) == DetectedMaster(TWO, "10.0.0.2")

    async def test_what_goes_wrong_is_told(self) -> None:
        with pytest.raises(DetectionError, match="broken: no idea"):
            await load_detector("broken", {}).next(None)
        with pytest.raises(DetectionError, match="strange returned str, no DetectedMaster"):
            await load_detector("strange", {}).next(None)

    def test_what_is_none(self) -> None:
        error = "Failed to create a master detector: Failed to create plug-in 'none'"
        with pytest.raises(FlagError, match=error):
            load_detector("none", {})


class _Good:
    def __init__(self, parameters: Parameters) -> None:
        self.ip = dict(parameters).get("master", "")

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        return DetectedMaster(UPID("master", self.ip, 5050), self.ip)


class _Broken(_Good):
    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        raise ValueError("no idea")


class _Strange(_Good):
    async def next(self, previous: DetectedMaster | None) -> Any:
        return "10.0.0.1"
