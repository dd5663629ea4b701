# SPDX-License-Identifier: Apache-2.0
"""What one launch is to do: the JSON form of ``mesos.slave.ContainerLaunchInfo``, understood.

Names of fields and enum values are those of the message; bytes are base64. Known parts are
checked strictly: a restriction that is not understood must not be dropped silently. Fields of
``CommandInfo`` that mean nothing to a launch are ignored, as upstream's helper does.

Source: spec ``containerizer`` 8.1, 8.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from containerizer.init.seccomp import Filters
from containerizer.linux.caps import NUMBERS
from containerizer.linux.namespaces import ALL
from containerizer.linux.seccomp import (
    ACTIONS,
    ARCHITECTURES,
    MAX_ARGUMENTS,
    OPERATORS,
    Comparison,
    Profile,
    Rule,
)

_T = TypeVar("_T")


class SpecError(ValueError):
    """The launch info is unusable."""


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """A command: ``sh -c value``, or the program ``value`` with exactly these arguments."""

    value: str | None
    shell: bool = True
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MountStep:
    """One mount; the target is a path of the host's tree."""

    target: str
    source: str | None = None
    type: str | None = None
    flags: int = 0
    options: str | None = None

    def json(self) -> str:
        """Return the message's JSON, as error texts quote it."""
        fields = {
            "flags": self.flags or None,
            "options": self.options,
            "source": self.source,
            "target": self.target,
            "type": self.type,
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(present, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class SymlinkStep:
    """Create the link ``target`` that says ``source``."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RenameStep:
    """Move ``source`` to ``target``."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class DirectoryStep:
    """Create the directory ``target``."""

    target: str
    recursive: bool = False


FileStep = SymlinkStep | RenameStep | DirectoryStep | MountStep


@dataclass(frozen=True, slots=True)
class ResourceLimit:
    """A limit of setrlimit(2) by its ``RLMT_`` name; without values there is no limit."""

    type: str
    soft: int | None = None
    hard: int | None = None


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything about one launch. Masks are CLONE_NEW* bits, capability sets bit masks."""

    command: LaunchCommand
    #: In order, later ones win; ``None``: inherit the environment.
    environment: tuple[tuple[str, str], ...] | None = None
    rootfs: str | None = None
    working_directory: str | None = None
    user: str | None = None
    supplementary_groups: tuple[int, ...] = ()
    enter_namespaces: int = 0
    clone_namespaces: int = 0
    mounts: tuple[MountStep, ...] = ()
    masked_paths: tuple[str, ...] = ()
    file_operations: tuple[FileStep, ...] = ()
    pre_exec_commands: tuple[LaunchCommand, ...] = ()
    effective_capabilities: int | None = None
    bounding_capabilities: int | None = None
    rlimits: tuple[ResourceLimit, ...] = ()
    seccomp_profile: Profile | None = None
    #: The profile's translation by the agent; not a field of the message.
    seccomp_filters: Filters | None = None
    no_new_privileges: bool | None = None
    #: Only its presence counts: fds 0 to 2 are the terminal.
    tty: bool = False

    @classmethod
    def from_json(cls, text: bytes | str) -> LaunchSpec:
        """Read the JSON form. Raises SpecError."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"Failed to parse launch info: {error}") from error
        return cls.of(document)

    @classmethod
    def of(cls, document: Any) -> LaunchSpec:
        """Read a decoded document. Raises SpecError."""
        return _spec(_Reader(document, "launch_info"))


class _Reader:
    """A JSON object of which each field is read with its type and named when it is wrong."""

    def __init__(self, document: Any, name: str) -> None:
        if not isinstance(document, dict):
            raise SpecError(f"'{name}' is not a JSON object")
        self._fields: Mapping[str, Any] = document
        self._name = name

    def known(self, names: frozenset[str]) -> None:
        unknown = sorted(set(self._fields) - names)
        if unknown:
            raise SpecError(f"'{self._name}' has unknown fields: {', '.join(unknown)}")

    def has(self, field: str) -> bool:
        return self._fields.get(field) is not None

    def text(self, field: str) -> str | None:
        return self._scalar(field, _text)

    def boolean(self, field: str) -> bool | None:
        return self._scalar(field, _boolean)

    def number(self, field: str) -> int | None:
        return self._scalar(field, _number)

    def required(self, field: str) -> str:
        value = self.text(field)
        if value is None:
            raise SpecError(f"'{self._name}' has no '{field}'")
        return value

    def child(self, field: str) -> _Reader | None:
        return _Reader(self._fields[field], self._path(field)) if self.has(field) else None

    def texts(self, field: str) -> tuple[str, ...]:
        return self._list(field, _text)

    def numbers(self, field: str) -> tuple[int, ...]:
        return self._list(field, _number)

    def children(self, field: str) -> list[_Reader]:
        values = self._items(field)
        return [_Reader(v, f"{self._path(field)}[{i}]") for i, v in enumerate(values)]

    def _path(self, field: str) -> str:
        return f"{self._name}.{field}"

    def _items(self, field: str) -> list[Any]:
        values = self._fields.get(field)
        if values is None:
            return []
        if not isinstance(values, list):
            raise SpecError(f"'{self._path(field)}' is not a list")
        return values

    def _scalar(self, field: str, convert: Callable[[Any, str], _T]) -> _T | None:
        value = self._fields.get(field)
        return None if value is None else convert(value, self._path(field))

    def _list(self, field: str, convert: Callable[[Any, str], _T]) -> tuple[_T, ...]:
        values = enumerate(self._items(field))
        return tuple(convert(value, f"{self._path(field)}[{i}]") for i, value in values)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise SpecError(f"'{name}' is not a string")
    if "\0" in value:
        raise SpecError(f"'{name}' has a null character")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise SpecError(f"'{name}' is not a valid string") from error
    return value


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"'{name}' is not a boolean")
    return value


def _number(value: Any, name: str) -> int:
    # 64-bit numbers are strings in the JSON of protobuf and numbers in that of Mesos.
    if isinstance(value, str) and value.isascii() and value.lstrip("-").isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"'{name}' is not a whole number")
    return value


