# SPDX-License-Identifier: Apache-2.0
"""The command line of mesos-io-switchboard.

Source: spec ``containerizer`` 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesos_compat.base import units

_DEFAULT_HEARTBEAT_S = 30.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The command line. ``listen_fd`` and ``status_fd`` are our own agent's."""

    tty: bool
    stdin_to_fd: int
    stdout_from_fd: int
    stdout_to_fd: int
    stderr_from_fd: int
    stderr_to_fd: int
    socket_address: str
    wait_for_connection: bool
    heartbeat_interval_s: float
    #: A socket that listens already.
    listen_fd: int | None
    #: A file for the wait status, from which a later agent learns how we ended.
    status_fd: int | None


class SwitchboardUsageError(Exception):
    """The command line is unusable."""


def parse_options(arguments: Sequence[str]) -> ServerOptions | None:
    """Read the command line; ``None`` if help is wanted. Raises SwitchboardUsageError."""
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise SwitchboardUsageError(f"Failed to load unknown argument '{argument}'")
        if not equals and name.startswith("no-"):
            name, value = name.removeprefix("no-"), "false"
        given[name] = value if equals or value else "true"
    known = {*ServerOptions.__dataclass_fields__, "help"}
    known = {name.removesuffix("_s") for name in known}
    for name in given:
        if name not in known:
            raise SwitchboardUsageError(f"Failed to load unknown flag '{name}'")
    if _truth(given, "help", False):
        return None
    if "socket_address" not in given:
        raise SwitchboardUsageError("'--socket_address' is missing")
    try:
        text = given.get("heartbeat_interval")
        heartbeat_s = _DEFAULT_HEARTBEAT_S if text is None else units.parse_duration(text) / 1e9
    except ValueError as error:
        raise SwitchboardUsageError(
            f"Failed to load value of flag 'heartbeat_interval': {error}"
        ) from None
    return ServerOptions(
        tty=_truth(given, "tty", None),
        stdin_to_fd=_number(given, "stdin_to_fd"),
        stdout_from_fd=_number(given, "stdout_from_fd"),
        stdout_to_fd=_number(given, "stdout_to_fd"),
        stderr_from_fd=_number(given, "stderr_from_fd"),
        stderr_to_fd=_number(given, "stderr_to_fd"),
        socket_address=given["socket_address"],
        wait_for_connection=_truth(given, "wait_for_connection", False),
        heartbeat_interval_s=heartbeat_s,
        listen_fd=_number(given, "listen_fd") if "listen_fd" in given else None,
        status_fd=_number(given, "status_fd") if "status_fd" in given else None,
    )


def _truth(given: dict[str, str], name: str, default: bool | None) -> bool:
    value = given.get(name)
    if value is None:
        if default is None:
            raise SwitchboardUsageError(f"'--{name}' is missing")
        return default
    if value not in ("true", "1", "false", "0"):
        raise SwitchboardUsageError(f"Failed to load value '{value}' of flag '{name}'")
    return value in ("true", "1")


def _number(given: dict[str, str], name: str) -> int:
    value = given.get(name)
    if value is None:
        raise SwitchboardUsageError(f"'--{name}' is missing")
    if not (value.isascii() and value.isdigit()):
        raise SwitchboardUsageError(f"Failed to load value '{value}' of flag '{name}'")
    return int(value)
