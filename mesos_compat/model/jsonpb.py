# SPDX-License-Identifier: Apache-2.0
"""Protobuf messages as Mesos JSON, both ways.

This is not the JSON mapping of protobuf itself: names stay in snake case, 64-bit integers are
numbers, unset fields with a declared default are printed, enums are accepted by name only.
Used by the HTTP endpoints, the executor streams and every flag that holds JSON. Pure.

A ``string`` field of a message that came over the wire may hold bytes that are no UTF-8; Python
then gives ``bytes``. Such text is printed unchanged, as upstream does.

Source: spec ``operator-api`` 1.6 and 1.7, upstream ``stout/{json,protobuf}.hpp``.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesos_compat.base.errors import WireError

#: Deepest nesting of a text that is read. Source: CVE-2018-11793.
MAX_DEPTH = 200

JsonValue: TypeAlias = (
    "dict[str, JsonValue] | list[JsonValue] | str | bytes | int | float | bool | None"
)
JsonObject: TypeAlias = dict[str, JsonValue]
M = TypeVar("M", bound=Message)

#: The end of a double with an exponent; within a string it means nothing.
_EXPONENT = re.compile(r"e[+-][0-9]+(?:[,\]}]|\Z)")
_BLANKS = " \t\n\r"
_INT64 = (-(2**63), 2**63 - 1)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: _INT64,
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_DOUBLES = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


class JsonError(WireError):
    """Text is no JSON, or its value is not the wanted message. The text is upstream's."""


# Text out.


def dumps(value: JsonValue, sort_keys: bool = False) -> bytes:
    """Print ``value`` as Mesos prints it: no blanks, doubles always look like doubles."""
    text = json.dumps(
        value,
        sort_keys=sort_keys,
        ensure_ascii=False,
        check_circular=False,
        separators=(",", ":"),
        default=text_of,
    )
    if "NaN" in text or "Infinity" in text or _EXPONENT.search(text):
        # Maybe a double that Python prints in another way than Mesos.
        parts: list[str] = []
        _write(value, parts.append, sort_keys)
        text = "".join(parts)
    return text.encode("utf-8", "surrogateescape")


def _write(value: JsonValue, put: Callable[[str], None], sort_keys: bool) -> None:
    """Print a value that has doubles which Python prints in another way."""
    if isinstance(value, dict):
        comma = "{"
        for key in sorted(value) if sort_keys else value:
            put(f"{comma}{encode_basestring(key)}:")
            _write(value[key], put, sort_keys)
            comma = ","
        put("}" if comma == "," else "{}")
    elif isinstance(value, list):
        comma = "["
        for item in value:
            put(comma)
            _write(item, put, sort_keys)
            comma = ","
        put("]" if comma == "," else "[]")
    elif isinstance(value, float):
        put(format_double(value))
    elif isinstance(value, str | bytes):
        put(encode_basestring(text_of(value)))
    elif value is None:
        put("null")
    elif isinstance(value, bool):
        put("true" if value else "false")
    else:
        put(str(value))


def format_double(value: float) -> str:
    """Print a double: shortest form that reads back equal, always with point or exponent."""
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        power = int(exponent)
        if 16 <= power < 21:
            return f"{value:.1f}"
        return f"{mantissa.removesuffix('.0')}e{power}"
    if text in ("inf", "-inf", "nan"):
        return {"inf": '"Infinity"', "-inf": '"-Infinity"', "nan": '"NaN"'}[text]
    return text