_FIELDS = frozenset(
    {
        "bounding_capabilities",
        "clone_namespaces",
        "command",
        "effective_capabilities",
        "enter_namespaces",
        "environment",
        "file_operations",
        "masked_paths",
        "mounts",
        "no_new_privileges",
        "pre_exec_commands",
        "rlimits",
        "rootfs",
        "seccomp_filters",
        "seccomp_profile",
        "supplementary_groups",
        "task_environment",
        "task_supplementary_groups",
        "tty_slave_path",
        "user",
        "working_directory",
    }
)


def _spec(reader: _Reader) -> LaunchSpec:
    reader.known(_FIELDS)
    command = reader.child("command")
    if command is None:
        raise SpecError("Launch command is not specified")
    environment = reader.child("environment")
    return LaunchSpec(
        command=_command(command),
        environment=None if environment is None else _environment(environment),
        rootfs=reader.text("rootfs"),
        working_directory=reader.text("working_directory"),
        user=reader.text("user"),
        supplementary_groups=reader.numbers("supplementary_groups"),
        enter_namespaces=_namespaces(reader, "enter_namespaces"),
        clone_namespaces=_namespaces(reader, "clone_namespaces"),
        mounts=tuple(_mount(mount) for mount in reader.children("mounts")),
        masked_paths=reader.texts("masked_paths"),
        file_operations=tuple(_file(step) for step in reader.children("file_operations")),
        pre_exec_commands=tuple(_command(c) for c in reader.children("pre_exec_commands")),
        effective_capabilities=_capabilities(reader.child("effective_capabilities")),
        bounding_capabilities=_capabilities(reader.child("bounding_capabilities")),
        rlimits=_rlimits(reader.child("rlimits")),
        seccomp_profile=_seccomp_profile(reader.child("seccomp_profile")),
        seccomp_filters=_seccomp_filters(reader.child("seccomp_filters")),
        no_new_privileges=reader.boolean("no_new_privileges"),
        tty=reader.has("tty_slave_path"),
    )


def _command(reader: _Reader) -> LaunchCommand:
    shell = reader.boolean("shell")
    made = LaunchCommand(
        value=reader.text("value"),
        shell=True if shell is None else shell,
        arguments=reader.texts("arguments"),
    )
    if not made.value:
        raise SpecError(
            "Shell command is not specified" if made.shell else "Executable path is not specified"
        )
    return made


