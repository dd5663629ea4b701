# SPDX-License-Identifier: Apache-2.0
"""Take the values of secrets out of messages before an operator sees them. Pure.

Source: spec ``operator-api`` 6.5 and 10. Deviation: upstream prints them.
"""

from __future__ import annotations

from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

_SECRETS = frozenset({"mesos.Secret", "mesos.v1.Secret"})

_reach: dict[str, bool] = {}


def redact(message: Message) -> None:
    """Clear the value of every secret in ``message``, which must be the caller's own."""
    descriptor = cast(Descriptor, message.DESCRIPTOR)
    if descriptor.full_name in _SECRETS:
        message.ClearField("value")
        return
    if not _reaches(descriptor):
        return
    for field, value in message.ListFields():
        kind = _message_type(field)
        if kind is None or not _reaches(kind):
            continue
        if kind.GetOptions().map_entry:
            for key in value:
                redact(value[key])
        elif field.is_repeated:
            for item in value:
                redact(item)
        else:
            redact(value)


def redacted(message: M) -> M:
    """Return a copy of ``message`` without values of secrets."""
    made = type(message)()
    made.CopyFrom(message)
    redact(made)
    return made


def _reaches(descriptor: Descriptor) -> bool:
    """Whether a message of this type can hold a secret."""
    known = _reach.get(descriptor.full_name)
    if known is None:
        known = _reach[descriptor.full_name] = _search(descriptor)
    return known


def _search(descriptor: Descriptor) -> bool:
    seen = {descriptor.full_name}
    waiting = [descriptor]
    while waiting:
        here = waiting.pop()
        if here.full_name in _SECRETS:
            return True
        for field in here.fields:
            inner = _message_type(field)
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)
    return False


def _message_type(field: object) -> Descriptor | None:
    return cast(FieldDescriptor, field).message_type
