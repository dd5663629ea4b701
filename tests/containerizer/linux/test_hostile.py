# SPDX-License-Identifier: Apache-2.0
"""What tasks plant and pile up around the engine: links, special files, cgroups, masses of files.

The engine is the real one with root's rights; a task acts at the worst of all moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
import struct
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer import sandbox as sandboxes
from containerizer.create import create_containerizer
from containerizer.launcher.base import ForkedInit, ForkRequest
from containerizer.linux import cgroup1, mount, proc
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from mesos_compat.base.beneath import Root
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.linux.test_containers import BUSYBOX, ISOLATION, Host, corner
from tests.containerizer.provisioner import images

pytestmark = pytest.mark.root

C = ContainerId("c1")
N = ContainerId("n1", C)
LOGROTATE = "org_apache_mesos_LogrotateContainerLogger"


@pytest_asyncio.fixture
async def linux(tmp_path: Path) -> AsyncIterator[Host]:
    async for host in corner(tmp_path, "linux", f"{ISOLATION},volume/sandbox_path"):
        yield host


@pytest_asyncio.fixture
async def in_memory(tmp_path: Path) -> AsyncIterator[Host]:
    """The same on a file system that is fast and small."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "memory"
    folder.mkdir()
    mount.mount("tmpfs", str(folder), "tmpfs", 0, "size=256m,mode=755")
    try:
        (folder / "corner").mkdir()
        async for host in corner(folder / "corner", "linux", ISOLATION):
            yield host
    finally:
        mount.umount(str(folder), mount.MNT_DETACH)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host with one for each name by which a task could lead there."""
    made = Path(f"/.outside-{uuid.uuid4()}")
    (made / "n1").mkdir(parents=True)
    (made / "n1").chmod(0o755)
    yield made
    shutil.rmtree(made)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def nested(command: str = "echo nested") -> slave.ContainerConfig:
    made = slave.ContainerConfig()
    made.command_info.value = command
    return made


def swap(host: Host, outside: Path) -> None:
    """Do what the owner of the outer sandbox can do at any time."""
    folder = host.sandbox() / "containers"
    folder.rename(host.sandbox() / f"was-{uuid.uuid4()}")
    folder.symlink_to(outside)


def after_making(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let a task act as soon as the sandbox of a nested container is there."""
    make = sandboxes.make_nested

    def made(root: str, container_id: ContainerId, user: str | None) -> str:
        path = make(root, container_id, user)
        act()
        return path

    monkeypatch.setattr(sandboxes, "make_nested", made)


def busy(config: slave.ContainerConfig) -> slave.ContainerConfig:
    """Give a container all the time and memory that it can use."""
    for resource, value in zip(config.resources, (8, 2048), strict=True):
        resource.scalar.value = value
    return config


async def started(host: Host, command: str = "echo up; sleep 600") -> None:
    waited = await host.started(busy(host.configured(command)))
    waited.add_done_callback(lambda task: task.cancelled() or task.exception())
    await host.said("up")


async def gone(host: Host) -> None:
    await host.mesos.destroy(C)
    assert host.mesos.containers() == frozenset()


