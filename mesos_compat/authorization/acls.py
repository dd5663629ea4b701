# SPDX-License-Identifier: Apache-2.0
"""``--acls``: lists of rules, and the decision of one list. Pure.

Of the rules of a list, in their order, the first one that matches subject and object decides. If
none does, ``permissive`` does.

Source: spec ``operator-api`` 8.1, 8.2; upstream ``src/authorizer/local/authorizer.cpp``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.message import Message

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.model import jsonpb
from mesos_compat.model.jsonpb import JsonValue
from mesos_compat.pb.mesos.authorizer import acls_pb2 as pb

#: What ``get_endpoints`` can protect.
AUTHORIZABLE_PATHS: Final = frozenset(
    {
        "/containerizer/debug",
        "/containers",
        "/files/debug",
        "/logging/toggle",
        "/metrics/snapshot",
        "/monitor/statistics",
    }
)

#: Lists whose objects have no names.
_ALL_OR_NOTHING: Final = frozenset(
    {
        "access_mesos_logs",
        "kill_standalone_containers",
        "launch_standalone_containers",
        "mark_resource_providers_gone",
        "modify_resource_provider_configs",
        "prune_images",
        "remove_standalone_containers",
        "set_log_level",
        "view_flags",
        "view_resource_providers",
        "view_standalone_containers",
        "wait_standalone_containers",
    }
)
_SUBJECTS: Final = "principals"


class EntityKind(enum.Enum):
    """Whom or what a side of a rule means."""

    #: Those that are named.
    SOME = "SOME"
    ANY = "ANY"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Entity:
    """One side of a rule: principals, or objects."""

    kind: EntityKind
    #: Empty unless SOME.
    values: frozenset[str] = frozenset()


#: Compares one side of a rule with what was asked (``None``: whoever, or whatever); says what the
#: side is for, or ``None`` if it does not match.
Match: TypeAlias = Callable[[Entity, str | None], bool | None]


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Who may, or may not, do it to what."""

    subjects: Entity
    objects: Entity


@dataclass(frozen=True, slots=True)
class Acls:
    """All rules, by the name of their list."""

    permissive: bool
    lists: Mapping[str, tuple[AccessRule, ...]]

    def allows(
        self,
        name: str,
        subject: str | None,
        asked: str | None,
        match: Match | None = None,
    ) -> bool:
        """Decide by the list called ``name``; ``match`` compares objects in another way."""
        match = match or matches
        for rule in self.lists.get(name, ()):
            of_subject = matches(rule.subjects, subject)
            of_object = match(rule.objects, asked)
            if of_subject is not None and of_object is not None:
                return of_subject and of_object
        return self.permissive


def matches(entity: Entity, asked: str | None) -> bool | None:
    """Compare by equality."""
    if entity.kind is EntityKind.SOME:
        return True if asked is not None and asked in entity.values else None
    return entity.kind is EntityKind.ANY


def matches_role(entity: Entity, asked: str | None) -> bool | None:
    """Compare roles: ``a/%`` means all below ``a``, but not ``a`` itself."""
    found = matches(entity, asked)
    if found is not None or asked is None:
        return found
    below = (value[:-1] for value in entity.values if value.endswith("/%"))
    return True if any(asked.startswith(start) and asked != start for start in below) else None


def parse_acls(value: JsonValue | pb.ACLs) -> Acls:
    """Read and check ACLs; unknown keys of JSON mean nothing. Raises FlagError."""
    try:
        message = value if isinstance(value, pb.ACLs) else jsonpb.from_value(pb.ACLs, value)
    except WireError as error:
        raise FlagError(str(error)) from error
    lists: dict[str, tuple[AccessRule, ...]] = {}
    for field, given in message.ListFields():
        if field.message_type is not None:
            rules = tuple(_rule(each) for each in given)
            _check(field.name, field.message_type.name, rules)
            lists[field.name] = rules
    return Acls(message.permissive, lists)


def _rule(message: Message) -> AccessRule:
    (objects,) = (f.name for f in message.DESCRIPTOR.fields if f.name != _SUBJECTS)
    return AccessRule(_entity(getattr(message, _SUBJECTS)), _entity(getattr(message, objects)))


def _entity(message: pb.ACL.Entity) -> Entity:
    kind = EntityKind(pb.ACL.Entity.Type.Name(message.type))
    return Entity(kind, frozenset(message.values) if kind is EntityKind.SOME else frozenset())


def _check(name: str, kind: str, rules: Iterable[AccessRule]) -> None:
    for rule in rules:
        if name in _ALL_OR_NOTHING and rule.objects.kind is EntityKind.SOME:
            raise FlagError(f"ACL.{kind} type must be either NONE or ANY")
        if name == "get_endpoints":
            for path in sorted(rule.objects.values - AUTHORIZABLE_PATHS):
                raise FlagError(f"Path: '{path}' is not an authorizable path")
