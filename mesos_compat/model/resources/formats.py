# SPDX-License-Identifier: Apache-2.0
"""The formats of a resource on the wire: with the stack of ``reservations``, and the one before.

Source: spec ``agent-master`` 12; upstream ``common/resources_utils.cpp``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reservation = pb.Resource.ReservationInfo


def upgrade(resource: pb.Resource) -> None:
    """Bring ``resource``, in whatever format, into that with the ``reservations`` stack."""
    if not resource.reservations:
        if resource.HasField("reservation"):
            made = resource.reservations.add()
            made.CopyFrom(resource.reservation)
            made.type = _Reservation.DYNAMIC
            made.role = resource.role
        elif resource.HasField("role") and resource.role != "*":
            resource.reservations.add(type=_Reservation.STATIC, role=resource.role)
    resource.ClearField("role")
    resource.ClearField("reservation")


def downgrade(resource: pb.Resource) -> bool:
    """Bring ``resource`` into the format before refinement; ``False`` if that cannot say it."""
    if len(resource.reservations) > 1:
        return False
    upgrade(resource)
    if not resource.reservations:
        resource.role = "*"
        return True
    top = resource.reservations[0]
    resource.role = top.role
    if top.type == _Reservation.DYNAMIC:
        resource.reservation.SetInParent()
        if top.HasField("principal"):
            resource.reservation.principal = top.principal
        if top.HasField("labels"):
            resource.reservation.labels.CopyFrom(top.labels)
    resource.ClearField("reservations")
    return True


def upgrade_all(message: Message) -> None:
    """Upgrade every ``Resource`` in ``message``, at any depth."""
    for resource in _resources_in(message):
        upgrade(resource)


def downgrade_all(message: Message) -> bool:
    """Downgrade every ``Resource`` in ``message`` up to the first that is refined.

    Returns ``False`` if there was one; it and those after it are left as they are.
    """
    return all(downgrade(resource) for resource in _resources_in(message))


def _resources_in(message: Message) -> Iterator[pb.Resource]:
    if isinstance(message, pb.Resource):
        yield message
        return
    holders = _fields_with_resources(message.DESCRIPTOR)
    if not holders:
        return
    for field, value in message.ListFields():
        if field.name not in holders:
            continue
        if _is_map(field):
            for key in value:
                yield from _resources_in(value[key])
        elif field.is_repeated:
            for element in value:
                yield from _resources_in(element)
        else:
            yield from _resources_in(value)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


@cache
def _fields_with_resources(descriptor: Descriptor) -> frozenset[str]:
    return frozenset(
        field.name
        for field in descriptor.fields
        if field.message_type is not None and _reaches_resource(field.message_type)
    )


@cache
def _reaches_resource(descriptor: Descriptor) -> bool:
    goal = pb.Resource.DESCRIPTOR.full_name
    seen: set[str] = set()
    queue = [descriptor]
    while queue:
        here = queue.pop()
        if here.full_name == goal:
            return True
        if here.full_name not in seen:
            seen.add(here.full_name)
            queue.extend(f.message_type for f in here.fields if f.message_type is not None)
    return False
