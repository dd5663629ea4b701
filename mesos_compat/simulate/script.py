# SPDX-License-Identifier: Apache-2.0
"""How simulated tasks behave: states and delays, failures, kills. Pure.

A script is a list of states, each with the time that passes before it::

    TASK_STARTING:0,TASK_RUNNING:10ms,TASK_FINISHED:1s..5s

The prefix may be left out; a range draws a time for each task. ``EXIT`` ends the executor without
a word. After the last state the task stays as it is; it is over if that state is terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Final

from mesos_compat.agent.machine.state import TERMINAL
from mesos_compat.base.errors import MesosCompatError
from mesos_compat.base.units import parse_duration
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: The pseudo state at which the executor ends.
EXIT: Final = -1
#: The states that a script may name: those that the executors of Mesos send.
_STATES: Final = {
    **{
        pb.TaskState.Name(state).removeprefix("TASK_"): int(state)
        for state in (
            pb.TASK_STARTING,
            pb.TASK_RUNNING,
            pb.TASK_FINISHED,
            pb.TASK_FAILED,
            pb.TASK_KILLED,
            pb.TASK_LOST,
            pb.TASK_ERROR,
        )
    },
    "EXIT": EXIT,
}
_LAST: Final = frozenset({*map(int, TERMINAL), EXIT})
_MAX_STEPS: Final = 100
_SHORT_UNITS: Final = {"s": "secs", "m": "mins", "h": "hrs"}
_DURATION = re.compile(r"([0-9.]+)([a-z]*)", re.ASCII)
#: Labels of a task that say how it behaves.
SCRIPT_LABEL: Final = "simulate.script"
FAIL_LABEL: Final = "simulate.fail"
KILL_LABEL: Final = "simulate.kill"
#: A command of this word and a script does as its label would.
COMMAND: Final = "simulate"
NEVER: Final = "never"


class ScriptError(MesosCompatError):
    """A script, a time or a probability is unusable; the text says why."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A time that is drawn from a range."""

    low_s: float
    high_s: float

    @classmethod
    def parse(cls, text: str) -> Delay:
        """Read ``10ms``, ``1.5s`` or ``1s..5s``. Raises ScriptError."""
        low, dots, high = text.strip().partition("..")
        low_s = _seconds(low)
        made = cls(low_s, _seconds(high) if dots else low_s)
        if made.high_s < made.low_s:
            raise ScriptError(f"'{text}' ends before it begins")
        return made

    def draw(self, random: Random) -> float:
        """Return seconds."""
        return self.low_s if self.low_s == self.high_s else random.uniform(self.low_s, self.high_s)


@dataclass(frozen=True, slots=True)
class Step:
    """A state, and the time that passes before it."""

    state: int
    delay: Delay

    @property
    def last(self) -> bool:
        """Whether nothing can follow."""
        return self.state in _LAST


@dataclass(frozen=True, slots=True)
class Script:
    """The states of a task in their order."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Script:
        """Read a script. Raises ScriptError."""
        made = tuple(_step(part) for part in text.split(",") if part.strip())
        if not made or len(made) > _MAX_STEPS:
            raise ScriptError(f"'{text}' has {len(made)} states instead of 1 to {_MAX_STEPS}")
        for step in made[:-1]:
            if step.last:
                raise ScriptError(f"'{text}' goes on after {_name(step.state)}")
        return cls(made)


def _step(text: str) -> Step:
    name, colon, delay = text.strip().partition(":")
    state = _STATES.get(name.strip().upper().removeprefix("TASK_"))
    if state is None:
        raise ScriptError(f"'{name}' is none of the states {', '.join(_STATES)}")
    return Step(state, Delay.parse(delay if colon else "0"))


def _name(state: int) -> str:
    return next(name for name, value in _STATES.items() if value == state)


def _seconds(text: str) -> float:
    text = text.strip()
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ScriptError(f"'{text}' is no time such as 10ms, 1.5s or 1s..5s")
    number, unit = match.groups()
    if not unit:
        if number.strip("0.") == "":
            return 0.0
        raise ScriptError(f"'{text}' has no unit: ms, s, m or h")
    try:
        return parse_duration(number + _SHORT_UNITS.get(unit, unit)) / 1e9
    except ValueError as error:
        raise ScriptError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a task does."""

    script: Script
    #: The share of tasks that fail where the script would let them end.
    fail: float = 0.0
    #: How long a task takes to die; ``None``: it does not.
    kill: Delay | None = Delay(0.0, 0.0)

    def play(self, random: Random) -> list[tuple[int, float]]:
        """Draw the states of one task, and the seconds before each."""
        played = [(step.state, step.delay.draw(random)) for step in self.script.steps]
        if random.random() < self.fail and self.script.steps[-1].last:
            played[-1] = (int(pb.TASK_FAILED), played[-1][1])
        return played


DEFAULT: Final = Behaviour(Script.parse("TASK_STARTING:0,TASK_RUNNING:10ms,TASK_FINISHED:1s"))


@dataclass(frozen=True, slots=True)
class TaskRule:
    """The behaviour of tasks whose name and command match these patterns of shells."""

    behaviour: Behaviour
    name: str = "*"
    command: str = "*"

    def fits(self, name: str, command: str) -> bool:
        """Whether a task behaves so."""
        return fnmatchcase(name, self.name) and fnmatchcase(command, self.command)


@dataclass(frozen=True, slots=True)
class Rules:
    """The behaviour of all tasks: the first rule that fits, changed by what the task says."""

    default: Behaviour = DEFAULT
    rules: tuple[TaskRule, ...] = ()

    def behaviour(self, name: str, command: str, labels: dict[str, str]) -> Behaviour:
        """Return what a task does. Raises ScriptError if what it says is unusable."""
        made = next((r.behaviour for r in self.rules if r.fits(name, command)), self.default)
        word, _, rest = command.strip().partition(" ")
        if word == COMMAND and rest.strip():
            made = replace(made, script=Script.parse(rest))
        if SCRIPT_LABEL in labels:
            made = replace(made, script=Script.parse(labels[SCRIPT_LABEL]))
        if FAIL_LABEL in labels:
            made = replace(made, fail=parse_share(labels[FAIL_LABEL]))
        if KILL_LABEL in labels:
            made = replace(made, kill=parse_kill(labels[KILL_LABEL]))
        return made


def parse_share(text: str) -> float:
    """Read a number from 0 to 1. Raises ScriptError."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ScriptError(f"'{text}' is no number from 0 to 1")
    return share


def parse_kill(text: str) -> Delay | None:
    """Read a time, or ``never``. Raises ScriptError."""
    return None if text.strip() == NEVER else Delay.parse(text)
