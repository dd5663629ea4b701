# SPDX-License-Identifier: Apache-2.0
"""Executors that speak libprocess messages: drivers of others, and upstream's agent beside ours."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from containerizer.linux import proc
from integration.agent import OurAgent
from integration.frameworks.play import PYTHON, Play, play
from integration.frameworks.v0 import V0Process
from integration.processes import environment, eventually
from integration.scene import Scene
from integration.upstream import UpstreamCluster
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parent.parent
SOURCE = PROJECT / "integration" / "frameworks" / "go" / "executor.go"
#: Where Debian keeps the sources of Go packages.
GO_PATH = Path("/usr/share/gocode")


@pytest.fixture(scope="module")
def mesos_go(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command of an executor on the driver of mesos-go."""
    if shutil.which("go") is None or not (GO_PATH / "src/github.com/mesos/mesos-go").is_dir():
        pytest.skip("Debian's packages golang-go and golang-github-mesos-mesos-go-dev are missing")
    folder = tmp_path_factory.mktemp("go")
    program = folder / "executor"
    subprocess.run(
        ["go", "build", "-o", str(program), str(SOURCE)],
        check=True,
        timeout=300,
        env=environment(GOPATH=str(GO_PATH), GO111MODULE="off", GOCACHE=str(folder / "cache")),
    )
    return f"exec {program}"


def output(work_dir: str) -> list[str]:
    """What the executor told until now."""
    [file] = Path(work_dir).glob("slaves/*/frameworks/*/executors/talker/runs/latest/stdout")
    return file.read_text().splitlines()


async def until(probe: Callable[[], object], subject: str) -> None:
    """Wait while messages go on coming and going."""
    await asyncio.to_thread(eventually, probe, 60, subject)


async def first_act(acting: Play) -> None:
    """Two tasks at once, data, a kill, and others who want to be that executor."""
    await acting.launch("one", "two")
    for name in ("one", "two"):
        status = await acting.reaches(name, pb.TASK_RUNNING)
        assert status.source == pb.TaskStatus.SOURCE_EXECUTOR
        assert status.executor_id.value == "talker"
        assert status.container_status.network_infos
    acting.say("hello")
    await acting.hears("you said hello")
    acting.kill("one")
    await acting.reaches("one", pb.TASK_KILLED)
    for kind in (messages.RegisterExecutorMessage, messages.ReregisterExecutorMessage):
        await acting.is_turned_away(kind)  # type: ignore[arg-type]  # the same fields
    acting.say("again")
    await acting.hears("you said again")


async def strangers(acting: Play) -> set[str]:
    """Somebody reports tasks of nobody in many forms; return those that the agent acknowledges.

    Each one is followed by one that every agent acknowledges, so that nothing has to be waited for
    that does not come. What comes may come by different connections.
    """
    names = dict(zip((f"task-{number}" for number in range(len(REPORTS))), REPORTS, strict=True))
    found: set[str] = set()
    async with V0Process("stranger", str(acting.agent)).running() as one:

        async def hears(ended: Callable[[str], bool]) -> None:
            told = ""
            while not ended(told):
                _, message = await one.next(messages.StatusUpdateAcknowledgementMessage)
                told = message.task_id.value
                if told in names:
                    found.add(names[told])

        for task, name in names.items():
            sent = acting.report(task, str(one.upid))
            REPORTS[name](sent)
            one.send(sent)
            end = f"end of {task}"
            one.send(acting.report(end, str(one.upid)))
            await hears(end.__eq__)
        await hears(lambda _: found >= ACKNOWLEDGED)
    return found


def _of_another_framework(sent: messages.StatusUpdateMessage) -> None:
    sent.update.framework_id.value = "another"


def _for_another_agent(sent: messages.StatusUpdateMessage) -> None:
    sent.update.slave_id.value = "another"


def _in_its_status(sent: messages.StatusUpdateMessage) -> None:
    sent.update.status.slave_id.value = "another"


def _by_an_executor_that_is_not_there(sent: messages.StatusUpdateMessage) -> None:
    sent.update.executor_id.value = "another"


