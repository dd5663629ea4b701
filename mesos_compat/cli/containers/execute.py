# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat exec``: a command inside of a running container."""

from __future__ import annotations

import os
from collections.abc import Sequence

from containerizer.local.order import SessionOrder
from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.console import Console


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser(
        "exec",
        "Run a command in the namespaces and with the limits of a running container.",
        "-it web -- sh",
        "mesos-compat exec [OPTION ...] CONTAINER [--] COMMAND [ARGUMENT ...]",
    )
    add = parser.add_argument
    add("-i", "--interactive", action="store_true", help="give it our input")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("-e", "--env", metavar="NAME[=VALUE]", action="append", default=[])
    add("-w", "--workdir", metavar="DIR", help="where the command starts")
    add("-u", "--user", help="a user of this host")
    add("container", help="name or id")
    add("command", nargs="*", metavar="COMMAND")
    own, command = common.split(argv, parser, positionals=1)
    options = parser.parse_args(own)
    try:
        environment = dict(common.environment(options.env))
    except ValueError as error:
        parser.error(str(error))
    if options.tty:
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
    order = SessionOrder(tuple(command), environment, options.user, options.workdir)
    console = Console(interactive=options.interactive, terminal=options.tty)
    return common.perform(options, lambda target: target.execute(options.container, order, console))
