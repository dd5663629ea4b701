# SPDX-License-Identifier: Apache-2.0
"""Real containers: the real launcher, mounts, namespaces and cgroups of this host."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer.api import Containerizer, LaunchOutcome
from containerizer.create import create_containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.linux import LinuxLauncher, LinuxLauncherConfig
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import cgroup1, cgroup2, mount, mountinfo, proc
from containerizer.linux.cgroup1 import CgroupLayout
from containerizer.provisioner.base import ProvisionInfo
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.docker import v1_pb2 as docker
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import FakeProvisioner, Steps
from tests.containerizer.provisioner import images

pytestmark = pytest.mark.root

ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid"
C = ContainerId("c1")
N = ContainerId("n1", C)
BUSYBOX = shutil.which("busybox")

#: The only tree of a host without version 1; what is special there is in test_containers_v2.
UNIFIED = (cgroup1.V2_MOUNT_POINT,) if cgroup1.layout() is CgroupLayout.V2 else ()
SHOWN_HIERARCHIES = () if UNIFIED else ("cpu", "memory", "freezer")
first_version = pytest.mark.skipif(bool(UNIFIED), reason="needs cgroups version 1")


class Host:
    """A containerizer with its own corner of this host."""

    def __init__(self, folder: Path, launcher: str, isolation: str = ISOLATION) -> None:
        self.folder = folder
        self.root = f"mesos-compat-test-{os.getpid()}"
        self.work = folder / "work"
        self.work.mkdir(exist_ok=True)
        self.rootfs = self.work / "rootfs"
        self.config = ContainerizerConfig(
            work_dir=str(self.work),
            runtime_dir=str(folder / "run"),
            launcher=launcher,
            isolation=isolation,
            image_providers=("docker",) if launcher == "linux" else (),
            cgroups_root=self.root,
            cgroups_enable_cfs=True,
            cgroups_destroy_timeout_s=10.0,
        )
        self.spawner = spawner = Spawner(SpawnerConfig(programs={}))
        self.launcher = (
            LinuxLauncher.create(LinuxLauncherConfig(cgroups_root=self.root), spawner)
            if launcher == "linux"
            else PosixLauncher(spawner)
        )
        manifest = docker.ImageManifest(id="x")
        manifest.config.Env.extend(["PATH=/bin", "FROM=image"])
        self.provisioner = FakeProvisioner(
            Steps(), ProvisionInfo(str(self.rootfs), docker_manifest=manifest)
        )
        self.mesos: Containerizer = create_containerizer(
            self.config, self.launcher, self.provisioner, Metrics(), helpers=spawner
        )

    def make_rootfs(self) -> None:
        """Make the image: busybox and nothing else."""
        if BUSYBOX is None:
            pytest.skip("needs busybox (Debian package busybox-static)")
        (self.rootfs / "bin").mkdir(parents=True)
        (self.rootfs / "tmp").mkdir()
        shutil.copy(BUSYBOX, self.rootfs / "bin" / "busybox")
        for name in ("sh", "cat", "ls", "mount", "stat", "sleep", "env", "mknod", "dd", "tail"):
            (self.rootfs / "bin" / name).symlink_to("busybox")

    def sandbox(self, container_id: ContainerId = C) -> Path:
        made = self.work / "sandboxes" / container_id.value
        made.mkdir(parents=True, exist_ok=True)
        return made

    def configured(
        self, command: str, image: bool = False, mem: int = 64, container_id: ContainerId = C
    ) -> slave.ContainerConfig:
        made = slave.ContainerConfig(directory=str(self.sandbox(container_id)))
        made.command_info.value = command
        made.executor_info.executor_id.value = "e"
        for name, value in (("cpus", 0.5), ("mem", mem)):
            made.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = value
        if image:
            made.container_info.type = pb.ContainerInfo.MESOS
            made.container_info.mesos.image.type = pb.Image.DOCKER
            made.container_info.mesos.image.docker.name = "busybox"
        return made

    async def run(self, config: slave.ContainerConfig) -> slave.ContainerTermination:
        """Launch a container and wait for its end."""
        waited = await self.started(config)
        async with asyncio.timeout(60):
            ended = await waited
        assert ended is not None
        return ended

    async def started(
        self, config: slave.ContainerConfig, container_id: ContainerId = C
    ) -> asyncio.Task[slave.ContainerTermination | None]:
        outcome = await self.mesos.launch(container_id, config, {"GIVEN": "1"})
        assert outcome is LaunchOutcome.SUCCESS
        return asyncio.create_task(self.mesos.wait(container_id))

    def output(self, name: str = "stdout", container_id: ContainerId = C) -> str:
        return (self.sandbox(container_id) / name).read_text()

    async def said(self, text: str, container_id: ContainerId = C) -> None:
        async with asyncio.timeout(60):
            while text not in self.output(container_id=container_id):  # noqa: ASYNC110 a file
                await asyncio.sleep(0.01)


def cgroup_roots(root: str) -> list[str]:
    return [
        path
        for hierarchy in {*cgroup1.hierarchies().values(), *UNIFIED}
        if os.path.isdir(path := os.path.join(hierarchy, root))
    ]


def leftovers(folder: Path, root: str) -> list[str]:
    """Take away what is left and return it."""
    found = []
    for entry in reversed(mountinfo.below(mountinfo.read(), str(folder))):
        found.append(entry.target)
        mount.umount(entry.target, mount.MNT_DETACH)
    for path in cgroup_roots(root):
        found += cgroup1.descendants(path)
        for delay_s in (cgroup2 if UNIFIED else cgroup1).destroy(path):
            time.sleep(delay_s)
    return found


async def corner(folder: Path, launcher: str, isolation: str) -> AsyncIterator[Host]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Host(folder, launcher, isolation)
    try:
        yield made
    finally:
        known = made.mesos.containers()
        # those of a failed test: their cgroups could not be removed
        for container_id in known:
            await made.mesos.destroy(container_id)
        await made.mesos.close()
        left = leftovers(folder, made.root)
    assert known == frozenset()
    assert left == []


@pytest_asyncio.fixture
async def linux(tmp_path: Path) -> AsyncIterator[Host]:
    async for host in corner(tmp_path, "linux", ISOLATION):
        yield host


@pytest_asyncio.fixture
async def posix(tmp_path: Path) -> AsyncIterator[Host]:
    async for host in corner(tmp_path, "posix", "posix/cpu,posix/mem"):
        yield host


async def test_a_command_on_the_host(posix: Host) -> None:
    ended = await posix.run(posix.configured("pwd; echo $GIVEN $MESOS_SANDBOX; cat; exit 3"))
    assert ended == slave.ContainerTermination(status=3 << 8)
    sandbox = posix.sandbox()
    assert posix.output() == f"{sandbox}\n1 {sandbox}\n"


async def test_usage_on_the_host(posix: Host) -> None:
    waited = await posix.started(posix.configured("echo up; sleep 60"))
    await posix.said("up")
    used = await posix.mesos.usage(C)
    assert used.mem_rss_bytes > 0
    assert used.HasField("cpus_user_time_secs")
    assert (await posix.mesos.status(C)).executor_pid == posix.launcher.pid(C)
    assert await posix.mesos.kill(C, 15)
    ended = await waited
    assert ended is not None
    assert ended.status == 15


@first_version
async def test_a_command_in_namespaces(linux: Host) -> None:
    ended = await linux.run(linux.configured("echo $$; cat /proc/self/cgroup; exit 1"))
    assert ended.status == 256
    lines = linux.output().splitlines()
    assert lines[0] == "2"
    for controller in ("cpu", "cpuacct", "memory", "freezer"):
        assert any(line.endswith(f":{controller}:/{linux.root}/c1") for line in lines)


@first_version
async def test_a_command_is_never_outside_of_its_cgroups(linux: Host) -> None:
    for index in range(10):
        container_id = ContainerId(f"t{index}")
        config = linux.configured("cat /proc/self/cgroup", container_id=container_id)
        await (await linux.started(config, container_id))
        output = linux.output(container_id=container_id)
        for controller in ("cpu", "cpuacct", "memory", "freezer"):
            assert f":{controller}:/{linux.root}/{container_id}\n" in output


@first_version
async def test_limits_and_statistics(linux: Host) -> None:
    waited = await linux.started(linux.configured("echo up; sleep 60"))
    await linux.said("up")
    hierarchies = cgroup1.hierarchies()
    cpu = os.path.join(hierarchies["cpu"], linux.root, "c1")
    memory = os.path.join(hierarchies["memory"], linux.root, "c1")
    assert cgroup1.read(cpu, "cpu.shares") == "512\n"
    assert cgroup1.read(cpu, "cpu.cfs_quota_us") == "50000\n"
    assert cgroup1.read(memory, "memory.limit_in_bytes") == f"{64 << 20}\n"
    used = await linux.mesos.usage(C)
    assert used.mem_total_bytes > 0
    assert used.cpus_limit == 0.5
    assert used.HasField("cpus_nr_periods")
    assert used.HasField("mem_critical_pressure_counter")
    less = linux.configured("", mem=48)
    await linux.mesos.update(C, less.resources, {})
    assert cgroup1.read(memory, "memory.soft_limit_in_bytes") == f"{48 << 20}\n"
    assert cgroup1.read(memory, "memory.limit_in_bytes") == f"{64 << 20}\n"
    await linux.mesos.update(C, less.resources, {"mem": float("inf"), "cpus": 2.1})
    assert int(cgroup1.read(memory, "memory.limit_in_bytes")) > 1 << 60
    assert cgroup1.read(cpu, "cpu.cfs_quota_us") == "210000\n"
    await linux.mesos.destroy(C)
    assert await waited == slave.ContainerTermination(status=9)


@first_version
async def test_too_much_memory(linux: Host) -> None:
    linux.make_rootfs()
    config = linux.configured("tail /dev/zero", image=True, mem=32)
    ended = await linux.run(config)
    assert ended.state == pb.TASK_FAILED
    assert ended.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert ended.message.startswith("Memory limit exceeded: Requested: 32MB Maximum Used: ")
    assert "\nMEMORY STATISTICS: \ncache " in ended.message
    assert [resource.name for resource in ended.limited_resources] == ["mem"]


LOOK = """
pwd; env
echo == mounts
while read -r id parent dev root target options rest; do echo "$target $options"; done \
    < /proc/self/mountinfo
