# SPDX-License-Identifier: Apache-2.0
"""What containers are made of, their images apart.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesos_compat.base.flags import (
    BOOL,
    BYTES,
    DURATION,
    JSON_OBJECT,
    JSON_STRINGS,
    NAMES,
    PATH,
    PATHS,
    STRING,
    flag,
    optional,
)


def _launcher(value: str) -> str | None:
    return None if value in ("linux", "posix") else f"Unknown or unsupported launcher: {value}"


@dataclass(frozen=True, kw_only=True)
class ContainerFlags:
    """What containers are made of, their images apart."""

    # --- containers ---
    containerizers: str = flag(NAMES, "Containerizers in use.", default="mesos")
    isolation: str = flag(
        NAMES, "Isolators of the containerizer, comma separated.", default="posix/cpu,posix/mem"
    )
    launcher: str = flag(
        STRING,
        "How containers are started: linux (cgroups, namespaces) or posix (sessions).",
        default="posix",
        check=_launcher,
    )
    switch_user: bool = flag(
        BOOL, "Run tasks as their user and give them their sandbox.", default=True
    )
    default_container_info: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "ContainerInfo of executors that have none."
    )
    executor_environment_variables: Mapping[str, str] | None = optional(
        JSON_STRINGS, "Environment of executors besides what the agent sets."
    )
    container_logger: str | None = optional(
        STRING, "Plug-in that takes the output of containers; files in the sandbox without it."
    )
    effective_capabilities: Mapping[str, Any] | None = optional(
        JSON_OBJECT,
        "Capabilities of tasks that ask for none.",
        deprecated=("allowed_capabilities",),
    )
    bounding_capabilities: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Most capabilities that tasks can have."
    )
    allowed_devices: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Devices that containers may use besides the usual ones."
    )
    seccomp_config_dir: str | None = optional(
        PATH, "Directory with the seccomp profiles that containers can name."
    )
    seccomp_profile_name: str | None = optional(
        STRING, "Seccomp profile of containers that name none, in --seccomp_config_dir."
    )
    disallow_sharing_agent_pid_namespace: bool = flag(
        BOOL, "Give each top-level container an own pid namespace.", default=False
    )
    disallow_sharing_agent_ipc_namespace: bool = flag(
        BOOL, "Give each top-level container an own IPC namespace.", default=False
    )
    default_container_shm_size: int | None = optional(
        BYTES, "Size of /dev/shm of containers with a private one."
    )

    # --- control groups and systemd ---
    cgroups_hierarchy: str = flag(
        PATH, "Folder below which cgroup hierarchies are mounted.", default="/sys/fs/cgroup"
    )
    cgroups_root: str = flag(STRING, "Cgroup that holds those of containers.", default="mesos")
    cgroups_destroy_timeout: float = flag(
        DURATION, "Time to kill all of a container and remove its cgroups.", default=60.0
    )
    cgroups_enable_cfs: bool = flag(
        BOOL, "Limit containers to their cpus, idle ones elsewhere or not.", default=False
    )
    cgroups_limit_swap: bool = flag(BOOL, "Limit memory and swap together.", default=False)
    cgroups_cpu_enable_pids_and_tids_count: bool = flag(
        BOOL, "Count processes and threads of containers.", default=False
    )
    revocable_cpu_low_priority: bool = flag(
        BOOL, "Containers with revocable cpus get least priority.", default=True
    )
    agent_subsystems: str | None = optional(
        NAMES,
        "Comma-separated controllers of the agent's own cgroups.",
        deprecated=("slave_subsystems",),
    )
    systemd_enable_support: bool = flag(
        BOOL, "Keep containers when systemd ends the agent's service.", default=True
    )
    systemd_runtime_directory: str = flag(
        PATH, "Where the unit of their slice is written.", default="/run/systemd/system"
    )

    # --- volumes and disks ---
    host_path_volume_force_creation: str | None = optional(
        PATHS, "Colon separated directories below which missing volume paths are made."
    )
    volume_gid_range: str | None = optional(
        STRING,
        "Group ids, as [10000-20000], for persistent volumes and directories of a parent's "
        "sandbox: tasks of users other than root can work in them whoever owns them.",
    )

    # --- networks ---
    network_cni_plugins_dir: str | None = optional(
        PATHS, "Colon separated directories with CNI plug-ins."
    )
    network_cni_config_dir: str | None = optional(PATH, "Directory of CNI network configurations.")
