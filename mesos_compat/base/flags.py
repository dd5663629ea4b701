# SPDX-License-Identifier: Apache-2.0
"""Flags as upstream's programs declare, parse, explain and show them.

A program declares its flags as the fields of a frozen dataclass::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Example:
        port: int = flag(UINT16, "Port to listen on.", default=5051)
        hostname: str | None = optional(STRING, "Name of this host.")


    flags = FlagSet.of(Example, "mesos-example")
    loaded = flags.load(sys.argv[1:], os.environ)
    loaded.raise_error()
    example = loaded.into(Example)

Values come from ``--name=value``, ``--name``, ``--no-name`` and, when an environment is passed,
from ``MESOS_NAME``; the command line wins over an equally named variable. Below both a program may
have further layers, such as configuration files: there a flag that a layer above has set, by
whatever name, is passed over.

Source: spec ``state-and-recovery`` 1.1 to 1.6.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from mesos_compat.base import units
from mesos_compat.base.errors import FlagError

T = TypeVar("T")

#: Prefix of the environment variables that set flags.
ENV_PREFIX: Final = "MESOS_"

_FILE: Final = "file://"
_METADATA: Final = "mesos_compat.flag"


@dataclass(frozen=True, slots=True)
class FlagKind(Generic[T]):
    """A type of flag values. ``parse`` raises ValueError with the reason."""

    name: str
    parse: Callable[[str], T]
    show: Callable[[T], str] = str
    #: ``--name`` and ``--no-name`` are complete.
    boolean: bool = False
    #: The value is a path: ``file://`` is cut off and the file is not read here.
    path: bool = False
    #: ``file://P`` is displayed as ``P``, not as the content of the file.
    secure: bool = False
    #: A bare absolute path means the content of that file (deprecated upstream).
    bare_path: bool = False
    #: The value is a list of texts with this between them.
    separator: str = ""
    #: The value is name:value;... pairs.
    pairs: bool = False
    #: The value is one of JSON.
    json: bool = False


@dataclass(frozen=True, slots=True)
class Flag(Generic[T]):
    """One declared flag."""

    name: str
    kind: FlagKind[T]
    help: str
    #: ``None``: without a value unless given.
    default: T | None = None
    required: bool = False
    aliases: tuple[str, ...] = ()
    deprecated_aliases: tuple[str, ...] = ()
    #: Says what is wrong with the final value, or ``None``.
    check: Callable[[T], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag in a layer below the environment; ``name`` may begin with ``no-``."""

    name: str
    value: str | None
    #: Where it stands, for messages.
    origin: str


#: Returns further layers, the strongest first, when it is told the values that command line and
#: environment give. Raises FlagError.
Layers = Callable[[Mapping[str, Any]], Sequence[Sequence[Setting]]]


def flag(
    kind: FlagKind[T],
    help: str,
    *,
    default: T,
    aliases: Sequence[str] = (),
    deprecated: Sequence[str] = (),
    check: Callable[[T], str | None] | None = None,
) -> T:
    """Declare a dataclass field as a flag with a default."""
    made = Flag("", kind, help, default, False, tuple(aliases), tuple(deprecated), check)
    field: T = dataclasses.field(default=default, metadata={_METADATA: made})
    return field


def optional(
    kind: FlagKind[T],
    help: str,
    *,
    aliases: Sequence[str] = (),
    deprecated: Sequence[str] = (),
    check: Callable[[T], str | None] | None = None,
) -> T | None:
    """Declare a dataclass field as a flag that is ``None`` unless given."""
    made = Flag("", kind, help, None, False, tuple(aliases), tuple(deprecated), check)
    return cast("T | None", dataclasses.field(default=None, metadata={_METADATA: made}))


def required(kind: FlagKind[T], help: str, *, check: Callable[[T], str | None] | None = None) -> T:
    """Declare a dataclass field as a flag that must be given."""
    made = Flag("", kind, help, None, True, check=check)
    return cast(T, dataclasses.field(metadata={_METADATA: made}))