echo == root
ls -a /
echo == dev
ls /dev
echo == more
echo pid $$
ls /proc/acpi /sys/firmware /sys/fs/cgroup
cat /proc/timer_list | head -c 10
echo x 2>/dev/null > /proc/sys/kernel/hostname && echo wrote to the host
echo x 2>/dev/null > /sys/kernel/mm/ksm/run && echo wrote to the host
echo out > /mnt/mesos/sandbox/made
stat -c %a /dev/shm /dev/null
cat /dev/null
"""


async def test_an_image_shows_nothing_of_the_host(linux: Host) -> None:
    linux.make_rootfs()
    before = mountinfo.below(mountinfo.read(), str(linux.folder))
    ended = await linux.run(linux.configured(LOOK, image=True))
    assert ended.status == 0, linux.output("stderr")
    assert mountinfo.below(mountinfo.read(), str(linux.folder)) == before
    output = linux.output()
    head, _, rest = output.partition("== mounts\n")
    assert head.startswith("/mnt/mesos/sandbox\n")
    for variable in ("FROM=image", "GIVEN=1", "PATH=/bin", "MESOS_SANDBOX=/mnt/mesos/sandbox"):
        assert variable in head.splitlines()
    table, _, rest = rest.partition("== root\n")
    mounts = dict(line.split(" ", 1) for line in table.splitlines())
    assert set(mounts) >= {
        *("/", "/proc", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"),
        *("/sys/fs/cgroup", "/dev", "/dev/pts", "/dev/shm", "/mnt/mesos/sandbox"),
        *(f"/sys/fs/cgroup/{name}" for name in SHOWN_HIERARCHIES),
        *(f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero")),
        *("/etc/hosts", "/etc/resolv.conf"),
    }
    assert not any(str(linux.folder) in target for target in mounts)
    for target in ("/proc/bus", "/proc/sys", "/sys", "/etc/hosts"):
        assert mounts[target].startswith("ro"), target
    assert re.fullmatch("rw,nosuid,nodev,noexec(,relatime)?", mounts["/proc"])
    inside, _, rest = rest.partition("== dev\n")
    assert set(inside.split()) == {*(".", "..", "bin", "dev", "etc", "mnt", "proc", "sys", "tmp")}
    devices, _, rest = rest.partition("== more\n")
    assert devices.split() == [
        *("fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin"),
        *("stdout", "tty", "urandom", "zero"),
    ]
    assert "pid 2\n" in rest
    assert "wrote to the host" not in rest
    assert rest.rstrip().endswith("1777\n666")
    assert (linux.sandbox() / "made").read_text() == "out\n"
    assert not any(path.is_mount() for path in linux.rootfs.rglob("*"))


async def test_an_image_from_its_archive_to_its_end(linux: Host) -> None:
    """The real provisioner, too: archive, store, overlay, container, and nothing left."""
    if BUSYBOX is None:
        pytest.skip("needs busybox (Debian package busybox-static)")
    layer = images.tar(
        [
            images.folder("bin"),
            images.Entry("bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755),
            images.Entry("bin/sh", kind="symlink", to="busybox"),
        ]
    )
    archive = images.saved([layer], ["busybox:latest"], Env=["PATH=/bin"], WorkingDir="/made/here")
    images.write(str(linux.folder / "registry" / "busybox.tar"), archive)
    metrics = Metrics()
    provisioner = create_provisioner(
        ProvisionerConfig(
            work_dir=str(linux.work),
            image_providers=("docker",),
            docker_registry=str(linux.folder / "registry"),
            docker_store_dir=str(linux.folder / "store"),
            temporary_dir=str(linux.folder),
        ),
        metrics,
    )
    linux.mesos = create_containerizer(linux.config, linux.launcher, provisioner, metrics)
    await linux.mesos.recover([])
    config = linux.configured("pwd; echo kept > /written; busybox cat /written", image=True)
    ended = await linux.run(config)
    assert ended.status == 0, linux.output("stderr")
    assert linux.output() == "/made/here\nkept\n"
    assert os.listdir(linux.work / "provisioner" / "containers") == []
    await provisioner.close()


async def test_a_hostile_image_changes_nothing_outside(linux: Host) -> None:
    linux.make_rootfs()
    victim = linux.folder / "victim"
    victim.mkdir()
    (linux.rootfs / "mnt").symlink_to(victim)
    (linux.rootfs / "etc").symlink_to("/../../../../conf")
    (linux.rootfs / "dev").symlink_to("/devices")
    ended = await linux.run(linux.configured("ls /devices/null /mnt/mesos", image=True))
    assert ended.status == 0, linux.output("stderr")
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
async def test_an_image_without_room_for_mounts(linux: Host, name: str) -> None:
    linux.make_rootfs()
    (linux.rootfs / name).write_text("no directory")
    with pytest.raises(ContainerError, match=rf"^Failed to create mount point at .*/{name}': "):
        await linux.mesos.launch(C, linux.configured("true", image=True), {})
    assert await linux.mesos.destroy(C) is not None


async def test_unsupported_volumes_are_refused(linux: Host) -> None:
    config = linux.configured("true")
    config.container_info.type = pb.ContainerInfo.MESOS
    volume = config.container_info.volumes.add(container_path="x", mode=pb.Volume.RW)
    volume.source.type = pb.Volume.Source.DOCKER_VOLUME
    volume.source.docker_volume.name = "v"
    with pytest.raises(ContainerError, match=r"^Volume 'x' cannot be mounted: 'docker/volume' is"):
        await linux.mesos.launch(C, config, {})
    await linux.mesos.destroy(C)


async def test_volumes_in_an_image(linux: Host) -> None:
    linux.make_rootfs()
    host = linux.folder / "host"
    host.mkdir()
    (host / "file").write_text("hello\n")
    command = "cat /data/file sub/dir/file; echo x > /data/file; echo y > /own/made"
    config = linux.configured(command, image=True)
    for path, mode in (("/data", pb.Volume.RO), ("sub/dir", pb.Volume.RW)):
        volume = config.container_info.volumes.add(container_path=path, mode=mode)
        volume.source.type = pb.Volume.Source.HOST_PATH
        volume.source.host_path.path = str(host)
    own = config.container_info.volumes.add(container_path="/own", mode=pb.Volume.RW)
    own.source.type = pb.Volume.Source.SANDBOX_PATH
    own.source.sandbox_path.type = pb.Volume.Source.SandboxPath.SELF
    own.source.sandbox_path.path = "mine"
    ended = await linux.run(config)
    assert ended.status == 0, linux.output("stderr")
    assert linux.output() == "hello\nhello\n"
    assert "Read-only file system" in linux.output("stderr")
    assert (host / "file").read_text() == "hello\n"
    assert (linux.sandbox() / "mine" / "made").read_text() == "y\n"


@first_version
async def test_nested_containers(linux: Host) -> None:
    waited = await linux.started(linux.configured("echo up; sleep 60"))
    await linux.said("up")
    nested = slave.ContainerConfig()
    nested.command_info.value = "echo $$ $MESOS_SANDBOX; cat /proc/self/cgroup; exit 2"
    await linux.mesos.launch(N, nested, {})
    ended = await linux.mesos.wait(N)
    assert ended == slave.ContainerTermination(status=512)
    output = (linux.sandbox() / "containers" / "n1" / "stdout").read_text()
    assert output.startswith(f"2 {linux.sandbox()}/containers/n1\n")
    assert f":memory:/{linux.root}/c1\n" in output
    assert f":freezer:/{linux.root}/c1/mesos/n1\n" in output
    await linux.mesos.launch(ContainerId("n2", C), nested, {})
    await linux.mesos.destroy(C)
    await waited


async def test_everything_of_an_earlier_agent_goes(linux: Host) -> None:
    linux.make_rootfs()
    waited = await linux.started(linux.configured("sleep 600 & sleep 600", image=True))
    pid = linux.launcher.pid(C)
    assert pid is not None
    await linux.mesos.close()
    with pytest.raises(ContainerError):
        await waited
    linux.mesos = Host(linux.folder, "linux").mesos
    await linux.mesos.recover([])
    assert linux.mesos.containers() == {C}
    async with asyncio.timeout(60):
        await linux.mesos.wait(C)
    assert proc.is_zombie_or_gone(pid)
    assert os.listdir(linux.folder / "run" / "containers") == []


async def test_the_host_is_as_before(linux: Host) -> None:
    """Without containers the end of an engine takes back its mounts and root cgroups."""
    linux.make_rootfs()
    ended = await linux.run(linux.configured("true", image=True))
    assert ended.status == 0
    assert mountinfo.below(mountinfo.read(), str(linux.folder)) != []
    await linux.mesos.close()
    assert mountinfo.below(mountinfo.read(), str(linux.folder)) == []
    for hierarchy in cgroup1.hierarchies().values():
        assert not os.path.exists(os.path.join(hierarchy, linux.root))
    linux.mesos = Host(linux.folder, "linux").mesos


async def test_mounts_stay_for_containers_that_go_on(linux: Host) -> None:
    waited = await linux.started(linux.configured("sleep 1000"))
    await linux.mesos.close()
    with pytest.raises(ContainerError, match="closed"):
        await waited
    assert [each.target for each in mountinfo.below(mountinfo.read(), str(linux.work))]
    linux.mesos = Host(linux.folder, "linux").mesos
    await linux.mesos.recover([])
    await linux.mesos.wait(C)
    assert linux.mesos.containers() == frozenset()
