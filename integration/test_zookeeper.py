# SPDX-License-Identifier: Apache-2.0
"""Masters that are elected in a real ZooKeeper, and agents that follow them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration import zookeeper
from integration.processes import eventually, get_json
from integration.scene import Scene
from integration.zookeeper import Contender, ZooKeeper
from mesos_compat.base.clock import RealClock
from mesos_compat.base.scope import Scope
from mesos_compat.master.detected import DetectedMaster, DetectionError, Detector
from mesos_compat.master.detector import detect
from mesos_compat.pb.mesos import mesos_pb2 as pb

pytestmark = pytest.mark.skipif(bool(zookeeper.missing()), reason=f"needs {zookeeper.missing()}")

CREDENTIALS = "mesos:s3cr@t"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    """A ZooKeeper for all tests that do not stop it."""
    made = ZooKeeper(str(tmp_path_factory.mktemp("zookeeper"))).start()
    yield made
    made.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ZooKeeper]:
    """A ZooKeeper to be stopped."""
    made = ZooKeeper(str(tmp_path / "zookeeper")).start()
    yield made
    made.close()


@pytest.fixture
def path() -> str:
    """A path that nobody else uses."""
    return f"/test/{uuid.uuid4()}"


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    """What detectors do besides answering."""
    async with Scope("test") as made:
        yield made


def _url(server: ZooKeeper, path: str, credentials: str = "") -> str:
    return f"zk://{credentials}{'@' if credentials else ''}{server.address}{path}"


def _info(ip: str, number: int = 1) -> pb.MasterInfo:
    return pb.MasterInfo(id=f"id-{number}", ip=1, port=5050, pid=f"master@{ip}:5050")


def _json(ip: str, number: int = 1) -> bytes:
    info = _info(ip, number)
    value = {"id": info.id, "ip": info.ip, "port": info.port, "pid": info.pid, "new": [1]}
    return json.dumps(value).encode()


class _Watcher:
    """Asks a detector from the event loop of a test."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.last: DetectedMaster | None = None

    async def news(self, timeout_s: float = 60.0) -> str:
        """The next leader; empty if there is none any more."""
        async with asyncio.timeout(timeout_s):
            self.last = await self._detector.next(self.last)
        return self.last.pid if self.last is not None else ""


async def _threaded(function: Any, *args: Any, **more: Any) -> Any:
    return await asyncio.to_thread(function, *args, **more)


async def test_all_forms_of_contenders(server: ZooKeeper, path: str, scope: Scope) -> None:
    client = await _threaded(server.client)
    watcher = _Watcher(detect(_url(server, path), scope, RealClock()))
    asked = asyncio.ensure_future(watcher.news())
    await _threaded(eventually, lambda: client.exists(path), 60, "the detector to make the path")
    for foreign in ("log_replicas", "notes"):
        await _threaded(client.create, f"{path}/{foreign}", b"\xff")
    await _threaded(client.create, f"{path}/json.info_", _json("10.0.0.3"), sequence=True)
    assert await asked == "master@10.0.0.3:5050"
    # whoever has a smaller number leads, whatever stands before it
    for name, data, pid in (
        ("info_-1", b"", ""),
        ("info_0000000001", _info("10.0.0.2").SerializeToString(), "master@10.0.0.2:5050"),
        ("0000000000", b"master@10.0.0.1:5050", "master@10.0.0.1:5050"),
    ):
        await _threaded(client.create, f"{path}/{name}", data)
        if pid:
            assert await watcher.news() == pid
    await _threaded(client.delete, f"{path}/0000000000")
    assert await watcher.news() == "master@10.0.0.2:5050"
    await _threaded(client.delete, path, recursive=True)
    assert await watcher.news() == ""


async def test_a_contender_that_nobody_understands(
    server: ZooKeeper, path: str, scope: Scope
) -> None:
    client = await _threaded(server.client)
    await _threaded(client.create, f"{path}/json.info_1", b"{", makepath=True)
    with pytest.raises(DetectionError, match="Failed to parse data into valid JSON"):
        await _Watcher(detect(_url(server, path), scope)).news()


