# SPDX-License-Identifier: Apache-2.0
"""Real containers on a host that has nothing but cgroups version 2.

Much of this is where upstream's version 2 is broken; integration/qemu makes such a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer.isolators.cgroups.v2 import CgroupsV2Isolator
from containerizer.isolators.context import IsolatorContext
from containerizer.linux import cgroup1, cgroup2, proc
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import ContainerError, FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.linux.test_containers import ISOLATION, C, Host, N, corner

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        cgroup1.layout() is not CgroupLayout.V2, reason="needs cgroups version 2 only"
    ),
]

MOUNT = cgroup1.V2_MOUNT_POINT
MB = 1 << 20
EATER = "tail /dev/zero"


@pytest_asyncio.fixture
async def v2(tmp_path: Path) -> AsyncIterator[Host]:
    async for host in corner(tmp_path, "linux", f"{ISOLATION},cgroups/devices,cgroups/pids"):
        yield host


def file(host: Host, name: str, *below: str) -> str:
    """Read a file of the container's cgroup, or of one below our root."""
    return cgroup2.read(os.path.join(MOUNT, host.root, *(below or ("c1",))), name).strip()


def nested(command: str, **resources: float) -> slave.ContainerConfig:
    """Configure a container in another one, with its own cgroups if there are resources."""
    made = slave.ContainerConfig()
    made.command_info.value = command
    if resources:
        made.container_info.type = pb.ContainerInfo.MESOS
        made.container_info.linux_info.share_cgroups = False
    for name, value in resources.items():
        made.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = value
    return made


def isolator(host: Host, isolation: str = ISOLATION, **flags: object) -> CgroupsV2Isolator:
    """Make another isolator over the same cgroups, as a later agent does."""
    config = dataclasses.replace(host.config, isolation=isolation, **flags)  # type: ignore[arg-type]
    context = IsolatorContext(
        config=config,
        isolation=frozenset(isolation.split(",")),
        metrics=Metrics(),
        container_directory=lambda _: "",
        container_config=lambda _: None,
    )
    made = CgroupsV2Isolator.create(context)
    assert isinstance(made, CgroupsV2Isolator)
    return made


async def test_controllers_are_handed_down_without_a_flag(v2: Host) -> None:
    wanted = {"cpu", "memory", "pids"}
    assert cgroup2.enabled(MOUNT) >= wanted
    assert cgroup2.enabled(os.path.join(MOUNT, v2.root)) >= wanted
    assert v2.config.extra.get("agent_subsystems") is None


async def test_processes_are_in_the_leaf_only(v2: Host) -> None:
    ended = await v2.run(v2.configured("cat /proc/self/cgroup"))
    assert ended.status == 0
    assert v2.output() == f"0::/{v2.root}/c1/leaf\n"


async def test_limits_and_statistics(v2: Host) -> None:
    waited = await v2.started(v2.configured("echo up; sleep 60"))
    await v2.said("up")
    assert file(v2, "cpu.weight") == "50"
    assert file(v2, "cpu.max") == "50000 100000"
    assert file(v2, "memory.low") == file(v2, "memory.max") == str(64 * MB)
    assert file(v2, "memory.min") == "0"
    assert file(v2, "memory.high") == "max"
    assert file(v2, "memory.max", "c1", "leaf") == "max"
    used = await v2.mesos.usage(C)
    assert used.mem_total_bytes > used.mem_rss_bytes > 0
    assert used.mem_kmem_usage_bytes > 0
    assert used.cpus_limit == 0.5
    assert used.HasField("cpus_user_time_secs")
    assert used.HasField("cpus_system_time_secs")
    assert used.HasField("cpus_nr_periods")
    assert used.HasField("cpus_throttled_time_secs")
    less = v2.configured("", mem=48)
    await v2.mesos.update(C, less.resources, {})
    assert file(v2, "memory.low") == str(48 * MB)
    assert file(v2, "memory.max") == str(64 * MB)
    infinite = {"mem": float("inf"), "cpus": 2.1}
    await v2.mesos.update(C, less.resources, infinite)
    assert file(v2, "memory.max") == "max"
    assert file(v2, "cpu.max") == "210000 100000"
    # Finite again: upstream aborts here.
    await v2.mesos.update(C, less.resources, {})
    assert file(v2, "memory.max") == "max"
    many = v2.configured("")
    many.resources[0].scalar.value = 300
    await v2.mesos.update(C, many.resources, {})
    assert file(v2, "cpu.weight") == "10000"
    await v2.mesos.destroy(C)
    assert await waited == slave.ContainerTermination(status=9)


