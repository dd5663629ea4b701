# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat inspect``: all that is known of containers, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.target import ContainerTarget


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser("inspect", "Show all that is known of containers, as JSON.", "web")
    parser.add_argument("container", nargs="+", help="name or id")
    options = parser.parse_args(argv)

    async def job(target: ContainerTarget) -> int:
        shown = [await target.inspect(each) for each in options.container]
        print(json.dumps(shown, indent=1))
        return 0

    return common.perform(options, job)
