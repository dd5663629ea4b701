# SPDX-License-Identifier: Apache-2.0
"""Following contenders from session to session; the sessions are played.

The real ZooKeeper is in ``integration/test_zookeeper.py``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import FlagError
from mesos_compat.base.scope import Scope
from mesos_compat.master.detected import DetectedMaster, DetectionError
from mesos_compat.master.zookeeper import (
    MAX_RETRY_S,
    Interrupted,
    ZooKeeperDetector,
    ZooKeeperUrl,
)

TIMEOUT_S = 10.0


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("zk://a:1/mesos", ZooKeeperUrl("a:1", "/mesos")),
        (" zk://a:1,b:2,c:3/x/y/\n", ZooKeeperUrl("a:1,b:2,c:3", "/x/y")),
        ("zk://user:pass@a:1/m", ZooKeeperUrl("a:1", "/m", "user:pass")),
        ("zk://u:p@ss@a:1/m@n", ZooKeeperUrl("a:1", "/m@n", "u:p@ss")),
    ],
)
def test_urls(text: str, url: ZooKeeperUrl) -> None:
    assert ZooKeeperUrl.parse(text) == url
    assert "pass" not in f"{url} {url!r}"


@pytest.mark.parametrize(
    "text",
    [
        *("zk://", "zk://a:1", "zk://a:1/", "zk:///m", "zk://a:1,,b:2/m", "zk://u@a:1/m"),
        *("zk://a:1//m", "zk://a:1/../m", "zk://a b/m"),
    ],
)
def test_unusable_urls(text: str) -> None:
    with pytest.raises(FlagError):
        ZooKeeperUrl.parse(text)


class PlayedSession:
    """A session whose server is this test."""

    def __init__(self, nodes: dict[str, bytes]) -> None:
        self.nodes = nodes
        self.changed = asyncio.Event()
        self.is_connected = False
        self.is_lost = False
        self.stopped = False
        self.error: Exception | None = None
        self.asked = 0

    def start(self) -> None:
        """Nothing connects by itself."""

    def connected(self) -> bool:
        return self.is_connected

    def lost(self) -> bool:
        return self.is_lost

    def become(self, *, connected: bool = False, lost: bool = False) -> None:
        self.is_connected, self.is_lost = connected, lost
        self.changed.set()

    async def prepare(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    async def children(self) -> list[str]:
        if not self.is_connected:
            raise Interrupted("away")
        return list(self.nodes)

    async def data(self, name: str) -> bytes | None:
        return self.nodes.get(name)

    async def stop(self) -> None:
        self.stopped = True


class Stage:
    """A detector and the sessions that it opened."""

    def __init__(self, scope: Scope) -> None:
        self.clock = FakeClock()
        self.nodes: dict[str, bytes] = {}
        self.sessions: list[PlayedSession] = []
        self.detector = ZooKeeperDetector(
            ZooKeeperUrl("a:1", "/mesos"), TIMEOUT_S, scope, self.clock, self._open
        )
        self.last: DetectedMaster | None = None

    def _open(self, url: ZooKeeperUrl, timeout_s: float) -> PlayedSession:
        assert timeout_s == TIMEOUT_S
        self.sessions.append(PlayedSession(self.nodes))
        return self.sessions[-1]

    async def connect(self) -> None:
        await self.settle()
        self.sessions[-1].become(connected=True)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def news(self) -> str:
        """What is detected next: a pid, or nothing."""
        async with asyncio.timeout(60):
            self.last = await self.detector.next(self.last)
        return self.last.pid if self.last is not None else ""

    async def no_news(self) -> None:
        waiting = asyncio.ensure_future(self.detector.next(self.last))
        await self.settle()
        assert not waiting.done()
        waiting.cancel()

    def contend(self, number: int, ip: str, label: str = "json.info") -> None:
        value = {"id": f"id-{number}", "ip": 1, "port": 5050, "pid": f"master@{ip}:5050"}
        self.nodes[f"{label}_{number:010}"] = json.dumps(value).encode()
        self.tell()

    def leave(self, number: int) -> None:
        del self.nodes[f"json.info_{number:010}"]
        self.tell()

    def tell(self) -> None:
        for session in self.sessions:
            session.changed.set()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Nothing is connected, and there is no master."""
    async with Scope("test") as scope:
        made = Stage(scope)
        waiting = asyncio.ensure_future(made.detector.next(None))
        await made.settle()
        waiting.cancel()
        yield made


