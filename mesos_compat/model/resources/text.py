# SPDX-License-Identifier: Apache-2.0
"""Resources as operators write and read them: the value of ``--resources``, and lines of logs.

Source: spec ``agent-master`` 12; upstream ``common/resources.cpp``.
"""

from __future__ import annotations

from mesos_compat.base.errors import WireError
from mesos_compat.model import jsonpb, values
from mesos_compat.model.resources.formats import upgrade
from mesos_compat.model.resources.rules import flag_error, resource_error
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reservation = pb.Resource.ReservationInfo
_Source = pb.Resource.DiskInfo.Source


def parse_resources(text: str, default_role: str = "*") -> list[pb.Resource]:
    """Read the value of ``--resources`` item by item, not yet merged; amounts may be zero.

    Raises WireError if the text or anything in it is not valid.
    """
    document: jsonpb.JsonValue = None
    if text.lstrip().startswith("["):
        document = jsonpb.loads(text)
    if isinstance(document, list):
        found = [_from_json(element, default_role) for element in document]
    else:
        items = (item.strip() for item in text.split(";"))
        found = [_parse_item(item, default_role) for item in items if item]
    types: dict[str, int] = {}
    for resource in found:
        why = resource_error(resource) or flag_error(resource)
        if why is not None:
            raise WireError(why)
        upgrade(resource)
        if types.setdefault(resource.name, resource.type) != resource.type:
            raise WireError(
                f"Resources with the same name ('{resource.name}') but different types are not"
                " allowed"
            )
    return found


def _from_json(element: jsonpb.JsonValue, default_role: str) -> pb.Resource:
    resource = jsonpb.from_value(pb.Resource, element)
    if not resource.HasField("role") and not resource.reservations:
        resource.role = default_role
    return resource


def _parse_item(item: str, default_role: str) -> pb.Resource:
    name, colon, text = item.partition(":")
    if not colon or ":" in text:
        raise WireError(f"Bad value for resources, missing or extra ':' in {item}")
    name, text = name.strip(), text.strip()
    role = default_role
    if "(" in name or ")" in name:
        name, opening, rest = name.partition("(")
        if not opening or not rest.endswith(")") or "(" in rest or ")" in rest[:-1]:
            raise WireError(f"Bad value for resources, mismatched parentheses in {item}")
        name, role = name.strip(), rest[:-1].strip()
    return resource_of(name, text, role)


def resource_of(name: str, text: str, role: str = "*") -> pb.Resource:
    """Make a resource of the ``text`` of its value. Raises WireError."""
    try:
        amount = values.parse_value(text)
    except WireError as error:
        raise WireError(f"Failed to parse resource {name} value {text}: {error}") from error
    if isinstance(amount, str):
        raise WireError(f"Bad type for resource {name} value {text} type TEXT")
    if amount == 0 and float(text.replace(" ", "")) != 0:
        raise WireError("Invalid scalar resource: less than 0.001")
    resource = pb.Resource(name=name, type=values.type_of(amount))
    if role != "*":
        resource.reservations.add(type=_Reservation.STATIC, role=role)
    values.store(resource, amount)
    return resource


def format_resource(resource: pb.Resource) -> str:
    """Return the text of one valid resource in post format, as logs show it."""
    text = resource.name
    if resource.HasField("allocation_info"):
        text += f"(allocated: {resource.allocation_info.role})"
    if resource.reservations:
        text += "(reservations: [" + ",".join(map(_format_reservation, resource.reservations))
        text += "])"
    if resource.HasField("disk"):
        text += "[" + _format_disk(resource.disk) + "]"
    if resource.HasField("revocable"):
        text += "{REV}"
    if resource.HasField("shared"):
        text += "<SHARED>"
    return f"{text}:{values.format_value(values.amount_of(resource))}"


def _format_reservation(reservation: _Reservation) -> str:
    parts = [_Reservation.Type.Name(reservation.type), reservation.role]
    if reservation.HasField("principal"):
        parts.append(reservation.principal)
    if reservation.HasField("labels"):
        labels = (f"{x.key}: {x.value}" for x in reservation.labels.labels)
        parts.append("{" + ", ".join(labels) + "}")
    return "(" + ",".join(parts) + ")"


def _format_disk(disk: pb.Resource.DiskInfo) -> str:
    parts = []
    if disk.HasField("source"):
        source = disk.source
        root = source.path.root or source.mount.root
        text = _Source.Type.Name(source.type)
        identity = [x for x in (source.vendor, source.id, source.profile) if x]
        text += f"({','.join(identity)})" if identity else ""
        parts.append(text + (f":{root}" if root else ""))
    if disk.HasField("persistence"):
        parts.append(disk.persistence.id)
    if disk.HasField("volume"):
        volume = disk.volume
        mode = "rw" if volume.mode == pb.Volume.RW else "ro"
        host = f"{volume.host_path}:" if volume.host_path else ""
        parts.append(f"{host}{volume.container_path}:{mode}")
    return ",".join(parts)
