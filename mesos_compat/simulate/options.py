# SPDX-License-Identifier: Apache-2.0
"""What a simulation is made of: from flags, and from a TOML file of the same names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from mesos_compat.base.errors import FlagError
from mesos_compat.simulate.front import DEFAULT_IP
from mesos_compat.simulate.script import (
    Behaviour,
    Delay,
    Rules,
    Script,
    ScriptError,
    TaskRule,
    parse_kill,
    parse_share,
)

MAX_AGENTS: Final = 20_000
CUT, CRASH, REPLACE = "cut", "crash", "replace"
#: What may happen to an agent: its network breaks, its host loses power, or its host is replaced.
FAULTS: Final = (CUT, CRASH, REPLACE)
_AWAY: Final = Delay(10.0, 60.0)
_INDEX = re.compile(r"\{(index|ip)(?:([%/])([0-9]{1,9}))?\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Faults:
    """Agents that vanish and come back."""

    #: How many vanish in a minute, of all together; at random times.
    per_minute: float = 0.0
    kinds: tuple[str, ...] = (CUT,)
    #: How long each stays away.
    away: Delay = _AWAY


@dataclass(frozen=True, slots=True)
class Options:
    """All of a simulation but its master."""

    agents: int = 1000
    #: As of ``--resources``, for each agent. ``{index}`` is the agent's number from 1 on,
    #: ``{index%N}`` and ``{index/N}`` remainder and quotient, ``{ip}`` its address.
    resources: str = "cpus:8;mem:32768;disk:102400;ports:[31000-32000]"
    attributes: str = "index:{index};rack:r{index/20}"
    hostname: str = "{ip}"
    #: First address if it is one of 127.0.0.0/8, else the address of all.
    ip: str = DEFAULT_IP
    #: Of all agents, or of the first; 0: any free one.
    port: int = 0
    seed: str = "0"
    #: How many agents start in a second.
    start_rate: float = 500.0
    rules: Rules = field(default_factory=Rules)
    faults: Faults = field(default_factory=Faults)
    #: Further flags of the agent.
    agent_flags: tuple[str, ...] = ()


def fill(template: str, index: int, ip: str) -> str:
    """Put an agent's number and address into a text."""

    def value(match: re.Match[str]) -> str:
        name, operator, operand = match.groups()
        if name == "ip":
            return ip
        if operator is None:
            return str(index)
        number = int(operand)
        if number == 0:
            raise FlagError(f"'{match.group()}' divides by zero")
        return str(index % number if operator == "%" else index // number)

    return _INDEX.sub(value, template)


def load(path: str) -> dict[str, Any]:
    """Read the values of a TOML file. Raises FlagError."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise FlagError(f"Failed to read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FlagError(f"{path} is no TOML: {error}") from error


def make_options(values: Mapping[str, Any], agent_flags: tuple[str, ...] = ()) -> Options:
    """Make options of values by name, as a file or flags give them. Raises FlagError.

    Names are those of Options, and ``script``, ``fail`` and ``kill`` of tasks that no rule fits,
    ``rule`` (a list of tables) and ``faults`` (a table).
    """
    rest = dict(values)
    made = Options(agent_flags=agent_flags)
    try:
        default = _behaviour(rest, Rules().default)
        rules = tuple(_rule(table, default) for table in _tables(rest.pop("rule", [])))
        made = replace(
            made, rules=Rules(default, rules), faults=_faults(_table(rest.pop("faults", {})))
        )
    except ScriptError as error:
        raise FlagError(str(error)) from error
    plain = {each.name: getattr(made, each.name) for each in fields(Options)}
    for name, value in rest.items():
        if name not in plain or not isinstance(plain[name], (int, float, str)):
            raise FlagError(f"There is no option '{name}' of a simulation")
        made = replace(made, **{name: _like(plain[name], name, value)})
    if not 1 <= made.agents <= MAX_AGENTS:
        raise FlagError(f"{made.agents} agents: 1 to {MAX_AGENTS} are possible")
    if not 0 <= made.port <= 0xFFFF or made.start_rate <= 0:
        raise FlagError("port or start_rate is out of range")
    fill(made.resources + made.attributes + made.hostname, 1, "")
    return made


def _behaviour(rest: dict[str, Any], base: Behaviour) -> Behaviour:
    if "script" in rest:
        base = replace(base, script=Script.parse(_text(rest, "script")))
    if "fail" in rest:
        base = replace(base, fail=parse_share(str(rest.pop("fail"))))
    if "kill" in rest:
        base = replace(base, kill=parse_kill(_text(rest, "kill")))
    return base


def _rule(table: dict[str, Any], default: Behaviour) -> TaskRule:
    behaviour = _behaviour(table, default)
    name = _text(table, "name") if "name" in table else "*"
    command = _text(table, "command") if "command" in table else "*"
    _nothing_else(table, "rule")
    return TaskRule(behaviour, name, command)


def _faults(table: dict[str, Any]) -> Faults:
    made = Faults()
    if "per_minute" in table:
        made = replace(made, per_minute=_like(0.0, "per_minute", table.pop("per_minute")))
    if "away" in table:
        made = replace(made, away=Delay.parse(_text(table, "away")))
    kinds = table.pop("kinds", list(made.kinds))
    if isinstance(kinds, str):
        kinds = kinds.split(",")
    if not kinds or not set(kinds) <= set(FAULTS):
        raise FlagError(f"kinds of faults are {', '.join(FAULTS)}, not {kinds}")
    if made.per_minute < 0:
        raise FlagError("per_minute of faults is below zero")
    _nothing_else(table, "faults")
    return replace(made, kinds=tuple(kinds))


def _text(table: dict[str, Any], name: str) -> str:
    value = table.pop(name)
    if not isinstance(value, str):
        raise FlagError(f"'{name}' is {value!r} and no text")
    return value


def _like(pattern: Any, name: str, value: Any) -> Any:
    """Check that a value is of the type of another."""
    if isinstance(pattern, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if name == "seed":
        value = str(value)
    if type(value) is not type(pattern):
        raise FlagError(f"'{name}' is {value!r} and no {type(pattern).__name__}")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FlagError(f"{value!r} is no table")
    return dict(value)


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise FlagError("'rule' is written as [[rule]]")
    return [_table(each) for each in value]


def _nothing_else(table: dict[str, Any], name: str) -> None:
    if table:
        raise FlagError(f"There is no '{min(table)}' in {name}")
