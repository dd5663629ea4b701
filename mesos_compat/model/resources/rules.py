# SPDX-License-Identifier: Apache-2.0
"""Which resources are valid, and what kinds there are.

Source: spec ``agent-master`` 12; upstream ``common/resources.cpp``.
"""

from __future__ import annotations

import itertools
import re

from mesos_compat.base.errors import WireError
from mesos_compat.model.quantity import fixed
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reservation = pb.Resource.ReservationInfo
_Source = pb.Resource.DiskInfo.Source

#: Types of values: their name, and whether they have each of ``scalar``, ``ranges`` and ``set``.
_VALUES = {
    pb.Value.SCALAR: ("scalar", (True, False, False)),
    pb.Value.RANGES: ("ranges", (False, True, False)),
    pb.Value.SET: ("set", (False, False, True)),
}
_BLANK = re.compile(r"[\s\x08\x7f]")


def is_persistent_volume(r: pb.Resource) -> bool:
    """Say whether ``r`` is a persistent volume."""
    return r.HasField("disk") and r.disk.HasField("persistence")


def is_dynamically_reserved(r: pb.Resource) -> bool:
    """Say whether ``r`` (in post format) was reserved at run time."""
    return bool(r.reservations) and r.reservations[-1].type == _Reservation.DYNAMIC


def needs_checkpointing(r: pb.Resource) -> bool:
    """Say whether an agent has to write ``r`` (in post format) down."""
    if r.HasField("provider_id"):
        return False
    return is_dynamically_reserved(r) or is_persistent_volume(r)


def resource_error(r: pb.Resource) -> str | None:
    """Say why ``r``, in any format, is no valid resource; ``None`` if it is one."""
    if not r.name:
        return "Empty resource name"
    return _value_error(r) or _disk_error(r) or _reservations_error(r) or _sharing_error(r)


def _value_error(r: pb.Resource) -> str | None:
    kind, wanted = _VALUES.get(r.type, ("", None))
    if not kind:
        return f"Unsupported type of resource '{r.name}'"
    if (r.HasField("scalar"), r.HasField("ranges"), r.HasField("set")) != wanted:
        return f"Invalid {kind} resource"
    if kind == "scalar":
        return _scalar_error(r.scalar.value)
    if kind == "ranges":
        ordered = sorted((x.begin, x.end) for x in r.ranges.range)
        if any(begin > end for begin, end in ordered):
            return "Invalid ranges resource: begin > end"
        if any(a[1] >= b[0] for a, b in itertools.pairwise(ordered)):
            return "Invalid ranges resource: overlapping ranges"
        return None
    if len(set(r.set.item)) != len(r.set.item):
        return "Invalid set resource: duplicated elements"
    return None


def _scalar_error(value: float) -> str | None:
    try:
        thousandths = fixed(value)
    except WireError as error:
        return f"Invalid scalar resource: {error}"
    if value < 0:
        return "Invalid scalar resource: value < 0"
    if value > 0 and thousandths == 0:
        return "Invalid scalar resource: less than 0.001"
    return None


def _disk_error(r: pb.Resource) -> str | None:
    if not r.HasField("disk"):
        return None
    if r.name != "disk":
        return f"DiskInfo should not be set for {r.name} resource"
    if not r.disk.HasField("source"):
        return None
    source = r.disk.source
    has_path, has_mount = source.HasField("path"), source.HasField("mount")
    if source.type == _Source.PATH and has_mount:
        return "A disk source of type PATH must not have 'mount'"
    if source.type == _Source.MOUNT and has_path:
        return "A disk source of type MOUNT must not have 'path'"
    if source.type in (_Source.BLOCK, _Source.RAW) and (has_path or has_mount):
        kind = _Source.Type.Name(source.type)
        return f"A disk source of type {kind} must have neither 'path' nor 'mount'"
    if source.type == _Source.UNKNOWN:
        return "Unsupported 'DiskInfo.Source.Type'"
    return None


def _reservations_error(r: pb.Resource) -> str | None:
    if r.HasField("allocation_info") and (why := role_error(r.allocation_info.role)) is not None:
        return f"Invalid allocation role: {why}"
    if not r.reservations:
        return _old_reservation_error(r)
    if r.HasField("reservation"):
        return "'reservation' and 'reservations' must not both be set"
    if r.HasField("role") and r.role != r.reservations[-1].role:
        return "'role' must be that of the last of 'reservations'"
    outer: str | None = None
    for index, reservation in enumerate(r.reservations):
        if reservation.type not in (_Reservation.STATIC, _Reservation.DYNAMIC):
            return "Invalid reservation: 'type' must be STATIC or DYNAMIC"
        if index > 0 and reservation.type == _Reservation.STATIC:
            return "Invalid reservation: only the first may be STATIC"
        why = role_error(reservation.role)
        if why is None and reservation.role == "*":
            why = "role '*' cannot be reserved"
        if why is not None:
            return f"Invalid reservation: {why}"
        if outer is not None and not reservation.role.startswith(outer + "/"):
            return f"Invalid refined reservation: '{reservation.role}' is not below '{outer}'"
        outer = reservation.role
    return None


def _old_reservation_error(r: pb.Resource) -> str | None:
    why = role_error(r.role)
    if why is not None:
        return f"Invalid role: {why}"
    if not r.HasField("reservation"):
        return None
    if r.reservation.HasField("role") or r.reservation.HasField("type"):
        return "Invalid reservation: 'reservation' must have neither 'type' nor 'role'"
    if r.role == "*":
        return "Invalid reservation: role '*' cannot be dynamically reserved"
    return None


def _sharing_error(r: pb.Resource) -> str | None:
    if r.HasField("shared") and not is_persistent_volume(r):
        return "Only persistent volumes can be shared"
    return None


def flag_error(r: pb.Resource) -> str | None:
    """Say why the valid ``r`` must not be given by a flag."""
    if is_persistent_volume(r):
        return f"Persistent volumes cannot be specified: '{r.name}'"
    if r.HasField("revocable"):
        return f"Revocable resources cannot be specified: '{r.name}'"
    if r.HasField("reservation") or is_dynamically_reserved(r):
        return f"Dynamic reservations cannot be specified: '{r.name}'"
    return None


def role_error(role: str) -> str | None:
    """Say why ``role`` is no role name; ``None`` if it is one."""
    if role == "*":
        return None
    if not role:
        return "empty role name"
    if role.startswith("/") or role.endswith("/") or "//" in role:
        return f"role '{role}' has a leading, trailing or double slash"
    for part in role.split("/"):
        if part in (".", "..", "*"):
            return f"role '{role}' contains the component '{part}'"
        if part.startswith("-"):
            return f"role '{role}' has a component that starts with '-'"
    if _BLANK.search(role):
        return f"role '{role}' contains blanks or control characters"
    return None
