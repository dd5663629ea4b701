# SPDX-License-Identifier: Apache-2.0
"""A corner of this host with engines in it, one after the other, and the kernel's view of it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import stat
import time
from enum import Enum
from functools import partial
from pathlib import Path

from containerizer import create
from containerizer.api import LaunchOutcome
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.base import Launcher
from containerizer.launcher.cgroups import UnifiedCgroups
from containerizer.launcher.linux import LinuxLauncher, LinuxLauncherConfig
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import mountinfo, proc
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.rundir import RuntimeDirectory
from containerizer.switchboard import isolator as switchboard
from containerizer.switchboard.isolator import SwitchboardConfig
from containerizer.volume_gids import SANDBOX_PATH, VolumeGids
from mesos_compat.base import checkpoint
from mesos_compat.base.metrics import Metrics
from mesos_compat.cli.leftovers import Territory, find, remove
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.slave.volume_gid_manager import state_pb2
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.provisioner import images


class Kind(Enum):
    """Which launcher, over which cgroups."""

    V1 = "v1"
    #: The launcher's part of version 2: a host of both versions has no controllers there.
    V2 = "v2"
    POSIX = "posix"


_ISOLATION = {
    Kind.V1: "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid,"
    "volume/sandbox_path",
    Kind.V2: "docker/runtime,filesystem/linux,namespaces/pid",
    Kind.POSIX: "filesystem/posix,posix/cpu,posix/mem",
}
#: What a container ends with that was left to itself.
WAIT_STATUS = 7 << 8
#: Says that it runs, runs until it is told to end.
_COMMAND = "touch started; while [ ! -e go ]; do sleep 0.01; done; exit 7"
#: Groups of volumes, and who uses those that are not his.
_GIDS = (30000, 30009)
_USER = "nobody"
#: The persistent volume, and the part of a sandbox that is shared.
_VOLUME, _SHARED = "volumes/roles/r/v", "shared"
_BUSYBOX = "/bin/busybox"
_SOCKETS = "/tmp"
#: Nobody attaches to a session here; so long its server waits.
_PATIENCE_S = 0.1


class Corner:
    """Directories, a cgroup, and what is in them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder.resolve()
        self.cgroups_root = f"mesos-compat-crash-{os.getpid()}-{name}"
        self.work = self.folder / "work"
        self.store = self.folder / "store"
        self.temporary = self.folder / "tmp"
        self.rundir = RuntimeDirectory(str(self.folder / "run"))
        self.points = self.folder / "points"
        self.kind = Kind.V1
        #: Begin of the names of sockets. Those have to be short.
        self.sockets = f"{_SOCKETS}/{self.cgroups_root}-"
        for made in (self.work, self.temporary):
            made.mkdir(parents=True, exist_ok=True)

    def sandbox(self, container_id: ContainerId) -> Path:
        """Return the sandbox of a container, which need not be there."""
        path = self.work / "containers" / container_id.root.value
        for value in container_id.path[1:]:
            path = path / "containers" / value
        return path

    def let_go(self, container_id: ContainerId) -> None:
        """Let the command of a container end."""
        sandbox = self.sandbox(container_id)
        if sandbox.is_dir():
            (sandbox / "go").touch()

    def started(self, container_id: ContainerId) -> bool:
        """Whether the command of the container ever ran."""
        return (self.sandbox(container_id) / "started").exists()

    def share(self, container_id: ContainerId) -> None:
        """Make what the container has to share with those nested in it."""
        _fill(self.sandbox(container_id) / _SHARED)

    def make_volume(self) -> None:
        """Make the persistent volume."""
        _fill(self.work / _VOLUME)

    def write_image(self) -> None:
        """Save an image where engines look for it: the shell of this host."""
        names = ("sh", "sleep", "touch")
        layer = images.tar(
            [
                images.folder("bin"),
                images.Entry("bin/busybox", Path(_BUSYBOX).read_bytes(), mode=0o755),
                *(images.Entry(f"bin/{name}", kind="symlink", to="busybox") for name in names),
            ]
        )
        archive = images.saved([layer], ["box:latest"], Env=["PATH=/bin"])
        images.write(str(self.folder / "registry" / "box.tar"), archive)

    def clear(self) -> None:
        """Begin anew, whatever the last round left."""
        remove(Territory((str(self.folder),), (self.cgroups_root,)))
        for path in (self.work, self.temporary, self.folder / "run"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.work, self.temporary):
            path.mkdir()
        for name in self._socket_files():
            os.unlink(name)

    def _socket_files(self) -> list[str]:
        found = (os.path.join(_SOCKETS, name) for name in os.listdir(_SOCKETS))
        return [path for path in found if path.startswith(self.sockets)]

    def forget_images(self) -> None:
        """Have an empty store."""
        shutil.rmtree(self.store, ignore_errors=True)

    def left(self) -> list[str]:
        """Return what the kernel and the file system still have of containers."""
        found = [str(find(Territory((str(self.folder),), (self.cgroups_root,))))]
        for path in (self.work / "provisioner/containers", Path(self.rundir.root), self.temporary):
            if path.is_dir():
                found += [f"file {path / name}" for name in os.listdir(path)]
        provisioner = self.work / "provisioner"
        if provisioner.is_dir():
            found += [f"file {provisioner / n}" for n in os.listdir(provisioner) if n[0] == "."]
        for path in (self.store / "staging", self.store / "gc"):
            if path.is_dir():
                found += [f"file {path / name}" for name in os.listdir(path)]
        found += [f"socket {name}" for name in self._socket_files()]
        found += self._groups_left()
        for entry in mountinfo.read():
            if entry.fstype == "nsfs" and str(self.folder) in entry.target:
                found.append(f"namespace {entry.target}")
        return [each for each in found if each]

    def _groups_left(self) -> list[str]:
        """Return which groups somebody has wrongly; of volumes, those that some have not."""
        content = checkpoint.read_record(str(self.work / "meta" / "volume_gids"))
        infos = state_pb2.VolumeGidInfos.FromString(content or b"").infos
        found = [f"group {info.gid} of {info.path}" for info in infos if info.type == SANDBOX_PATH]
        for info in infos:
            if info.type != SANDBOX_PATH:
                tree = (Path(info.path), *Path(info.path).rglob("*"))
                found += [f"other group of {p}" for p in tree if p.lstat().st_gid != info.gid]
                shared = stat.S_ISGID | stat.S_IWGRP
                dirs = [p for p in tree if p.is_dir()]
                found += [f"mode of {p}" for p in dirs if p.lstat().st_mode & shared != shared]
        for shown in (self.work / "containers").glob(f"*/{_SHARED}"):
            tree = (shown, *shown.rglob("*"))
            found += [f"group of {p}" for p in tree if _GIDS[0] <= p.lstat().st_gid <= _GIDS[1]]
        return found