async def test_too_much_memory(v2: Host) -> None:
    v2.make_rootfs()
    # The shell that would tell of it ends with the rest.
    config = v2.configured(f"{EATER}; echo survived; exit 0", image=True, mem=32)
    ended = await v2.run(config)
    assert ended.state == pb.TASK_FAILED
    assert ended.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert ended.message.startswith("Memory limit exceeded: \nMEMORY STATISTICS post-OOM: \nanon: ")
    assert [(r.name, r.scalar.value) for r in ended.limited_resources] == [("mem", 32)]
    assert v2.output() == ""
    assert ended.status == signal.SIGKILL


async def test_too_much_memory_is_seen_each_time(v2: Host) -> None:
    v2.make_rootfs()
    for index in range(5):
        container_id = ContainerId(f"m{index}")
        config = v2.configured(EATER, image=True, mem=32, container_id=container_id)
        ended = await (await v2.started(config, container_id))
        assert ended is not None
        assert ended.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY, index


async def test_an_image_sees_its_own_leaf(v2: Host) -> None:
    v2.make_rootfs()
    look = "cat /proc/self/cgroup; ls -d /sys/fs/cgroup/cgroup.procs; ls /sys/fs/cgroup/mesos"
    look += "; cat /proc/self/mountinfo | head -c 0; cat /sys/fs/cgroup/cgroup.procs | head -1"
    (v2.rootfs / "bin" / "head").symlink_to("busybox")
    ended = await v2.run(v2.configured(look, image=True))
    assert ended.status == 0, v2.output("stderr")
    lines = v2.output().splitlines()
    assert lines[:2] == ["0::/", "/sys/fs/cgroup/cgroup.procs"]
    assert lines[2] == "1"
    assert "No such file" in v2.output("stderr")


async def test_an_image_sees_its_own_leaf_without_limits(tmp_path: Path) -> None:
    async for host in corner(tmp_path, "linux", "docker/runtime,filesystem/linux"):
        host.make_rootfs()
        look = "cat /proc/self/cgroup; ls /sys/fs/cgroup"
        ended = await host.run(host.configured(look, image=True))
        assert ended.status == 0, host.output("stderr")
        lines = host.output().splitlines()
        assert lines[0] == "0::/"
        assert "cgroup.procs" in lines
        assert "memory.max" not in lines


async def test_nested_containers_share_the_limits(v2: Host) -> None:
    # With cgroups/mem upstream refuses each of them.
    waited = await v2.started(v2.configured("echo up; sleep 60"))
    await v2.said("up")
    await v2.mesos.launch(N, nested("cat /proc/self/cgroup; exit 2"), {})
    assert await v2.mesos.wait(N) == slave.ContainerTermination(status=512)
    output = (v2.sandbox() / "containers" / "n1" / "stdout").read_text()
    assert output == f"0::/{v2.root}/c1/mesos/n1/leaf\n"
    assert not os.path.exists(os.path.join(MOUNT, v2.root, "c1/mesos/n1"))
    await v2.mesos.destroy(C)
    await waited


