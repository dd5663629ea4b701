# SPDX-License-Identifier: Apache-2.0
"""Arguments of the command executor.

Source: spec ``executors`` 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesos_compat.base.errors import WireError
from mesos_compat.base.flags import BOOL, STRING, Flag, FlagKind, FlagSet
from mesos_compat.executor.log import LEVELS
from mesos_compat.executor.task import TaskOptions
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

M = TypeVar("M", bound=Message)


def _json(message_type: type[M]) -> FlagKind[M]:
    return FlagKind("json", _parser(message_type), lambda m: jsonpb.print_message(m).decode())


def _parser(message_type: type[M]) -> Callable[[str], M]:
    def parse(text: str) -> M:
        try:
            return jsonpb.parse_message(message_type, text)
        except WireError as error:
            raise ValueError(str(error)) from None

    return parse


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}")
    return text


def _gids(text: str) -> tuple[int, ...]:
    found = []
    for word in text.split(","):
        if not (word.isascii() and word.isdigit()) or int(word) >= 1 << 32:
            raise ValueError(f"'{word}' is no group id")
        found.append(int(word))
    return tuple(found)


_COMMAND = _json(pb.CommandInfo)
_ENVIRONMENT = _json(pb.Environment)
_CAPABILITIES = _json(pb.CapabilityInfo)
_LAUNCH_INFO = _json(slave.ContainerLaunchInfo)
_GIDS = FlagKind("gids", _gids)
_LEVEL = FlagKind("level", _level)


_FLAGS = FlagSet(
    "mesos-executor",
    [
        Flag("help", BOOL, "Print this text and exit.", False),
        Flag("launcher_dir", STRING, "Folder of the agent's helper programs."),
        Flag("sandbox_directory", STRING, "The sandbox inside the task's root file system."),
        Flag("user", STRING, "User to run the task as."),
        Flag("rootfs", STRING, "Root file system of the task."),
        Flag("working_directory", STRING, "Where the task runs in its root file system."),
        Flag("task_command", _COMMAND, "Command to run instead of the task's."),
        Flag("task_environment", _ENVIRONMENT, "Environment for the task only."),
        Flag("bounding_capabilities", _CAPABILITIES, "Capabilities the task can ever have."),
        Flag("effective_capabilities", _CAPABILITIES, "Capabilities the task has at start."),
        Flag("task_launch_info", _LAUNCH_INFO, "Mounts, file operations and more of the task."),
        Flag("tty_slave_path", STRING, "Terminal that the task shares."),
        Flag("task_supplementary_groups", _GIDS, "More groups of the task, comma separated."),
        Flag("quiet", BOOL, "Show errors only.", False),
        Flag("logging_level", _LEVEL, "Show this and above: INFO, WARNING, ERROR.", "INFO"),
        Flag("log_dir", STRING, "Accepted; lines always go to stderr."),
        Flag("logbufsecs", STRING, "Accepted; lines are never held back."),
        Flag("external_log_file", STRING, "Accepted without effect."),
        Flag("initialize_driver_logging", BOOL, "Accepted without effect.", True),
    ],
)


@dataclass(frozen=True, slots=True)
class ExecutorFlags:
    """What the arguments say."""

    options: TaskOptions = field(default_factory=TaskOptions)
    logging_level: str = "INFO"
    quiet: bool = False
    #: The text to show instead of running.
    help: str | None = None


def parse_flags(arguments: list[str]) -> ExecutorFlags:
    """Read the arguments without the program's name. Raises FlagError."""
    loaded = _FLAGS.load(arguments)
    if loaded.values["help"]:
        return ExecutorFlags(help=_FLAGS.help())
    loaded.raise_error()
    given: dict[str, Any] = loaded.values
    options = TaskOptions(
        rootfs=given["rootfs"],
        sandbox_directory=given["sandbox_directory"],
        working_directory=given["working_directory"],
        user=given["user"],
        command=given["task_command"],
        environment=given["task_environment"],
        launch_info=given["task_launch_info"],
        effective_capabilities=given["effective_capabilities"],
        bounding_capabilities=given["bounding_capabilities"],
        supplementary_groups=given["task_supplementary_groups"] or (),
        tty=given["tty_slave_path"] is not None,
    )
    return ExecutorFlags(options, given["logging_level"], given["quiet"])
