# SPDX-License-Identifier: Apache-2.0
"""Containers in containers, on this host: namespaces, cgroups, images, sessions, depth."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer.api import LaunchOutcome
from containerizer.linux import cgroup1, mountinfo, proc
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.linux.test_containers import ISOLATION, Host, corner

pytestmark = pytest.mark.root

C = ContainerId("c1")
N = ContainerId("n1", C)
DEEP = ContainerId("d1", N)
DEEPEST = ContainerId("e1", DEEP)


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async for made in corner(tmp_path, "linux", f"{ISOLATION},namespaces/ipc"):
        yield made


def nested(command: str, image: bool = False, **linux: object) -> slave.ContainerConfig:
    """Return what is asked for a nested container; ``linux`` is its LinuxInfo."""
    made = slave.ContainerConfig()
    made.command_info.value = command
    if image or linux:
        made.container_info.type = pb.ContainerInfo.MESOS
    if image:
        made.container_info.mesos.image.type = pb.Image.DOCKER
        made.container_info.mesos.image.docker.name = "busybox"
    if linux:
        made.container_info.linux_info.CopyFrom(pb.LinuxInfo(**linux))  # type: ignore[arg-type]
    return made


def session(command: str) -> slave.ContainerConfig:
    """Return what is asked for a session that writes to its sandbox only."""
    made = nested(command)
    made.container_class = slave.ContainerClass.DEBUG
    return made


def sandbox(host: Host, container_id: ContainerId) -> Path:
    return host.sandbox().joinpath(*(p for v in container_id.path[1:] for p in ("containers", v)))


def output(host: Host, container_id: ContainerId, name: str = "stdout") -> str:
    return (sandbox(host, container_id) / name).read_text()


async def said(host: Host, container_id: ContainerId, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in output(host, container_id):  # noqa: ASYNC110 a file
            await asyncio.sleep(0.01)


async def ended(host: Host, container_id: ContainerId) -> slave.ContainerTermination:
    async with asyncio.timeout(60):
        found = await host.mesos.wait(container_id)
    assert found is not None
    return found


async def run(
    host: Host, container_id: ContainerId, config: slave.ContainerConfig
) -> slave.ContainerTermination:
    """Launch a container and wait for its end; a session is read to its end."""
    outcome = await host.mesos.launch(container_id, config, {})
    assert outcome is LaunchOutcome.SUCCESS
    if config.container_class == slave.ContainerClass.DEBUG:
        stream = await host.mesos.attach_output(container_id, "application/json")
        async for _ in stream:
            pass
        await stream.aclose()
    return await ended(host, container_id)


async def started(host: Host, command: str = "echo up; sleep 600", image: bool = False) -> None:
    """Launch C and wait until it is up."""
    waited = await host.started(host.configured(command, image))
    waited.add_done_callback(lambda task: task.cancelled() or task.exception())
    await host.said("up")


async def gone(host: Host) -> None:
    await host.mesos.destroy(C)
    assert host.mesos.containers() == frozenset()


WHERE = "echo $$; ls /proc | grep -c '^[0-9]*$'; cat /proc/self/cgroup; echo up; sleep 600"


async def test_four_levels(host: Host) -> None:
    await started(host)
    for container_id in (N, DEEP, DEEPEST):
        await host.mesos.launch(container_id, nested(WHERE), {})
        await said(host, container_id, "up")
    lines = output(host, DEEPEST).splitlines()
    # a pid namespace of its own: init, the shell, ls and grep
    assert lines[0] == "2"
    assert 3 <= int(lines[1]) <= 5
    # shared cgroups are those of the top; the freezer's is always its own
    assert f":memory:/{host.root}/c1" in "\n".join(lines)
    path = f"/{host.root}/c1/mesos/n1/mesos/d1/mesos/e1"
    assert f":freezer:{path}" in "\n".join(lines)
    inits = {each: host.launcher.pid(each) for each in (C, N, DEEP, DEEPEST)}
    for container_id in (DEEP, DEEPEST):
        status = await host.mesos.status(container_id)
        assert status.executor_pid == inits[container_id]
        assert status.container_id == container_id.message()
    used = await host.mesos.usage(DEEP)
    assert [field.name for field, _ in used.ListFields()] == ["timestamp"]
    with pytest.raises(ContainerError, match=r"^Nested container has not terminated yet$"):
        await host.mesos.remove(DEEP)
    await host.mesos.destroy(N)
    assert host.mesos.containers() == {C}
    for container_id in (N, DEEP, DEEPEST):
        pid = inits[container_id]
        assert pid is not None
        assert proc.is_zombie_or_gone(pid)
        assert await ended(host, container_id) == slave.ContainerTermination(status=9)
    freezer = cgroup1.hierarchies()["freezer"]
    assert not os.path.exists(os.path.join(freezer, host.root, "c1", "mesos", "n1"))
    await host.mesos.remove(N)
    for container_id in (N, DEEP, DEEPEST):
        assert await host.mesos.wait(container_id) is None
    assert not sandbox(host, N).exists()
    await gone(host)
    assert os.listdir(host.folder / "run" / "containers") == []


async def test_the_end_of_the_root_is_the_end_of_all(host: Host) -> None:
    await started(host, "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 7")
    for container_id in (N, DEEP):
        await host.mesos.launch(container_id, nested("sleep 600 & sleep 600"), {})
    waits = [asyncio.create_task(ended(host, each)) for each in (C, N, DEEP)]
    await asyncio.sleep(0)
    (host.sandbox() / "go").touch()
    assert [(await each).status for each in waits] == [7 << 8, 9, 9]
    assert host.mesos.containers() == frozenset()
    assert await host.mesos.wait(N) is None


async def test_an_id_comes_again(host: Host) -> None:
    await started(host)
    assert (await run(host, N, nested("echo first; exit 1"))).status == 256
    assert (await run(host, DEEP_OF_NOTHING, nested("true"))).status == 0
    assert (await run(host, N, nested("echo second; exit 2"))).status == 512
    assert output(host, N) == "first\nsecond\n"
    assert await host.mesos.launch(C, host.configured("true"), {}) is (
        LaunchOutcome.ALREADY_LAUNCHED
    )
    await gone(host)


DEEP_OF_NOTHING = ContainerId("n2", C)


async def test_shared_processes(host: Host) -> None:
    await started(host)
    config = nested("echo $$; ps >/dev/null; cat /proc/1/comm; kill -0 1", share_pid_namespace=True)
    assert (await run(host, N, config)).status == 0, output(host, N, "stderr")
    pid = int(output(host, N).splitlines()[0])
    assert pid > 2
    config = nested("ls /proc | grep '^[0-9]*$' | wc -l", share_pid_namespace=False)
    assert (await run(host, N, config)).status == 0
    await gone(host)


def with_memory(config: slave.ContainerConfig, mem: int) -> slave.ContainerConfig:
    for name, value in (("cpus", 0.1), ("mem", mem)):
        config.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = value
    return config


async def test_own_cgroups_and_their_limits(host: Host) -> None:
    host.make_rootfs()
    await started(host)
    command = "cat /proc/self/cgroup; tail /dev/zero"
    config = with_memory(nested(command, image=True, share_cgroups=False), 32)
    too_much = await run(host, N, config)
    assert too_much.state == pb.TASK_FAILED
    assert too_much.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert [resource.name for resource in too_much.limited_resources] == ["mem"]
    assert too_much.message.startswith("Memory limit exceeded: Requested: 32MB ")
    for controller in ("cpu", "memory", "freezer"):
        assert f":{controller}:/{host.root}/c1/mesos/n1\n" in output(host, N)
    # nobody else noticed, and it is still known how it ended
    assert (await host.mesos.status(C)).executor_pid == host.launcher.pid(C)
    assert await ended(host, N) == too_much
    # those inside share them
    config = with_memory(nested("echo up; sleep 600", share_cgroups=False), 48)
    again = ContainerId("n2", C)
    await host.mesos.launch(again, config, {})
    await host.mesos.launch(ContainerId("in", again), nested(WHERE), {})
    await said(host, ContainerId("in", again), "up")
    assert f":memory:/{host.root}/c1/mesos/n2\n" in output(host, ContainerId("in", again))
    used = await host.mesos.usage(again)
    assert used.mem_limit_bytes == 48 << 20
    assert used.mem_total_bytes > 0
    await gone(host)


@pytest.mark.parametrize("depth", [1, 2])
async def test_own_cgroups_need_resources_and_the_first_level(host: Host, depth: int) -> None:
    await started(host)
    container_id, why = N, "Failed to update subsystems: .*No memory resource given; .*No cpus"
    if depth == 2:
        await host.mesos.launch(N, nested("sleep 600"), {})
        container_id, why = DEEP, "nested at the first level"
    with pytest.raises(ContainerError, match=why):
        await host.mesos.launch(container_id, nested("true", share_cgroups=False), {})
    assert await host.mesos.destroy(container_id) == slave.ContainerTermination()
    await gone(host)


async def test_too_much_in_shared_cgroups_ends_all(host: Host) -> None:
    host.make_rootfs()
    waited = await host.started(host.configured("echo up; sleep 600", mem=32))
    await host.said("up")
    await host.mesos.launch(N, nested("tail /dev/zero", image=True), {})
    inner, outer = await ended(host, N), await waited
    assert outer is not None
    for termination in (inner, outer):
        assert termination.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
        assert termination.state == pb.TASK_FAILED
    assert host.mesos.containers() == frozenset()


async def test_images_in_images(host: Host) -> None:
    host.make_rootfs()
    await started(host, image=True)
    (host.rootfs / "marker").touch()
    command = "pwd; echo $MESOS_SANDBOX $FROM; ls -d /marker; ls /mnt/mesos/sandbox; id -u"
    assert (await run(host, N, nested(command, image=True))).status in (0, 127 << 8)
    lines = output(host, N).splitlines()
    assert lines[:3] == ["/mnt/mesos/sandbox", "/mnt/mesos/sandbox image", "/marker"]
    assert set(lines[3:5]) == {"stderr", "stdout"}
    # one without an image is on the host, in its own sandbox
    assert (await run(host, DEEP_OF_NOTHING, nested("pwd; echo $FROM$GIVEN"))).status == 0
    assert output(host, DEEP_OF_NOTHING) == f"{sandbox(host, DEEP_OF_NOTHING)}\n\n"
    await gone(host)
    assert mountinfo.below(mountinfo.read(), str(host.rootfs)) == []


async def test_a_session_in_an_image(host: Host) -> None:
    host.make_rootfs()
    await started(host, "echo made > /made; echo up; sleep 600", image=True)
    command = "pwd; cat /made; echo $GIVEN $FROM $MESOS_SANDBOX; cat /proc/self/cgroup"
    assert (await run(host, N, session(command))).status == 0, output(host, N, "stderr")
    lines = output(host, N).splitlines()
    assert lines[:3] == ["/mnt/mesos/sandbox", "made", "1 image /mnt/mesos/sandbox"]
    assert any(line.endswith(f":memory:/{host.root}/c1") for line in lines)
    # in the session's own sandbox, which the container sees in its own
    assert sandbox(host, N) == host.sandbox() / "containers" / "n1"
    # it sees the processes of the container, whose init is 1
    assert (await run(host, N, session("kill -0 1 && cat /proc/1/comm"))).status == 0
    await gone(host)


async def test_a_session_in_a_nested_container(host: Host) -> None:
    host.make_rootfs()
    await started(host)
    inner = nested("echo made > /made; export A=1; echo up; sleep 600", image=True)
    inner.command_info.environment.variables.add(name="INNER", value="yes")
    await host.mesos.launch(N, inner, {})
    await said(host, N, "up")
    assert (await run(host, DEEP, session("cat /made; echo $INNER$A"))).status == 0
    assert output(host, DEEP) == "made\nyes\n"
    await gone(host)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("image", "^A 'rootfs' cannot be set for DEBUG containers$"),
        ("volume", "^Volumes not supported for DEBUG containers$"),
        ("ipc", "^Private IPC mode is not supported for DEBUG containers$"),
    ],
)
async def test_what_a_session_may_not_have(host: Host, change: str, why: str) -> None:
    host.make_rootfs()
    await started(host)
    config = session("true")
    config.container_info.type = pb.ContainerInfo.MESOS
    if change == "image":
        config.container_info.mesos.image.type = pb.Image.DOCKER
    elif change == "volume":
        config.container_info.volumes.add(container_path="x", host_path="/", mode=pb.Volume.RO)
    else:
        config.container_info.linux_info.ipc_mode = pb.LinuxInfo.PRIVATE
    with pytest.raises(ContainerError, match=why):
        await host.mesos.launch(N, config, {})
    await host.mesos.destroy(N)
    await gone(host)


async def test_shared_and_private_memory(host: Host) -> None:
    host.make_rootfs()
    private, share = pb.LinuxInfo.PRIVATE, pb.LinuxInfo.SHARE_PARENT
    root = host.configured("echo root > /dev/shm/file; echo up; sleep 600", image=True)
    root.container_info.linux_info.ipc_mode = private
    root.container_info.linux_info.shm_size = 3
    waited = await host.started(root)
    await host.said("up")
    shm = host.folder / "run" / "containers" / "c1" / "shm"
    assert (shm / "file").read_text() == "root\n"
    command = "cat /dev/shm/file; stat -f -c %b /dev/shm 2>/dev/null || true"
    assert (await run(host, N, nested(command, image=True, ipc_mode=share))).status == 0
    assert output(host, N).startswith("root\n")
    assert (await run(host, DEEP_OF_NOTHING, nested("ls /dev/shm", image=True))).status == 0
    assert output(host, DEEP_OF_NOTHING) == ""
    own = ContainerId("own", C)
    command = "echo own > /dev/shm/own; ls /dev/shm; readlink /proc/self/ns/ipc"
    assert (await run(host, own, nested(command, ipc_mode=private))).status == 0
    assert output(host, own).startswith("own\n")
    assert output(host, own).split()[1] != os.readlink("/proc/self/ns/ipc")
    assert not os.path.exists("/dev/shm/own")
    with pytest.raises(ContainerError, match=r"^Only support specifying the size of /dev/shm"):
        await host.mesos.launch(ContainerId("x", C), nested("true", shm_size=1), {})
    await host.mesos.destroy(ContainerId("x", C))
    await host.mesos.destroy(C)
    await waited
    assert mountinfo.below(mountinfo.read(), str(host.folder / "run" / "containers")) == []


async def test_a_signal_right_after_the_launch_is_not_lost(host: Host) -> None:
    await started(host)
    for number in range(10):
        container_id = ContainerId(f"k{number}", C)
        await host.mesos.launch(container_id, nested("sleep 600"), {})
        assert await host.mesos.kill(container_id, signal.SIGTERM)
        assert (await ended(host, container_id)).status == signal.SIGTERM
    await gone(host)


async def test_a_standalone_container_and_one_inside(host: Host) -> None:
    host.make_rootfs()
    config = host.configured("echo up; sleep 600", image=True)
    config.ClearField("executor_info")
    await host.started(config)
    await host.said("up")
    assert host.mesos.is_standalone(C)
    assert (host.folder / "run" / "containers" / "c1" / "standalone.marker").exists()
    assert (await run(host, N, nested("exit 1", image=True))).status == 256
    assert host.mesos.is_standalone(N)
    with pytest.raises(ContainerError, match=r"^Unknown container x$"):
        await host.mesos.attach_output(ContainerId("x"), "application/json")
    await gone(host)


async def test_many_at_once(host: Host) -> None:
    """Launches and ends race each other; nothing is left and every status is right."""
    await started(host)

    async def one(number: int) -> None:
        container_id = ContainerId(f"m{number}", C)
        await host.mesos.launch(container_id, nested(f"exit {number}"), {})
        assert (await ended(host, container_id)).status == number << 8

    await asyncio.gather(*(one(number) for number in range(20)))
    leaving = [
        asyncio.create_task(host.mesos.launch(ContainerId(f"x{number}", C), nested("true"), {}))
        for number in range(10)
    ]
    await asyncio.sleep(0.005)
    await gone(host)
    outcomes = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(
        isinstance(each, ContainerError) or each is LaunchOutcome.SUCCESS for each in outcomes
    ), outcomes
