# SPDX-License-Identifier: Apache-2.0
"""Measure the containerizer alone: one container, many containers, and their usage.

usage: python -m bench.containers [--single N] [--many N] [--alive N] [--json FILE]

* One container of a busybox image (overlay root, mount and pid namespace, cgroups for processor and
  memory) that runs ``true``, from the request until everything of it is gone; in turn with
  ``runc run`` of the same root and, as the floor, ``unshare -mpf --root``.
* ``--many`` containers that sleep, ``--alive`` of them at once: how long launch and destroy take,
  and what has grown between the time when the first of them were there and the last.
* What each of five passes over the usage of all living containers costs.

Needs root; figures of two runs are comparable only side by side on the same quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from containerizer.api import Containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import cgroup1, mount, mountinfo, proc
from containerizer.local.engine import create_launcher, open_engine
from containerizer.provisioner.config import ProvisionerConfig
from integration.images import write_docker
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

IMAGE = "busybox:latest"
ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid"
CPUS = 0.01
MEMORY_MB = 32.0
USAGE_PASSES = 5
_MS = 1000

Figures = dict[str, float]


@dataclass(slots=True)
class Engine:
    """A containerizer in a folder of its own."""

    containerizer: Containerizer
    spawner: Spawner
    folder: str
    cgroups_root: str
    count: int = 0

    def config(self, command: Sequence[str]) -> tuple[ContainerId, slave.ContainerConfig]:
        """Return the id and configuration of a further container."""
        self.count += 1
        container_id = ContainerId(f"bench-{self.count}")
        directory = os.path.join(self.folder, "sandboxes", container_id.value)
        os.makedirs(directory)
        config = slave.ContainerConfig(directory=directory)
        config.command_info.shell = False
        config.command_info.value = command[0]
        config.command_info.arguments.extend(command)
        config.container_info.type = pb.ContainerInfo.MESOS
        image = config.container_info.mesos.image
        image.type = pb.Image.DOCKER
        image.docker.name = IMAGE
        for name, amount in (("cpus", CPUS), ("mem", MEMORY_MB)):
            config.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = amount
        return container_id, config

    async def run(self, command: Sequence[str]) -> None:
        """Run one container until nothing of it is left."""
        container_id, config = self.config(command)
        await self.containerizer.launch(container_id, config, {})
        ended = await self.containerizer.wait(container_id)
        if ended is None or ended.status:
            raise AssertionError(f"{container_id} ended with {ended}")


@contextlib.asynccontextmanager
async def engine(folder: str) -> AsyncIterator[Engine]:
    """Open an engine with an image to pull below ``folder``."""
    write_docker(os.path.join(folder, "registry"), IMAGE)
    work_dir, root = os.path.join(folder, "work"), f"mesos-compat-bench-{os.getpid()}"
    os.makedirs(work_dir)
    config = ContainerizerConfig(
        work_dir=work_dir,
        runtime_dir=os.path.join(folder, "run"),
        launcher="linux",
        isolation=ISOLATION,
        image_providers=("docker",),
        cgroups_root=root,
    )
    images = ProvisionerConfig(
        work_dir=work_dir,
        image_providers=("docker",),
        docker_store_dir=os.path.join(folder, "store"),
        docker_registry=os.path.join(folder, "registry"),
        temporary_dir=folder,
    )
    async with AsyncExitStack() as stack:
        spawner = Spawner(SpawnerConfig({}))
        stack.push_async_callback(spawner.close)
        launcher = create_launcher(config, spawner, systemd=None)
        containerizer = open_engine(config, images, launcher, spawner, Metrics(), stack)
        await spawner.start()
        await containerizer.recover([])
        yield Engine(containerizer, spawner, folder, root)


# One container.


class Runc:
    """``runc run`` of a busybox root on an overlay that is mounted once, with the same limits."""

    def __init__(self, folder: str, layer: str) -> None:
        self._bundle = os.path.join(folder, "bundle")
        self._rootfs = os.path.join(self._bundle, "rootfs")
        self._count = 0
        parts = {"lowerdir": layer}
        for name in ("upperdir", "workdir"):
            parts[name] = os.path.join(folder, f"runc-{name}")
            os.makedirs(parts[name])
        os.makedirs(self._rootfs)
        options = ",".join(f"{name}={path}" for name, path in parts.items())
        mount.mount("overlay", self._rootfs, "overlay", 0, options)
        with open(os.path.join(self._bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(_runc_config(), file)

    def run(self) -> None:
        """Run ``true`` in one container."""
        self._count += 1
        name = f"mesos-compat-bench-{os.getpid()}-{self._count}"
        command = ["runc", "run", "--bundle", self._bundle, name]
        _checked(command)

    @property
    def rootfs(self) -> str:
        """The mounted root."""
        return self._rootfs

    def close(self) -> None:
        """Unmount the root."""
        mount.umount(self._rootfs, mount.MNT_DETACH)


def _runc_config() -> dict[str, object]:
    pseudo = ["nosuid", "noexec", "nodev"]
    device = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": device},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*pseudo, "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}],
            "cgroupsPath": f"/mesos-compat-bench-runc-{os.getpid()}",
            "resources": {
                "cpu": {"shares": 10},
                "memory": {"limit": int(MEMORY_MB) << 20},
            },
        },
    }


def _checked(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise OSError(done.returncode, f"{command[0]} exits with {done.returncode}: {text}")


async def single(own: Engine, count: int, reasons: dict[str, str]) -> dict[str, Figures]:
    """Run ``count`` containers by each means, in turn."""
    for _ in range(3):
        await own.run(["true"])
    samples: dict[str, list[float]] = {"mesos-compat": []}
    layer = _layer(own.folder)
    unshared = os.path.join(own.folder, "unshared")
    shutil.copytree(layer, unshared, symlinks=True)
    floor = ["unshare", "-mpf", f"--root={unshared}", "/bin/true"]
    runc: Runc | None = None
    try:
        if shutil.which("runc"):
            runc = Runc(own.folder, layer)
            try:
                runc.run()
                samples["runc"] = []
            except OSError as error:
                reasons["runc"] = str(error)
        else:
            reasons["runc"] = "not installed (Debian package runc)"
        try:
            _checked(floor)
            samples["unshare"] = []
        except OSError as error:
            reasons["unshare"] = str(error)
        for _ in range(count):
            begin = time.perf_counter()
            await own.run(["true"])
            samples["mesos-compat"].append(time.perf_counter() - begin)
            if "runc" in samples and runc is not None:
                begin = time.perf_counter()
                runc.run()
                samples["runc"].append(time.perf_counter() - begin)
            if "unshare" in samples:
                begin = time.perf_counter()
                _checked(floor)
                samples["unshare"].append(time.perf_counter() - begin)
    finally:
        if runc is not None:
            runc.close()
    return {name: _percentiles(values) for name, values in samples.items()}


def _layer(folder: str) -> str:
    """Return the image's one layer in the store."""
    for path, folders, _ in os.walk(os.path.join(folder, "store", "layers")):
        if "bin" in folders:
            return path
    raise AssertionError("the image's layer is not in the store")


