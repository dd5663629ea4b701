# SPDX-License-Identifier: Apache-2.0
"""The containerizer of mesos-agent, and what goes with it, from flags.

Source: spec ``state-and-recovery`` 1.7, ``containerizer`` 1.2.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from containerizer.api import Containerizer
from containerizer.create import check_images
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.agent_cgroups import place_agent
from containerizer.launcher.base import Launcher
from containerizer.launcher.linux import LinuxLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.launcher.systemd import SystemdConfig
from containerizer.local.engine import create_launcher, open_engine
from containerizer.provisioner.config import DEFAULT_CERTS, DEFAULT_EXTENSIONS, ProvisionerConfig
from containerizer.provisioner.progress import PullTable
from containerizer.sandbox import SandboxCollector
from containerizer.secrets import SecretResolver
from containerizer.volume_gids import VolumeGids
from mesos_compat.agent import paths
from mesos_compat.agent.flags import AgentFlags
from mesos_compat.agent.hooks import Hooks
from mesos_compat.agent.image_gc import ImageWatch
from mesos_compat.agent.meta import layout
from mesos_compat.agent.settings import from_json
from mesos_compat.agent.workdir import DirectoryLock
from mesos_compat.base.errors import FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Parameters
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages.flags_pb2 import ImageGcConfig

#: Programs that the spawner runs without an exec, by their name in our own ``launcher_dir``.
_PROGRAMS = {
    "mesos-executor": "mesos_compat.executor.command:main",
    "mesos-default-executor": "mesos_compat.executor.default:main",
}
_REHEARSALS = ("mesos_compat.executor.rehearsal:rehearse",)
_TLS_REHEARSAL = "mesos_compat.executor.rehearsal:load_tls"


@dataclass(frozen=True, slots=True)
class Doors:
    """Plug-ins that several parts use."""

    parameters: Mapping[str, Parameters]
    hooks: Hooks
    secrets: SecretResolver
    #: Set if sandboxes of nested containers go before that of their executor.
    sandboxes: SandboxCollector | None
    #: Shown by an endpoint.
    pulls: PullTable
    #: Set if volumes have groups.
    gids: VolumeGids | None


async def open_containerizer(
    flags: AgentFlags,
    work_dir: str,
    runtime_dir: str,
    spawner: Spawner,
    metrics: Metrics,
    doors: Doors,
    stack: AsyncExitStack,
) -> Containerizer:
    """Make the containerizer, whose spawner runs then; what has to be closed is in ``stack``.

    Raises FlagError.
    """
    config = replace(
        _containerizer_config(flags, work_dir, runtime_dir), parameters=doors.parameters
    )
    check_images(config)
    stack.push_async_callback(spawner.close)
    launcher = _launcher(config, flags, spawner, stack)
    stack.push_async_callback(launcher.close)
    containerizer = open_engine(
        config,
        replace(_image_config(flags, work_dir), secrets=doors.secrets, pulls=doors.pulls),
        launcher,
        spawner,
        metrics,
        stack,
        secrets=doors.secrets,
        fetched=doors.hooks.post_fetch if doors.hooks else None,
        sandboxes=doors.sandboxes,
        gids=doors.gids,
    )
    # The first task shall not wait for an interpreter.
    await spawner.start()
    return containerizer


def volume_gids(flags: AgentFlags, work_dir: str, metrics: Metrics) -> VolumeGids | None:
    """Return what gives volumes groups, if that is wanted. Raises FlagError."""
    if flags.volume_gid_range is None:
        return None
    directory = layout.volume_gids(paths.meta(work_dir))
    return VolumeGids.create(flags.volume_gid_range, work_dir, directory, metrics)


def _containerizer_config(
    flags: AgentFlags, work_dir: str, runtime_dir: str
) -> ContainerizerConfig:
    force = flags.host_path_volume_force_creation or ""
    images = image_gc_config(flags)
    return ContainerizerConfig(
        work_dir=work_dir,
        runtime_dir=runtime_dir,
        launcher=flags.launcher,
        launcher_dir=flags.launcher_dir,
        containerizers=flags.containerizers,
        isolation=flags.isolation,
        image_providers=_image_providers(flags),
        kept_images=tuple(images.excluded_images) if images is not None else (),
        sandbox_directory=flags.sandbox_directory,
        switch_user=flags.switch_user,
        cgroups_hierarchy=flags.cgroups_hierarchy,
        cgroups_root=flags.cgroups_root,
        cgroups_destroy_timeout_s=flags.cgroups_destroy_timeout,
        cgroups_enable_cfs=flags.cgroups_enable_cfs,
        cgroups_limit_swap=flags.cgroups_limit_swap,
        cgroups_cpu_enable_pids_and_tids_count=flags.cgroups_cpu_enable_pids_and_tids_count,
        revocable_cpu_low_priority=flags.revocable_cpu_low_priority,
        allowed_devices=from_json("allowed_devices", flags.allowed_devices, pb.DeviceWhitelist),
        effective_capabilities=from_json(
            "effective_capabilities", flags.effective_capabilities, pb.CapabilityInfo
        ),
        bounding_capabilities=from_json(
            "bounding_capabilities", flags.bounding_capabilities, pb.CapabilityInfo
        ),
        seccomp_config_dir=flags.seccomp_config_dir,
        seccomp_profile_name=flags.seccomp_profile_name,
        disallow_sharing_agent_pid_namespace=flags.disallow_sharing_agent_pid_namespace,
        disallow_sharing_agent_ipc_namespace=flags.disallow_sharing_agent_ipc_namespace,
        default_container_shm_size_bytes=flags.default_container_shm_size,
        docker_ignore_runtime=flags.docker_ignore_runtime,
        docker_image_user=bool(flags.docker_image_user),
        appc_extensions=_appc_extensions(flags),
        host_path_volume_force_creation=tuple(path for path in force.split(":") if path),
        network_cni_plugins_dir=flags.values["network_cni_plugins_dir"],
        network_cni_config_dir=flags.values["network_cni_config_dir"],
        container_logger=flags.container_logger or None,
        http_heartbeat_interval_s=flags.http_heartbeat_interval,
        extra=flags.display,
    )


def make_spawner(open_files: tuple[int, int], tls: bool) -> Spawner:
    """Return what forks inits, not started yet; ``open_files`` are limits that they begin with."""
    scripts = sysconfig.get_path("scripts")
    programs = {
        os.path.realpath(os.path.join(scripts, name)): function
        for name, function in _PROGRAMS.items()
    }
    rehearsals = (*_REHEARSALS, _TLS_REHEARSAL) if tls else _REHEARSALS
    return Spawner(SpawnerConfig(programs, open_files=open_files, rehearsals=rehearsals))


def _launcher(
    config: ContainerizerConfig, flags: AgentFlags, spawner: Spawner, stack: AsyncExitStack
) -> Launcher:
    if flags.agent_subsystems is not None:
        subsystems = [name for name in flags.agent_subsystems.split(",") if name]
        place_agent(subsystems, flags.cgroups_hierarchy, flags.cgroups_root)
    systemd = SystemdConfig(flags.systemd_runtime_directory, flags.cgroups_hierarchy)
    launcher = create_launcher(config, spawner, systemd if flags.systemd_enable_support else None)
    if isinstance(launcher, LinuxLauncher):
        cgroup = os.path.join(launcher.hierarchies[0], flags.cgroups_root.strip("/"))
        stack.callback(DirectoryLock("cgroups_root", cgroup).release)
    return launcher


def _image_config(flags: AgentFlags, work_dir: str) -> ProvisionerConfig:
    return ProvisionerConfig(
        work_dir=work_dir,
        image_providers=_image_providers(flags),
        image_provisioner_backend=flags.image_provisioner_backend,
        docker_store_dir=flags.docker_store_dir,
        docker_registry=flags.docker_registry,
        docker_config=flags.docker_config,
        docker_registry_mirrors=flags.docker_registry_mirrors,
        docker_registry_certs=flags.docker_registry_certs or DEFAULT_CERTS,
        docker_insecure_registries=flags.docker_insecure_registries or "",
        appc_store_dir=flags.appc_store_dir,
        appc_simple_discovery_uri_prefix=flags.appc_simple_discovery_uri_prefix,
        appc_meta_discovery=bool(flags.appc_meta_discovery),
        appc_meta_discovery_insecure=bool(flags.appc_meta_discovery_insecure),
        appc_trusted_keys=flags.appc_trusted_keys,
        appc_trust_discovered_keys=bool(flags.appc_trust_discovered_keys),
        appc_extensions=_appc_extensions(flags),
        hadoop_home=flags.hadoop_home,
        fetcher_stall_timeout_s=flags.fetcher_stall_timeout,
        temporary_dir=os.environ.get("TMPDIR") or "/tmp",
    )


def _appc_extensions(flags: AgentFlags) -> frozenset[str]:
    given = flags.appc_extensions
    return DEFAULT_EXTENSIONS if given is None else frozenset(given)


def image_gc_config(flags: AgentFlags) -> ImageGcConfig | None:
    """Return when images are removed, if they ever are. Raises FlagError."""
    config = from_json("image_gc_config", flags.image_gc_config, ImageGcConfig)
    if config is not None and config.image_disk_watch_interval.nanoseconds <= 0:
        raise FlagError("--image_gc_config: 'image_disk_watch_interval' must be positive")
    return config


def image_watch(flags: AgentFlags, config: ImageGcConfig) -> ImageWatch:
    """Return which disks are looked at, and how often."""
    directories = {"docker": flags.docker_store_dir, "appc": flags.appc_store_dir}
    providers = [name.lower() for name in _image_providers(flags)]
    return ImageWatch(
        tuple(directories[name] for name in providers if name in directories),
        config.image_disk_headroom,
        config.image_disk_watch_interval.nanoseconds / 1e9,
    )


def _image_providers(flags: AgentFlags) -> tuple[str, ...]:
    names = (flags.image_providers or "").split(",")
    return tuple(name.strip() for name in names if name.strip())
