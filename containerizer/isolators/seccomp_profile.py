# SPDX-License-Identifier: Apache-2.0
"""Seccomp profiles as Docker writes them → ``linux.seccomp.Profile``.

Source: spec ``isolators-resources`` 13.
Deviation: what today's profiles of Docker have is understood (``errnoRet``, ``defaultErrnoRet``,
``minKernel``, ``architectures``, keys left out where they say nothing); a name that libseccomp does
not know yet is left out of rules that allow something. Upstream refuses or ignores these.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from containerizer.linux import seccomp
from containerizer.linux.caps import NAMES, NUMBERS
from containerizer.linux.seccomp import (
    ACTIONS,
    ARCHITECTURES,
    MAX_ARGUMENTS,
    MAX_ERRNO,
    OPERATORS,
    Comparison,
    Profile,
    Rule,
    SeccompError,
)
from mesos_compat.model.jsonpb import from_value
from mesos_compat.pb.mesos.seccomp import seccomp_pb2 as pb

log = logging.getLogger(__name__)

#: Architectures as Docker calls them in rules, where that is not libseccomp's name.
_DOCKER: Final[Mapping[str, str]] = {"amd64": "x86_64", "arm64": "aarch64"}
#: Architectures that profiles know and upstream does not; we run on none of them.
_LATER: Final = frozenset({"loong64", "parisc", "parisc64", "riscv64"})
_KERNEL: Final = re.compile(r"(\d+)\.(\d+)")
_EVERYTHING: Final = (1 << len(NAMES)) - 1
_SYSCALLS: Final = "syscalls"
_MISSING: Final = object()


def parse(text: bytes | str) -> Profile:
    """Read a profile and see whether it can be translated. Raises SeccompError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SeccompError(f"Failed to parse JSON: {error}") from error
    if not isinstance(document, dict):
        raise SeccompError("The profile is not a JSON object")
    default = _action(_of_profile(document, "defaultAction", str))
    profile = Profile(
        default_action=default,
        default_errno=_errno(document, "defaultErrnoRet"),
        architectures=_architectures(document),
        rules=tuple(_rules(_of_profile(document, _SYSCALLS, list), default)),
    )
    # No container has both of what rules say for and against one capability.
    for bounding in (_EVERYTHING, 0):
        seccomp.translate(profile, bounding)
    return profile


def message(profile: Profile) -> pb.ContainerSeccompProfile:
    """Return the message, which has no errno: whoever reads it gets EPERM."""
    return from_value(
        pb.ContainerSeccompProfile,
        {
            "default_action": profile.default_action,
            "architectures": list(profile.architectures),
            "syscalls": [_rule_value(rule) for rule in profile.rules],
        },
    )


def _rule_value(rule: Rule) -> dict[str, Any]:
    made: dict[str, Any] = {
        "names": list(rule.names),
        "action": rule.action,
        "args": [
            {"index": c.index, "op": c.operator, "value": c.value, "value_two": c.value_two}
            for c in rule.arguments
        ],
    }
    for field, mask in (("includes", rule.includes), ("excludes", rule.excludes)):
        if mask:
            made[field] = {"capabilities": [n for n in NAMES if mask >> NUMBERS[n] & 1]}
    return made


# Fields. Texts are upstream's where the specification has them.


def _of_profile(document: Mapping[str, Any], key: str, kind: type) -> Any:
    return _field(document, key, kind, "for the Seccomp configuration")


def _of_rule(document: Mapping[str, Any], key: str, kind: type, default: Any = _MISSING) -> Any:
    return _field(document, key, kind, f"field for '{_SYSCALLS}' item", default)


def _field(
    document: Mapping[str, Any], key: str, kind: type, where: str, default: Any = _MISSING
) -> Any:
    value = document.get(key, default)
    if value is _MISSING:
        raise SeccompError(f"Cannot determine '{key}' {where}: Not found")
    if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
        raise SeccompError(f"Cannot determine '{key}' {where}: Found JSON value of wrong type")
    return value


def _action(text: str) -> str:
    if not text.startswith("SCMP_"):
        raise SeccompError(f"Unexpected syscall action: '{text}'")
    name = text.removeprefix("SCMP_")
    if name not in ACTIONS:
        raise SeccompError(f"Unknown syscall action: '{text}'")
    return name


def _errno(document: Mapping[str, Any], key: str) -> int:
    number = document.get(key)
    if number is None:
        return errno.EPERM
    return _number(number, key, MAX_ERRNO)