class FlagSet:
    """The flags of one program."""

    def __init__(self, program: str, flags: Iterable[Flag[Any]], about: str = "") -> None:
        self.program = program
        self.about = about
        self.flags: dict[str, Flag[Any]] = {}
        self._by_name: dict[str, Flag[Any]] = {}
        for one in sorted(flags, key=lambda item: item.name):
            for name in (one.name, *one.aliases, *one.deprecated_aliases):
                if name in self._by_name:
                    raise ValueError(f"flag {name} is declared twice")
                self._by_name[name] = one
            self.flags[one.name] = one

    @classmethod
    def of(
        cls, declared: type, program: str, *, more: Iterable[Flag[Any]] = (), about: str = ""
    ) -> FlagSet:
        """Collect the flags declared by a dataclass, and ``more``."""
        found = [
            dataclasses.replace(field.metadata[_METADATA], name=field.name)
            for field in dataclasses.fields(declared)
            if _METADATA in field.metadata
        ]
        return cls(program, [*found, *more], about)

    def load(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        defaults: Mapping[str, Any] | None = None,
        layers: Layers | None = None,
    ) -> LoadedFlags:
        """Load the arguments (without the program's name) and, if passed, the environment.

        ``defaults`` replaces declared defaults that depend on the machine. ``layers`` is not asked
        if the flags above it do not load, or if these ask for ``help`` or ``version``. Never
        raises: what is wrong is in ``LoadedFlags.error``, because ``--help`` wins over it.
        """
        loaded = LoadedFlags(self, dict(defaults or {}))
        pairs, ignored = _command_line(argv)
        loaded.warnings += [f"Ignored argument '{word}': it is no flag" for word in ignored]
        names = {name for name, _ in pairs}
        for name, value in _environment(environ or {}):
            bare = name[3:] if name.startswith("no-") else name
            if name not in names and (name in self._by_name or bare in self._by_name):
                pairs.append((name, value))
        try:
            for name, value in sorted(pairs, key=lambda pair: pair[0].encode("utf-8", "replace")):
                self._load_one(loaded, name, value)
            asked = loaded.values.get("help") or loaded.values.get("version")
            for layer in layers(loaded.values) if layers is not None and not asked else ():
                self._load_layer(loaded, layer)
            self._finish(loaded)
        except FlagError as error:
            loaded.error = str(error)
        return loaded

    def nearest(self, name: str) -> str | None:
        """Return the known flag or alias that somebody who wrote ``name`` may have meant."""
        plain = name.replace("-", "_").lower()
        found = difflib.get_close_matches(plain, self._by_name, n=1, cutoff=0.7)
        return found[0] if found else None

    @property
    def names(self) -> frozenset[str]:
        """All flags and aliases."""
        return frozenset(self._by_name)

    def named(self, name: str) -> Flag[Any] | None:
        """Return the flag with this name or alias."""
        return self._by_name.get(name)

    def help(
        self,
        defaults: Mapping[str, Any] | None = None,
        width: int = 80,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """Return the text of ``--help``. ``groups`` are titles with names of flags; flags of none
        come last.
        """
        lines = [f"Usage: {self.program} [options]", ""]
        if self.about:
            for paragraph in self.about.split("\n"):
                lines += [*textwrap.wrap(paragraph, width), ""]
        grouped = {name for names in (groups or {}).values() for name in names}
        for title, names in (groups or {}).items():
            lines.append(f"{title}:")
            for name in names:
                lines += _described(self.flags[name], defaults or {}, width)
            lines.append("")
        rest = [one for one in self.flags.values() if one.name not in grouped]
        lines += ["Others:"] if grouped and rest else []
        for one in rest:
            lines += _described(one, defaults or {}, width)
        return "\n".join(lines).rstrip("\n") + "\n"

    def _load_one(self, loaded: LoadedFlags, name: str, value: str | None) -> None:
        negated = name.startswith("no-") and name not in self._by_name
        bare = name[3:] if negated else name
        one = self._by_name.get(bare)
        if one is None:
            via = f" via '{name}'" if negated else ""
            near = self.nearest(bare)
            loaded.hint = f"Did you mean --{near}?" if near else ""
            raise FlagError(f"Failed to load unknown flag '{bare}'{via}")
        if one.name in loaded.via:
            raise FlagError(f"Flag '{bare}' is already loaded via name '{loaded.via[one.name]}'")
        text = _value_text(one, name, bare, negated, value)
        try:
            loaded.values[one.name], loaded.shown[one.name] = _parse(one, text, loaded.warnings)
        except ValueError as error:
            raise FlagError(f"Failed to load flag '{bare}': {error}") from error
        loaded.via[one.name] = bare
        if bare in one.deprecated_aliases:
            loaded.warnings.append(f"Loaded deprecated flag '{bare}'")

    def _load_layer(self, loaded: LoadedFlags, layer: Sequence[Setting]) -> None:
        """Load what stands in a layer and in none above it."""
        above = dict(loaded.via)
        for setting in layer:
            bare = setting.name[3:] if setting.name.startswith("no-") else setting.name
            one = self._by_name.get(setting.name) or self._by_name.get(bare)
            if one is not None and one.name in above:
                continue
            try:
                self._load_one(loaded, setting.name, setting.value)
            except FlagError as error:
                raise FlagError(f"{setting.origin}: {error}") from error
            if one is not None:
                loaded.origins[one.name] = setting.origin

    def _finish(self, loaded: LoadedFlags) -> None:
        """Check required flags and values in alphabetical order."""
        for one in self.flags.values():
            value = loaded.values.get(one.name)
            if one.required and one.name not in loaded.via:
                raise FlagError(f"Flag '{one.name}' is required, but it was not provided")
            refusal = one.check(value) if one.check is not None and value is not None else None
            if refusal is not None:
                raise FlagError(refusal)


class LoadedFlags:
    """The values of a ``FlagSet``: those given, else defaults; ``None`` for unset ones."""

    def __init__(self, flags: FlagSet, defaults: Mapping[str, Any]) -> None:
        self.flags = flags
        self.values: dict[str, Any] = {
            one.name: defaults.get(one.name, one.default) for one in flags.flags.values()
        }
        #: Flag → name through which it was given (itself or an alias).
        self.via: dict[str, str] = {}
        #: Flag → text of its value, for those given.
        self.shown: dict[str, str] = {}
        #: Flag → where it stands, for those given neither as argument nor in the environment.
        self.origins: dict[str, str] = {}
        self.warnings: list[str] = []
        self.error: str | None = None
        #: What may help against ``error``; empty if nothing comes to mind.
        self.hint = ""

    @property
    def given(self) -> frozenset[str]:
        """Names of the flags that were given."""
        return frozenset(self.via)

    def raise_error(self) -> None:
        """Raise FlagError if something did not load; its note is the hint, if there is one."""
        if self.error is not None:
            error = FlagError(self.error)
            if self.hint:
                error.add_note(self.hint)
            raise error

    def set(self, name: str, value: Any) -> None:
        """Set a value that a program derives after loading."""
        self.values[name] = value
        self.shown.pop(name, None)

    def display(self) -> dict[str, str]:
        """Return the flags as ``/flags`` shows them, sorted, unset ones left out."""
        shown = {}
        for one in self.flags.flags.values():
            value = self.values[one.name]
            if value is not None:
                text = self.shown.get(one.name)
                shown[self.via.get(one.name, one.name)] = (
                    one.kind.show(value) if text is None else text
                )
        return dict(sorted(shown.items()))

    def into(self, declared: type[T], **more: Any) -> T:
        """Build the dataclass that declared the flags; ``more`` are its other fields."""
        names = {
            field.name
            for field in dataclasses.fields(cast(Any, declared))
            if _METADATA in field.metadata
        }
        return declared(**{name: self.values[name] for name in names}, **more)


def _described(one: Flag[Any], defaults: Mapping[str, Any], width: int) -> list[str]:
    """Return the lines of one flag in ``--help``."""
    indent = " " * 6
    default = defaults.get(one.name, one.default)
    name = f"[no-]{one.name}" if one.kind.boolean else f"{one.name}={one.kind.name.upper()}"
    text = one.help
    if one.required:
        text += " (required)"
    elif default is not None and one.kind.show(default) != "":
        text += f" (default: {one.kind.show(default)})"
    names = [*one.aliases, *(f"{name} (deprecated)" for name in one.deprecated_aliases)]
    if names:
        text += f" (also: {', '.join(names)})"
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"  --{name}", *wrapped]


