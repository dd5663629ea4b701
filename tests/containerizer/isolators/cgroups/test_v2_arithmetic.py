# SPDX-License-Identifier: Apache-2.0
"""What is written with version 2 for which request, what is read, and which names there are."""

from __future__ import annotations

import asyncio
import errno
import math
import os
from pathlib import Path

import pytest

from containerizer.isolators.cgroups import v2
from containerizer.isolators.cgroups.v2_cpu import CpuV2, bandwidth, weight
from containerizer.isolators.cgroups.v2_events import Modifications
from containerizer.isolators.cgroups.v2_memory import MemoryV2, kernel_bytes, limitation
from containerizer.linux import inotify
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

MB = 1 << 20
C = ContainerId("c1")


def resources(**values: float) -> list[pb.Resource]:
    made = []
    for name, value in values.items():
        made.append(pb.Resource(name=name, type=pb.Value.SCALAR))
        made[-1].scalar.value = value
    return made


@pytest.mark.parametrize(
    ("cpus", "revocable", "expected"),
    [(0.6, False, 60), (0.001, False, 1), (100, False, 10000), (128, False, 10000), (2, True, 2)],
)
def test_weight(cpus: float, revocable: bool, expected: int) -> None:
    assert weight(cpus, revocable) == expected


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [(0.6, "60000 100000"), (2.1, "210000 100000"), (0.001, "1000 100000"), (math.inf, "max")],
)
def test_bandwidth(cpus: float, expected: str) -> None:
    assert bandwidth(cpus) == expected


@pytest.mark.parametrize(
    ("cfs", "limits", "expected"),
    [
        (False, {}, "max"),
        (True, {}, "50000 100000"),
        (False, {"cpus": 1.0}, "100000 100000"),
        (True, {"cpus": math.inf}, "max"),
    ],
)
def test_a_limit_of_before_is_taken_back(
    tmp_path: Path, cfs: bool, limits: dict[str, float], expected: str
) -> None:
    (tmp_path / "cpu.weight").touch()
    (tmp_path / "cpu.max").write_text("12345 100000\n")
    CpuV2(cfs, low_priority=True).update(C, str(tmp_path), resources(cpus=0.5), limits)
    assert (tmp_path / "cpu.max").read_text() == expected
    assert (tmp_path / "cpu.weight").read_text() == "50"


def test_cpu_without_cpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsolatorError, match="No cpus resource given"):
        CpuV2(cfs=False, low_priority=True).update(C, str(tmp_path), resources(mem=1), {})