def _environment(reader: _Reader) -> tuple[tuple[str, str], ...]:
    variables = []
    for variable in reader.children("variables"):
        name = variable.required("name")
        if variable.text("type") == "SECRET":
            raise SpecError(f"Environment variable '{name}' is an unresolved secret")
        if not name or "=" in name:
            raise SpecError(f"Environment variable '{name}' has an unusable name")
        variables.append((name, variable.text("value") or ""))
    return tuple(variables)


def _namespaces(reader: _Reader, field: str) -> int:
    mask = 0
    for flag in reader.numbers(field):
        if flag & ~ALL or flag <= 0:
            raise SpecError(f"'{field}' has the unknown namespace {flag:#x}")
        mask |= flag
    return mask


def _mount(reader: _Reader) -> MountStep:
    return MountStep(
        target=reader.required("target"),
        source=reader.text("source"),
        type=reader.text("type"),
        flags=reader.number("flags") or 0,
        options=reader.text("options"),
    )


def _file(reader: _Reader) -> FileStep:
    operation = reader.required("operation")
    parameters = reader.child(operation.lower())
    if operation not in ("SYMLINK", "RENAME", "MKDIR", "MOUNT"):
        raise SpecError(f"Unknown file operation '{operation}'")
    if parameters is None:
        raise SpecError(f"File operation '{operation}' has no parameters")
    if operation == "MOUNT":
        return _mount(parameters)
    target = parameters.required("target")
    if operation == "MKDIR":
        return DirectoryStep(target, parameters.boolean("recursive") or False)
    step = SymlinkStep if operation == "SYMLINK" else RenameStep
    return step(parameters.required("source"), target)


def _capabilities(reader: _Reader | None) -> int | None:
    if reader is None:
        return None
    mask = 0
    for name in reader.texts("capabilities"):
        if name not in NUMBERS:
            raise SpecError(f"Unknown capability '{name}'")
        mask |= 1 << NUMBERS[name]
    return mask


def _rlimits(reader: _Reader | None) -> tuple[ResourceLimit, ...]:
    if reader is None:
        return ()
    return tuple(
        ResourceLimit(limit.required("type"), limit.number("soft"), limit.number("hard"))
        for limit in reader.children("rlimits")
    )


def _seccomp_filters(reader: _Reader | None) -> Filters | None:
    if reader is None:
        return None
    document = {name: reader.required(name) for name in ("command", "init")}
    try:
        return Filters.of({**document, "by_program": reader.boolean("by_program")})
    except ValueError as error:
        raise SpecError(f"Failed to load Seccomp filter: {error}") from error


def _seccomp_profile(reader: _Reader | None) -> Profile | None:
    if reader is None:
        return None
    reader.known(frozenset({"default_action", "architectures", "syscalls"}))
    return Profile(
        default_action=_one_of(ACTIONS, reader.required("default_action"), "action"),
        architectures=tuple(
            _one_of(ARCHITECTURES, name, "architecture") for name in reader.texts("architectures")
        ),
        rules=tuple(_seccomp_rule(rule) for rule in reader.children("syscalls")),
    )


def _seccomp_rule(reader: _Reader) -> Rule:
    reader.known(frozenset({"names", "action", "args", "includes", "excludes"}))
    return Rule(
        names=reader.texts("names"),
        action=_one_of(ACTIONS, reader.required("action"), "action"),
        arguments=tuple(_seccomp_comparison(argument) for argument in reader.children("args")),
        includes=_capabilities(reader.child("includes")) or 0,
        excludes=_capabilities(reader.child("excludes")) or 0,
    )


def _seccomp_comparison(reader: _Reader) -> Comparison:
    index, value, value_two = (reader.number(name) for name in ("index", "value", "value_two"))
    if index is None or value is None or value_two is None:
        raise SpecError("A comparison of the Seccomp profile is incomplete")
    if not (0 <= index < MAX_ARGUMENTS and 0 <= value < 1 << 64 and 0 <= value_two < 1 << 64):
        raise SpecError("A comparison of the Seccomp profile is out of range")
    operator = _one_of(OPERATORS, reader.required("op"), "operator")
    return Comparison(index, operator, value, value_two)


def _one_of(known: Mapping[str, object], name: str, what: str) -> str:
    if name not in known:
        raise SpecError(f"Unknown Seccomp {what} '{name}'")
    return name