class Engine:
    """One containerizer in a corner, as an agent has one."""

    def __init__(self, corner: Corner) -> None:
        self.corner = corner
        #: How the containers end that were launched by this engine.
        self.waiting: dict[ContainerId, asyncio.Future[slave.ContainerTermination | None]] = {}
        posix = corner.kind is Kind.POSIX
        providers = () if posix else ("docker",)
        config = ContainerizerConfig(
            work_dir=str(corner.work),
            runtime_dir=str(corner.folder / "run"),
            launcher="posix" if posix else "linux",
            isolation=_ISOLATION[corner.kind],
            image_providers=providers,
            cgroups_root=corner.cgroups_root,
            cgroups_destroy_timeout_s=20.0,
        )
        metrics = Metrics()
        vars(switchboard)["_SOCKET_PREFIX"] = corner.sockets
        vars(create)["SwitchboardConfig"] = partial(SwitchboardConfig, patience_s=_PATIENCE_S)
        self.spawner = Spawner(SpawnerConfig({}))
        self.provisioner = create_provisioner(
            ProvisionerConfig(
                work_dir=str(corner.work),
                image_providers=providers,
                image_provisioner_backend=None if posix else "overlay",
                docker_registry=str(corner.folder / "registry"),
                docker_store_dir=str(corner.store),
                temporary_dir=str(corner.temporary),
            ),
            metrics,
        )
        self.gids = VolumeGids([_GIDS], str(corner.work), str(corner.work / "meta"), metrics)
        self.mesos = create.create_containerizer(
            config,
            _launcher(corner, self.spawner),
            self.provisioner,
            metrics,
            helpers=self.spawner,
            gids=self.gids,
        )

    async def recover(self) -> None:
        """Go on where an earlier engine stopped, as an agent does that has no executors."""
        await self.gids.recover(rebooted=False, volumes=[str(self.corner.work / _VOLUME)])
        await self.mesos.recover([])

    async def launch(
        self,
        container_id: ContainerId,
        *,
        image: bool = False,
        terminal: bool = False,
        debug: bool = False,
        volume: bool = False,
        shared: bool = False,
        pid_checkpoint_path: str | None = None,
    ) -> None:
        """Launch a container that runs until it is told to end; with a path, an executor's.

        It may have the persistent ``volume`` (as an executor, of which no later engine is told),
        or, nested, what its parent's sandbox has ``shared``.
        """
        config = slave.ContainerConfig()
        config.command_info.value = _COMMAND
        if container_id.parent is None:
            sandbox = self.corner.sandbox(container_id)
            sandbox.mkdir(parents=True)
            config.directory = str(sandbox)
            for name, value in (("cpus", 0.5), ("mem", 64)):
                config.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = value
        if volume:
            user = pwd.getpwnam(_USER)
            os.chown(config.directory, user.pw_uid, user.pw_gid)
            config.resources.append(_persistent())
            config.executor_info.executor_id.value = "e"
        if shared:
            assert container_id.parent is not None
            config.user = _USER
            config.container_info.type = pb.ContainerInfo.MESOS
            mount = config.container_info.volumes.add(mode=pb.Volume.RW, container_path="there")
            mount.source.type = pb.Volume.Source.SANDBOX_PATH
            mount.source.sandbox_path.type = pb.Volume.Source.SandboxPath.PARENT
            mount.source.sandbox_path.path = _SHARED
        if debug:
            config.container_class = slave.ContainerClass.DEBUG
            config.command_info.value = f"cd {self.corner.sandbox(container_id)}; {_COMMAND}"
        if pid_checkpoint_path is not None:
            config.executor_info.executor_id.value = "e"
        if image or terminal:
            config.container_info.type = pb.ContainerInfo.MESOS
        if image:
            config.container_info.mesos.image.type = pb.Image.DOCKER
            config.container_info.mesos.image.docker.name = "box"
        if terminal:
            config.container_info.tty_info.SetInParent()
        outcome = await self.mesos.launch(container_id, config, {}, pid_checkpoint_path)
        assert outcome is LaunchOutcome.SUCCESS
        self.waiting[container_id] = asyncio.ensure_future(self.mesos.wait(container_id))

    async def ended(self, container_id: ContainerId) -> int | None:
        """Let the command of a container end; return the status, if it is known."""
        waiting = self.waiting.get(container_id)
        if waiting is None:
            waiting = asyncio.ensure_future(self.mesos.wait(container_id))
        self.corner.let_go(container_id)
        async with asyncio.timeout(60):
            termination = await asyncio.shield(waiting)
        known = termination is not None and termination.HasField("status")
        return termination.status if termination is not None and known else None

    async def running(self, *ids: ContainerId) -> None:
        """Wait until the commands run."""
        async with asyncio.timeout(60):
            while not all(self.corner.started(each) for each in ids):  # noqa: ASYNC110 files
                await asyncio.sleep(0.005)

    def let_go_of_images(self) -> None:
        """Let another engine have the store, as if this one were gone."""
        for store in self.provisioner._stores.values():
            store.close()

    async def close(self) -> None:
        """Let go, as an agent does that ends."""
        await self.mesos.close()
        await self.provisioner.close()