REPORTS: dict[str, Callable[[messages.StatusUpdateMessage], None]] = {
    "as it should be": lambda sent: None,
    "without uuid": lambda sent: sent.update.ClearField("uuid"),
    "without agent": lambda sent: sent.update.ClearField("slave_id"),
    "without agent in its status": lambda sent: sent.update.status.ClearField("slave_id"),
    "without executor": lambda sent: sent.update.ClearField("executor_id"),
    "without address": lambda sent: sent.ClearField("pid"),
    "of another framework": _of_another_framework,
    "for another agent": _for_another_agent,
    "for another agent in its status": _in_its_status,
    "by an executor that is not there": _by_an_executor_that_is_not_there,
}
ACKNOWLEDGED = {
    "as it should be",
    "without executor",
    "by an executor that is not there",
}
FIRST_ACT = {
    "registered talker",
    "launch one",
    "launch two",
    "acknowledged one TASK_RUNNING",
    "acknowledged two TASK_RUNNING",
    "acknowledged one TASK_KILLED",
    "kill one",
    "message hello",
    "message again",
}


def pid_of(agent: OurAgent) -> UPID:
    return UPID.parse(agent.state()["pid"])


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
async def test_from_start_to_end(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(
        master,
        executor_reregistration_timeout="8secs",
        executor_reregistration_retry_interval="500ms",
    )
    async with play(master.address, pid_of(agent), PYTHON) as acting:
        await first_act(acting)
        assert set(output(agent.work_dir)) == FIRST_ACT
        assert await strangers(acting) == ACKNOWLEDGED
        await second_act(acting, agent)
        told = output(agent.work_dir)
        assert told.index("disconnected") < told.index("reregistered")
        await until(
            lambda: "acknowledged two TASK_FINISHED" in output(agent.work_dir), "the last word"
        )
        await until(lambda: agent.state()["frameworks"] == [], "the framework to be gone")


async def second_act(acting: Play, agent: OurAgent) -> None:
    """The agent is killed and comes back; the executor is killed with a task in it."""
    [kept] = Path(agent.work_dir, "meta").rglob("libprocess.pid")
    executor = UPID.parse(kept.read_text())
    assert executor.ip == "127.0.0.1"
    agent.kill()
    await asyncio.to_thread(agent.start)
    assert "reregistered" in " ".join(output(agent.work_dir))
    acting.say("finish two")
    await acting.reaches("two", pb.TASK_FINISHED)
    await acting.launch("three")
    await acting.reaches("three", pb.TASK_RUNNING)
    [forked] = Path(agent.work_dir, "meta").rglob("forked.pid")
    for pid in proc.children(int(forked.read_text())):
        os.kill(pid, signal.SIGKILL)
    status = await acting.reaches("three", pb.TASK_FAILED)
    assert status.message == "Executor terminated"
    _, exited = await acting.one.next(messages.ExitedExecutorMessage)
    assert (exited.executor_id.value, exited.status) == ("talker", 9)


@pytest.mark.timeout(400)
async def test_the_driver_of_mesos_go(mesos_go: str, scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, executor_reregistration_timeout="8secs")
    async with play(master.address, pid_of(agent), mesos_go) as acting:
        await first_act(acting)
        await second_act(acting, agent)
        # Its callbacks come in any order.
        told = output(agent.work_dir)
        assert {"registered talker v0 127.0.0.1", "reregistered 127.0.0.1"} < set(told)
        assert {"launch one", "launch two", "launch three", "kill one", "message hello"} < set(told)
        assert not [line for line in told if line.startswith(("failed", "error", "shutdown"))]


async def test_it_ends_with_an_agent_that_forgets_it(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    async with play(master.address, pid_of(agent), PYTHON, checkpoint=False) as acting:
        await acting.launch("one")
        await acting.reaches("one", pb.TASK_RUNNING)
        assert not list(Path(agent.work_dir, "meta").rglob("libprocess.pid"))
        agent.kill()
        await until(lambda: "shutdown" in output(agent.work_dir), "the end of the executor")
        await acting.reaches("one", pb.TASK_LOST)
        await asyncio.to_thread(agent.start)
        assert agent.state()["frameworks"] == []


async def test_upstreams_agent_does_the_same(scene: Scene) -> None:
    """The executor of these tests gets from it what it gets from ours."""
    upstream = UpstreamCluster(scene.path("upstream")).start()
    told = upstream.log_text
    try:
        agent = UPID.parse(f"slave(1)@{upstream.address}")
        async with play(upstream.address, agent, PYTHON) as acting:
            await first_act(acting)
            await until(lambda: set(told().splitlines()) >= FIRST_ACT, "all that it is told")
            assert await strangers(acting) == ACKNOWLEDGED
            acting.unregister()
            await until(lambda: "shutdown" in told().splitlines(), "the end of the executor")
    finally:
        upstream.clean()
