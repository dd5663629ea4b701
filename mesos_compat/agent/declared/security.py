# SPDX-License-Identifier: Apache-2.0
"""Who is who and may do what.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesos_compat.agent.flag_kinds import ACLS, FIREWALL
from mesos_compat.base.flags import (
    BOOL,
    DURATION,
    NAMES,
    PATH,
    STRING,
    flag,
    optional,
)


@dataclass(frozen=True, kw_only=True)
class SecurityFlags:
    """Who is who and may do what."""

    # --- authentication and authorization ---
    credential: str | None = optional(
        PATH,
        "File with principal and secret to authenticate with at masters: a JSON object, or one "
        "line of both.",
    )
    authenticatee: str = flag(
        STRING, "How to authenticate at masters: crammd5 or a plug-in.", default="crammd5"
    )
    authentication_backoff_factor: float = flag(
        DURATION,
        "Attempts to authenticate time out at random between --authentication_timeout_min and "
        "twice this more; the range doubles with each failure, up to --authentication_timeout_max.",
        default=1.0,
    )
    authentication_timeout_min: float = flag(DURATION, "Least authentication timeout.", default=5.0)
    authentication_timeout_max: float = flag(
        DURATION, "Greatest authentication timeout.", default=60.0
    )
    authenticate_http_readonly: bool = flag(
        BOOL, "Authenticate requests that only read.", default=False
    )
    authenticate_http_readwrite: bool = flag(
        BOOL, "Authenticate requests that act, and the v1 operator API.", default=False
    )
    authenticate_http_executors: bool | None = optional(
        BOOL, "Authenticate executors, by the tokens that they are given; needs --jwt_secret_key."
    )
    jwt_secret_key: str | None = optional(
        PATH,
        "File whose bytes are the key of executors' tokens.",
        deprecated=("executor_secret_key",),
    )
    http_authenticators: str | None = optional(
        NAMES,
        "How requests are authenticated: basic, jwt or plug-ins, comma separated, in the order in "
        "which they are asked. basic if not given, with jwt if executors are authenticated.",
    )
    http_credentials: str | None = optional(
        PATH,
        "File with the principals and secrets for basic: a JSON object with a list of credentials, "
        "or a line for each.",
    )
    acls: Mapping[str, Any] | None = optional(
        ACLS,
        'Who may do what, as {"permissive": false, "view_flags": [{"principals": {"values": '
        '["ops"]}, "flags": {"type": "ANY"}}], ...}; everybody may do everything if not given.',
    )
    authorizer: str = flag(
        STRING, "What decides who may do what: local, by --acls, or a plug-in.", default="local"
    )
    firewall_rules: Mapping[str, Any] | None = optional(
        FIREWALL,
        'Endpoints that are switched off, as {"disabled_endpoints": {"paths": ["/files/browse"]}}.',
    )
