# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat logs``: the output of a container that was kept."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence

from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.console import write
from mesos_compat.cli.containers.target import ContainerTarget, LogSource

_PIECE = 64 << 10
_POLL_S = 0.2
#: Name → our descriptor.
STREAMS: Mapping[str, int] = {"stdout": 1, "stderr": 2}


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser(
        "logs", "Show the output of a container: stdout and stderr as such.", "-f --tail 10 web"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("--tail", metavar="N", type=_count, help="the last N lines of each only")
    only = parser.add_mutually_exclusive_group()
    for name in STREAMS:
        only.add_argument(f"--{name}", action="store_true", help=f"{name} only")
    parser.add_argument("container", help="name or id")
    options = parser.parse_args(argv)
    return common.perform(options, lambda target: _show(target, options))


async def _show(target: ContainerTarget, options: argparse.Namespace) -> int:
    source = await target.logs(options.container)
    chosen = {name: fd for name, fd in STREAMS.items() if getattr(options, name)}
    await follow(source, chosen or STREAMS, options.tail, to_the_end=options.follow)
    return 0


async def follow(
    source: LogSource, streams: Mapping[str, int], tail: int | None, *, to_the_end: bool = True
) -> None:
    """Write ``streams`` (name → descriptor), from the last ``tail`` lines if it is given."""
    offsets = {
        name: 0 if tail is None else await start_of_tail(source, name, tail) for name in streams
    }
    while True:
        # Asked before the last look, so nothing is missed.
        running = to_the_end and await source.running()
        for name, fd in streams.items():
            while piece := await source.read(name, offsets[name], _PIECE):
                offsets[name] += len(piece)
                write(fd, piece)
        if not running:
            return
        await asyncio.sleep(_POLL_S)


async def start_of_tail(source: LogSource, stream: str, lines: int) -> int:
    """Return the offset of the last ``lines`` lines; one without an end counts, too."""
    end = await source.size(stream)
    if not end or not lines:
        return end
    if await source.read(stream, end - 1, 1) != b"\n":
        lines -= 1
    position = end
    while position:
        begin = max(0, position - _PIECE)
        piece = await source.read(stream, begin, position - begin)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            if not lines:
                return begin + at + 1
            lines -= 1
        position = begin
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


_count.__name__ = "number of lines"
