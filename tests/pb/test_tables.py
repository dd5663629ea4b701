# SPDX-License-Identifier: Apache-2.0
"""Every message, field, number, label, type, default and enum value against the tables of the spec.

The tables are no part of this repository: where they are absent these tests say so and skip. That
the committed modules are what ``proto/generate.py`` makes is tested everywhere.
"""

from __future__ import annotations

import filecmp
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT.parent / "shared" / "spec" / "protos"

SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}

#: name → field name → (number, label, type, default, oneof, deprecated)
Messages = dict[str, dict[str, tuple[str, ...]]]
Enums = dict[str, dict[str, tuple[str, ...]]]


def read_table(path: Path) -> tuple[str, Messages, Enums]:
    """Return the file name, messages and enums of one table."""
    name = ""
    messages: Messages = {}
    enums: Enums = {}
    current: dict[str, tuple[str, ...]] = {}
    is_enum = False
    for line in path.read_text().splitlines():
        first, *rest = line.split("\t")
        if first == "file":
            name = rest[0]
        elif first in ("message", "enum"):
            is_enum = first == "enum"
            current = (enums if is_enum else messages).setdefault(rest[0], {})
        elif first == "":
            number, item, *more = rest
            options = more if is_enum else more[2:]
            deprecated = "deprecated" if "deprecated" in options else ""
            if is_enum:
                current[item] = (number, deprecated)
                continue
            named = dict(o.split("=", 1) for o in options if "=" in o)
            current[item] = (
                number,
                more[0],
                more[1],
                named.get("default", ""),
                named.get("oneof", ""),
                deprecated,
            )
    return name, messages, enums


def text_of_default(field: FieldDescriptor) -> str:
    """Return the declared default as the tables write it."""
    if not field.has_default_value:
        return ""
    value = field.default_value
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def type_of(field: FieldDescriptor) -> str:
    """Return the type as the tables write it."""
    if is_map(field) and field.message_type is not None:
        entry = field.message_type.fields_by_name
        return f"map<{type_of(entry['key'])},{type_of(entry['value'])}>"
    if field.message_type is not None:
        return field.message_type.full_name
    if field.enum_type is not None:
        return field.enum_type.full_name
    return SCALARS[field.type]


def label_of(field: FieldDescriptor) -> str:
    """Return the label as the tables write it."""
    if is_map(field):
        return "map"
    if field.is_repeated:
        return "repeated"
    return "required" if field.is_required else "optional"


def read_message(descriptor: Descriptor, messages: Messages, enums: Enums) -> None:
    """Add the message, and all that is nested in it."""
    messages[descriptor.full_name] = {
        field.name: (
            str(field.number),
            label_of(field),
            type_of(field),
            text_of_default(field),
            field.containing_oneof.name if field.containing_oneof else "",
            "deprecated" if field.GetOptions().deprecated else "",
        )
        for field in descriptor.fields
    }
    for enum in descriptor.enum_types:
        enums[enum.full_name] = read_enum(enum)
    for nested in descriptor.nested_types:
        if not nested.GetOptions().map_entry:
            read_message(nested, messages, enums)


def read_enum(descriptor: EnumDescriptor) -> dict[str, tuple[str, ...]]:
    """Return the values of an enum."""
    return {
        v.name: (str(v.number), "deprecated" if v.GetOptions().deprecated else "")
        for v in descriptor.values
    }


def read_module(file: FileDescriptor) -> tuple[Messages, Enums]:
    """Return all messages and enums of a generated file."""
    messages: Messages = {}
    enums: Enums = {}
    for message in file.message_types_by_name.values():
        read_message(message, messages, enums)
    for enum in file.enum_types_by_name.values():
        enums[enum.full_name] = read_enum(enum)
    return messages, enums


def tables() -> list[Path]:
    """Return the tables, if they are here."""
    return sorted(TABLES.glob("*.tsv"))


def module_of(file: str) -> str:
    """Return the generated module of an upstream file; internal ones live below ``internal``."""
    path = file if file.startswith("mesos/") else f"mesos/internal/{file}"
    return "mesos_compat.pb." + path.removesuffix(".proto").replace("/", ".") + "_pb2"


@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of the specification are not here")
@pytest.mark.parametrize("table", tables(), ids=lambda p: p.stem)
def test_messages_equal_the_table(table: Path) -> None:
    file, messages, enums = read_table(table)
    made_messages, made_enums = read_module(importlib.import_module(module_of(file)).DESCRIPTOR)
    assert messages or enums
    assert made_messages == messages
    assert made_enums == enums


@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of the specification are not here")
def test_every_file_has_a_table() -> None:
    named = {module_of(read_table(t)[0]) for t in tables()}
    made = {
        "mesos_compat.pb." + str(p.relative_to(ROOT / "proto").with_suffix("")).replace("/", ".")
        for p in (ROOT / "proto").rglob("*.proto")
    }
    assert {m + "_pb2" for m in made} == named


def test_committed_modules_are_generated(tmp_path: Path) -> None:
    script = ROOT / "proto" / "generate.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    committed = ROOT / "mesos_compat" / "pb" / "mesos"
    names = {str(p.relative_to(committed)) for p in committed.rglob("*.py*") if p.suffix != ".pyc"}
    made = {str(p.relative_to(tmp_path / "mesos")) for p in (tmp_path / "mesos").rglob("*.py*")}
    assert made == names
    _, differing, errors = filecmp.cmpfiles(
        committed, tmp_path / "mesos", sorted(names), shallow=False
    )
    assert (differing, errors) == ([], [])


def test_pool_is_our_own() -> None:
    from google.protobuf import descriptor_pool

    from mesos_compat.pb.mesos import mesos_pb2

    assert mesos_pb2.DESCRIPTOR.pool is not descriptor_pool.Default()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("mesos.FrameworkInfo")
