# SPDX-License-Identifier: Apache-2.0
"""Which proxy a URL is asked for through, by the variables that curl and others know. Pure.

``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, the latter with names, domains,
addresses and networks; in lower or upper case, the former first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping


def proxy_for(environment: Mapping[str, str], scheme: str, host: str, port: int) -> str | None:
    """Return the URL of the proxy for a host; ``None`` to go there directly."""
    if _excepted(_value(environment, "no_proxy", "NO_PROXY"), host.lower(), port):
        return None
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    found = _value(environment, *names)
    if not found:
        return None
    return found if "://" in found else f"http://{found}"


def _value(environment: Mapping[str, str], *names: str) -> str:
    return next((environment[name] for name in names if environment.get(name)), "").strip()


def _excepted(rules: str, host: str, port: int) -> bool:
    for rule in (part.strip().lower() for part in rules.replace(" ", ",").split(",")):
        if not rule:
            continue
        if rule == "*":
            return True
        name, colon, wanted = rule.rpartition(":")
        if colon and wanted.isdigit() and ":" not in name:
            if int(wanted) != port:
                continue
            rule = name
        if _in_network(host, rule):
            return True
        domain = rule.removeprefix("*").lstrip(".")
        if host == domain or host.endswith(f".{domain}"):
            return True
    return False


def _in_network(host: str, rule: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