# Many containers.


@dataclass(frozen=True, slots=True)
class Host:
    """What there is at one moment, of this process and of the host."""

    engine_private_kb: float
    engine_fds: float
    spawner_private_kb: float
    spawner_fds: float
    #: Own threads.
    threads: float
    mounts: float
    cgroups: float
    #: Of the host.
    processes: float


def look(own: Engine) -> Host:
    """Count everything."""
    pid, spawner = os.getpid(), own.spawner.pid
    assert spawner is not None
    roots = {
        os.path.join(hierarchy, own.cgroups_root) for hierarchy in cgroup1.hierarchies().values()
    }
    return Host(
        engine_private_kb=_private_kb(pid),
        engine_fds=len(os.listdir(f"/proc/{pid}/fd")),
        spawner_private_kb=_private_kb(spawner),
        spawner_fds=len(os.listdir(f"/proc/{spawner}/fd")),
        threads=len(os.listdir(f"/proc/{pid}/task")),
        mounts=len(mountinfo.below(mountinfo.read(), own.folder)),
        cgroups=sum(len(cgroup1.descendants(root)) for root in roots),
        processes=_inside(own),
    )


def _inside(own: Engine) -> float:
    freezer = os.path.join(cgroup1.hierarchies()["freezer"], own.cgroups_root)
    children = {entry.pid for entry in proc.all_stats() if entry.parent == own.spawner.pid}
    return len(children | cgroup1.all_processes(freezer))