def test_time_used(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text(
        "usage_usec 5\nuser_usec 1500000\nsystem_usec 500000\nnr_periods 3\nnr_throttled 2\n"
        "throttled_usec 250000\n"
    )
    used = CpuV2(cfs=False, low_priority=True).usage(C, str(tmp_path))
    assert used is not None
    assert (used.cpus_user_time_secs, used.cpus_system_time_secs) == (1.5, 0.5)
    assert (used.cpus_nr_periods, used.cpus_nr_throttled) == (3, 2)
    assert used.cpus_throttled_time_secs == 0.25


def test_memory_used(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("100\n")
    (tmp_path / "memory.stat").write_text(
        "anon 10\nfile 20\nkernel 30\nsock 3\nfile_mapped 5\nunevictable 6\n"
    )
    used = MemoryV2().usage(C, str(tmp_path))
    assert used is not None
    found = {field.name: value for field, value in used.ListFields()}
    assert found == {
        "mem_total_bytes": 100,
        "mem_kmem_usage_bytes": 30,
        "mem_kmem_tcp_usage_bytes": 3,
        "mem_file_bytes": 20,
        "mem_cache_bytes": 20,
        "mem_anon_bytes": 10,
        "mem_rss_bytes": 10,
        "mem_mapped_file_bytes": 5,
        "mem_unevictable_bytes": 6,
    }


def test_kernels_that_do_not_sum_up() -> None:
    parts = {"kernel_stack": 1, "pagetables": 2, "sock": 4, "vmalloc": 8, "slab": 16, "anon": 99}
    assert kernel_bytes(parts) == 31


def test_the_text_of_a_limitation() -> None:
    made = limitation(64 * MB, {"anon": 60 * MB, "file": 4096, "kernel": 1 * MB})
    assert made.message == (
        "Memory limit exceeded: \nMEMORY STATISTICS post-OOM: \n"
        "anon: 60MB\nfile: 4KB\nkernel: 1MB\n"
    )
    assert made.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert [(r.name, r.scalar.value) for r in made.resources] == [("mem", 64)]
    assert limitation(None, {}).resources[0].scalar.value == 0


class Cgroup:
    """A folder with the files of the memory controller."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder)
        self.folder = folder
        self.events(0)
        (folder / "memory.stat").write_text("anon 1\n")
        for name, content in (
            ("memory.max", "max"),
            ("memory.low", "0"),
            ("memory.oom.group", "0"),
        ):
            (folder / name).write_text(content)

    def events(self, oom: int, name: str = "memory.events.local") -> None:
        (self.folder / name).write_text(f"low 0\nhigh 0\nmax 7\noom {oom}\noom_kill {oom}\n")

    def limits(self) -> tuple[str, str]:
        """Return soft and hard limit."""
        return (self.folder / "memory.low").read_text(), (self.folder / "memory.max").read_text()


@pytest.fixture
def cgroup(tmp_path: Path) -> Cgroup:
    return Cgroup(tmp_path)


async def test_the_hard_limit_is_only_raised(cgroup: Cgroup) -> None:
    memory = MemoryV2()
    memory.prepare(C, cgroup.path, slave.ContainerConfig())
    for mem, limit, soft, hard in (
        (64, None, 64 * MB, str(64 * MB)),
        (48, None, 48 * MB, str(64 * MB)),
        (5, 96.0, 32 * MB, str(96 * MB)),
        (64, math.inf, 64 * MB, "max"),
        (64, 128.0, 64 * MB, "max"),
    ):
        memory.update(C, cgroup.path, resources(mem=mem), {} if limit is None else {"mem": limit})
        assert cgroup.limits() == (str(soft), hard)
    assert (cgroup.folder / "memory.oom.group").read_text() == "1"
    with pytest.raises(IsolatorError, match="No memory resource given"):
        memory.update(C, cgroup.path, resources(cpus=1), {})
    memory.close()


async def test_a_recovered_limit_is_not_lowered(cgroup: Cgroup) -> None:
    (cgroup.folder / "memory.events").touch()
    (cgroup.folder / "memory.max").write_text(str(64 * MB))
    memory = MemoryV2()
    memory.recover(C, cgroup.path, os.getpid())
    memory.update(C, cgroup.path, resources(mem=48), {})
    assert cgroup.limits() == (str(48 * MB), str(64 * MB))
    memory.close()


async def test_a_notice_tells_of_out_of_memory(cgroup: Cgroup) -> None:
    memory = MemoryV2()
    memory.prepare(C, cgroup.path, slave.ContainerConfig())
    watch = asyncio.create_task(memory.watch(C))
    cgroup.events(0)
    await asyncio.sleep(0)
    assert not watch.done()
    # What came of a container nested in this one is not counted here.
    cgroup.events(1, "memory.events")
    cgroup.events(1)
    async with asyncio.timeout(60):
        limited = await watch
    assert limited is not None
    assert limited.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    memory.cleanup(C)
    assert await memory.watch(C) is None
    memory.close()


@pytest.mark.parametrize("failing", ["open_inotify", "watch", None])
async def test_the_exit_of_init_is_a_reason_to_look(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    """Also where containers of the agent's user have used up all notices that there are."""

    def used_up(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing is None:
        monkeypatch.setattr(Modifications, "watch", lambda *_: None)
    else:
        monkeypatch.setattr(inotify, failing, used_up)
    memory = MemoryV2()
    memory.prepare(C, cgroup.path, slave.ContainerConfig())
    process = await asyncio.create_subprocess_exec("sleep", "600")
    memory.isolate(C, cgroup.path, process.pid)
    watch = asyncio.create_task(memory.watch(C))
    cgroup.events(1)
    process.kill()
    await process.wait()
    async with asyncio.timeout(60):
        assert await watch is not None
    memory.close()


async def test_what_is_gone_tells_nothing(cgroup: Cgroup) -> None:
    memory = MemoryV2()
    memory.prepare(C, cgroup.path, slave.ContainerConfig())
    watch = asyncio.create_task(memory.watch(C))
    (cgroup.folder / "memory.stat").unlink()
    cgroup.events(1)
    (cgroup.folder / "memory.events.local").unlink()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not watch.done()
    memory.isolate(C, cgroup.path, 2**31)
    memory.close()
    with pytest.raises(asyncio.CancelledError):
        await watch


def names(isolation: str, available: str = "cpu memory io pids cpuset hugetlb") -> list[str]:
    kinds = v2._kinds(isolation.split(","), available.split())
    return [kind.controller for kind in kinds]


@pytest.mark.parametrize(
    ("isolation", "expected"),
    [
        ("filesystem/linux", ["core"]),
        ("cgroups/cpu,cgroups/mem", ["core", "cpu", "memory"]),
        ("cgroups/io,cgroups/pids", ["core", "io", "pids"]),
        ("cgroups/devices", ["core", "devices"]),
        ("cgroups/core", ["core"]),
    ],
)
def test_names(isolation: str, expected: list[str]) -> None:
    assert names(isolation) == expected


def test_all_is_what_there_is() -> None:
    assert names("cgroups/all", "cpu memory") == ["core", "cpu", "devices", "memory"]


@pytest.mark.parametrize("name", ["blkio", "net_cls", "net_prio"])
def test_names_of_version_1(name: str) -> None:
    with pytest.raises(IsolatorError, match=f"^Unknown or unsupported isolator 'cgroups/{name}'$"):
        names(f"cgroups/{name}")


def test_what_the_kernel_lacks() -> None:
    with pytest.raises(IsolatorError, match="'pids' is not available"):
        names("cgroups/pids", "cpu")
