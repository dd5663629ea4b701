# SPDX-License-Identifier: Apache-2.0
"""Resources: what an agent has, what is reserved, allocated, used, and the algebra of it.

``Resources`` is an immutable value. Inside we keep only the format with the ``reservations``
stack; ``upgrade`` and ``downgrade`` convert messages at the edges.

Source: spec ``agent-master`` 12; upstream ``common/resources.cpp``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesos_compat.base.errors import WireError
from mesos_compat.model import jsonpb, values
from mesos_compat.model.quantity import fixed, floating
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reservation = pb.Resource.ReservationInfo
_Source = pb.Resource.DiskInfo.Source


@dataclass(frozen=True, slots=True)
class _Item:
    """One resource: its identity, how much of it, and how many holders share it."""

    #: All that has to be equal for two resources to be added.
    key: Hashable
    amount: values.Amount
    #: The message without its value; never changed.
    template: pb.Resource
    #: Cannot be joined with or cut from another of the same key, only be or not be.
    exclusive: bool
    #: 1 unless the resource is shared.
    copies: int = 1

    def message(self) -> pb.Resource:
        made = pb.Resource()
        made.CopyFrom(self.template)
        values.store(made, self.amount)
        return made

    def identity(self) -> Hashable:
        return (self.key, self.amount, self.copies)

    def addable(self, other: _Item) -> bool:
        if self.key != other.key:
            return False
        if self.template.HasField("shared"):
            return self.amount == other.amount
        return not self.exclusive

    def covers(self, other: _Item) -> bool:
        if self.key != other.key:
            return False
        if self.template.HasField("shared"):
            return self.amount == other.amount and self.copies >= other.copies
        if self.exclusive:
            return self.amount == other.amount
        return values.covers(self.amount, other.amount)

    def plus(self, other: _Item) -> _Item:
        if self.template.HasField("shared"):
            return replace(self, copies=self.copies + other.copies)
        return replace(self, amount=values.add(self.amount, other.amount))

    def minus(self, other: _Item) -> _Item | None:
        """What is left of this item; ``None`` if nothing is."""
        if self.template.HasField("shared"):
            copies = self.copies - other.copies
            return replace(self, copies=copies) if copies > 0 else None
        left = values.subtract(self.amount, other.amount)
        return None if values.is_zero(left) else replace(self, amount=left)


class Resources:
    """An immutable collection of resources; empty ones are never in it."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[_Item] = ()) -> None:
        """For this module; others use ``of`` and ``parse``."""
        self._items = tuple(items)

    @classmethod
    def of(cls, messages: Iterable[pb.Resource]) -> Resources:
        """Collect ``messages`` of any format. Raises WireError if one is not valid."""
        items: list[_Item] = []
        for message in messages:
            why = resource_error(message)
            if why is not None:
                raise WireError(why)
            item = _item(message)
            if not values.is_zero(item.amount):
                _add(items, item)
        return cls(items)

    @classmethod
    def parse(cls, text: str, default_role: str = "*") -> Resources:
        """Read the value of ``--resources``: text or a JSON array. Raises WireError."""
        return cls.of(parse_resources(text, default_role))

    # Reading.

    def __iter__(self) -> Iterator[pb.Resource]:
        for item in self._items:
            for _ in range(item.copies):
                yield item.message()

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Resources):
            return NotImplemented
        return Counter(i.identity() for i in self._items) == Counter(
            i.identity() for i in other._items
        )

    def __hash__(self) -> int:
        return hash(frozenset(i.identity() for i in self._items))

    def __str__(self) -> str:
        return "; ".join(format_resource(i.message()) for i in self._items) or "{}"

    __repr__ = __str__

    def messages(self) -> list[pb.Resource]:
        """Return new messages in the format with the ``reservations`` stack."""
        return list(self)

    def downgraded(self) -> list[pb.Resource]:
        """Return new messages in the format before reservation refinement, where it can say it."""
        made = list(self)
        for message in made:
            downgrade(message)
        return made

    def scalar(self, name: str) -> float | None:
        """Return the total of the scalar ``name``; ``None`` if there is none of it."""
        found = [
            i.amount
            for i in self._items
            if i.template.name == name and i.template.type == pb.Value.SCALAR
        ]
        return floating(sum(a for a in found if isinstance(a, int))) if found else None

    def ranges(self, name: str) -> values.Ranges:
        """Return the union of all ranges ``name``."""
        found = [i.amount for i in self._items if i.template.name == name]
        return values.coalesce(pair for a in found if isinstance(a, tuple) for pair in a)

    def set(self, name: str) -> frozenset[str]:
        """Return the union of all sets ``name``."""
        found = [i.amount for i in self._items if i.template.name == name]
        return frozenset(e for a in found if isinstance(a, frozenset) for e in a)

    @property
    def cpus(self) -> float | None:
        """Total of ``cpus``."""
        return self.scalar("cpus")

    @property
    def gpus(self) -> float | None:
        """Total of ``gpus``."""
        return self.scalar("gpus")

    @property
    def mem_bytes(self) -> int | None:
        """Total of ``mem``, in bytes."""
        return _megabytes(self.scalar("mem"))

    @property
    def disk_bytes(self) -> int | None:
        """Total of ``disk``, in bytes."""
        return _megabytes(self.scalar("disk"))

    @property
    def ports(self) -> values.Ranges:
        """All ``ports``."""
        return self.ranges("ports")

    def types(self) -> dict[str, pb.Value.Type]:
        """Return names and their value types, in order of appearance."""
        return {i.template.name: i.template.type for i in self._items}

    # Algebra.

    def __add__(self, other: Resources) -> Resources:
        items = list(self._items)
        for item in other._items:
            _add(items, item)
        return Resources(items)

    def __sub__(self, other: Resources) -> Resources:
        """Return what is left; what is not there is not subtracted, as upstream does."""
        items = list(self._items)
        for item in other._items:
            _subtract(items, item)
        return Resources(items)

    def contains(self, other: Resources) -> bool:
        """Say whether all of ``other`` can be taken from this at once."""
        items = list(self._items)
        for item in other._items:
            if not any(mine.covers(item) for mine in items):
                return False
            _subtract(items, item)
        return True

    def filter(self, wanted: Callable[[pb.Resource], bool]) -> Resources:
        """Return those for which ``wanted`` holds; it sees messages without their value."""
        return Resources(i for i in self._items if wanted(i.template))

    def named(self, name: str) -> Resources:
        """Return those called ``name``."""
        return self.filter(lambda r: r.name == name)

    # Allocation, reservation, sharing.

    def allocated(self, role: str) -> Resources:
        """Return the same allocated to ``role``."""

        def allocate(message: pb.Resource) -> None:
            message.allocation_info.role = role

        return self._changed(allocate)

    def unallocated(self) -> Resources:
        """Return the same without allocation."""
        return self._changed(lambda message: message.ClearField("allocation_info"))

    def allocations(self) -> dict[str, Resources]:
        """Return the allocated ones by role."""
        roles = dict.fromkeys(
            i.template.allocation_info.role
            for i in self._items
            if i.template.HasField("allocation_info")
        )
        return {
            role: self.filter(
                lambda r, role=role: (  # type: ignore[misc]  # mypy loses lambdas with defaults
                    r.HasField("allocation_info") and r.allocation_info.role == role
                )
            )
            for role in roles
        }

    def unreserved(self) -> Resources:
        """Return those that no role has reserved."""
        return self.filter(lambda r: not r.reservations)

    def reserved(self, role: str | None = None) -> Resources:
        """Return those reserved, to ``role`` if given."""
        if role is None:
            return self.filter(lambda r: bool(r.reservations))
        return self.filter(lambda r: bool(r.reservations) and r.reservations[-1].role == role)

    def to_unreserved(self) -> Resources:
        """Return the same with all reservations dropped."""
        return self._changed(lambda message: message.ClearField("reservations"))

    def revocable(self) -> Resources:
        """Return those that may be taken back at any time."""
        return self.filter(lambda r: r.HasField("revocable"))

    def nonrevocable(self) -> Resources:
        """Return those that may not be taken back."""
        return self.filter(lambda r: not r.HasField("revocable"))

    def shared(self) -> Resources:
        """Return those several tasks may use at once."""
        return self.filter(lambda r: r.HasField("shared"))

    def nonshared(self) -> Resources:
        """Return those that are not shared."""
        return self.filter(lambda r: not r.HasField("shared"))

    def persistent_volumes(self) -> Resources:
        """Return the persistent volumes."""
        return self.filter(is_persistent_volume)

    def checkpointed(self) -> Resources:
        """Return those that an agent has to write down: reserved at run time, or volumes."""
        return self.filter(needs_checkpointing)

    def with_checkpointed(self, checkpointed: Resources) -> Resources:
        """Return this total with each of ``checkpointed`` in place of what it was made of.

        Raises WireError if this does not have what one of them was made of.
        """
        total = self
        for item in checkpointed._items:
            made = Resources([item])
            origin = Resources([replace(_item(_stripped(item.message())), copies=1)])
            if not total.contains(origin):
                raise WireError(f"Incompatible agent resources: {total} does not contain {origin}")
            total = total - origin + made
        return total

    def find(self, wanted: Resources) -> Resources | None:
        """Return what of this meets ``wanted``, reservations kept; ``None`` if it cannot.

        For each wanted resource: first what its role has reserved, then what is unreserved, then
        anything. Allocations have to be removed by the caller.
        """
        found = Resources()
        rest = self
        for item in wanted._items:
            taken = rest._find_one(item)
            if taken is None:
                return None
            found += taken
            rest -= taken
        return found

    def _find_one(self, wanted: _Item) -> Resources | None:
        bare = wanted.message()
        role = bare.reservations[-1].role if bare.reservations else None
        bare.ClearField("reservations")
        missing: _Item | None = _item(bare)
        found = Resources()
        passes: list[Callable[[pb.Resource], bool]] = [
            lambda r: bool(r.reservations) and r.reservations[-1].role == role,
            lambda r: not r.reservations,
            lambda r: True,
        ]
        for wanted_now in passes:
            for mine in (self - found).filter(wanted_now)._items:
                assert missing is not None
                template = mine.message()
                template.ClearField("reservations")
                flat = _item(template)
                if flat.covers(missing):
                    return found + Resources([replace(mine, amount=missing.amount, copies=1)])
                if not flat.exclusive and flat.key == missing.key and missing.covers(flat):
                    found += Resources([mine])
                    missing = missing.minus(flat)
        return None

    def _changed(self, change: Callable[[pb.Resource], object]) -> Resources:
        items: list[_Item] = []
        for item in self._items:
            message = item.message()
            change(message)
            _add(items, replace(_item(message), copies=item.copies))
        return Resources(items)


