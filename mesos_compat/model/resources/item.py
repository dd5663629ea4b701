# SPDX-License-Identifier: Apache-2.0
"""One resource: what has to be equal for two to be added, and how much of it there is.

Source: spec ``agent-master`` 12; upstream ``common/resources.cpp``.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Final, NamedTuple

from mesos_compat.model import values
from mesos_compat.model.resources.formats import upgrade
from mesos_compat.model.resources.rules import is_persistent_volume
from mesos_compat.pb.mesos import mesos_pb2 as pb

_Source = pb.Resource.DiskInfo.Source

#: Names and roles whose plain resources share key and template.
_REMEMBERED: Final = 1024


class ResourceItem(NamedTuple):
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
        """Return a new message."""
        made = pb.Resource()
        made.CopyFrom(self.template)
        values.store(made, self.amount)
        return made

    def identity(self) -> Hashable:
        """Return what has to be equal for two to be the same."""
        return (self.key, self.amount, self.copies)

    def addable(self, other: ResourceItem) -> bool:
        """Say whether the sum with ``other`` is one resource."""
        if self.key != other.key:
            return False
        if self.template.HasField("shared"):
            return self.amount == other.amount
        return not self.exclusive

    def covers(self, other: ResourceItem) -> bool:
        """Say whether ``other`` can be taken from this."""
        if self.key != other.key:
            return False
        if self.template.HasField("shared"):
            return self.amount == other.amount and self.copies >= other.copies
        if self.exclusive:
            return self.amount == other.amount
        return values.covers(self.amount, other.amount)

    def plus(self, other: ResourceItem) -> ResourceItem:
        """Return the sum with one that is addable."""
        if self.template.HasField("shared"):
            return self._replace(copies=self.copies + other.copies)
        return self._replace(amount=values.add(self.amount, other.amount))

    def minus(self, other: ResourceItem) -> ResourceItem | None:
        """Return what is left without ``other``; ``None`` if nothing is."""
        if self.template.HasField("shared"):
            copies = self.copies - other.copies
            return self._replace(copies=copies) if copies > 0 else None
        left = values.subtract(self.amount, other.amount)
        return None if values.is_zero(left) else self._replace(amount=left)


def item_of(message: pb.Resource) -> ResourceItem:
    """Read a valid message of any format."""
    amount = values.amount_of(message)
    if _is_plain(message):
        role = message.allocation_info.role if message.HasField("allocation_info") else None
        key, template = _plain(message.name, message.type, role)
        return ResourceItem(key, amount, template, exclusive=False)
    template = pb.Resource()
    template.CopyFrom(message)
    upgrade(template)
    for field in ("scalar", "ranges", "set"):
        template.ClearField(field)
    return ResourceItem(_key(template), amount, template, _is_exclusive(template))


def _is_plain(r: pb.Resource) -> bool:
    """Say whether name, type and allocation tell all of ``r`` but its amount. Most are so."""
    return not (
        r.reservations
        or r.role != "*"
        or r.HasField("disk")
        or r.HasField("revocable")
        or r.HasField("provider_id")
        or r.HasField("shared")
    )


@lru_cache(maxsize=_REMEMBERED)
def _plain(name: str, kind: pb.Value.Type, role: str | None) -> tuple[Hashable, pb.Resource]:
    """Return key and template of plain resources."""
    template = pb.Resource(name=name, type=kind)
    if role is not None:
        template.allocation_info.role = role
    return _key(template), template


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
