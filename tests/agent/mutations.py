# SPDX-License-Identifier: Apache-2.0
"""Messages gone wrong: any field of any message can become what nobody would send."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

IDS = (
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../../../../tmp/x",
    "a/b",
    "a\0b",
    "a\nI1123 faked",
    "\x1b[2J",
    " ",
    "latest",
    "a.b",
    "ü" * 127,
    "x" * 255,
    "x" * 256,
    "x" * 100_000,
    "%s%n",
    "slave(1)@127.0.0.1:5051",
    "@0.0.0.0:0",
    "cpus",
    "ports",
    "*",
)
DOUBLES = (math.nan, math.inf, -math.inf, -1.0, 0.0, -0.0, 1e308, 5e-324, 1e-9, 2.0**63, 0.001)
WHOLE = {
    FieldDescriptor.CPPTYPE_INT32: (0, -1, 1, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (0, -1, 1, 2**63 - 1, -(2**63), 10**9),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 31000, 2**63, 2**64 - 1),
}
BYTES = (b"", b"\0", b"x" * 15, b"x" * 16, b"\xff" * 17, b"y" * 10_000)
#: What stands in for text before the message is printed, and is made no UTF-8 afterwards.
_FOREIGN = "FOREIGN-TEXT-HERE"


def mutated(original: Message, random: Random, changes: int) -> bytes:
    """The wire form of ``original`` after some changes."""
    made = type(original)()
    made.CopyFrom(original)
    for _ in range(changes):
        _change(made, random)
    data = made.SerializePartialToString().replace(_FOREIGN.encode(), b"\xff\xfe" + b"x" * 15)
    if random.random() < 0.05 and data:
        broken = bytearray(data)
        for _ in range(random.randrange(1, 4)):
            broken[random.randrange(len(broken))] = random.randrange(256)
        data = bytes(broken[: random.randrange(1, len(broken) + 1)])
    return data


def _change(message: Any, random: Random) -> None:
    """Change one field of this message, or of one below it."""
    below = [
        part
        for field, value in message.ListFields()
        if field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field)
        for part in (value if field.is_repeated else (value,))
    ]
    if below and random.random() < 0.75:
        _change(random.choice(below), random)
        return
    if not message.DESCRIPTOR.fields:
        return
    given = [field for field, _ in message.ListFields()]
    field = random.choice(given if given and random.random() < 0.7 else message.DESCRIPTOR.fields)
    if _is_map(field):
        target = getattr(message, field.name)
        if field.message_type.fields_by_name["value"].message_type is None:
            target[random.choice(IDS)] = random.choice(IDS)
        else:
            _change(target[random.choice(("cpus", "mem", "", "x" * 300))], random)
    elif field.is_repeated:
        _change_list(getattr(message, field.name), field, random)
    elif random.random() < 0.2:
        message.ClearField(field.name)
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        _fill(child, random, 6)
    else:
        setattr(message, field.name, _scalar(field, random))


def _change_list(target: Any, field: FieldDescriptor, random: Random) -> None:
    action = random.randrange(4)
    if action == 0 and len(target):
        del target[random.randrange(len(target))]
    elif action == 1 and len(target):
        # the same once more, or very often
        target.extend([target[random.randrange(len(target))]] * random.choice((1, 1, 1, 50)))
    elif field.message_type is not None:
        _fill(target.add(), random, 6)
    else:
        target.append(_scalar(field, random))


def _fill(message: Any, random: Random, depth: int) -> None:
    """Give a new message most of its fields."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated or (not field.is_required and random.random() < 0.5):
            continue
        if field.message_type is None:
            setattr(message, field.name, _scalar(field, random))
        elif depth > 0 and (field.is_required or random.random() < 0.5):
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, random, depth - 1)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _scalar(field: FieldDescriptor, random: Random) -> Any:
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    if field.type == FieldDescriptor.TYPE_STRING:
        return _FOREIGN if random.random() < 0.05 else random.choice(IDS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice(BYTES)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return random.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return random.choice(DOUBLES)
    return random.choice(WHOLE[field.cpp_type])
