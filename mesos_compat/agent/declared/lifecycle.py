# SPDX-License-Identifier: Apache-2.0
"""Executors, restarts of the agent, and what is left of both.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesos_compat.base.flags import (
    BOOL,
    DOUBLE,
    DURATION,
    SIZE,
    STRING,
    flag,
    optional,
)


def _at_most_15_seconds(value: float) -> str | None:
    if value <= 15:
        return None
    return "Expected `--executor_reregistration_timeout` to be not more than 15secs"


def _positive_interval(value: float) -> str | None:
    if value > 0:
        return None
    return "Expected `--executor_reregistration_retry_interval` to be positive"


def _headroom(value: float) -> str | None:
    if 0 <= value <= 1:
        return None
    return f"Invalid value '{value:g}' for --gc_disk_headroom. Must be between 0.0 and 1.0"


def _recover(value: str) -> str | None:
    if value in ("reconnect", "cleanup"):
        return None
    return (
        f"Unknown option for 'recover' flag {value}. "
        "Please run the agent with '--help' to see the valid options"
    )


def _policy(value: str) -> str | None:
    if value in ("equal", "additive"):
        return None
    return f"Unknown option for 'reconfiguration_policy' flag {value}"


@dataclass(frozen=True, kw_only=True)
class LifecycleFlags:
    """Executors, restarts of the agent, and what is left of both."""

    # --- executors ---
    executor_registration_timeout: float = flag(
        DURATION, "Time from launch to registration of an executor.", default=60.0
    )
    executor_reregistration_timeout: float = flag(
        DURATION,
        "Time for executors to come back after a restart of the agent.",
        default=2.0,
        check=_at_most_15_seconds,
    )
    executor_reregistration_retry_interval: float | None = optional(
        DURATION,
        "Time between two requests to come back, to executors that use libprocess messages.",
        check=_positive_interval,
    )
    executor_shutdown_grace_period: float = flag(
        DURATION, "Time between asking an executor to shut down and killing it.", default=5.0
    )
    recovery_timeout: float = flag(
        DURATION, "How long executors wait for an agent that is gone.", default=900.0
    )
    http_command_executor: bool = flag(
        BOOL, "Accepted: our command executor always uses the HTTP API.", default=False
    )
    http_executor_domain_sockets: bool = flag(
        BOOL, "Let executors reach the agent by a Unix socket.", default=False
    )
    domain_socket_location: str | None = optional(
        STRING,
        "Path of that socket, or systemd:NAME for one that systemd listens on; agent.sock in "
        "--runtime_dir if not given.",
    )
    http_heartbeat_interval: float = flag(
        DURATION, "Heartbeat of attached output streams.", default=30.0
    )
    max_completed_executors_per_framework: int = flag(
        SIZE, "Ended executors per framework to remember.", default=150
    )

    # --- restart and end ---
    recover: str = flag(
        STRING,
        "At restart: reconnect to live executors, or cleanup (end them and exit).",
        default="reconnect",
        check=_recover,
    )
    strict: bool = flag(BOOL, "Stop at unreadable checkpoints.", default=True)
    reconfiguration_policy: str = flag(
        STRING,
        "Changes allowed at restart: equal (none) or additive.",
        default="equal",
        check=_policy,
    )
    drain_on_sigterm: float | None = optional(
        DURATION,
        "On SIGTERM kill all tasks, with a grace period of at most this, and unregister; without it"
        " containers of checkpointing frameworks go on.",
    )

    # --- removal of what is old ---
    gc_delay: float = flag(
        DURATION, "Age at which sandboxes and meta directories are removed.", default=604800.0
    )
    gc_disk_headroom: float = flag(
        DOUBLE,
        "Sandboxes are removed earlier the fuller the disk is; at 1 minus this, at once.",
        default=0.1,
        check=_headroom,
    )
    gc_non_executor_container_sandboxes: bool = flag(
        BOOL,
        "Remove sandboxes of ended nested containers before that of their executor.",
        default=False,
    )
    disk_watch_interval: float = flag(
        DURATION, "How often disk usage is looked at for that.", default=60.0
    )
