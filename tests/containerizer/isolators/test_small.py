# SPDX-License-Identifier: Apache-2.0
"""Isolators that only look at the configuration, or at processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.isolators.base import Isolator
from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from containerizer.isolators.filesystem_posix import PosixFilesystemIsolator
from containerizer.isolators.namespaces_ipc import IpcNamespaceIsolator
from containerizer.isolators.namespaces_pid import PidNamespaceIsolator
from containerizer.isolators.network_cni.isolator import CniIsolator
from containerizer.isolators.posix_cpu import PosixCpuIsolator
from containerizer.isolators.posix_mem import PosixMemIsolator
from containerizer.linux.namespaces import CLONE_NEWIPC, CLONE_NEWPID
from mesos_compat.base.errors import IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")
N = ContainerId("n", C)
NOSUID_NODEV_NOEXEC = 14


def context(tmp_path: Path, **settings: str | bool) -> IsolatorContext:
    config = ContainerizerConfig(
        work_dir=str(tmp_path),
        runtime_dir=str(tmp_path),
        launcher="linux",
        **settings,  # type: ignore[arg-type]  # whatever a test sets
    )
    return IsolatorContext(
        config, frozenset(), Metrics(), lambda i: f"{tmp_path}/{i}", lambda _: None
    )


def pid_isolator(tmp_path: Path, disallow: bool = False) -> PidNamespaceIsolator:
    return PidNamespaceIsolator(lambda i: f"{tmp_path}/{i}", disallow)


def config(share: bool = False, debug: bool = False) -> slave.ContainerConfig:
    made = slave.ContainerConfig()
    if share:
        made.container_info.linux_info.share_pid_namespace = True
    if debug:
        made.container_class = slave.ContainerClass.DEBUG
    return made


@pytest.mark.parametrize(
    ("container_id", "share", "debug", "enter", "clone", "targets"),
    [
        (C, False, False, False, True, ["/proc"]),
        (N, False, False, True, True, ["/proc"]),
        (N, True, False, True, False, ["mnt/host_proc", "/proc"]),
        (N, False, True, True, False, []),
        (N, True, True, True, False, []),
    ],
)
async def test_pid_namespaces(
    tmp_path: Path,
    container_id: ContainerId,
    share: bool,
    debug: bool,
    enter: bool,
    clone: bool,
    targets: list[str],
) -> None:
    info = await pid_isolator(tmp_path).prepare(container_id, config(share, debug))
    assert info is not None
    assert list(info.enter_namespaces) == [CLONE_NEWPID] * enter
    assert list(info.clone_namespaces) == [CLONE_NEWPID] * clone
    assert len(info.mounts) == len(targets)
    assert all(m.target.endswith(t) for m, t in zip(info.mounts, targets, strict=True))
    if targets:
        last = info.mounts[-1]
        assert (last.source, last.type, last.flags) == ("proc", "proc", NOSUID_NODEV_NOEXEC)
    if len(targets) == 2:
        assert info.mounts[0].flags == 8192
        assert os.path.isdir(info.mounts[0].target)


async def test_the_agents_pid_namespace(tmp_path: Path) -> None:
    assert await pid_isolator(tmp_path).prepare(C, config(share=True)) is None
    with pytest.raises(IsolatorError, match=r"^Sharing agent pid namespace with top-level"):
        await pid_isolator(tmp_path, disallow=True).prepare(C, config(share=True))


def test_pid_namespaces_need_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(IsolatorError, match=r"^The pid namespace isolator requires root"):
        PidNamespaceIsolator.create(context(tmp_path))


PRIVATE, SHARE = pb.LinuxInfo.PRIVATE, pb.LinuxInfo.SHARE_PARENT


def ipc_isolator(
    tmp_path: Path,
    parent: slave.ContainerConfig | None = None,
    disallow: bool = False,
    size: int | None = None,
) -> IpcNamespaceIsolator:
    return IpcNamespaceIsolator(lambda i: f"{tmp_path}/{i}", lambda _: parent, disallow, size)


def ipc_config(
    mode: pb.LinuxInfo.IpcMode | None = None, rootfs: str = "", debug: bool = False
) -> slave.ContainerConfig:
    made = config(debug=debug)
    if mode is not None:
        made.container_info.linux_info.ipc_mode = mode
    if rootfs:
        made.rootfs = rootfs
    return made


@pytest.mark.parametrize(
    ("container_id", "mode", "image", "debug", "enter", "clone", "source"),
    [
        (C, None, False, False, False, True, None),
        (C, None, True, False, False, True, "tmpfs"),
        (N, None, False, False, True, False, None),
        (N, None, True, False, True, False, "tmpfs"),
        (C, SHARE, False, False, False, False, None),
        (C, SHARE, True, False, False, False, "/dev/shm"),
        (N, SHARE, False, False, True, False, None),
        (N, SHARE, True, False, True, False, "/dev/shm"),
        (N, None, False, True, True, False, None),
        (N, SHARE, False, True, True, False, None),
    ],
)
async def test_ipc_namespaces(
    tmp_path: Path,
    container_id: ContainerId,
    mode: pb.LinuxInfo.IpcMode | None,
    image: bool,
    debug: bool,
    enter: bool,
    clone: bool,
    source: str | None,
) -> None:
    rootfs = str(tmp_path) if image else ""
    isolator = ipc_isolator(tmp_path, slave.ContainerConfig())
    info = await isolator.prepare(container_id, ipc_config(mode, rootfs, debug))
    assert info is not None
    assert list(info.enter_namespaces) == [CLONE_NEWIPC] * enter
    assert list(info.clone_namespaces) == [CLONE_NEWIPC] * clone
    assert [m.source for m in info.mounts] == ([] if source is None else [source])
    assert [m.target for m in info.mounts] == ([] if source is None else [f"{rootfs}/dev/shm"])
    await isolator.cleanup(container_id)


async def test_memory_of_a_parent(tmp_path: Path) -> None:
    parent = ipc_config(PRIVATE)
    (tmp_path / "c").mkdir()
    with pytest.raises(IsolatorError, match=r"^Failed to get parent shared memory path: "):
        await ipc_isolator(tmp_path, parent).prepare(N, ipc_config(SHARE))
    (tmp_path / "c" / "shm").mkdir()
    info = await ipc_isolator(tmp_path, parent).prepare(N, ipc_config(SHARE))
    assert info is not None
    assert [(m.source, m.target) for m in info.mounts] == [(f"{tmp_path}/c/shm", "/dev/shm")]
    with pytest.raises(IsolatorError, match=r"only in the container's own mount namespace$"):
        await ipc_isolator(tmp_path, ipc_config(rootfs="/r")).prepare(N, ipc_config(SHARE))
    with pytest.raises(IsolatorError, match=r"Failed to find config for container c$"):
        await ipc_isolator(tmp_path).prepare(N, ipc_config(SHARE))
    await ipc_isolator(tmp_path).cleanup(C)


async def test_refused_ipc_modes(tmp_path: Path) -> None:
    isolator = ipc_isolator(tmp_path, disallow=True)
    for changed, why in (
        (ipc_config(pb.LinuxInfo.UNKNOWN), r"^Unknown IPC mode$"),
        (ipc_config(SHARE), r"^Sharing agent IPC namespace with top-level container is not"),
    ):
        with pytest.raises(IsolatorError, match=why):
            await isolator.prepare(C, changed)
    sized = ipc_config()
    sized.container_info.linux_info.shm_size = 1
    with pytest.raises(IsolatorError, match=r"^Only support specifying the size of /dev/shm when"):
        await isolator.prepare(C, sized)
    with pytest.raises(IsolatorError, match=r"^Private IPC mode is not supported for DEBUG"):
        await isolator.prepare(N, ipc_config(PRIVATE, debug=True))


@pytest.mark.parametrize(
    ("asked", "default", "options"),
    [
        (None, None, "mode=1777"),
        (None, 5, "mode=1777,size=5"),
        (6144, None, f"mode=1777,size={6144 << 20}"),
    ],
)
async def test_the_size_of_private_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    default: int | None,
    options: str,
) -> None:
    mounted: list[tuple[object, ...]] = []
    monkeypatch.setattr("containerizer.linux.mount.mount", lambda *args: mounted.append(args))
    (tmp_path / "c").mkdir()
    private = ipc_config(PRIVATE)
    if asked is not None:
        private.container_info.linux_info.shm_size = asked
    info = await ipc_isolator(tmp_path, size=default).prepare(C, private)
    assert info is not None
    assert mounted == [("tmpfs", f"{tmp_path}/c/shm", "tmpfs", 16777222, options)]
    assert [(m.source, m.target, m.flags) for m in info.mounts] == [
        (f"{tmp_path}/c/shm", "/dev/shm", 4096)
    ]
    assert list(info.clone_namespaces) == [CLONE_NEWIPC]


async def test_the_hosts_file_system_only(tmp_path: Path) -> None:
    isolator = PosixFilesystemIsolator(str(tmp_path))
    image = slave.ContainerConfig()
    image.executor_info.container.mesos.image.type = pb.Image.DOCKER
    with pytest.raises(IsolatorError, match=r"^Container root filesystems not supported$"):
        await isolator.prepare(C, image)
    volume = slave.ContainerConfig()
    volume.executor_info.container.volumes.add(container_path="x")
    with pytest.raises(IsolatorError, match=r"^Volumes in ContainerInfo is not supported$"):
        await isolator.prepare(C, volume)
    await isolator.prepare(C, slave.ContainerConfig())
    with pytest.raises(IsolatorError, match=r"^Container has already been prepared$"):
        await isolator.prepare(C, slave.ContainerConfig())
    await isolator.cleanup(C)
    await isolator.prepare(C, slave.ContainerConfig())


async def test_the_hosts_network_for_an_image(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "etc").symlink_to("/real")
    (tmp_path / "real" / "resolv.conf").symlink_to("/somewhere/else")
    made = slave.ContainerConfig(rootfs=str(tmp_path))
    info = await CniIsolator().prepare(C, made)
    assert info is not None
    expected = [p for p in ("resolv.conf", "hostname", "hosts") if os.path.exists(f"/etc/{p}")]
    assert [m.target for m in info.mounts] == [f"{tmp_path}/real/{name}" for name in expected]
    assert [m.source for m in info.mounts] == [os.path.realpath(f"/etc/{n}") for n in expected]
    assert {m.flags for m in info.mounts} == {4096 | 1 | NOSUID_NODEV_NOEXEC}
    for name in expected:
        assert (tmp_path / "real" / name).read_bytes() == b""
        assert not (tmp_path / "real" / name).is_symlink()
    assert await CniIsolator().prepare(C, slave.ContainerConfig()) is None


async def test_named_networks_are_refused() -> None:
    made = slave.ContainerConfig()
    made.container_info.type = pb.ContainerInfo.MESOS
    made.container_info.network_infos.add()
    assert await CniIsolator().prepare(C, made) is None
    made.container_info.network_infos.add(name="n1")
    with pytest.raises(IsolatorError, match=r"^Unknown CNI network 'n1'$"):
        await CniIsolator().prepare(C, made)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"network_cni_config_dir": "/"},
            "Missing required '--network_cni_plugins_dir' flag",
        ),
        (
            {"network_cni_plugins_dir": "/"},
            "Missing required '--network_cni_config_dir' flag",
        ),
        (
            {"network_cni_plugins_dir": "/", "network_cni_config_dir": "/none"},
            "The CNI network configuration directory '/none' does not exist",
        ),
    ],
)
def test_half_a_cni_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], text: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(IsolatorError) as caught:
        CniIsolator.create(context(tmp_path, **settings))
    assert str(caught.value) == text


@pytest.mark.parametrize("kind", [PosixCpuIsolator, PosixMemIsolator])
async def test_the_usage_of_a_process_tree(kind: type[Isolator], tmp_path: Path) -> None:
    isolator = kind.create(context(tmp_path))
    assert await isolator.usage(C) is None
    with pytest.raises(IsolatorError, match=r"^Unknown container: c$"):
        await isolator.isolate(C, os.getpid())
    await isolator.prepare(C, slave.ContainerConfig())
    with pytest.raises(IsolatorError, match=r"^Container c has already been prepared$"):
        await isolator.prepare(C, slave.ContainerConfig())
    assert await isolator.usage(C) is None
    await isolator.isolate(C, os.getpid())
    used = await isolator.usage(C)
    assert used is not None
    if kind is PosixMemIsolator:
        assert used.mem_rss_bytes > 1 << 20
    else:
        assert used.cpus_user_time_secs > 0
    await isolator.cleanup(C)
    await isolator.cleanup(C)
    assert await isolator.usage(C) is None


async def test_recovered_processes_are_measured_once(tmp_path: Path) -> None:
    isolator = PosixMemIsolator()
    state = slave.ContainerState(container_id=C.message(), pid=os.getpid(), directory="")
    await isolator.recover([state], ())
    assert await isolator.usage(C) is not None
    with pytest.raises(IsolatorError, match=r"^Container already recovered$"):
        await isolator.recover([state], ())