async def test_a_nested_container_with_its_own_limits(v2: Host) -> None:
    waited = await v2.started(v2.configured("echo up; sleep 60", mem=256))
    await v2.said("up")
    await v2.mesos.launch(N, nested(f"sleep 0.5; {EATER}; exit 0", cpus=0.2, mem=40), {})
    own = ("c1", "mesos", "n1")
    assert file(v2, "memory.max", *own) == str(40 * MB)
    assert file(v2, "cpu.weight", *own) == "20"
    assert (await v2.mesos.usage(N)).mem_total_bytes > 0
    ended = await v2.mesos.wait(N)
    assert ended is not None
    assert ended.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert [(r.name, r.scalar.value) for r in ended.limited_resources] == [("mem", 40)]
    # Upstream counts it for the outer one, too, and destroys that.
    assert file(v2, "cgroup.events").splitlines()[0] == "populated 1"
    assert "oom 0" in file(v2, "memory.events.local").splitlines()
    assert not waited.done()
    await v2.mesos.destroy(C)
    assert await waited == slave.ContainerTermination(status=9)


async def test_devices(v2: Host) -> None:
    v2.make_rootfs()
    (v2.rootfs / "bin" / "head").symlink_to("busybox")
    look = "cat /dev/null; head -c 1 /dev/zero >/dev/null && echo usual"
    look += "; mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg || echo refused"
    await v2.run(v2.configured(look, image=True))
    assert v2.output() == "usual\nrefused\n"
    assert "Operation not permitted" in v2.output("stderr")


async def test_a_container_whose_cgroup_vanished_is_destroyed(v2: Host) -> None:
    waited = await v2.started(v2.configured("echo up; sleep 60"))
    await v2.said("up")
    async with asyncio.timeout(60):
        for delay in cgroup2.destroy(os.path.join(MOUNT, v2.root, "c1")):
            await asyncio.sleep(delay)
    assert await waited == slave.ContainerTermination(status=9)
    assert v2.mesos.containers() == frozenset()


async def test_what_a_task_made_below_its_leaf_is_no_container(v2: Host) -> None:
    v2.make_rootfs()
    (v2.rootfs / "bin" / "mkdir").symlink_to("busybox")
    make = "mkdir -p /sys/fs/cgroup/own/mesos/x /sys/fs/cgroup/mesos/y && echo up; sleep 600"
    waited = await v2.started(v2.configured(make, image=True))
    await v2.said("up")
    pid = v2.launcher.pid(C)
    assert pid is not None
    await v2.mesos.close()
    with pytest.raises(ContainerError):
        await waited
    v2.mesos = Host(v2.folder, "linux", v2.config.isolation).mesos
    await v2.mesos.recover([])
    assert v2.mesos.containers() == {C}
    async with asyncio.timeout(60):
        await v2.mesos.wait(C)
    assert proc.is_zombie_or_gone(pid)


async def test_a_later_agent_goes_on_watching(v2: Host) -> None:
    script = f"echo up; while [ ! -e go ]; do sleep 0.1; done; {EATER}; exit 0"
    waited = await v2.started(v2.configured(script, mem=40))
    await v2.said("up")
    pid = v2.launcher.pid(C)
    assert pid is not None
    # The first one does not see it.
    v2.mesos._watcher._ended = lambda *_: None  # type: ignore[attr-defined]
    later = isolator(v2, f"{ISOLATION},cgroups/devices,cgroups/pids")
    state = slave.ContainerState(container_id=C.message(), pid=pid, directory=str(v2.sandbox()))
    await later.recover([state], [])
    used = await later.usage(C)
    assert used is not None
    assert used.mem_total_bytes > 0
    await later.update(C, v2.configured("", mem=41).resources, {})
    assert file(v2, "memory.max") == str(41 * MB)
    limit = asyncio.create_task(later.watch(C))
    (v2.sandbox() / "go").touch()
    async with asyncio.timeout(60):
        limitation = await limit
    assert limitation.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    # It stays true for one that starts after it happened.
    latest = isolator(v2)
    await latest.recover([state], [])
    async with asyncio.timeout(60):
        assert (await latest.watch(C)).resources[0].scalar.value == 41
    for each in (later, latest):
        await each.cleanup(C)
        each.close()
    await v2.mesos.destroy(C)
    await waited


