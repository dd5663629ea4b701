# SPDX-License-Identifier: Apache-2.0
"""Flags of upstream's agent that this agent knows but does not act on yet.

They parse and display like any other. Flags that exist only in some builds of upstream have no
default here, so that they are displayed only when given. What gets implemented moves to
``declared``.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesos_compat.base.flags import (
    BOOL,
    BYTES,
    DURATION,
    JSON_OBJECT,
    PATH,
    STRING,
    UINT16,
    UINT_LIST,
    Flag,
)

_HOUR: Final = 3600.0


def _domain(value: Mapping[str, Any]) -> str | None:
    return None if "fault_domain" in value else "`domain` must define `fault_domain`"


OTHER_FLAGS: Final[tuple[Flag[Any], ...]] = (
    # program, master, addresses
    Flag("initialize_driver_logging", BOOL, "Whether driver libraries set up logging.", True),
    Flag("ip6", STRING, "IPv6 address to report for containers on the host's network."),
    Flag("ip6_discovery_command", STRING, "Command that prints the address for --ip6."),
    Flag("domain", JSON_OBJECT, "Fault domain of this agent.", check=_domain),
    Flag("memory_profiling", BOOL, "Offer the memory profiler's endpoints.", False),
    # resource providers
    Flag("resource_provider_config_dir", PATH, "Directory of resource provider configurations."),
    Flag("csi_plugin_config_dir", PATH, "Directory of CSI plug-in configurations."),
    Flag("disk_profile_adaptor", STRING, "Plug-in for profiles of storage providers."),
    # images, Docker
    Flag(
        "docker_volume_checkpoint_dir",
        PATH,
        "Where mounted Docker volumes are recorded.",
        "/var/run/mesos/isolators/docker/volume",
    ),
    Flag("docker_volume_chown", BOOL, "Give Docker volumes to the container's user.", False),
    Flag("docker", STRING, "Docker command of the Docker containerizer.", "docker"),
    Flag("docker_socket", STRING, "Socket of the Docker daemon.", "/var/run/docker.sock"),
    Flag("docker_mesos_image", STRING, "Image to run Docker executors in."),
    Flag("docker_remove_delay", DURATION, "Age at which ended ones are removed.", 6 * _HOUR),
    Flag("docker_kill_orphans", BOOL, "Remove unknown Docker containers at start.", True),
    Flag("docker_stop_timeout", DURATION, "Time for docker stop.", 0.0),
    # networks
    Flag("default_container_dns", JSON_OBJECT, "DNS settings of container networks."),
    Flag("network_cni_root_dir_persist", BOOL, "Keep CNI state over reboots.", False),
    Flag("network_cni_metrics", BOOL, "Show network statistics of containers.", True),
    Flag("ephemeral_ports_per_container", UINT16, "Ephemeral ports of a container."),
    Flag("eth0_name", STRING, "Name of the public interface."),
    Flag("lo_name", STRING, "Name of the loopback interface."),
    Flag("egress_rate_limit_per_container", BYTES, "Egress of a container per second."),
    Flag("egress_rate_per_cpu", STRING, "Egress per cpu and second, or auto."),
    Flag("minimum_egress_rate_limit", BYTES, "Least such egress."),
    Flag("maximum_egress_rate_limit", BYTES, "Greatest such egress."),
    Flag("egress_ceil_limit", BYTES, "Egress of bursts."),
    Flag("egress_burst", BYTES, "Size of egress bursts."),
    Flag("egress_unique_flow_per_container", BOOL, "One flow per container."),
    Flag("egress_flow_classifier_parent", STRING, "Where flows are classified."),
    Flag("ingress_rate_limit_per_container", BYTES, "Ingress of a container per second."),
    Flag("ingress_rate_per_cpu", STRING, "Ingress per cpu and second, or auto."),
    Flag("minimum_ingress_rate_limit", BYTES, "Least such ingress."),
    Flag("maximum_ingress_rate_limit", BYTES, "Greatest such ingress."),
    Flag("ingress_ceil_limit", BYTES, "Ingress of bursts."),
    Flag("ingress_burst", BYTES, "Size of ingress bursts."),
    Flag("ingress_isolate_existing_containers", BOOL, "Limit ingress of old containers, too."),
    Flag("network_link_speed", BYTES, "Speed of the link for auto rates."),
    Flag("network_enable_socket_statistics_summary", BOOL, "Count sockets."),
    Flag("network_enable_socket_statistics_details", BOOL, "Show details of sockets."),
    Flag("network_enable_snmp_statistics", BOOL, "Show SNMP counters."),
    Flag("network_enable_rate_statistics", BOOL, "Show rates."),
    Flag("network_rate_statistics_window", DURATION, "Window of rates."),
    Flag("network_rate_statistics_interval", DURATION, "Sampling interval of rates."),
    Flag("container_ports_watch_interval", DURATION, "How often ports are looked at."),
    Flag("check_agent_port_range_only", BOOL, "Look at the agent's ports only."),
    Flag("enforce_container_ports", BOOL, "End containers that use ports of others."),
    Flag("container_ports_isolated_range", STRING, "Ports to look at."),
    # cgroups, devices, disks
    Flag("cgroups_net_cls_primary_handle", STRING, "Primary net_cls handle."),
    Flag("cgroups_net_cls_secondary_handles", STRING, "Range of secondary net_cls handles."),
    Flag("nvidia_gpu_devices", UINT_LIST, "GPUs to offer."),
    Flag("perf_events", STRING, "Perf events to sample."),
    Flag("perf_interval", DURATION, "Time between two samples.", 60.0),
    Flag("perf_duration", DURATION, "Length of a sample.", 10.0),
    Flag("container_disk_watch_interval", DURATION, "How often sandboxes are measured.", 15.0),
    Flag("enforce_container_disk_quota", BOOL, "End containers over their disk.", False),
    Flag("xfs_project_range", STRING, "XFS project ids to use."),
    Flag("xfs_kill_containers", BOOL, "End containers over their XFS quota."),
    Flag("xfs_quota_headroom", BYTES, "Room between soft and hard XFS quota."),
)

#: Typed flags of ``AgentFlags`` whose part is not there yet, with the value that changes nothing.
_TYPED: Final[Mapping[str, Any]] = {
    "frameworks_home": "",
    "fetcher_cache_dir": None,
    "fetcher_cache_size": None,
    "logbufsecs": 0,
}

#: Flags without effect, and the value for which that need not be said.
WITHOUT_EFFECT: Final[Mapping[str, Any]] = {
    **{one.name: one.default for one in OTHER_FLAGS},
    **_TYPED,
    "initialize_driver_logging": False,
    "docker_kill_orphans": False,
}