def _command_line(argv: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Split arguments into (name, value) pairs and the words that mean nothing."""
    pairs: list[tuple[str, str | None]] = []
    ignored: list[str] = []
    for argument in argv:
        word = argument.strip()
        if word == "--":
            break
        if not word.startswith("--"):
            ignored.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        pairs.append((name.lower(), value if equals else None))
    return pairs, ignored


def _environment(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    found: dict[str, str | None] = {}
    for key in sorted(environ):
        if key.startswith(ENV_PREFIX):
            found.setdefault(key[len(ENV_PREFIX) :].lower(), environ[key])
    return list(found.items())


def _value_text(one: Flag[Any], name: str, bare: str, negated: bool, value: str | None) -> str:
    if not one.kind.boolean:
        if negated:
            raise FlagError(f"Failed to load non-boolean flag '{bare}' via '{name}'")
        if value is None:
            raise FlagError(f"Failed to load non-boolean flag '{bare}': Missing value")
        return value
    if value is None or value == "":
        return "false" if negated else "true"
    if negated:
        raise FlagError(f"Failed to load boolean flag '{bare}' via '{name}' with value '{value}'")
    return value


def _parse(one: Flag[Any], text: str, warnings: list[str]) -> tuple[Any, str]:
    """Return the value and how it is displayed. Raises ValueError."""
    kind = one.kind
    source: str | None = None
    if text.startswith(_FILE):
        source = text[len(_FILE) :]
    elif kind.bare_path and text.startswith("/"):
        source = text
        warnings.append(
            f"Specifying an absolute filename for --{one.name} is deprecated: use file://{text}"
        )
    if source is not None and kind.path:
        text, source = source, None
    content = text if source is None else _read(source)
    try:
        value = kind.parse(content)
    except ValueError as error:
        what = "(from a file)" if kind.secure and source is not None else content
        raise ValueError(f"Failed to load value '{what}': {error}") from error
    if source is not None and kind.secure:
        return value, source
    return value, kind.show(value)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except OSError as error:
        raise ValueError(f"Error reading file '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"Error reading file '{path}': it is not UTF-8") from error


def _parse_bool(text: str) -> bool:
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise ValueError("Expecting a boolean (e.g., true or false)")


_NOT_A_NUMBER: Final = "Failed to convert into required type"


def _integer(bits: int, *, signed: bool) -> Callable[[str], int]:
    """Parse like C++ streams do: leading blanks yes, trailing no, -1 wraps when unsigned."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?[0-9]+", text, re.ASCII) or len(text) > 100:
            raise ValueError(_NOT_A_NUMBER)
        value = int(text)
        top = 1 << (bits - 1 if signed else bits)
        if not (-top if signed else 1 - top) <= value < top:
            raise ValueError(_NOT_A_NUMBER)
        return value if signed else value % top

    return parse