async def test_outages_and_lost_sessions(own_server: ZooKeeper, path: str, scope: Scope) -> None:
    client = await _threaded(own_server.client)
    await _threaded(client.create, f"{path}/json.info_1", _json("10.0.0.1"), makepath=True)
    dead = f"127.0.0.1:1,{own_server.address}"
    url = f"zk://{dead}{path}"
    watcher = _Watcher(detect(url, scope, RealClock(), zk_session_timeout_s=8.0))
    assert await watcher.news() == "master@10.0.0.1:5050"
    # a short one
    await _threaded(own_server.kill)
    await _threaded(own_server.start)
    client = await _threaded(own_server.client)
    await _threaded(client.create, f"{path}/json.info_0", _json("10.0.0.2"))
    assert await watcher.news() == "master@10.0.0.2:5050"
    # and one that outlasts the session
    await _threaded(own_server.kill)
    assert await watcher.news() == ""
    await _threaded(own_server.start)
    assert await watcher.news() == "master@10.0.0.2:5050"


class TestCredentials:
    async def test_the_right_ones(self, server: ZooKeeper, path: str, scope: Scope) -> None:
        watcher = _Watcher(detect(_url(server, path, CREDENTIALS), scope))
        asked = asyncio.ensure_future(watcher.news())
        client = await _threaded(server.client, CREDENTIALS)
        await _threaded(eventually, lambda: client.exists(path), 60, "the path")
        await _threaded(client.create, f"{path}/json.info_1", _json("10.0.0.1"))
        assert await asked == "master@10.0.0.1:5050"
        acls, _ = await _threaded(client.get_acls, path)
        assert sorted((acl.id.scheme, acl.perms) for acl in acls) == [("digest", 31), ("world", 1)]

    def test_wrong_ones_end_the_agent(self, server: ZooKeeper, path: str, scene: Scene) -> None:
        from kazoo.security import CREATOR_ALL_ACL

        client = server.client(CREDENTIALS)
        client.create(path, b"", acl=CREATOR_ALL_ACL, makepath=True)
        agent = scene.prepare_agent(_url(server, path, "mesos:guessed")).spawn()
        assert agent.wait() == 1
        log = agent.log_text()
        assert "Failed to detect a master: ZooKeeper " in log
        assert "does not allow to list it (NoAuthError)" in log
        assert "guessed" not in log


@pytest.mark.parametrize("credentials", ["", CREDENTIALS])
def test_agents_follow_the_leader(
    server: ZooKeeper, path: str, scene: Scene, credentials: str
) -> None:
    contenders = [Contender(server, path, scene.master(), CREDENTIALS) for _ in range(3)]
    url = _url(server, path, credentials)
    # The content of a file, with a newline as editors leave it.
    with open(scene.path("zk"), "w", encoding="utf-8") as file:
        file.write(f"{url}\n")
    agent = scene.prepare_agent(f"file://{scene.path('zk')}", zk_session_timeout="2secs").spawn()
    contenders[0].master.wait_for_agents(1)
    shown = get_json(agent.address, "/flags")["flags"]["master"]
    assert shown == scene.path("zk")
    for number in (0, 1):
        contenders[number].die()
        contenders[number + 1].master.wait_for_agents(1)
    agents = {one["id"] for one in contenders[2].master.agents()}
    assert agents == {agent.state()["id"]}
    assert "s3cr@t" not in agent.log_text()


def test_mesos_execute_finds_the_leader(server: ZooKeeper, path: str, scene: Scene) -> None:
    # Whoever leads has no agent, so that its end is noticed in the middle of a run.
    first, second = (Contender(server, path, scene.master(), CREDENTIALS) for _ in range(2))
    scene.agent(second.master)
    url = _url(server, path, CREDENTIALS)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(scene.execute, url, "--name=a", "--command=true")
        eventually(lambda: first.master.state()["frameworks"], 30.0, "mesos-execute to subscribe")
        first.die()
        done = asked.result()
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert "s3cr@t" not in done.stdout + done.stderr


def test_an_agent_outlives_its_zookeeper(own_server: ZooKeeper, path: str, scene: Scene) -> None:
    master = scene.master()
    client = own_server.client()
    pid = f"master@{master.address}".encode()
    client.create(f"{path}/0000000007", pid, makepath=True)
    agent = scene.prepare_agent(_url(own_server, path), zk_session_timeout="1secs").spawn()
    master.wait_for_agents(1)
    own_server.kill()
    agent.wait_for_log("Lost leading master: no master is known")
    assert agent.running
    registered = agent.state()["start_time"]
    own_server.start()
    agent.wait_for_log("Re-registered with master")
    assert agent.state()["start_time"] == registered
    master.wait_for_agents(1)
