# SPDX-License-Identifier: Apache-2.0
"""Arguments of the command executor and of the default executor.

Read by hand and not through ``base.flags``: they are few, all but the logging ones come from an
agent, and each task pays for every page that is touched here.

Source: spec ``executors`` 5.2, 6.1; ``state-and-recovery`` 1.1, 1.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.executor.log import LEVELS
from mesos_compat.executor.task import TaskOptions
from mesos_compat.model import jsonpb
from mesos_compat.model.jsonpb import JsonObject

_BOOLEANS = {"true": True, "1": True, "": True, "false": False, "0": False}

#: Flags that are complete without a value, and what they mean.
_SWITCHES = {
    "help": "Print this text and exit.",
    "quiet": "Show errors only.",
    "initialize_driver_logging": "Accepted without effect.",
}

#: Flags with a value that all executors know.
_COMMON = {
    "external_log_file": "Accepted without effect.",
    "launcher_dir": "Folder of the agent's helper programs.",
    "log_dir": "Accepted; lines always go to stderr.",
    "logbufsecs": "Accepted; lines are never held back.",
    "logging_level": "Show this level and above: INFO, WARNING or ERROR.",
}
_COMMAND = {
    **_COMMON,
    "bounding_capabilities": "Capabilities that the task can ever have (JSON).",
    "effective_capabilities": "Capabilities that the task has at start (JSON).",
    "rootfs": "Root file system of the task.",
    "sandbox_directory": "Path of the sandbox inside the task's root file system.",
    "task_command": "Command to run instead of the task's (JSON).",
    "task_environment": "Environment for the task only (JSON).",
    "task_launch_info": "Mounts, file operations and the like for the task (JSON).",
    "task_supplementary_groups": "More group ids for the task, comma separated.",
    "tty_slave_path": "Terminal that the task shares.",
    "user": "User to run the task as.",
    "working_directory": "Working directory of the task inside its root file system.",
}


@dataclass(frozen=True, slots=True)
class ExecutorFlags:
    """What the arguments say."""

    options: TaskOptions = field(default_factory=TaskOptions)
    logging_level: str = "INFO"
    quiet: bool = False
    #: The text to show instead of running.
    help: str | None = None


def parse_flags(arguments: Iterable[str]) -> ExecutorFlags:
    """Read the arguments of a command executor without its name. Raises FlagError."""
    flags, given = _parse("mesos-executor", arguments, _COMMAND)
    options = TaskOptions(
        rootfs=given.get("rootfs"),
        sandbox_directory=given.get("sandbox_directory"),
        working_directory=given.get("working_directory"),
        user=given.get("user"),
        command=_document(given, "task_command"),
        environment=_document(given, "task_environment"),
        launch_info=_document(given, "task_launch_info"),
        effective_capabilities=_document(given, "effective_capabilities"),
        bounding_capabilities=_document(given, "bounding_capabilities"),
        supplementary_groups=_gids(given.get("task_supplementary_groups")),
        tty="tty_slave_path" in given,
    )
    return replace(flags, options=options)


def parse_default_flags(arguments: Iterable[str]) -> ExecutorFlags:
    """Read the arguments of a default executor without its name. Raises FlagError."""
    return _parse("mesos-default-executor", arguments, _COMMON)[0]


def _parse(
    program: str, arguments: Iterable[str], known: Mapping[str, str]
) -> tuple[ExecutorFlags, dict[str, str]]:
    switches: dict[str, bool] = {}
    given: dict[str, str] = {}
    for argument in arguments:
        word = argument.strip()
        if word == "--":
            break
        if word.startswith("--"):
            _load(word[2:], known, switches, given)
    if switches.get("help"):
        return ExecutorFlags(help=_usage(program, known)), {}
    level = given.get("logging_level", "INFO")
    if level not in LEVELS:
        raise FlagError(f"'{level}' is not a valid logging level")
    return ExecutorFlags(logging_level=level, quiet=switches.get("quiet", False)), given


def _usage(program: str, known: Mapping[str, str]) -> str:
    lines = [f"  --[no-]{name}\n      {text}" for name, text in _SWITCHES.items()]
    lines += [f"  --{name}=VALUE\n      {text}" for name, text in sorted(known.items())]
    return f"Usage: {program} [options]\n\n" + "\n".join(lines) + "\n"


def _load(
    word: str, known: Mapping[str, str], switches: dict[str, bool], given: dict[str, str]
) -> None:
    name, equals, value = word.partition("=")
    name = name.lower()
    negated = name.startswith("no-")
    bare = name[3:] if negated else name
    if bare not in _SWITCHES and bare not in known:
        raise FlagError(f"Failed to load unknown flag '{bare}'")
    if bare in switches or bare in given:
        raise FlagError(f"Flag '{bare}' is already loaded via name '{bare}'")
    if bare in _SWITCHES:
        if value not in _BOOLEANS or (negated and value):
            raise FlagError(f"Failed to load boolean flag '{bare}' with value '{value}'")
        switches[bare] = _BOOLEANS[value] != negated
    elif negated:
        raise FlagError(f"Failed to load non-boolean flag '{bare}' via '{name}'")
    elif not equals:
        raise FlagError(f"Failed to load non-boolean flag '{bare}': Missing value")
    else:
        given[bare] = value


def _document(given: dict[str, str], name: str) -> JsonObject | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        document = jsonpb.loads(text)
        if not isinstance(document, dict):
            raise WireError("Expecting a JSON object")
    except WireError as error:
        raise FlagError(f"Failed to load flag '{name}': {error}") from error
    return document


def _gids(text: str | None) -> tuple[int, ...]:
    found = []
    for word in text.split(",") if text else ():
        if not (word.isascii() and word.isdigit()) or int(word) >= 1 << 32:
            raise FlagError(
                f"Failed to load flag 'task_supplementary_groups': '{word}' is no group id"
            )
        found.append(int(word))
    return tuple(found)
