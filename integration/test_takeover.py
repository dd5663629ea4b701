# SPDX-License-Identifier: Apache-2.0
"""From upstream's agent to ours and back, on the same directories and with tasks that go on."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from integration.agent import OurAgent
from integration.frameworks.director import Director, needs, scalar, shell
from integration.frameworks.play import PYTHON, Play, play
from integration.processes import eventually
from integration.scene import Scene
from integration.upstream import UpstreamCluster
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb

pytestmark = pytest.mark.integration

ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With ``--matrix`` play with more versions. From 1.8 or so on they let no image run where the
    kernel has no /proc/sysrq-trigger.
    """
    matrix = metafunc.config.getoption("--matrix")
    for name, once, all_of_them in (
        ("unprivileged", ["1.11.0"], ["1.4.3", "1.7.3", "1.10.0", "1.11.0"]),
        ("privileged", ["1.4.3"], ["1.4.3", "1.7.3"]),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, all_of_them if matrix else once, indirect=True)


@pytest.fixture
def unprivileged(request: pytest.FixtureRequest, scene: Scene) -> Iterator[UpstreamCluster]:
    """Upstream's agent, not started yet."""
    cluster = UpstreamCluster(scene.path("upstream"), request.param)
    yield cluster
    cluster.clean()


#: Our flags where upstream's agent needs no privileges.
UNPRIVILEGED: dict[str, object] = {
    "launcher": "posix",
    "isolation": "posix/cpu,posix/mem",
    "switch_user": False,
}


def successor(scene: Scene, upstream: UpstreamCluster, **flags: object) -> OurAgent:
    """Our agent on the directories and the address of upstream's, with a master of its own."""
    return scene.prepare_agent(
        scene.master(upstream.version),
        port=upstream.port,
        work_dir=upstream.work_dir,
        runtime_dir=upstream.runtime_dir,
        executor_reregistration_timeout="8secs",
        **flags,
    )


async def talk(acting: Play) -> None:
    acting.say("hello")
    await acting.hears("you said hello")


async def test_there_and_back(unprivileged: UpstreamCluster, scene: Scene) -> None:
    upstream = unprivileged
    agent_pid = UPID.parse(f"slave(1)@{upstream.address}")
    await asyncio.to_thread(upstream.start)
    async with play(upstream.address, agent_pid, PYTHON) as acting:
        await acting.launch("one")
        await acting.reaches("one", pb.TASK_RUNNING)
        await acting.launch("a command", command="sleep 1000")
        for state in (pb.TASK_STARTING, pb.TASK_RUNNING):
            await acting.reaches("a command", state)
        await talk(acting)
        names = upstream.names()
        upstream.kill()

        ours = successor(scene, upstream, **UNPRIVILEGED)
        await asyncio.to_thread(ours.start)
        assert ours.state()["id"] == acting.agent_id.value
        await acting.go_over(ours.master)
        await talk(acting)
        await acting.launch("two")
        await acting.reaches("two", pb.TASK_RUNNING)
        await acting.launch("another", command="sleep 1000")
        for state in (pb.TASK_STARTING, pb.TASK_RUNNING):
            await acting.reaches("another", state)
        # Ours notes there how it can be reached; nothing else is new to upstream's.
        assert upstream.names() == names | {"run/address"}
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
        await asyncio.to_thread(
            eventually, lambda: not upstream.frameworks(), 60, "the framework to be gone"
        )


def test_who_is_another_agent(unprivileged: UpstreamCluster, scene: Scene) -> None:
    """Both refuse to go on where the other was, and say why and what helps."""
    upstream = unprivileged.start()
    upstream.kill()
    ours = successor(scene, upstream, **UNPRIVILEGED)
    for change in (
        {"resources": "cpus:3;mem:2048"},
        {"hostname": "another"},
    ):
        before = dict(upstream.flags), dict(ours.flags)
        upstream.flags.update(change)
        ours.flags.update(change)
        assert ours.spawn().wait() == 1
        with pytest.raises(AssertionError, match="ended at once"):
            upstream.start()
        assert upstream.exit_status == 1
        upstream.flags, ours.flags = before
    for told in (ours.log_text(), upstream.log_text()):
        assert told.count("EXIT with status 1: Failed to perform recovery: Incompatible") == 2
        assert told.count(f"rm -f {upstream.work_dir}/meta/slaves/latest\n") == 2
    ours.start()


