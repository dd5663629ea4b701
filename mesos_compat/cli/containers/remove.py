# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat rm``: forget containers and what they left."""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.target import ContainerTarget


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser(
        "rm", "Remove containers that have ended, with all that they left.", "-f web"
    )
    parser.add_argument("-f", "--force", action="store_true", help="kill those that run")
    parser.add_argument("container", nargs="+", help="name or id")
    options = parser.parse_args(argv)

    async def job(target: ContainerTarget) -> int:
        for each in options.container:
            await target.remove(each, force=options.force)
        return 0

    return common.perform(options, job)