def _fill(volume: Path) -> None:
    """Make a directory of root's with something in it."""
    (volume / "below").mkdir(parents=True)
    (volume / "file").touch()
    (volume / "below" / "file").touch()


def _persistent() -> pb.Resource:
    """Return the disk that is the persistent volume."""
    made = pb.Resource(name="disk", type=pb.Value.SCALAR)
    made.scalar.value = 64
    made.reservations.add(type=pb.Resource.ReservationInfo.DYNAMIC, role="r")
    made.disk.persistence.id = "v"
    made.disk.volume.mode = pb.Volume.RW
    made.disk.volume.container_path = "data"
    return made


def _launcher(corner: Corner, spawner: Spawner) -> Launcher:
    if corner.kind is Kind.POSIX:
        return PosixLauncher(spawner)
    config = LinuxLauncherConfig(cgroups_root=corner.cgroups_root, destroy_timeout_s=20.0)
    if corner.kind is Kind.V1:
        return LinuxLauncher.create(config, spawner)
    mount = unified_mount()
    assert mount is not None
    return LinuxLauncher(config, spawner, UnifiedCgroups.prepare(corner.cgroups_root, mount))


def unified_mount() -> str | None:
    """Return where version 2 is mounted, if it is."""
    return next((e.target for e in mountinfo.read() if e.fstype == "cgroup2"), None)


def descendants_gone(timeout_s: float = 60.0) -> list[str]:
    """Reap what became ours, wait for the rest; return what stays."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        if time.monotonic() > until:
            left = [entry for entry in proc.all_stats() if entry.parent == os.getpid()]
            return [f"process {entry.pid} ({entry.name}, {entry.state})" for entry in left]
        time.sleep(0.005)