EMPTY = Resources()


def _megabytes(value: float | None) -> int | None:
    return None if value is None else fixed(value) * (1 << 20) // 1000


def _add(items: list[_Item], item: _Item) -> None:
    for index, mine in enumerate(items):
        if mine.addable(item):
            items[index] = mine.plus(item)
            return
    items.append(item)


def _subtract(items: list[_Item], item: _Item) -> None:
    for index, mine in enumerate(items):
        if mine.key == item.key and (not mine.exclusive or mine.amount == item.amount):
            left = mine.minus(item)
            if left is None:
                del items[index]
            else:
                items[index] = left
            return


def _item(message: pb.Resource) -> _Item:
    template = pb.Resource()
    template.CopyFrom(message)
    upgrade(template)
    amount = values.amount_of(template)
    for field in ("scalar", "ranges", "set"):
        template.ClearField(field)
    return _Item(_key(template), amount, template, _is_exclusive(template))


def _key(r: pb.Resource) -> Hashable:
    disk: Hashable = None
    if r.HasField("disk"):
        source = r.disk.source
        disk = (
            source.SerializeToString(deterministic=True) if r.disk.HasField("source") else None,
            r.disk.persistence.id if r.disk.HasField("persistence") else None,
        )
    return (
        r.name,
        r.type,
        r.allocation_info.role if r.HasField("allocation_info") else None,
        tuple(
            (
                s.type,
                s.role,
                s.principal if s.HasField("principal") else None,
                tuple(sorted((x.key, x.HasField("value"), x.value) for x in s.labels.labels)),
            )
            for s in r.reservations
        ),
        disk,
        r.HasField("revocable"),
        r.provider_id.value if r.HasField("provider_id") else None,
        r.HasField("shared"),
    )


