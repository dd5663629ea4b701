# SPDX-License-Identifier: Apache-2.0
"""The flags of ``mesos-containerizer launch``, as any agent passes them.

Source: spec ``containerizer`` 8.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from containerizer.init.failure import LaunchFailure, failure
from containerizer.init.spec import LaunchSpec

USAGE = """\
Usage: mesos-containerizer launch [options]

  --[no-]help                   Prints this help message (default: false)
  --launch_info=VALUE           The ContainerLaunchInfo in JSON, or file://path to it
  --namespace_mnt_target=VALUE  Pid of the process whose mount namespace to enter
  --pipe_read=VALUE             Read end of the control pipe
  --pipe_write=VALUE            Write end of the control pipe
  --runtime_directory=VALUE     Directory of the status file; without it there is no init
  --[no-]unshare_namespace_mnt  Whether to make a new mount namespace (default: false)"""

_PREFIX = "MESOS_CONTAINERIZER_"
_BOOLEANS = frozenset({"unshare_namespace_mnt", "help"})
_NAMES = _BOOLEANS | {
    "launch_info",
    "pipe_read",
    "pipe_write",
    "runtime_directory",
    "namespace_mnt_target",
}


@dataclass(frozen=True, slots=True)
class LaunchFlags:
    """The values of one call."""

    launch_info: str | None
    pipe_read: int | None
    pipe_write: int | None
    runtime_directory: str | None
    namespace_mnt_target: int | None
    unshare_namespace_mnt: bool
    help: bool

    @classmethod
    def read(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> LaunchFlags:
        """Read flags; arguments go before the environment. Raises LaunchFailure."""
        values = {name: environ.get(_PREFIX + name.upper()) for name in _NAMES}
        for argument in arguments:
            name, value = _argument(argument)
            values[name] = value
        read, write = _integer(values, "pipe_read"), _integer(values, "pipe_write")
        if (read is None) != (write is None):
            raise LaunchFailure(
                "Flag --pipe_read and --pipe_write should either be both set or not set"
            )
        return cls(
            launch_info=values["launch_info"],
            pipe_read=read,
            pipe_write=write,
            runtime_directory=values["runtime_directory"],
            namespace_mnt_target=_integer(values, "namespace_mnt_target"),
            unshare_namespace_mnt=_boolean(values, "unshare_namespace_mnt"),
            help=_boolean(values, "help"),
        )

    def spec(self) -> LaunchSpec:
        """Read the launch info, from the flag or the file that it names."""
        value = self.launch_info
        if value is None:
            raise LaunchFailure("Flag --launch_info is not specified")
        if not value.startswith("file://"):
            return LaunchSpec.from_json(value)
        path = value.removeprefix("file://")
        try:
            with open(path, "rb") as file:
                return LaunchSpec.from_json(file.read())
        except OSError as error:
            raise failure(f"Error reading file '{path}'", error) from error


def _argument(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    name = name.removeprefix("--")
    positive = name.removeprefix("no-")
    if not equals and positive in _BOOLEANS:
        name, value = positive, "true" if positive == name else "false"
    if not argument.startswith("--") or name not in _NAMES:
        raise LaunchFailure(f"Failed to load unknown flag '{name}'")
    if not equals and name not in _BOOLEANS:
        raise LaunchFailure(f"Failed to load non-boolean flag '{name}': Missing value")
    return name, value


def _integer(values: Mapping[str, str | None], name: str) -> int | None:
    value = values[name]
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise LaunchFailure(f"Failed to load flag '{name}': not a number: '{value}'") from None


def _boolean(values: Mapping[str, str | None], name: str) -> bool:
    value = values[name]
    if value in ("true", "1"):
        return True
    if value in (None, "false", "0"):
        return False
    raise LaunchFailure(f"Failed to load flag '{name}': Expecting a boolean: '{value}'")