def _number(value: Any, key: str, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SeccompError(f"'{key}' is not a whole number")
    if not 0 <= value <= most:
        raise SeccompError(f"'{key}' is out of range: {value}")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise SeccompError(f"'{key}' has something that is not a string")
    return value


def _texts(document: Mapping[str, Any], key: str) -> list[str]:
    values = document.get(key)
    if values is None:
        return []
    if not isinstance(values, list):
        raise SeccompError(f"'{key}' is not an array")
    return [_text(value, key) for value in values]


def _architectures(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what programs of other architectures may be of, this machine's own last."""
    if "archMap" not in document and "architectures" in document:
        return tuple(
            architecture
            for text in _texts(document, "architectures")
            if (architecture := _architecture(text)) is not None
        )
    native = seccomp.native_architecture()
    for entry in _of_profile(document, "archMap", list):
        if not isinstance(entry, dict):
            raise SeccompError("'archMap' has something that is not an object")
        architecture = _architecture(_field(entry, "architecture", str, "field for 'archMap' item"))
        if architecture != native:
            continue
        _field(entry, "subArchitectures", list, "field for 'archMap' item")
        others = map(_architecture, _texts(entry, "subArchitectures"))
        return (*(other for other in others if other is not None), native)
    return ()


def _architecture(text: str) -> str | None:
    """Return an architecture; ``None`` for one that no machine of ours is of."""
    name = text.removeprefix("SCMP_")
    if name.startswith("ARCH_"):
        if name in ARCHITECTURES:
            return name
        if name.removeprefix("ARCH_").lower() in _LATER | {"loongarch64"}:
            return None
    raise SeccompError(f"Unknown architecture: '{text}'")


def _rules(items: list[Any], default: str) -> list[Rule]:
    rules = []
    native = seccomp.native_architecture()
    for item in items:
        if not isinstance(item, dict):
            raise SeccompError(f"'{_SYSCALLS}' has something that is not an object")
        rule = _rule(item, default)
        if rule.names and _is_for(item, native):
            rules.append(rule)
    return rules


def _rule(item: Mapping[str, Any], default: str) -> Rule:
    action = _action(_of_rule(item, "action", str))
    return Rule(
        names=_names(item, allows=action == "ACT_ALLOW" != default),
        action=action,
        arguments=_comparisons(item),
        errno=_errno(item, "errnoRet"),
        includes=_capabilities(item, "includes"),
        excludes=_capabilities(item, "excludes"),
    )


def _names(item: Mapping[str, Any], allows: bool) -> tuple[str, ...]:
    _of_rule(item, "names", list)
    names = _texts(item, "names")
    if not names:
        raise SeccompError(f"Syscall names list is empty for '{_SYSCALLS}' item")
    unknown = [name for name in names if not seccomp.is_syscall(name)]
    if unknown and not allows:
        raise SeccompError(f"Unrecognized syscall '{unknown[0]}'")
    if unknown:
        log.warning(
            "System calls that libseccomp does not know stay forbidden: %s", ", ".join(unknown)
        )
    return tuple(name for name in dict.fromkeys(names) if name not in unknown)


def _comparisons(item: Mapping[str, Any]) -> tuple[Comparison, ...]:
    made = []
    for argument in _of_rule(item, "args", list, None) or ():
        if not isinstance(argument, dict):
            raise SeccompError("'args' has something that is not an object")
        where = "field for 'args' item"
        operator = _field(argument, "op", str, where)
        if not operator.startswith("SCMP_") or operator.removeprefix("SCMP_") not in OPERATORS:
            raise SeccompError(f"Unknown syscall argument operator: '{operator}'")
        made.append(
            Comparison(
                _number(_field(argument, "index", object, where), "index", MAX_ARGUMENTS - 1),
                operator.removeprefix("SCMP_"),
                _number(_field(argument, "value", object, where), "value", (1 << 64) - 1),
                _number(argument.get("valueTwo", 0), "valueTwo", (1 << 64) - 1),
            )
        )
    return tuple(made)


def _filter(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _of_rule(item, key, dict, None) or {}
    return found


def _capabilities(item: Mapping[str, Any], key: str) -> int:
    mask = 0
    for text in _texts(_filter(item, key), "caps"):
        if not text.startswith("CAP_"):
            raise SeccompError(f"Unexpected capability: '{text}'")
        name = text.removeprefix("CAP_")
        if name not in NUMBERS:
            raise SeccompError(f"Unknown capability: '{text}'")
        mask |= 1 << NUMBERS[name]
    return mask


def _is_for(item: Mapping[str, Any], native: str) -> bool:
    """Whether architectures and kernel are those of this machine."""
    includes, excludes = _filter(item, "includes"), _filter(item, "excludes")
    wanted, unwanted = _docker_names(includes), _docker_names(excludes)
    if (wanted and native not in wanted) or native in unwanted:
        return False
    if (least := includes.get("minKernel")) is not None and _kernel() < _version(least):
        return False
    least = excludes.get("minKernel")
    return least is None or _kernel() < _version(least)


def _docker_names(conditions: Mapping[str, Any]) -> list[str]:
    made = []
    for text in _texts(conditions, "arches"):
        name = f"ARCH_{_DOCKER.get(text, text).upper()}"
        if text not in _LATER and (name not in ARCHITECTURES or text in _DOCKER.values()):
            raise SeccompError(f"Unknown architecture: '{text}'")
        made.append(name)
    return made


def _version(text: Any) -> tuple[int, int]:
    match = _KERNEL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise SeccompError(f"'minKernel' is not a version: {text!r}")
    return int(match[1]), int(match[2])


def _kernel() -> tuple[int, int]:
    match = _KERNEL.match(os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