def test_groups(unprivileged: UpstreamCluster, scene: Scene) -> None:
    """An executor of groups asks the agents that follow each other for the same containers."""
    upstream = unprivileged
    upstream.start()
    resources = [*needs(), scalar("disk", 32, allocation_info={"role": "*"})]
    pod: dict[str, object] = {
        "type": "DEFAULT",
        "executor_id": {"value": "pod"},
        "resources": resources,
    }
    with directing(upstream.address) as director:
        framework_id = director.framework_id
        begin_group(director, pod, "a1", "a2")
        begin_group(director, pod, "b1")
        upstream.kill()

    ours = successor(scene, upstream, **UNPRIVILEGED).start()
    with directing(ours.master, framework_id) as director:
        end_group(director, "a1", "a2")
        begin_group(director, pod, "c1", "c2")
        ours.kill()

    upstream.flags["executor_reregistration_timeout"] = "15secs"
    upstream.start()
    with directing(upstream.address, framework_id) as director:
        end_group(director, "b1")
        end_group(director, "c1", "c2")
        director.teardown()
        eventually(lambda: not upstream.frameworks(), 60, "the framework to be gone")
        eventually(lambda: not upstream.containers(), 60, "all containers to be gone")


@contextmanager
def directing(master: str, framework_id: str | None = None) -> Iterator[Director]:
    director = Director(master, framework_id=framework_id).start()
    try:
        yield director
    finally:
        director.close()


def begin_group(director: Director, pod: dict[str, object], *names: str) -> None:
    director.launch_group(pod, *(shell(name, "sleep 100000") for name in names))
    for name in names:
        director.until(name, "TASK_RUNNING")


def end_group(director: Director, *names: str) -> None:
    """All end with the first."""
    director.kill(names[0])
    for name in names:
        killed = director.until(name, "TASK_KILLED")
        assert killed["message"] == "Command terminated with signal Terminated"


@pytest.fixture
def privileged(
    request: pytest.FixtureRequest, scene: Scene, docker_images: str
) -> Iterator[UpstreamCluster]:
    """Upstream's agent with its own launch helper, cgroups and images."""
    cluster = UpstreamCluster(
        scene.path("upstream"),
        request.param,
        own_helper=True,
        launcher="linux",
        isolation=ISOLATION,
        cgroups_root=f"mesos-compat-test-{uuid.uuid4().hex[:8]}",
        image_providers="docker",
        docker_registry=docker_images,
        docker_store_dir=scene.path("store"),
    )
    yield cluster
    cluster.clean()


@pytest.mark.root
async def test_containers(privileged: UpstreamCluster, scene: Scene) -> None:
    """Cgroups, namespaces and images of one are those of the other."""
    upstream = privileged
    agent_pid = UPID.parse(f"slave(1)@{upstream.address}")
    await asyncio.to_thread(upstream.start)
    async with play(upstream.address, agent_pid, PYTHON) as acting:
        await begin(acting, "theirs")
        upstream.kill()

        ours = successor(
            scene,
            upstream,
            isolation=ISOLATION,
            image_providers="docker",
            docker_registry=upstream.flags["docker_registry"],
            docker_store_dir=upstream.flags["docker_store_dir"],
            switch_user=False,
        )
        ours.cgroups_root = upstream.flags["cgroups_root"]
        await asyncio.to_thread(ours.start)
        await acting.go_over(ours.master)
        await begin(acting, "ours")
        before = len(upstream.containers())
        await end(acting, "theirs", 1)
        await end(acting, "ours", 1)
        await asyncio.to_thread(
            eventually, lambda: len(upstream.containers()) == before // 2, 60, "half of them to go"
        )
        ours.kill()

        upstream.flags["executor_reregistration_timeout"] = "15secs"
        await asyncio.to_thread(upstream.start)
        await acting.go_over(upstream.address)
        await end(acting, "theirs", 2)
        await end(acting, "ours", 2)
        acting.unregister()
        await asyncio.to_thread(
            eventually, lambda: not upstream.containers(), 60, "all containers to be gone"
        )


async def begin(acting: Play, name: str) -> None:
    """Two tasks on the host and two in an image."""
    for number in (1, 2):
        for image in ("", "busybox:latest"):
            task = f"{name}-{number}-{image}"
            await acting.launch(task, command="sleep 1000", image=image)
            for state in (pb.TASK_STARTING, pb.TASK_RUNNING):
                await acting.reaches(task, state)


async def end(acting: Play, name: str, number: int) -> None:
    """One task on the host and one in an image."""
    for image in ("", "busybox:latest"):
        task = f"{name}-{number}-{image}"
        acting.kill(task)
        await acting.reaches(task, pb.TASK_KILLED)
