# SPDX-License-Identifier: Apache-2.0
"""Resources: what an agent has, what is reserved, allocated, used, and the algebra of it.

``Resources`` is an immutable value. Inside we keep only the format with the ``reservations``
stack; ``upgrade`` and ``downgrade`` convert messages at the edges.

Source: spec ``agent-master`` 12; upstream ``common/resources.cpp``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from mesos_compat.base.errors import WireError
from mesos_compat.model import values
from mesos_compat.model.quantity import fixed, floating
from mesos_compat.model.resources.formats import downgrade
from mesos_compat.model.resources.item import ResourceItem, item_of
from mesos_compat.model.resources.rules import (
    is_persistent_volume,
    needs_checkpointing,
    resource_error,
)
from mesos_compat.model.resources.text import format_resource, parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reservation = pb.Resource.ReservationInfo


class Resources:
    """An immutable collection of resources; empty ones are never in it."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[ResourceItem] = ()) -> None:
        """For this module; others use ``of`` and ``parse``."""
        self._items = tuple(items)

    @classmethod
    def of(cls, messages: Iterable[pb.Resource]) -> Resources:
        """Collect ``messages`` of any format. Raises WireError if one is not valid."""
        checked = list(messages)
        for message in checked:
            why = resource_error(message)
            if why is not None:
                raise WireError(why)
        return cls.of_valid(checked)

    @classmethod
    def of_valid(cls, messages: Iterable[pb.Resource]) -> Resources:
        """Collect ``messages`` of any format that were checked when they arrived."""
        items: list[ResourceItem] = []
        for message in messages:
            item = item_of(message)
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
        mine, theirs = [i.identity() for i in self._items], [i.identity() for i in other._items]
        return mine == theirs or Counter(mine) == Counter(theirs)

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
            origin = Resources([item_of(_stripped(item.message()))])
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

    def _find_one(self, wanted: ResourceItem) -> Resources | None:
        bare = wanted.message()
        role = bare.reservations[-1].role if bare.reservations else None
        bare.ClearField("reservations")
        missing: ResourceItem | None = item_of(bare)
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
                flat = item_of(template)
                if flat.covers(missing):
                    return found + Resources([mine._replace(amount=missing.amount, copies=1)])
                if not flat.exclusive and flat.key == missing.key and missing.covers(flat):
                    found += Resources([mine])
                    missing = missing.minus(flat)
        return None

    def _changed(self, change: Callable[[pb.Resource], object]) -> Resources:
        items: list[ResourceItem] = []
        for item in self._items:
            message = item.message()
            change(message)
            _add(items, item_of(message)._replace(copies=item.copies))
        return Resources(items)


EMPTY = Resources()


def _megabytes(value: float | None) -> int | None:
    return None if value is None else fixed(value) * (1 << 20) // 1000


def _add(items: list[ResourceItem], item: ResourceItem) -> None:
    for index, mine in enumerate(items):
        if mine.addable(item):
            items[index] = mine.plus(item)
            return
    items.append(item)


def _subtract(items: list[ResourceItem], item: ResourceItem) -> None:
    for index, mine in enumerate(items):
        if mine.key == item.key and (not mine.exclusive or mine.amount == item.amount):
            left = mine.minus(item)
            if left is None:
                del items[index]
            else:
                items[index] = left
            return


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
