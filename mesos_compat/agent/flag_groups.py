# SPDX-License-Identifier: Apache-2.0
"""The flags of the agent by subject: chapters of ``--help``, sections of a file of ``--config``.

A test holds that each flag has exactly one place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class FlagGroup(NamedTuple):
    """Flags that belong together."""

    title: str
    names: tuple[str, ...]


def _group(title: str, names: str) -> FlagGroup:
    return FlagGroup(title, tuple(names.split()))


#: Flags that upstream's agent does not have.
OWN: Final = frozenset(
    {
        "appc_extensions",
        "appc_meta_discovery",
        "appc_meta_discovery_insecure",
        "appc_trust_discovered_keys",
        "appc_trusted_keys",
        "config",
        "config_dir",
        "docker_image_user",
        "docker_insecure_registries",
        "docker_registry_certs",
        "docker_registry_mirrors",
        "drain_on_sigterm",
    }
)

#: Groups by the name of their section.
GROUPS: Final[Mapping[str, FlagGroup]] = {
    "program": _group("Program and configuration", "help version config config_dir"),
    "connection": _group(
        "Master and addresses",
        """master master_detector zk_session_timeout ip ip_discovery_command ip6
        ip6_discovery_command port advertise_ip advertise_port hostname hostname_lookup domain
        registration_backoff_factor agent_features""",
    ),
    "offers": _group(
        "What is offered",
        "resources default_role attributes nvidia_gpu_devices resource_provider_config_dir"
        " csi_plugin_config_dir disk_profile_adaptor",
    ),
    "oversubscription": _group(
        "Oversubscription",
        "resource_estimator oversubscribed_resources_interval qos_controller"
        " qos_correction_interval_min",
    ),
    "directories": _group(
        "Directories",
        "work_dir runtime_dir launcher_dir sandbox_directory frameworks_home",
    ),
    "containers": _group(
        "Containers",
        """containerizers isolation launcher switch_user default_container_info
        executor_environment_variables container_logger effective_capabilities
        bounding_capabilities allowed_devices seccomp_config_dir seccomp_profile_name
        disallow_sharing_agent_pid_namespace disallow_sharing_agent_ipc_namespace
        default_container_shm_size perf_events perf_interval perf_duration""",
    ),
    "cgroups": _group(
        "Control groups and systemd",
        """cgroups_hierarchy cgroups_root cgroups_destroy_timeout cgroups_enable_cfs
        cgroups_limit_swap cgroups_cpu_enable_pids_and_tids_count revocable_cpu_low_priority
        cgroups_net_cls_primary_handle cgroups_net_cls_secondary_handles agent_subsystems
        systemd_enable_support systemd_runtime_directory""",
    ),
    "images": _group(
        "Images",
        """image_providers image_provisioner_backend image_gc_config docker_registry
        docker_store_dir docker_config docker_registry_mirrors docker_registry_certs
        docker_insecure_registries docker_ignore_runtime docker_image_user appc_store_dir
        appc_simple_discovery_uri_prefix appc_meta_discovery appc_meta_discovery_insecure
        appc_trusted_keys appc_trust_discovered_keys appc_extensions""",
    ),
    "fetcher": _group(
        "Files of tasks",
        "fetcher_cache_dir fetcher_cache_size fetcher_stall_timeout hadoop_home",
    ),
    "volumes": _group(
        "Volumes and disks",
        """host_path_volume_force_creation volume_gid_range container_disk_watch_interval
        enforce_container_disk_quota xfs_project_range xfs_kill_containers xfs_quota_headroom
        docker_volume_checkpoint_dir docker_volume_chown""",
    ),
    "networks": _group(
        "Networks",
        """network_cni_plugins_dir network_cni_config_dir network_cni_root_dir_persist
        network_cni_metrics default_container_dns container_ports_watch_interval
        check_agent_port_range_only enforce_container_ports container_ports_isolated_range""",
    ),
    "executors": _group(
        "Executors",
        """executor_registration_timeout executor_reregistration_timeout
        executor_reregistration_retry_interval executor_shutdown_grace_period recovery_timeout
        http_command_executor http_executor_domain_sockets domain_socket_location
        http_heartbeat_interval max_completed_executors_per_framework""",
    ),
    "recovery": _group("Restart and end", "recover strict reconfiguration_policy drain_on_sigterm"),
    "gc": _group(
        "Removal of what is old",
        "gc_delay gc_disk_headroom gc_non_executor_container_sandboxes disk_watch_interval",
    ),
    "security": _group(
        "Authentication and authorization",
        """credential authenticatee authentication_backoff_factor authentication_timeout_min
        authentication_timeout_max authenticate_http_readonly authenticate_http_readwrite
        authenticate_http_executors jwt_secret_key http_authenticators http_credentials acls
        authorizer firewall_rules""",
    ),
    "plugins": _group("Plug-ins", "hooks modules modules_dir secret_resolver"),
    "logging": _group(
        "Log",
        "quiet logging_level log_dir logbufsecs external_log_file initialize_driver_logging"
        " memory_profiling",
    ),
    "docker_daemon": _group(
        "Docker's daemon",
        """docker docker_socket docker_mesos_image docker_remove_delay docker_kill_orphans
        docker_stop_timeout""",
    ),
    "port_mapping": _group(
        "Port mapping",
        """ephemeral_ports_per_container eth0_name lo_name egress_rate_limit_per_container
        egress_rate_per_cpu minimum_egress_rate_limit maximum_egress_rate_limit egress_ceil_limit
        egress_burst egress_unique_flow_per_container egress_flow_classifier_parent
        ingress_rate_limit_per_container ingress_rate_per_cpu minimum_ingress_rate_limit
        maximum_ingress_rate_limit ingress_ceil_limit ingress_burst
        ingress_isolate_existing_containers network_link_speed
        network_enable_socket_statistics_summary network_enable_socket_statistics_details
        network_enable_snmp_statistics network_enable_rate_statistics
        network_rate_statistics_window network_rate_statistics_interval""",
    ),
}
