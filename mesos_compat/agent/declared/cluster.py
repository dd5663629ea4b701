# SPDX-License-Identifier: Apache-2.0
"""The place of the agent in its cluster: master, addresses, what is offered.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesos_compat.agent.features import features_error
from mesos_compat.base.flags import (
    BOOL,
    DURATION,
    JSON_OBJECT,
    PAIRS,
    PAIRS_OR_JSON,
    PATH_OR_VALUE,
    STRING,
    UINT16,
    flag,
    optional,
)


def _at_most_a_minute(value: float) -> str | None:
    if value <= 60:
        return None
    shown = DURATION.show(value)
    return f"Invalid value '{shown}' for --registration_backoff_factor. Must be less than 1mins"


def _positive_session(value: float) -> str | None:
    return None if value > 0 else "Expected `--zk_session_timeout` to be positive"


@dataclass(frozen=True, kw_only=True)
class ClusterFlags:
    """The place of the agent in its cluster: master, addresses, what is offered."""

    # --- master and addresses ---
    master: str | None = optional(
        PATH_OR_VALUE,
        "Where the master is: host:port, master@host:port, zk://[user:pass@]host1:port1,...,/path, "
        "or file:///path to a file that says so.",
    )
    master_detector: str | None = optional(
        STRING, "Plug-in that finds the master; instead of --master."
    )
    zk_session_timeout: float = flag(
        DURATION, "Session timeout with ZooKeeper.", default=10.0, check=_positive_session
    )
    ip: str | None = optional(STRING, "IPv4 address to listen on.")
    ip_discovery_command: str | None = optional(
        STRING, "Shell command that prints the IPv4 address to listen on; instead of --ip."
    )
    port: int = flag(UINT16, "Port to listen on.", default=5051)
    advertise_ip: str | None = optional(
        STRING, "IPv4 address that others reach this agent at, if it is not the bound one."
    )
    advertise_port: str | None = optional(
        STRING, "Port that others reach this agent at, if it is not the bound one."
    )
    hostname: str | None = optional(
        STRING, "Name of this host in offers and links; looked up from the address if not given."
    )
    hostname_lookup: bool = flag(
        BOOL, "Look the host name up; otherwise the IP address is the name.", default=True
    )
    registration_backoff_factor: float = flag(
        DURATION,
        "The first attempt to register is made at a random time up to this; the range doubles "
        "with each further one, to a minute at most.",
        default=1.0,
        check=_at_most_a_minute,
    )
    agent_features: Mapping[str, Any] | None = optional(
        JSON_OBJECT,
        'What masters are told that the agent can do, as {"capabilities": [{"type": "MULTI_ROLE"}, '
        "...]}; all but RESIZE_VOLUME have to be there. All of it if not given.",
        check=features_error,
    )

    # --- what is offered ---
    resources: str | None = optional(
        PAIRS_OR_JSON,
        "Resources as name(role):value;... or as a JSON array. What is missing of cpus, mem, disk "
        "and ports is found out.",
    )
    default_role: str = flag(STRING, "Role of resources that name none.", default="*")
    attributes: str | None = optional(PAIRS, "Attributes as name:value;...")

    # --- oversubscription ---
    resource_estimator: str | None = optional(
        STRING, "Plug-in that estimates resources to oversubscribe."
    )
    oversubscribed_resources_interval: float = flag(
        DURATION, "Time between two estimates.", default=15.0
    )
    qos_controller: str | None = optional(STRING, "Plug-in that corrects oversubscription.")
    qos_correction_interval_min: float = flag(
        DURATION, "Least time between two corrections.", default=0.0
    )
