# SPDX-License-Identifier: Apache-2.0
"""Flags of a program in a file of TOML: the names of the flags, values of TOML's types.

::

    work_dir = "/var/lib/mesos"  # at the top, or in a section; sections mean nothing
    gc_delay = "2days"  # durations and sizes are texts with their unit

    [containers]
    isolation = ["cgroups/cpu", "cgroups/mem", "filesystem/linux"]
    switch_user = true

    [resources]  # a flag, not a section: name:value pairs
    cpus = 8
    ports = "[31000-32000]"

    [executor_environment_variables]  # a flag, too: JSON
    TZ = "UTC"

A table with the name of a flag is the value of that flag. ``file:///path`` as a text means the
content of that file, as on the command line. Anything unknown or of another type is an error.

Source: TOML 1.0; what the values mean is that of ``base.flags``.
"""

from __future__ import annotations

import datetime
import difflib
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mesos_compat.base.errors import FlagError
from mesos_compat.base.flags import Flag, FlagKind, FlagSet, Setting

#: Longest file that is read.
MAX_BYTES = 1 << 20


def read_toml(
    path: str, flags: FlagSet, sections: Collection[str], excluded: Collection[str] = ()
) -> list[Setting]:
    """Return what the file at ``path`` sets. ``excluded`` are flags that can not stand in a file.

    Raises FlagError; its text names all that is wrong with the file, a line each.
    """
    reader = _Reader(path, flags, frozenset(sections), frozenset(excluded))
    for name, value in _document(path).items():
        if flags.named(name) is None and isinstance(value, dict):
            reader.section(name, value)
        else:
            reader.flag(name, value)
    if reader.problems:
        raise FlagError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    return list(reader.settings.values())


def _document(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FlagError(f"Failed to read --config '{path}': {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise FlagError(f"{path}: more than {MAX_BYTES} bytes are no configuration")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FlagError(f"{path}: it is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise FlagError(f"{path}: {error}") from error
    except RecursionError as error:
        raise FlagError(f"{path}: it is nested too deeply") from error


class _Reader:
    """What was found in one file, good and bad."""

    def __init__(
        self, path: str, flags: FlagSet, sections: frozenset[str], excluded: frozenset[str]
    ) -> None:
        self._path = path
        self._flags = flags
        self._sections = sections
        self._excluded = excluded
        self.settings: dict[str, Setting] = {}
        self.problems: list[str] = []

    def section(self, name: str, table: Mapping[str, Any]) -> None:
        """Take a table that is no flag."""
        if name not in self._sections:
            known = [*self._sections, *self._flags.flags]
            self.problems.append(f"unknown section [{name}]{_suggest(name, known)}")
            return
        for key, value in table.items():
            self.flag(key, value, f" in [{name}]")

    def flag(self, name: str, value: Any, where: str = "") -> None:
        """Take the value of a flag."""
        one = self._flags.named(name)
        if one is None:
            near = self._flags.nearest(name)
            hint = f"; did you mean '{near}'?" if near else ""
            self.problems.append(f"unknown flag '{name}'{where}{hint}")
        elif one.name in self._excluded:
            self.problems.append(f"'{name}'{where} can not be set in a file")
        elif one.name in self.settings:
            self.problems.append(f"'{name}'{where} stands there twice")
        else:
            try:
                text = _text(one, value)
            except ValueError as error:
                self.problems.append(f"'{name}'{where}: {error}")
                return
            self.settings[one.name] = Setting(name, text, self._path)


def _suggest(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean [{found[0]}]?" if found else ""


#: What a value is called in messages.
_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "an array",
    dict: "a table",
    datetime.datetime: "a date",
    datetime.date: "a date",
    datetime.time: "a time of day",
}


def _text(one: Flag[Any], value: Any) -> str:
    """Return the value as the command line would have it. Raises ValueError."""
    kind: FlagKind[Any] = one.kind
    expected = list(_expected(kind))
    if type(value) not in expected:
        wanted = " or ".join(_NAMES[each] for each in expected)
        raise ValueError(f"expecting {wanted}{_example(kind)}, not {_NAMES[type(value)]}")
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _ if kind.json and not (kind.pairs and isinstance(value, dict)):
            return _json(value)
        case dict():
            return ";".join(f"{name}:{_plain(name, each)}" for name, each in value.items())
        case _:
            return kind.separator.join(_item(each, kind.separator) for each in value)


def _expected(kind: FlagKind[Any]) -> Iterator[type]:
    """The types that a value can have."""
    if kind.boolean:
        yield bool
        return
    if kind.name in ("int", "port", "count"):
        yield int
        return
    if kind.name == "number":
        yield from (float, int)
        return
    if kind.pairs:
        yield dict
        if kind.json:
            yield list
    elif kind.json:
        yield from (dict, list)
    elif kind.separator:
        yield list
    yield str


def _example(kind: FlagKind[Any]) -> str:
    examples = {"duration": ' such as "15secs"', "bytes": ' such as "2GB"'}
    return examples.get(kind.name, "")


def _plain(name: str, value: Any) -> str:
    """One value of name:value pairs."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expecting a text or a number for '{name}', not {_NAMES[type(value)]}")
    text = value if isinstance(value, str) else repr(value)
    if ";" in name + text or ":" in name:
        raise ValueError(f"a semicolon or colon in '{name}' would begin another pair")
    return text


def _item(value: Any, separator: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"expecting texts in the array, not {_NAMES[type(value)]}")
    if separator in value:
        raise ValueError(f"'{value}' has a '{separator}' in it: make it two elements")
    return value


def _json(value: Any) -> str:
    def refuse(inner: Any) -> Any:
        raise ValueError(f"{_NAMES[type(inner)]} is nothing that JSON knows")

    return json.dumps(value, default=refuse, allow_nan=False)