class Ticks:
    """Counts how often others may run."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Ticks:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self.count += 1


# Links where the agent or an init makes or opens something.


@pytest.mark.parametrize("logger", [None, LOGROTATE])
async def test_a_swapped_sandbox_gets_no_output(
    linux: Host, outside: Path, monkeypatch: pytest.MonkeyPatch, logger: str | None
) -> None:
    linux.config = replace(linux.config, container_logger=logger)
    linux.mesos = create_containerizer(
        linux.config, linux.launcher, linux.provisioner, Metrics(), helpers=linux.spawner
    )
    await started(linux)
    after_making(monkeypatch, lambda: swap(linux, outside))
    with pytest.raises(ContainerError, match=r"^Failed to open '.*/containers/n1"):
        await linux.mesos.launch(N, nested(), {})
    await linux.mesos.destroy(N)
    assert tree(outside) == ["n1"]
    await gone(linux)


@pytest.mark.parametrize("what", ["source", "target"])
async def test_a_swapped_sandbox_gets_no_volume(
    linux: Host, outside: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await started(linux)
    after_making(monkeypatch, lambda: swap(linux, outside))
    config = nested()
    config.container_info.type = pb.ContainerInfo.MESOS
    volume = config.container_info.volumes.add(mode=pb.Volume.RW)
    volume.source.type = pb.Volume.Source.SANDBOX_PATH
    sandbox_path = volume.source.sandbox_path
    if what == "source":
        sandbox_path.type, sandbox_path.path = sandbox_path.SELF, "made/here"
        volume.container_path = "/mnt"
    else:
        sandbox_path.type, sandbox_path.path = sandbox_path.PARENT, "made/here"
        volume.container_path = "mount/point"
    with pytest.raises(ContainerError, match=r"(Too many levels|cross-device|Not a directory)"):
        await linux.mesos.launch(N, config, {})
    await linux.mesos.destroy(N)
    assert tree(outside) == ["n1"]
    await gone(linux)


@pytest.mark.parametrize("stays", [True, False], ids=["to the host", "within"])
async def test_a_swapped_sandbox_is_no_working_directory(
    linux: Host, outside: Path, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    await started(linux)
    fork = linux.launcher.fork
    leads_to = outside if stays else Path("elsewhere")

    async def forked(container_id: ContainerId, request: ForkRequest) -> ForkedInit:
        if not stays:
            (linux.sandbox() / "elsewhere" / "n1").mkdir(parents=True)
        swap(linux, leads_to)
        return await fork(container_id, request)

    monkeypatch.setattr(linux.launcher, "fork", forked)
    await linux.mesos.launch(N, nested("echo ran > ran"), {})
    ended = await linux.mesos.wait(N)
    assert ended is not None
    assert tree(outside) == ["n1"]
    # a link within the sandbox is the task's own business
    assert (linux.sandbox() / "elsewhere" / "n1" / "ran").exists() == (not stays)
    assert ended.status == (256 if stays else 0)
    await gone(linux)


async def test_a_swapped_sandbox_is_not_removed(linux: Host, outside: Path) -> None:
    await started(linux)
    await linux.mesos.launch(N, nested(), {})
    await linux.mesos.wait(N)
    (outside / "n1" / "kept").touch()
    swap(linux, outside)
    with pytest.raises(ContainerError, match=r"^Failed to remove the sandbox directory: "):
        await linux.mesos.remove(N)
    assert tree(outside) == ["n1", "n1/kept"]
    await gone(linux)


PLANTED: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, outside: path.symlink_to(outside / "n1"),
    "fifo": lambda path, outside: os.mkfifo(path),
    "device": lambda path, outside: os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(7, 200)),
    "another's file": lambda path, outside: os.link(path.parents[2] / "file", path),
}


@pytest.mark.parametrize("kind", PLANTED)
async def test_planted_output_files(
    linux: Host, outside: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (linux.sandbox() / "file").write_text("precious")
    await started(linux)
    target = linux.sandbox() / "containers" / "n1" / "stdout"
    after_making(monkeypatch, lambda: PLANTED[kind](target, outside))
    with pytest.raises(ContainerError, match=r"^Failed to open '.*/stdout': "):
        await linux.mesos.launch(N, nested(), {})
    await linux.mesos.destroy(N)
    assert (linux.sandbox() / "file").read_text() == "precious"
    assert tree(outside) == ["n1"]
    await gone(linux)


# Cgroups.


@pytest.mark.skipif(cgroup1.layout() is cgroup1.CgroupLayout.V2, reason="needs cgroups version 1")
async def test_cgroups_that_a_task_made(linux: Host) -> None:
    """More than a path can name, and many; with processes in them, frozen ones too."""
    program = linux.folder / "nest.py"
    program.write_text(
        "import os, sys, time\n"
        "top = sys.argv[1]\n"
        "for number in range(3000): os.mkdir(f'{top}/wide{number}')\n"
        "fd = os.open(top, os.O_RDONLY)\n"
        "for _ in range(200):\n"
        "    os.mkdir('d' * 100, dir_fd=fd)\n"
        "    fd = os.open('d' * 100, os.O_RDONLY, dir_fd=fd)\n"
        "def write(name, text):\n"
        "    os.write(os.open(name, os.O_WRONLY, dir_fd=fd), text)\n"
        "for frozen in (False, True):\n"
        "    if os.fork() == 0:\n"
        "        write('cgroup.procs', b'0')\n"
        "        if frozen:\n"
        "            os.write(1, b'up\\n')\n"
        "            write('freezer.state', b'FROZEN')\n"
        "        time.sleep(600)\n"
        "    time.sleep(0.05)\n"
        "time.sleep(600)\n"
    )
    cgroup = f"{cgroup1.hierarchies()['freezer']}/{linux.root}/c1"
    await started(linux, f"exec {sys.executable} -S {program} {cgroup}")
    members = cgroup1.all_processes(cgroup)
    assert len(members) == 4
    # a later agent has to find its way, too
    assert await linux.launcher.recover([]) == frozenset()
    async with Ticks() as ticks:
        await gone(linux)
    assert ticks.count > 5
    assert not os.path.exists(cgroup)
    assert all(proc.is_zombie_or_gone(pid) for pid in members)


async def test_device_nodes_in_a_container(tmp_path: Path) -> None:
    """Whoever may make nodes can use only those that the device cgroup allows."""
    isolation = f"{ISOLATION},cgroups/devices"
    async for host in corner(tmp_path, "linux", isolation):
        host.make_rootfs()
        script = (
            "mknod /zero c 1 5 && dd if=/zero of=/dev/null bs=1 count=1 2>/dev/null && echo zero;"
            " mknod /mem c 1 1 2>/dev/null && dd if=/mem of=/dev/null bs=1 count=1 2>/dev/null"
            " && echo mem; mknod /kmsg c 1 11 2>/dev/null && dd if=/kmsg of=/dev/null bs=9 count=1"
            " 2>/dev/null && echo kmsg;"
            " while read -r major minor blocks name; do case $name in [svnl]*)"
            " mknod /disk-$name b $major $minor 2>/dev/null;"
            " dd if=/disk-$name of=/dev/null bs=512 count=1 2>/dev/null && echo disk $name;;"
            " esac; done < /proc/partitions; echo end"
        )
        ended = await host.run(host.configured(script, image=True))
        assert ended.status == 0
        assert host.output().splitlines() == ["zero", "end"]


# Masses.

_SETFLAGS = 0x40086602
IMMUTABLE = 0x10
APPEND = 0x20


def set_attributes(path: Path, attributes: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("l", attributes))
    except OSError:
        pytest.skip("this file system has no such attributes")
    finally:
        os.close(fd)


FILES = 100_000
#: Makes many files in the working directory, and deep ones below each other.
MANY = f"""\
import os
for number in range({FILES // 1000}):
    os.mkdir(f'd{{number}}')
    fd = os.open(f'd{{number}}', os.O_RDONLY)
    for file in range(1000): os.mknod(f'f{{file}}', dir_fd=fd)
    os.close(fd)
fd = os.open('.', os.O_RDONLY)
for _ in range(2000):
    os.mkdir('deep' * 20, dir_fd=fd)
    inner = os.open('deep' * 20, os.O_RDONLY, dir_fd=fd)
    os.close(fd)
    fd = inner
os.setxattr(fd, 'user.big', b'x' * 3000)
"""


async def test_many_files_in_a_sandbox(in_memory: Host) -> None:
    program = in_memory.folder / "many.py"
    program.write_text(MANY)
    await started(in_memory)
    await in_memory.mesos.launch(N, nested(f"exec {sys.executable} -S {program}"), {})
    ended = await in_memory.mesos.wait(N)
    assert ended is not None
    assert ended.status == 0
    async with Ticks() as ticks:
        await in_memory.mesos.remove(N)
    assert ticks.count > 10
    assert os.listdir(in_memory.sandbox() / "containers") == []
    await gone(in_memory)


async def test_many_files_in_a_root_file_system(in_memory: Host) -> None:
    """In the overlay of an image; some can't be removed as they are (chattr)."""
    if BUSYBOX is None:
        pytest.skip("needs busybox (Debian package busybox-static)")
    layer = images.tar(
        [
            images.folder("bin"),
            images.Entry("bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755),
            images.Entry("bin/sh", kind="symlink", to="busybox"),
        ]
    )
    archive = images.saved([layer], ["busybox:latest"], Env=["PATH=/bin"])
    images.write(str(in_memory.folder / "registry" / "busybox.tar"), archive)
    metrics = Metrics()
    provisioner = create_provisioner(
        ProvisionerConfig(
            work_dir=str(in_memory.work),
            image_providers=("docker",),
            docker_registry=str(in_memory.folder / "registry"),
            docker_store_dir=str(in_memory.folder / "store"),
            temporary_dir=str(in_memory.folder),
        ),
        metrics,
    )
    in_memory.mesos = create_containerizer(
        in_memory.config, in_memory.launcher, provisioner, metrics, helpers=in_memory.spawner
    )
    await in_memory.mesos.recover([])
    script = (
        "busybox mkdir /locked; echo x > /locked/file; n=0; while busybox test $n -lt 100; do"
        f" busybox mkdir /d$n; (cd /d$n && busybox seq 1 {FILES // 100} | busybox xargs"
        " busybox touch); n=$((n+1)); done; echo up; busybox sleep 600"
    )
    config = busy(in_memory.configured(script, image=True))
    waited = await in_memory.started(config)
    waited.add_done_callback(lambda task: task.cancelled() or task.exception())
    await in_memory.said("up")
    (scratch,) = (in_memory.work / "provisioner" / "containers" / "c1").glob("backends/*/scratch/*")
    assert len(os.listdir(scratch / "upperdir" / "d0")) == FILES // 100
    # what a container does with chattr(1)
    for locked in (scratch / "upperdir" / "locked" / "file", scratch / "upperdir" / "locked"):
        set_attributes(locked, IMMUTABLE)
    async with Ticks() as ticks:
        await gone(in_memory)
    assert ticks.count > 10
    assert os.listdir(in_memory.work / "provisioner" / "containers") == []
    await provisioner.close()


def test_attributes_that_forbid_removal(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "top" / "inner"
    folder.mkdir(parents=True)
    for name, attribute in (("immutable", IMMUTABLE), ("append", APPEND)):
        (folder / name).touch()
        set_attributes(folder / name, attribute)
    set_attributes(folder, IMMUTABLE)
    with Root(str(tmp_path)) as root:
        root.remove("top")
    assert os.listdir(tmp_path) == []


def loggers(host: Host) -> Iterator[int]:
    """Find the processes that still write to the sandbox."""
    wanted = f"--log_filename={host.sandbox()}/stdout".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield int(pid)


@pytest.mark.parametrize("logger", [None, LOGROTATE])
async def test_huge_output(in_memory: Host, logger: str | None) -> None:
    """1 GB, more than there is room for: nothing of it passes through the agent."""
    size = 1_000_000_000
    parameters = {LOGROTATE: (("max_stdout_size", "8MB"), ("logrotate_stdout_options", "rotate 2"))}
    in_memory.config = replace(in_memory.config, container_logger=logger, parameters=parameters)
    in_memory.mesos = create_containerizer(
        in_memory.config,
        in_memory.launcher,
        in_memory.provisioner,
        Metrics(),
        helpers=in_memory.spawner,
    )
    before_kb = int(proc.status("self")["VmRSS"].split()[0])
    command = f"{BUSYBOX} dd if=/dev/zero bs=1000000 count={size // 1_000_000}; echo end >&2"
    ended = await in_memory.run(busy(in_memory.configured(command)))
    # the status has to be on that full disk, too
    assert ended.status == 0 if logger else ended.status in (9, 256)
    assert int(proc.status("self")["VmRSS"].split()[0]) - before_kb < 16 << 10
    if logger is None:
        assert os.statvfs(in_memory.sandbox()).f_bavail < 100
        os.truncate(in_memory.sandbox() / "stdout", 0)
        assert (await in_memory.run(in_memory.configured("echo again"))).status == 0
        assert in_memory.output() == "again\n"
        return
    async with asyncio.timeout(60):
        while any(await asyncio.to_thread(loggers, in_memory)):  # noqa: ASYNC110 no child of ours
            await asyncio.sleep(0.01)
    assert in_memory.output("stderr").endswith("end\n")
    sizes = {path.name: path.stat().st_size for path in in_memory.sandbox().glob("stdout*")}
    assert sizes.keys() == {"stdout", "stdout.1", "stdout.2"}
    assert all(each <= 8 << 20 for each in sizes.values())
