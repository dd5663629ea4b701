# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat ps``: which containers there are."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.table import age, table
from mesos_compat.cli.containers.target import ContainerTarget

_HEADER = ("ID", "NAME", "IMAGE", "COMMAND", "STATE", "PID", "AGE")


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser("ps", "List containers.", "-a")
    parser.add_argument("-a", "--all", action="store_true", help="those that have ended, too")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-q", "--quiet", action="store_true", help="ids only")
    form.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)

    async def job(target: ContainerTarget) -> int:
        rows = [row for row in await target.rows() if options.all or row.pid is not None]
        if options.json:
            print(json.dumps([asdict(row) for row in rows], indent=1))
        elif options.quiet:
            print("".join(f"{row.id}\n" for row in rows), end="")
        else:
            now = time.time()
            cells = [
                (
                    row.id,
                    row.name,
                    row.image or "-",
                    row.command or "-",
                    row.state,
                    str(row.pid or "-"),
                    age(None if row.created_s is None else now - row.created_s),
                )
                for row in rows
            ]
            print("\n".join(table(_HEADER, cells)))
        return 0

    return common.perform(options, job)