def _is_exclusive(r: pb.Resource) -> bool:
    if is_persistent_volume(r):
        return True
    if not r.HasField("disk") or not r.disk.HasField("source"):
        return False
    source = r.disk.source
    if source.type == _Source.RAW:
        return source.HasField("id")
    return source.type in (_Source.MOUNT, _Source.BLOCK)


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


def _stripped(message: pb.Resource) -> pb.Resource:
    """Return what the checkpointed resource ``message`` was made of."""
    static = [r for r in message.reservations[:1] if r.type == _Reservation.STATIC]
    kept = [_Reservation.FromString(r.SerializeToString()) for r in static]
    message.ClearField("reservations")
    message.reservations.extend(kept)
    if message.HasField("disk"):
        if message.disk.HasField("source"):
            message.disk.ClearField("persistence")
            message.disk.ClearField("volume")
        else:
            message.ClearField("disk")
    message.ClearField("shared")
    return message


# The formats of a reservation.


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


# Text.


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
        why = resource_error(resource) or _flag_error(resource)
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


# Validation.


def resource_error(r: pb.Resource) -> str | None:
    """Say why ``r``, in any format, is no valid resource; ``None`` if it is one."""
    if not r.name:
        return "Empty resource name"
    return _value_error(r) or _disk_error(r) or _reservations_error(r) or _sharing_error(r)


def _value_error(r: pb.Resource) -> str | None:
    kinds = {pb.Value.SCALAR: "scalar", pb.Value.RANGES: "ranges", pb.Value.SET: "set"}
    if r.type not in kinds:
        return f"Unsupported type of resource '{r.name}'"
    kind = kinds[r.type]
    if [k for k in kinds.values() if r.HasField(k)] != [kind]:
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


def _flag_error(r: pb.Resource) -> str | None:
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
    if any(c.isspace() or ord(c) in (8, 127) for c in role):
        return f"role '{role}' contains blanks or control characters"
    return None
