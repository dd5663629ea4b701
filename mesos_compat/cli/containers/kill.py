# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat kill``: send a signal to containers."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.target import ContainerTarget


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser("kill", "Send a signal to the commands of containers.", "-s TERM web")
    parser.add_argument(
        "-s", "--signal", default=signal.SIGKILL, type=_signal, help="KILL (default), TERM, 15, …"
    )
    parser.add_argument("container", nargs="+", help="name or id")
    options = parser.parse_args(argv)

    async def job(target: ContainerTarget) -> int:
        for each in options.container:
            await target.kill(each, options.signal)
        return 0

    return common.perform(options, job)


def _signal(text: str) -> int:
    return common.signal_number(text)


_signal.__name__ = "signal"
