# SPDX-License-Identifier: Apache-2.0
"""Checks of incoming messages → error text or ``None``. Pure.

Called once, where bytes become messages; behind that edge nobody asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def text_error(message: Message) -> str | None:
    """Say which ``string`` at any depth is no UTF-8; ``None`` if all of them are text.

    Such a field reads as ``bytes`` and could neither be compared with, nor be passed on as text.

    Deviation: upstream takes any bytes and shows them as they are.
    """
    for field, value in message.ListFields():
        kind = type(value)
        if kind is str or kind is int or kind is float or kind is bool:
            continue
        if kind is bytes:
            if field.type == FieldDescriptor.TYPE_STRING:
                return _error(field)
        elif isinstance(value, Message):
            found = text_error(value)
            if found is not None:
                return found
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            found = _items_error(field, value)
            if found is not None:
                return found
    return None


def _items_error(field: FieldDescriptor, value: Iterable[object]) -> str | None:
    """Check what a repeated field or a map holds."""
    for part in value:
        if isinstance(part, Message):
            found = text_error(part)
            if found is not None:
                return found
        elif isinstance(part, bytes):
            return _error(field)
    # Only now: looking a key up that is no text fails.
    return _items_error(field, value.values()) if isinstance(value, Mapping) else None


def _error(field: FieldDescriptor) -> str:
    return f"{field.full_name} is not valid UTF-8"
