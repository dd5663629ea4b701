# SPDX-License-Identifier: Apache-2.0
"""Reservations and volumes by the operator endpoints of a real master."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from integration.master import RealMaster

#: A resource in JSON.
Resource = dict[str, Any]


def reserved(name: str, amount: float, role: str = "db") -> Resource:
    """Return a scalar that an operator has reserved."""
    return {
        "name": name,
        "type": "SCALAR",
        "scalar": {"value": amount},
        "role": role,
        "reservation": {},
    }


def volume(
    amount: float,
    volume_id: str = "v1",
    role: str = "db",
    path: str = "data",
    source: Resource | None = None,
    **fields: Any,
) -> Resource:
    """Return a persistent volume on reserved disk."""
    made = reserved("disk", amount, role)
    made["disk"] = {
        "persistence": {"id": volume_id},
        "volume": {"mode": "RW", "container_path": path},
    }
    if source is not None:
        made["disk"]["source"] = source
    return made | fields


def stacked(resource: Resource) -> Resource:
    """Return the same in the newer format, which the v1 API wants."""
    made = {name: value for name, value in resource.items() if name not in ("role", "reservation")}
    made["reservations"] = [{"type": "DYNAMIC", "role": resource["role"]}]
    return made


def operate(master: RealMaster, endpoint: str, *resources: Resource, expect: int = 202) -> None:
    """Ask for one of ``reserve``, ``unreserve``, ``create-volumes`` and ``destroy-volumes``."""
    (agent,) = master.agents()
    field = "volumes" if "volumes" in endpoint else "resources"
    form = urllib.parse.urlencode({"slaveId": agent["id"], field: json.dumps(list(resources))})
    request = urllib.request.Request(f"http://{master.address}/{endpoint}", form.encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, ""
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    assert status == expect, f"/{endpoint}: {status} {text}"
