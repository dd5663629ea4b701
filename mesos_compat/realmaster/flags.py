# SPDX-License-Identifier: Apache-2.0
"""A mesos-master command line → the environment that its library reads. Pure.

The names of a version's flags, and which are boolean, come from the library's own usage text.
Source: stout's flags/flags.hpp for what is accepted and for the texts of refusals.
"""

import re
from collections.abc import Mapping, Sequence

from mesos_compat.base.errors import FlagError

#: Flags of the program mesos-master itself, not of the library: they become libprocess' address.
ADDRESS_FLAGS = {
    "ip": "LIBPROCESS_IP",
    "port": "LIBPROCESS_PORT",
    "advertise_ip": "LIBPROCESS_ADVERTISE_IP",
    "advertise_port": "LIBPROCESS_ADVERTISE_PORT",
}
DEFAULT_PORT = "5050"

#: What only an elected master could honour; this one always stands alone.
_REFUSED = {
    "zk": "leader election is not available: this master always stands alone",
    "ip_discovery_command": "is not supported, use --ip or --advertise_ip",
}
#: Deprecated names, which the usage text does not tell.
_ALIASES = {
    "authenticate": "authenticate_frameworks",
    "authenticate_slaves": "authenticate_agents",
    "max_slave_ping_timeouts": "max_agent_ping_timeouts",
    "recovery_slave_removal_limit": "recovery_agent_removal_limit",
    "slave_ping_timeout": "agent_ping_timeout",
    "slave_removal_rate_limit": "agent_removal_rate_limit",
    "slave_reregister_timeout": "agent_reregister_timeout",
}
#: Two spaces and the flag; the help text stands in a column of its own, far to the right.
_USAGE_LINE = re.compile(r"^  --(\[no-\])?([a-z0-9_]+)", re.MULTILINE)


def parse_usage(text: str) -> dict[str, bool]:
    """Return flag name → is boolean from a stout usage text."""
    return {name: bool(negatable) for negatable, name in _USAGE_LINE.findall(text)}


def parse_command_line(argv: Sequence[str], known: Mapping[str, bool]) -> dict[str, str]:
    """Return flag name → value. ``--x=y``, ``--x y``, ``--x`` and ``--no-x`` are understood.

    Raises FlagError with upstream's text for what mesos-master would refuse.
    """
    values: dict[str, str] = {}
    remaining = list(argv)
    while remaining:
        argument = remaining.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise FlagError(f"Unexpected argument '{argument}'")
        given, equals, value = argument[2:].partition("=")
        name, negated = _resolve(given, known)
        if known[name]:
            values[name] = _boolean(name, given, negated, value if equals else None)
        elif negated:
            raise FlagError(f"Failed to load non-boolean flag '{name}' via '{given}'")
        elif equals:
            values[name] = value
        elif remaining and not remaining[0].startswith("--"):
            values[name] = remaining.pop(0)
        else:
            raise FlagError(f"Failed to load non-boolean flag '{name}': Missing value")
        if name in _REFUSED:
            raise FlagError(f"--{name}: {_REFUSED[name]}")
    return values


def library_environment(
    values: Mapping[str, str], environ: Mapping[str, str], default_work_dir: str
) -> dict[str, str]:
    """Return the variables to set before the library is loaded; flags win over ``environ``."""
    variables: dict[str, str] = {"MESOS_NUM_SLAVES": "0"}
    for name, value in values.items():
        variables[ADDRESS_FLAGS.get(name, f"MESOS_{name.upper()}")] = value
    for name, variable in ADDRESS_FLAGS.items():
        inherited = environ.get(f"MESOS_{name.upper()}")
        if inherited and variable not in variables and variable not in environ:
            variables[variable] = inherited
    if "LIBPROCESS_PORT" not in variables and not environ.get("LIBPROCESS_PORT"):
        variables["LIBPROCESS_PORT"] = DEFAULT_PORT
    if "MESOS_WORK_DIR" not in variables and not environ.get("MESOS_WORK_DIR"):
        variables["MESOS_WORK_DIR"] = default_work_dir
    return variables


def _resolve(given: str, known: Mapping[str, bool]) -> tuple[str, bool]:
    """Return the flag that ``given`` means and whether it is meant as ``--no-<flag>``."""
    current = _ALIASES.get(given, given)
    if current in known:
        return current, False
    if given.startswith("no-"):
        name = given.removeprefix("no-")
        current = _ALIASES.get(name, name)
        if current in known:
            return current, True
        raise FlagError(f"Failed to load unknown flag '{name}' via '{given}'")
    raise FlagError(f"Failed to load unknown flag '{given}'")


def _boolean(name: str, given: str, negated: bool, value: str | None) -> str:
    if negated:
        if value is not None:
            raise FlagError(
                f"Failed to load boolean flag '{name}' via '{given}' with value '{value}'"
            )
        return "false"
    return value if value else "true"
