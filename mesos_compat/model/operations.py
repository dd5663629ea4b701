# SPDX-License-Identifier: Apache-2.0
"""Operations on resources: what each consumes, and what that becomes.

Source: spec ``agent-master`` 13.1.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesos_compat.base.errors import WireError
from mesos_compat.model.resources import Resources, is_persistent_volume, upgrade
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Type = pb.Offer.Operation

#: States after which an operation never changes again.
TERMINAL = frozenset(
    {
        pb.OPERATION_FINISHED,
        pb.OPERATION_FAILED,
        pb.OPERATION_ERROR,
        pb.OPERATION_DROPPED,
        pb.OPERATION_GONE_BY_OPERATOR,
    }
)


def applied(total: Resources, operation: pb.Offer.Operation) -> Resources:
    """Return what ``total`` becomes. Raises WireError if the operation is none for it."""
    consumed, converted = conversion(operation)
    if not total.contains(consumed):
        raise WireError(f"{total} does not contain {consumed}")
    made = total - consumed + converted
    if operation.type == _Type.DESTROY and any(
        made.contains(Resources.of([volume])) for volume in consumed
    ):
        raise WireError(f"{consumed} is still in use")
    return made


def conversion(operation: pb.Offer.Operation) -> tuple[Resources, Resources]:
    """Return what the operation consumes and what that becomes, both without allocation.

    Raises WireError if it is none that an agent can carry out by itself.
    """
    match operation.type:
        case _Type.RESERVE:
            reserved = _own(operation.reserve.resources)
            if operation.reserve.source:
                return Resources.of(_own(operation.reserve.source)), Resources.of(reserved)
            return Resources.of(map(_unreserved, reserved)), Resources.of(reserved)
        case _Type.UNRESERVE:
            reserved = _own(operation.unreserve.resources)
            return Resources.of(reserved), Resources.of(map(_unreserved, reserved))
        case _Type.CREATE:
            volumes = _volumes(_own(operation.create.volumes))
            return Resources.of(map(_freed, volumes)), Resources.of(volumes)
        case _Type.DESTROY:
            volumes = _volumes(_own(operation.destroy.volumes))
            return Resources.of(volumes), Resources.of(map(_freed, volumes))
        case _Type.GROW_VOLUME:
            (volume,) = _volumes(_own([operation.grow_volume.volume]))
            (addition,) = _own([operation.grow_volume.addition])
            return Resources.of([volume, addition]), _resized(volume, addition.scalar.value)
        case _Type.SHRINK_VOLUME:
            (volume,) = _volumes(_own([operation.shrink_volume.volume]))
            less = operation.shrink_volume.subtract.value
            freed = _freed(volume)
            freed.scalar.value = less
            return Resources.of([volume]), _resized(volume, -less) + Resources.of([freed])
    raise WireError("the operation is none on an agent's own resources")


def consumed(operation: pb.Offer.Operation) -> list[pb.Resource]:
    """Return the resources that an operation of any type names as its object."""
    match operation.type:
        case _Type.RESERVE:
            return list(operation.reserve.resources)
        case _Type.UNRESERVE:
            return list(operation.unreserve.resources)
        case _Type.CREATE:
            return list(operation.create.volumes)
        case _Type.DESTROY:
            return list(operation.destroy.volumes)
        case _Type.GROW_VOLUME:
            return [operation.grow_volume.volume, operation.grow_volume.addition]
        case _Type.SHRINK_VOLUME:
            return [operation.shrink_volume.volume]
        case _Type.CREATE_DISK:
            return [operation.create_disk.source]
        case _Type.DESTROY_DISK:
            return [operation.destroy_disk.source]
    return []


def _own(resources: Iterable[pb.Resource]) -> list[pb.Resource]:
    """Return copies in post-refinement format, without allocation."""
    made = []
    for resource in resources:
        copy = _copy(resource)
        upgrade(copy)
        copy.ClearField("allocation_info")
        made.append(copy)
    if not made:
        raise WireError("the operation is about no resources")
    return made


def _volumes(resources: list[pb.Resource]) -> list[pb.Resource]:
    for resource in resources:
        if not is_persistent_volume(resource):
            raise WireError(f"'{resource.name}' is no persistent volume")
    return resources


def _unreserved(resource: pb.Resource) -> pb.Resource:
    """Return a resource without the last of its reservations."""
    made = _copy(resource)
    if not made.reservations:
        raise WireError(f"'{resource.name}' is not reserved")
    del made.reservations[-1]
    return made


def _freed(volume: pb.Resource) -> pb.Resource:
    """Return the disk of which a volume is made."""
    made = _copy(volume)
    if made.disk.HasField("source"):
        made.disk.ClearField("persistence")
        made.disk.ClearField("volume")
    else:
        made.ClearField("disk")
    made.ClearField("shared")
    return made


def _resized(volume: pb.Resource, more: float) -> Resources:
    made = _copy(volume)
    made.scalar.value = round(volume.scalar.value + more, 3)
    return Resources.of([made])


def _copy(resource: pb.Resource) -> pb.Resource:
    made = pb.Resource()
    made.CopyFrom(resource)
    return made