async def many(own: Engine, count: int, alive: int) -> dict[str, Figures]:
    """Launch ``count`` containers and destroy each once ``alive`` younger ones are there."""
    launches: list[float] = []
    destroys: list[float] = []
    living: deque[ContainerId] = deque()
    before = look(own)
    first: Host | None = None

    async def destroy() -> None:
        begin = time.perf_counter()
        await own.containerizer.destroy(living.popleft())
        destroys.append(time.perf_counter() - begin)

    for _ in range(count):
        if len(living) == alive:
            if first is None:
                first = look(own)
            await destroy()
        container_id, config = own.config(["sleep", "1000"])
        begin = time.perf_counter()
        await own.containerizer.launch(container_id, config, {})
        launches.append(time.perf_counter() - begin)
        living.append(container_id)
    last = look(own)
    figures = {
        "launch": _percentiles(launches),
        f"launch, last {alive}": _percentiles(launches[-alive:]),
        f"usage of {len(living)} containers": await usages(own, list(living)),
    }
    while living:
        await destroy()
    figures["destroy"] = _percentiles(destroys)
    figures[f"growth from {alive} to {count}"] = _growth(first or last, last)
    figures["left at the end"] = _growth(before, look(own))
    return figures


async def usages(own: Engine, containers: Sequence[ContainerId]) -> Figures:
    """Ask for all, some times; milliseconds of a pass, and of processor time per 500."""
    walls, cpus = [], []
    for _ in range(USAGE_PASSES):
        begin, cpu = time.perf_counter(), time.process_time()
        for container_id in containers:
            await own.containerizer.usage(container_id)
        walls.append(time.perf_counter() - begin)
        cpus.append(time.process_time() - cpu)
    return {
        "p50 ms": statistics.median(walls) * _MS,
        "cpu ms": statistics.median(cpus) * _MS,
        "cpu ms per 500": statistics.median(cpus) * _MS / len(containers) * 500,
    }


def _growth(before: Host, after: Host) -> Figures:
    earlier = asdict(before)
    return {name: value - earlier[name] for name, value in asdict(after).items()}


def _percentiles(samples: Sequence[float]) -> Figures:
    ordered = sorted(samples)
    return {
        "p50 ms": statistics.median(ordered) * _MS,
        "p90 ms": ordered[int(len(ordered) * 0.9)] * _MS,
        "p99 ms": ordered[int(len(ordered) * 0.99)] * _MS,
        "min ms": ordered[0] * _MS,
    }


def _private_kb(pid: int) -> float:
    """Return the memory that a process shares with nobody; the rest depends on who else runs."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith("Private_")]
    return sum(float(words[1]) for words in lines)


async def measure(options: argparse.Namespace, folder: str) -> dict[str, Figures]:
    """Run everything in one engine."""
    reasons: dict[str, str] = {}
    figures: dict[str, Figures] = {}
    async with engine(folder) as own:
        if options.single:
            figures |= await single(own, options.single, reasons)
        if options.many:
            figures |= await many(own, options.many, min(options.alive, options.many))
    for name, reason in reasons.items():
        print(f"{name}: left out: {reason}", file=sys.stderr)
    return figures


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Measure the containerizer alone.")
    parser.add_argument("--single", type=int, default=30, help="rounds of one container")
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--alive", type=int, default=100)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench.containers: needs root for images and cgroups", file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="mesos-compat-bench-") as folder:
        figures = asyncio.run(measure(options, folder))
    for name, group in figures.items():
        for what, value in group.items():
            print(f"{name:28} {what:20} {value:10.2f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
