# SPDX-License-Identifier: Apache-2.0
"""A spawner, a launcher and small images on the real kernel, with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from containerizer.init.seccomp import Filters
from containerizer.launcher.base import ForkedInit, ForkRequest, Launcher, Stdio
from containerizer.launcher.cgroups import UnifiedCgroups
from containerizer.launcher.linux import LinuxLauncher, LinuxLauncherConfig
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import cgroup1, cgroup2, mount, mountinfo
from containerizer.linux.cgroup1 import CgroupLayout
from containerizer.linux.namespaces import CLONE_NEWNS
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.jsonpb import from_value
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.patience import PATIENCE_S

BUSYBOX = shutil.which("busybox") or "/bin/busybox"

BIND = mount.MS_BIND
RBIND = mount.MS_BIND | mount.MS_REC
RO_BIND = mount.MS_BIND | mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
PSEUDO = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC


def is_static_busybox() -> bool:
    """Whether images can be made of this machine's busybox."""
    try:
        with open(BUSYBOX, "rb") as file:
            return b"ld-linux" not in file.read(4096)
    except OSError:
        return False


def make_image(path: str, *, applets: Sequence[str] = ("sh", "cat", "ls", "id", "sleep")) -> str:
    """Make a root file system of busybox only: no /proc, /dev, /tmp or /etc."""
    os.makedirs(f"{path}/bin")
    shutil.copy(BUSYBOX, f"{path}/bin/busybox")
    for applet in applets:
        os.symlink("busybox", f"{path}/bin/{applet}")
    return path