def text_of(value: str | bytes) -> str:
    """Return the value of a ``string`` field as ``str``; foreign bytes become surrogates."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


# Messages out.


def to_value(message: Message, lists: frozenset[str] = frozenset()) -> JsonObject:
    """Turn a message into a JSON object in the order of its declaration.

    ``lists`` holds full names of messages whose repeated fields are shown even when empty.
    """
    made: JsonObject = {}
    show_empty = bool(lists) and message.DESCRIPTOR.full_name in lists
    for name, kind, show in _plan(cast(Descriptor, message.DESCRIPTOR)):
        if kind == _SINGULAR and not message.HasField(name):
            continue
        value = getattr(message, name)
        if kind in (_SINGULAR, _DEFAULTED):
            made[name] = value if show is None else show(value, lists)
        elif not value:
            if show_empty and kind == _REPEATED:
                made[name] = []
        elif kind == _REPEATED:
            made[name] = list(value) if show is None else [show(item, lists) for item in value]
        else:
            made[name] = {
                str(key): value[key] if show is None else show(value[key], lists)
                for key in sorted(value)
            }
    return made


def print_message(message: Message) -> bytes:
    """Return the JSON text of a message."""
    return dumps(to_value(message))


_SINGULAR, _DEFAULTED, _REPEATED, _MAP = range(4)
#: How one value of a field is shown; ``None``: as it is.
_Show: TypeAlias = "Callable[[Any, frozenset[str]], JsonValue] | None"
_plans: dict[Descriptor, list[tuple[str, int, _Show]]] = {}


def _plan(descriptor: Descriptor) -> list[tuple[str, int, _Show]]:
    """Say once per message type how each of its fields is printed."""
    plan = _plans.get(descriptor)
    if plan is None:
        plan = [(field.name, _kind(field), _show(field)) for field in descriptor.fields]
        _plans[descriptor] = plan
    return plan


def _kind(field: FieldDescriptor) -> int:
    if field.is_repeated:
        return _MAP if _is_map(field) else _REPEATED
    if field.has_default_value and not field.GetOptions().deprecated:
        return _DEFAULTED
    return _SINGULAR


def _is_map(field: FieldDescriptor) -> bool:
    inner = field.message_type
    return inner is not None and bool(inner.GetOptions().map_entry)


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    assert field.message_type is not None
    return field.message_type.fields_by_name["value"]


def _show(field: FieldDescriptor) -> _Show:
    if _is_map(field):
        field = _map_value(field)
    if field.message_type is not None:
        return to_value
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value, lists: base64.b64encode(value).decode("ascii")
    if field.enum_type is not None:
        names = {number: known.name for number, known in field.enum_type.values_by_number.items()}
        return lambda value, lists: names.get(value, value)
    return None


# Text in.


def loads(text: bytes | str) -> JsonValue:
    """Read a JSON text strictly.

    Raises JsonError with the reason only (callers put their prefix in front of it).
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    try:
        value, end = _decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(_syntax_error(text, error.pos)) from None
    except RecursionError:
        raise JsonError(f"nesting is deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # numbers out of range
        raise JsonError(str(error)) from None
    if text[end:].strip(_BLANKS):
        rest = _shown(text[end:])
        raise JsonError(f"Parsed JSON included non-whitespace trailing characters: {rest}")
    if _deeper_than(value, MAX_DEPTH):
        raise JsonError(f"nesting is deeper than {MAX_DEPTH}")
    return value


def _decode(text: str) -> tuple[JsonValue, int]:
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
    start = len(text) - len(text.lstrip(_BLANKS))
    value: JsonValue
    value, end = decoder.raw_decode(text, start)
    return value, end


def _syntax_error(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    near = _shown(text[position : position + 100].partition("\n")[0])
    return f"syntax error at line {line} near: {near}"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"syntax error near: {name}")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number out of range: {text[:40]}")
    return number


def _deeper_than(value: JsonValue, limit: int) -> bool:
    level: list[JsonValue] = [value]
    for _ in range(limit + 1):
        below: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return True


# Messages in.


def from_value(message_type: type[M], value: JsonValue) -> M:
    """Make a message from a JSON value.

    Raises JsonError: not an object, a field of another kind, a missing required field.
    """
    if not isinstance(value, dict):
        raise JsonError("Expecting a JSON object")
    message = message_type()
    _fill(message, value)
    if not message.IsInitialized():
        raise JsonError(f"Missing required fields: {', '.join(missing_fields(message))}")
    return message


def missing_fields(message: Message) -> list[str]:
    """Name the required fields that are not set, by path, in the order of their declaration."""
    found: list[str] = message.FindInitializationErrors()  # type: ignore[attr-defined]  # no stub
    return found


def parse_message(message_type: type[M], text: bytes | str) -> M:
    """Make a message from a JSON text. Raises JsonError with the reason only."""
    return from_value(message_type, loads(text))


def _fill(message: Message, value: JsonObject) -> None:
    fields = cast(Descriptor, message.DESCRIPTOR).fields_by_name
    for key, item in value.items():
        # Names are ASCII, and looking for what is no UTF-8 fails.
        field = fields.get(key) if key.isascii() else None
        if field is not None:
            _set(message, field, item)


def _set(message: Message, field: FieldDescriptor, value: JsonValue) -> None:
    if value is None:
        return
    if field.is_repeated:
        if _is_map(field) and isinstance(value, dict):
            _set_map(message, field, value)
            return
        target = getattr(message, field.name)
        for item in _elements(value):
            if field.message_type is not None:
                _fill(target.add(), _object(field, item))
            elif (scalar := _scalar(field, item)) is not None:
                target.append(scalar)
    elif isinstance(value, list):
        raise _unexpected(field, value)
    elif field.message_type is not None:
        made = getattr(message, field.name)
        made.SetInParent()
        _fill(made, _object(field, value))
    elif (scalar := _scalar(field, value)) is not None:
        setattr(message, field.name, scalar)


def _elements(value: JsonValue) -> Iterator[JsonValue]:
    """One value stands for a list of one; lists in lists are taken apart; nulls do not count."""
    if isinstance(value, list):
        for item in value:
            yield from _elements(item)
    elif value is not None:
        yield value


def _set_map(message: Message, field: FieldDescriptor, value: JsonObject) -> None:
    assert field.message_type is not None
    key_field = field.message_type.fields_by_name["key"]
    value_field = _map_value(field)
    target = getattr(message, field.name)
    for key, item in value.items():
        if item is None:
            continue
        name = _scalar(key_field, key)
        if value_field.message_type is not None:
            _fill(target[name], _object(value_field, item))
        elif (scalar := _scalar(value_field, item)) is not None:
            target[name] = scalar


def _object(field: FieldDescriptor, value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise _unexpected(field, value)
    return value


def _scalar(field: FieldDescriptor, value: JsonValue) -> str | bytes | int | float | bool | None:
    """Convert one value; ``None`` leaves the field unset (an enum name that nobody knows)."""
    if isinstance(value, bool):
        if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
            raise _unexpected(field, value)
        return value
    if isinstance(value, str):
        return _scalar_of_text(field, value)
    if isinstance(value, int | float):
        return _number(field, value)
    raise _unexpected(field, value)


def _scalar_of_text(field: FieldDescriptor, value: str) -> str | bytes | int | float | bool | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _clean(field, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _from_base64(field, value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_name.get(value) if value.isascii() else None
        if known is not None:
            return known.number
        if field.is_required:
            raise JsonError(f"Failed to find enum for '{_shown(value)}'")
        return None
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if value not in ("true", "false"):
            raise _unexpected(field, value)
        return value == "true"
    if field.cpp_type in _DOUBLES and value in ("Infinity", "-Infinity"):
        return math.inf if value == "Infinity" else -math.inf
    return _number(field, _number_of_text(field, value))


def _number_of_text(field: FieldDescriptor, value: str) -> int | float:
    wrong = JsonError(f"Failed to convert '{_shown(value)}' to number for field '{field.name}'")
    try:
        number = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise wrong from None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise wrong
    return number


def _number(field: FieldDescriptor, value: int | float) -> int | float:
    if field.cpp_type in _DOUBLES:
        try:
            return float(value)
        except OverflowError:
            raise _out_of_range(field) from None
    limits = _RANGES.get(field.cpp_type)
    if limits is None or field.enum_type is not None:
        raise _unexpected(field, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _out_of_range(field)
    whole = int(value)
    if not limits[0] <= whole <= limits[1]:
        raise _out_of_range(field)
    return whole


def _from_base64(field: FieldDescriptor, value: str) -> bytes:
    body = value.replace("\n", "").replace("\r", "").partition("=")[0]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise JsonError(f"Failed to base64 decode bytes field '{field.name}': {error}") from None


def _clean(field: FieldDescriptor, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError(f"Field '{field.name}' is not valid UTF-8") from None
    return value


def _shown(value: str) -> str:
    return value[:100].encode("utf-8", "backslashreplace").decode("utf-8")


def _out_of_range(field: FieldDescriptor) -> JsonError:
    return JsonError(f"Number out of range for field '{field.name}'")


def _unexpected(field: FieldDescriptor, value: JsonValue) -> JsonError:
    match value:
        case dict():
            kind = "object"
        case list():
            kind = "array"
        case bool():
            kind = "boolean"
        case str() | bytes():
            kind = "string"
        case _:
            kind = "number"
    return JsonError(f"Not expecting a JSON {kind} for field '{field.name}'")