def _parse_double(text: str) -> float:
    number = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    if not re.fullmatch(number, text, re.ASCII):
        raise ValueError(_NOT_A_NUMBER)
    return float(text)


def _parse_json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _json_object(text: str) -> dict[str, Any]:
    value = _parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("Expecting a JSON object")
    return value


def _json_array(text: str) -> list[Any]:
    value = _parse_json(text)
    if not isinstance(value, list):
        raise ValueError("Expecting a JSON array")
    return value


def _json_strings(text: str) -> dict[str, str]:
    value = _json_object(text)
    for key, item in value.items():
        if not isinstance(item, str):
            raise ValueError(f"The value of '{key}' is not a string")
    return value


def show_json(value: Any) -> str:
    """Print JSON without blanks, keys sorted."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _string_set(text: str) -> tuple[str, ...]:
    tokens = tuple(token for token in text.split(",") if token)
    for token in tokens:
        if tokens.count(token) > 1:
            raise ValueError(f"Duplicate token: '{token}'")
    return tokens


def _uint_list(text: str) -> tuple[int, ...]:
    numbers = []
    for token in text.split(","):
        if not re.fullmatch(r"[0-9]{1,10}|0[xX][0-9a-fA-F]{1,8}", token, re.ASCII):
            raise ValueError(f"Failed to numify '{token}': {_NOT_A_NUMBER}")
        numbers.append(int(token, 16 if token[:2] in ("0x", "0X") else 10))
    return tuple(numbers)


def _ip_address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _seconds(text: str) -> float:
    return units.parse_duration(text) / 1_000_000_000


def _show_seconds(value: float) -> str:
    return units.format_duration(round(value * 1_000_000_000))


STRING: Final[FlagKind[str]] = FlagKind("string", str)
BOOL: Final[FlagKind[bool]] = FlagKind(
    "bool", _parse_bool, lambda value: "true" if value else "false", boolean=True
)
INT: Final[FlagKind[int]] = FlagKind("int", _integer(32, signed=True))
UINT16: Final[FlagKind[int]] = FlagKind("port", _integer(16, signed=False))
SIZE: Final[FlagKind[int]] = FlagKind("count", _integer(64, signed=False))
DOUBLE: Final[FlagKind[float]] = FlagKind("number", _parse_double, lambda value: f"{value:.6g}")
#: Values are seconds.
DURATION: Final[FlagKind[float]] = FlagKind("duration", _seconds, _show_seconds)
#: Values are bytes.
BYTES: Final[FlagKind[int]] = FlagKind("bytes", units.parse_bytes, units.format_bytes)
PATH: Final[FlagKind[str]] = FlagKind("path", str, path=True)
PATH_OR_VALUE: Final[FlagKind[str]] = FlagKind("value or file://path", str, secure=True)
STRING_SET: Final[FlagKind[tuple[str, ...]]] = FlagKind(
    "names", _string_set, ",".join, separator=","
)
UINT_LIST: Final[FlagKind[tuple[int, ...]]] = FlagKind(
    "numbers", _uint_list, lambda value: ",".join(map(str, value)), separator=","
)
IP: Final[FlagKind[str]] = FlagKind("ip", _ip_address)
#: Names with commas between them, kept as one text.
NAMES: Final[FlagKind[str]] = FlagKind("names", str, separator=",")
#: Paths with colons between them, kept as one text.
PATHS: Final[FlagKind[str]] = FlagKind("paths", str, separator=":")
#: name:value;... kept as one text.
PAIRS: Final[FlagKind[str]] = FlagKind("name:value;...", str, pairs=True)
#: As that, or JSON.
PAIRS_OR_JSON: Final[FlagKind[str]] = FlagKind("name:value;...", str, pairs=True, json=True)
JSON_OBJECT: Final[FlagKind[dict[str, Any]]] = FlagKind(
    "json", _json_object, show_json, bare_path=True, json=True
)
JSON_ARRAY: Final[FlagKind[list[Any]]] = FlagKind(
    "json", _json_array, show_json, bare_path=True, json=True
)
#: An object whose values are strings, such as environment variables.
JSON_STRINGS: Final[FlagKind[dict[str, str]]] = FlagKind(
    "json", _json_strings, show_json, bare_path=True, json=True
)