def image_mounts(root: str) -> list[dict[str, object]]:
    """Return the mounts of a container with an image, as filesystem/linux makes them."""
    ro_proc = [f"{root}/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
    return [
        {"source": root, "target": root, "flags": RBIND},
        {"source": "proc", "target": f"{root}/proc", "type": "proc", "flags": PSEUDO},
        *({"source": p, "target": p, "flags": RO_BIND} for p in ro_proc),
        {
            "source": "tmpfs",
            "target": f"{root}/dev",
            "type": "tmpfs",
            "flags": mount.MS_NOSUID | mount.MS_NOEXEC,
            "options": "mode=755",
        },
        {"source": "/dev/null", "target": f"{root}/dev/null", "flags": BIND},
    ]


def launch_info(
    value: str = "",
    *,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **fields: object,
) -> slave.ContainerLaunchInfo:
    """Make a launch info; a shell command, or a program if there are arguments."""
    variables = [{"name": n, "value": v} for n, v in (environment or {}).items()]
    document: dict[str, object] = {
        "command": {"value": value, "shell": not arguments, "arguments": list(arguments)},
        "environment": {"variables": variables},
        **fields,
    }
    return from_value(slave.ContainerLaunchInfo, document)  # type: ignore[arg-type] # a JSON value


def image_info(root: str, value: str = "", **fields: object) -> slave.ContainerLaunchInfo:
    """Make the launch info of a command in an image."""
    fields.setdefault("mounts", image_mounts(root))
    fields.setdefault("clone_namespaces", [CLONE_NEWNS])
    return launch_info(value, rootfs=root, **fields)  # type: ignore[arg-type] # passed on


async def eventually(predicate: Callable[[], bool]) -> None:
    """Return once ``predicate`` holds: for what the kernel does not announce."""
    async with asyncio.timeout(PATIENCE_S):
        while not predicate():  # noqa: ASYNC110 nothing to wait for
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class Outcome:
    """What a container left: its raw wait status as text, and its output."""

    status: str
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.stdout.splitlines()


@dataclass(slots=True)
class Host:
    """A launcher and a folder for its containers."""

    launcher: Launcher
    folder: str
    ids: list[ContainerId] = field(default_factory=list)

    def runtime_directory(self, container_id: ContainerId) -> str:
        """Return the folder of a container."""
        return os.path.join(self.folder, *container_id.path)

    async def start(
        self,
        info: slave.ContainerLaunchInfo,
        *,
        parent: ContainerId | None = None,
        enter: int = 0,
        release: bool = True,
        terminal: int | None = None,
        namespace_mnt_target: int | None = None,
        sandbox: str | None = None,
        filters: Filters | None = None,
    ) -> tuple[ContainerId, ForkedInit]:
        """Fork an init, and release it."""
        container_id = ContainerId(str(uuid.uuid4()), parent)
        folder = self.runtime_directory(container_id)
        os.makedirs(folder)
        stdin = os.open(os.devnull, os.O_RDONLY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        stdout = os.open(f"{folder}/stdout", flags, 0o644)
        stderr = os.open(f"{folder}/stderr", flags, 0o644)
        try:
            init = await self.launcher.fork(
                container_id,
                ForkRequest(
                    launch_info=info,
                    stdio=(
                        Stdio(stdin, stdout, stderr)
                        if terminal is None
                        else Stdio(terminal, terminal, terminal)
                    ),
                    runtime_directory=folder,
                    enter_namespaces=enter,
                    clone_namespaces=sum(info.clone_namespaces),
                    namespace_mnt_target=namespace_mnt_target,
                    sandbox=sandbox,
                    seccomp_filters=filters,
                ),
            )
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        self.ids.append(container_id)
        if release:
            init.release()
        return container_id, init

    async def run(
        self, info: slave.ContainerLaunchInfo, *, filters: Filters | None = None
    ) -> Outcome:
        """Run a container to its end."""
        container_id, _ = await self.start(info, filters=filters)
        return await self.finish(container_id)

    async def finish(self, container_id: ContainerId) -> Outcome:
        """Wait for a container and destroy it."""
        async with asyncio.timeout(PATIENCE_S):
            await self.launcher.wait(container_id)
            await self.launcher.destroy(container_id)
        self.ids.remove(container_id)
        return self.outcome(container_id)

    def outcome(self, container_id: ContainerId) -> Outcome:
        """Read the files of a container."""
        parts = []
        for name in ("status", "stdout", "stderr"):
            with open(os.path.join(self.runtime_directory(container_id), name)) as file:
                parts.append(file.read())
        return Outcome(*parts)

    async def written(self, container_id: ContainerId, lines: int = 1) -> list[str]:
        """Return the lines of stdout once there are enough of them."""
        await eventually(lambda: len(self.outcome(container_id).lines) >= lines)
        return self.outcome(container_id).lines

    async def clean(self) -> None:
        """Destroy what is left, inner ones first."""
        for container_id in sorted(self.ids, key=lambda each: -len(each.path)):
            await self.launcher.destroy(container_id)
        self.ids.clear()


def linux_launcher(
    version: str, config: LinuxLauncherConfig, spawner: Spawner
) -> LinuxLauncher | None:
    """Make a launcher for a version of cgroups; ``None`` if this host does not have it.

    The second version is tried in a tree without controllers, too, as hosts of both have it.
    """
    layout = cgroup1.layout()
    if version == "v2" and layout is CgroupLayout.HYBRID:
        mounts = [entry.target for entry in mountinfo.read() if entry.fstype == "cgroup2"]
        tree = UnifiedCgroups.prepare(config.cgroups_root, mounts[-1])
        return LinuxLauncher(config, spawner, tree)
    chosen = "v2" if layout is CgroupLayout.V2 else "v1"
    if layout is CgroupLayout.NONE or version != chosen:
        return None
    return LinuxLauncher.create(config, spawner)


@dataclass(slots=True)
class LinuxHost(Host):
    """A host whose launcher is the linux one, with a cgroup root of its own."""

    config: LinuxLauncherConfig = field(default_factory=LinuxLauncherConfig)
    version: str = "v1"

    def another(self) -> LinuxLauncher:
        """Make the launcher of a later agent."""
        made = linux_launcher(self.version, self.config, Spawner(SpawnerConfig(programs={})))
        assert made is not None
        return made

    def task_cgroup(self, container_id: ContainerId) -> str:
        """Return the cgroup of a container's processes."""
        cgroup = self.linux.cgroup(container_id)
        return cgroup2.leaf(cgroup) if self.version == "v2" else cgroup

    @property
    def linux(self) -> LinuxLauncher:
        """The launcher by its class."""
        assert isinstance(self.launcher, LinuxLauncher)
        return self.launcher
