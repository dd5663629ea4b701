# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat``: one command with sub-commands, each imported only when it is asked for."""

import difflib
import importlib
import sys
from collections.abc import Sequence

#: Sub-command → module with ``main(argv) -> int``, and what it is for.
COMMANDS = {
    "agent": ("mesos_compat.cli.agent", "run an agent (the same as mesos-agent)"),
    "doctor": ("mesos_compat.cli.doctor", "say what this host can do, and what is missing"),
    "systemd-unit": ("mesos_compat.cli.systemd_unit", "print a systemd unit that runs an agent"),
    "execute": ("mesos_compat.cli.execute", "run one task and wait for it (mesos-execute)"),
    "master": ("mesos_compat.cli.master", "run a real Mesos master, downloaded from PyPI"),
    "cluster": ("mesos_compat.cli.cluster", "start, show or stop a master and agents of your own"),
    "simulate": ("mesos_compat.cli.simulate", "register many agents that only play their tasks"),
    "run": ("mesos_compat.cli.containers.run", "run a command in a container, without a master"),
    "exec": ("mesos_compat.cli.containers.execute", "run a command in a running container"),
    "ps": ("mesos_compat.cli.containers.ps", "list containers"),
    "logs": ("mesos_compat.cli.containers.logs", "show the output of a container"),
    "inspect": ("mesos_compat.cli.containers.inspect", "show all about containers, as JSON"),
    "kill": ("mesos_compat.cli.containers.kill", "send a signal to containers"),
    "rm": ("mesos_compat.cli.containers.remove", "remove containers that have ended"),
    "top": ("mesos_compat.cli.containers.top", "show what containers use"),
    "image": ("mesos_compat.cli.images.command", "list, pull, load and remove images"),
    "pymesos": ("mesos_compat.cli.pymesos", "install pymesos so that it works on this Python"),
}


#: First command → its heading; the others follow.
_HEADINGS = {
    "agent": "Agents and tasks",
    "master": "Clusters to try things with",
    "run": "Containers and images without a master",
    "pymesos": "Frameworks",
}


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    lines = []
    for name, (_, purpose) in COMMANDS.items():
        if name in _HEADINGS:
            lines += ["", f"{_HEADINGS[name]}:"]
        lines.append(f"  {name:<{width}}  {purpose}")
    return (
        "usage: mesos-compat COMMAND [argument ...]\n"
        "       mesos-compat --version\n\n"
        "An Apache Mesos agent and its executors in Python, and tools to try them.\n"
        + "\n".join(lines)
        + "\n\n`mesos-compat COMMAND --help` tells more."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command that ``argv`` names; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case []:
            print(usage(), file=sys.stderr)
            return 2
        case ["--help" | "-h" | "help", *_]:
            print(usage())
            return 0
        case ["--version", *_]:
            from importlib.metadata import version

            print(f"mesos-compat {version('mesos-compat')}")
            return 0
        case [name, *rest] if name in COMMANDS:
            result = importlib.import_module(COMMANDS[name][0]).main(rest)
            return result if isinstance(result, int) else 0
        case [name, *_]:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            print(f"mesos-compat: unknown command '{name}'{hint}\n\n{usage()}", file=sys.stderr)
            return 2
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    sys.exit(main())