async def test_leaders_come_and_go(stage: Stage) -> None:
    await stage.connect()
    await stage.no_news()
    stage.contend(3, "10.0.0.3")
    assert await stage.news() == "master@10.0.0.3:5050"
    assert stage.last is not None
    assert stage.last.id == "id-3"
    assert stage.last.capabilities == frozenset()
    stage.contend(5, "10.0.0.5")
    stage.nodes["log_replicas"] = b""
    stage.tell()
    await stage.no_news()
    stage.leave(3)
    assert await stage.news() == "master@10.0.0.5:5050"
    stage.leave(5)
    assert await stage.news() == ""
    await stage.no_news()


async def test_a_master_that_was_started_again_is_another_one(stage: Stage) -> None:
    stage.contend(1, "10.0.0.1")
    await stage.connect()
    assert await stage.news() == "master@10.0.0.1:5050"
    stage.contend(2, "10.0.0.1")
    stage.leave(1)
    assert await stage.news() == "master@10.0.0.1:5050"


async def test_a_short_outage_changes_nothing(stage: Stage) -> None:
    stage.contend(1, "10.0.0.1")
    await stage.connect()
    await stage.news()
    session = stage.sessions[0]
    session.become()
    await stage.settle()
    stage.clock.advance(TIMEOUT_S - 0.1)
    await stage.no_news()
    session.become(connected=True)
    await stage.settle()
    stage.clock.advance(TIMEOUT_S)
    await stage.no_news()
    assert len(stage.sessions) == 1
    stage.contend(0, "10.0.0.2")
    assert await stage.news() == "master@10.0.0.2:5050"


async def test_a_long_outage_is_the_end_of_the_session(stage: Stage) -> None:
    stage.contend(1, "10.0.0.1")
    await stage.connect()
    await stage.news()
    stage.sessions[0].become()
    await stage.settle()
    stage.clock.advance(TIMEOUT_S)
    assert await stage.news() == ""
    assert stage.sessions[0].stopped
    # and again and again, without any server
    for number in range(2, 5):
        await stage.settle()
        assert len(stage.sessions) == number
        stage.clock.advance(TIMEOUT_S)
    await stage.no_news()
    await stage.connect()
    assert await stage.news() == "master@10.0.0.1:5050"


async def test_a_session_that_the_server_ends(stage: Stage) -> None:
    stage.contend(1, "10.0.0.1")
    await stage.connect()
    await stage.news()
    stage.sessions[0].become(lost=True)
    await stage.settle()
    stage.clock.advance(1.0)
    assert await stage.news() == ""
    await stage.connect()
    assert await stage.news() == "master@10.0.0.1:5050"


async def test_what_fails_is_tried_again_ever_more_slowly(stage: Stage) -> None:
    await stage.settle()
    session = stage.sessions[0]
    session.error = Interrupted("no luck")
    session.become(connected=True)
    await stage.settle()
    delay_s = 2.0
    for number in range(1, 10):
        assert session.asked == number
        stage.clock.advance(delay_s - 0.1)
        await stage.settle()
        assert session.asked == number
        stage.clock.advance(0.1)
        await stage.settle()
        delay_s = min(2 * delay_s, MAX_RETRY_S)
    session.error = None
    stage.contend(1, "10.0.0.1")
    stage.clock.advance(MAX_RETRY_S)
    assert await stage.news() == "master@10.0.0.1:5050"


async def test_an_outage_while_something_is_to_be_tried_again(stage: Stage) -> None:
    await stage.settle()
    session = stage.sessions[0]
    session.error = Interrupted("no luck")
    session.become(connected=True)
    await stage.settle()
    session.become()
    await stage.settle()
    stage.clock.advance(TIMEOUT_S)
    await stage.settle()
    assert len(stage.sessions) == 2


async def test_what_will_never_work_ends_the_detection(stage: Stage) -> None:
    await stage.settle()
    stage.sessions[0].error = DetectionError("not allowed")
    await stage.connect()
    for _ in range(2):
        with pytest.raises(DetectionError, match="not allowed"):
            await stage.news()
    assert stage.sessions[0].stopped


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("foo_1", b"", r"zk://a:1/mesos/foo_1: Failed to parse data of unknown label 'foo'"),
        ("json.info_1", b"x", "Failed to parse data into valid JSON"),
        ("0000000001", b"10.0.0.1:5050", "Failed to parse '10.0.0.1:5050'"),
        ("0000000001", b"master@10.0.0.1", "Failed to parse 'master@10.0.0.1'"),
    ],
)
async def test_a_leader_that_nobody_understands(
    stage: Stage, name: str, data: bytes, error: str
) -> None:
    stage.nodes[name] = data
    await stage.connect()
    with pytest.raises(DetectionError, match=error):
        await stage.news()