async def test_cgroups_of_nobody_are_removed_but_not_the_agents(v2: Host) -> None:
    root = os.path.join(MOUNT, v2.root)
    for name in ("agent/leaf", "stray/mesos/inner/leaf"):
        cgroup2.create(os.path.join(root, name))
    await v2.mesos.recover([])
    await isolator(v2).recover([], [])
    assert not os.path.exists(os.path.join(root, "stray"))
    assert os.path.exists(os.path.join(root, "agent/leaf"))
    os.rmdir(os.path.join(root, "agent/leaf"))
    os.rmdir(os.path.join(root, "agent"))
    async with asyncio.timeout(60):
        while v2.mesos.containers():  # noqa: ASYNC110 destroyed in the background
            await asyncio.sleep(0.01)


async def test_names_of_other_cgroups_are_no_containers(v2: Host) -> None:
    for name in ("agent", "leaf"):
        config = v2.configured("true", container_id=ContainerId(name))
        with pytest.raises(ContainerError, match="is the name of another cgroup"):
            await v2.mesos.launch(ContainerId(name), config, {})
        with contextlib.suppress(ContainerError):
            await v2.mesos.destroy(ContainerId(name))


async def test_all_means_what_the_kernel_has(v2: Host) -> None:
    made = isolator(v2, "cgroups/all")
    names = {controller.controller for controller in made._controllers}
    assert names >= {"core", "cpu", "memory", "io", "pids", "cpuset", "devices"}
    config = v2.configured("true", container_id=ContainerId("all"))
    info = await made.prepare(ContainerId("all"), config)
    assert info is None
    assert file(v2, "cgroup.subtree_control", "all").split() == sorted(
        names - {"core", "devices"}, key=file(v2, "cgroup.controllers", "all").split().index
    )
    with pytest.raises(IsolatorError, match="has already been prepared"):
        await made.prepare(ContainerId("all"), config)
    with pytest.raises(IsolatorError, match=r"^Cgroup '.*/all' already exists$"):
        await isolator(v2).prepare(ContainerId("all"), config)
    await made.cleanup(ContainerId("all"))
    made.close()


@pytest.mark.parametrize("name", ["blkio", "net_cls", "net_prio", "nonsense"])
async def test_what_version_2_lacks_is_refused(v2: Host, name: str) -> None:
    with pytest.raises(IsolatorError, match=f"Unknown or unsupported isolator 'cgroups/{name}'"):
        isolator(v2, f"cgroups/{name}")


async def test_limits_of_swap_are_refused(v2: Host) -> None:
    with pytest.raises(IsolatorError, match="does not support limiting swap memory"):
        isolator(v2, cgroups_limit_swap=True)


async def test_processes_and_threads_are_counted(v2: Host) -> None:
    waited = await v2.started(v2.configured("echo up; sleep 60"))
    await v2.said("up")
    counting = isolator(v2, "", cgroups_cpu_enable_pids_and_tids_count=True)
    pid = v2.launcher.pid(C)
    state = slave.ContainerState(container_id=C.message(), pid=pid, directory="/")
    await counting.recover([state], [])
    used = await counting.usage(C)
    assert used is not None
    assert used.processes == used.threads >= 2
    assert not used.HasField("mem_total_bytes")
    counting.close()
    await v2.mesos.destroy(C)
    await waited


async def test_a_root_that_cannot_be_used(v2: Host) -> None:
    busy = os.path.join(MOUNT, v2.root, "busy")
    cgroup2.create(busy)
    sleeper = await asyncio.create_subprocess_exec("sleep", "600")
    cgroup1.assign(busy, sleeper.pid)
    try:
        text = "Failed to enable the requested cgroup v2 controllers: .*busy"
        with pytest.raises(IsolatorError, match=text):
            isolator(v2, cgroups_root=f"{v2.root}/busy")
    finally:
        sleeper.kill()
        await sleeper.wait()
        for delay in cgroup2.destroy(busy):
            await asyncio.sleep(delay)


async def test_posix_launcher_has_no_cgroups(v2: Host, tmp_path: Path) -> None:
    with pytest.raises((FlagError, IsolatorError), match="'linux' launcher must be used"):
        isolator(v2, launcher="posix")
