# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat run``: one container, and its exit code as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from containerizer.local.order import LOG_BYTES, LOG_FILES, BindVolume, ContainerOrder
from containerizer.local.run import DEFAULT_REGISTRY
from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.console import Console

_SUFFIXES = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = common.parser(
        "run",
        "Run a command in a new container; without an image in the file system of this host.",
        "-it --memory 64M --image busybox --registry /srv/images -- sh",
        "mesos-compat run [OPTION ...] [--] [COMMAND [ARGUMENT ...]]",
    )
    add = parser.add_argument
    add("--image", metavar="NAME[:TAG]", help="image of the container's root")
    add("--appc", action="store_true", help="the image is an AppC one, not a Docker or OCI one")
    add(
        "--registry",
        metavar="DIR|URL",
        default=os.environ.get("MESOS_COMPAT_REGISTRY"),
        help=f"where images are: a folder of archives or an address (default: {DEFAULT_REGISTRY})",
    )
    add("--name", default="", help="to be used instead of the id")
    add("-e", "--env", metavar="NAME[=VALUE]", action="append", default=[])
    add(
        "--volume",
        metavar="SOURCE:TARGET[:ro]",
        action="append",
        default=[],
        type=_volume,
        help="show the host's SOURCE at TARGET",
    )
    add("-w", "--workdir", metavar="DIR", help="where the command starts")
    add("-u", "--user", help="a user of this host")
    add("--cpus", type=_positive, help="most processor time per second")
    add("--memory", metavar="SIZE", type=_size, help="most memory: 64M, 1G")
    add("--isolation", help="isolators to use instead of the usual ones")
    add("-d", "--detach", action="store_true", help="print the id and let it run")
    add("--rm", action="store_true", help="forget a detached container once it has ended")
    add(
        "--log-size",
        metavar="SIZE",
        type=_size,
        default=LOG_BYTES,
        help="largest file of a detached container's output (default: 10M)",
    )
    add(
        "--log-files",
        metavar="N",
        type=_count,
        default=LOG_FILES,
        help="how many files of stdout, and of stderr, are kept (default: %(default)s)",
    )
    add("-i", "--interactive", action="store_true", help="give it our input")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("command", nargs="*", metavar="COMMAND", help="what to run (default: what the image says)")
    own, command = common.split(argv, parser)
    options = parser.parse_args(own)
    if options.detach and (options.interactive or options.tty):
        parser.error(
            "a detached container has no input and no terminal: -d does not go with -i, -t"
        )
    try:
        environment = dict(common.environment(options.env))
    except ValueError as error:
        parser.error(str(error))
    if options.tty:
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
    order = ContainerOrder(
        command=tuple(command),
        name=options.name,
        image=options.image,
        image_type="appc" if options.appc else "docker",
        registry=options.registry,
        environment=environment,
        volumes=tuple(options.volume),
        working_directory=options.workdir,
        user=options.user,
        cpus=options.cpus,
        memory_bytes=options.memory,
        isolation=options.isolation,
        detached=options.detach,
        remove=options.rm,
        log_files=options.log_files,
        log_bytes=options.log_size,
    )
    console = Console(interactive=options.interactive, terminal=options.tty)
    return common.perform(options, lambda target: target.run(order, console))


def _volume(text: str) -> BindVolume:
    parts = text.split(":")
    read_only = len(parts) == 3 and parts[2] == "ro"
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in ("ro", "rw")):
        raise ValueError(text)
    source, target = parts[:2]
    if not source or not os.path.isabs(target):
        raise ValueError(text)
    return BindVolume(os.path.abspath(source), target, read_only)


_volume.__name__ = "volume"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


_positive.__name__ = "number of processors"


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?", text.lower())
    if found is None or not (value := int(float(found[1]) * (1 << _SUFFIXES[found[2]]))):
        raise ValueError(text)
    return value


_size.__name__ = "size"


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise ValueError(text)
    return value


_count.__name__ = "number of files"
