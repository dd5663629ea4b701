# SPDX-License-Identifier: Apache-2.0
"""Checks of incoming messages → error text or ``None``. Pure.

Called once, where bytes become messages; behind that edge nobody asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_VARINT: Final = 0
_LENGTH_DELIMITED: Final = 2
#: Of the seven bits in the last byte of the longest number.
_LAST_SHIFT: Final = 63
#: By wire type; groups are but tags around fields.
_FIXED_BYTES: Final = {1: 8, 5: 4}
#: Smallest item of a packed field by its type, where that is not one byte.
_ITEM_BYTES: Final = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}


#: Fields of all depths that a message may have; a larger one is no message but an attack.
MAX_FIELDS: Final = 1 << 18
#: What is shorter cannot have more of them.
_FEW_BYTES: Final = 2 * MAX_FIELDS

#: Numbers of the fields with structure: a message's fields, or how many bytes an item of a packed
#: field has at least.
_Structure = dict[int, "_Structure | int"]
_structures: dict[Descriptor, _Structure] = {}


def wire_error(kind: type[Message], body: bytes) -> str | None:
    """Say why the wire form of a message would take more memory than it may; ``None`` if not.

    Two bytes make an empty message of some fifty. What is malformed is left to the parser.
    """
    if len(body) <= _FEW_BYTES:
        return None
    try:
        count = _count_fields(body, _structure(cast(Descriptor, kind.DESCRIPTOR)))
    except IndexError:
        return None
    return f"more than {MAX_FIELDS} fields" if count > MAX_FIELDS else None


def _structure(descriptor: Descriptor) -> _Structure:
    found = _structures.get(descriptor)
    if found is None:
        found = _structures[descriptor] = {}
        for field in descriptor.fields:
            if field.message_type is not None:
                found[field.number] = _structure(field.message_type)
            elif field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
                found[field.number] = _ITEM_BYTES.get(field.type, 1)
    return found


def _count_fields(body: bytes, top: _Structure) -> int:
    """Count the fields, up to one more than are allowed. Raises IndexError at a premature end."""
    count = 0
    position, end, structure = 0, len(body), top
    outer: list[tuple[int, _Structure]] = []
    while True:
        while position >= end:
            if not outer:
                return count
            end, structure = outer.pop()
        count += 1
        if count > MAX_FIELDS:
            return count
        tag, position = _varint(body, position)
        wire_type = tag & 7
        if wire_type == _LENGTH_DELIMITED:
            length, position = _varint(body, position)
            inner = structure.get(tag >> 3)
            if isinstance(inner, dict):
                outer.append((end, structure))
                end, structure = min(position + length, end), inner
                continue
            if inner is not None:
                count += length // inner
            position += length
        elif wire_type == _VARINT:
            _, position = _varint(body, position)
        else:
            position += _FIXED_BYTES.get(wire_type, 0)


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """Return the number at ``position`` and where it ends. Raises IndexError if it has no end."""
    byte = body[position]
    position += 1
    if byte < 128:
        return byte, position
    value, shift = byte & 127, 7
    while byte >= 128:
        if shift > _LAST_SHIFT:
            raise IndexError
        byte = body[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
    return value, position


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
