# SPDX-License-Identifier: Apache-2.0
"""From upstream's agent to ours and back, on the same directories and with tasks that go on."""

import asyncio
from collections.abc import Iterator

import pytest

from integration.agent import OurAgent
from integration.frameworks.play import PYTHON, Play, play
from integration.scene import Scene
from integration.upstream import UpstreamCluster
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb

pytestmark = pytest.mark.integration


@pytest.fixture(params=["1.4.3", "1.11.0"])
def upstream(request: pytest.FixtureRequest, scene: Scene) -> Iterator[UpstreamCluster]:
    """Upstream's agent, not started yet."""
    cluster = UpstreamCluster(scene.path("upstream"), request.param)
    yield cluster
    cluster.clean()


def successor(scene: Scene, upstream: UpstreamCluster) -> OurAgent:
    """Our agent on the directories and the address of upstream's, with a master of its own."""
    return scene.prepare_agent(
        scene.master(upstream.version),
        port=upstream.port,
        work_dir=upstream.work_dir,
        runtime_dir=upstream.runtime_dir,
        launcher="posix",
        isolation="posix/cpu,posix/mem",
        switch_user=False,
        executor_reregistration_timeout="8secs",
    )


async def talk(acting: Play) -> None:
    acting.say("hello")
    await acting.hears("you said hello")


@pytest.mark.timeout(300)
async def test_there_and_back(upstream: UpstreamCluster, scene: Scene) -> None:
    agent_pid = UPID.parse(f"slave(1)@{upstream.address}")
    await asyncio.to_thread(upstream.start)
    async with play(upstream.address, agent_pid, PYTHON) as acting:
        await acting.launch("one")
        await acting.reaches("one", pb.TASK_RUNNING)
        await acting.launch("a command", command="sleep 1000")
        for state in (pb.TASK_STARTING, pb.TASK_RUNNING):
            await acting.reaches("a command", state)
        await talk(acting)
        upstream.kill()

        ours = successor(scene, upstream)
        await asyncio.to_thread(ours.start)
        assert ours.state()["id"] == acting.agent_id.value
        await acting.go_over(ours.master)
        await talk(acting)
        await acting.launch("two")
        await acting.reaches("two", pb.TASK_RUNNING)
        await acting.launch("another", command="sleep 1000")
        for state in (pb.TASK_STARTING, pb.TASK_RUNNING):
            await acting.reaches("another", state)
        ours.kill()

        # Executors of an agent come back in the time that it gave others, or a bit later.
        upstream.flags["executor_reregistration_timeout"] = "15secs"
        await asyncio.to_thread(upstream.start)
        await acting.go_over(upstream.address)
        await talk(acting)
        for name in ("a command", "another"):
            acting.kill(name)
            await acting.reaches(name, pb.TASK_KILLED)
        for name in ("one", "two"):
            acting.say(f"finish {name}")
            await acting.reaches(name, pb.TASK_FINISHED)
        acting.unregister()
