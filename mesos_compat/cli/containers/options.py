# SPDX-License-Identifier: Apache-2.0
"""What all commands on containers have in common: options, the target, how failures are told."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from mesos_compat.base.errors import MesosCompatError
from mesos_compat.cli.containers.local import LocalTarget, default_places
from mesos_compat.cli.containers.target import SIGNALLED, ContainerTarget

#: Runtime directory of an agent that was started without ``--runtime_dir``.
AGENT_RUNTIME_DIR = "/var/run/mesos"
#: Exit code of a failure that is ours and not the container's.
FAILED = 125

_Job = Callable[[ContainerTarget], Awaitable[int]]


def parser(
    command: str, description: str, example: str, usage: str | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options that say whose containers are meant."""
    made = argparse.ArgumentParser(
        prog=f"mesos-compat {command}",
        description=description,
        usage=usage,
        epilog=f"example:\n  mesos-compat {command} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whose = made.add_argument_group("whose containers")
    whose.add_argument(
        "--agent",
        metavar="HOST:PORT",
        default=os.environ.get("MESOS_COMPAT_AGENT"),
        help="those of this agent (https://HOST:PORT, if it speaks TLS)",
    )
    add_credential(whose)
    whose.add_argument(
        "--agent-runtime-dir",
        metavar="DIR",
        default=AGENT_RUNTIME_DIR,
        help="those of the agent that uses this directory, if it runs (default: %(default)s)",
    )
    whose.add_argument("--local", action="store_true", help="no agent's, even if one runs")
    whose.add_argument(
        "--engine",
        metavar="DIR",
        default=os.environ.get("MESOS_COMPAT_ENGINE"),
        help="where the containers of no agent are (default: the places of this user)",
    )
    made.add_argument("-v", "--verbose", action="store_true", help="tell what is done, on stderr")
    return made


def add_credential(to: argparse._ActionsContainer) -> None:
    """Add the option that says who we are to agents."""
    to.add_argument(
        "--credential",
        metavar="FILE",
        default=os.environ.get("MESOS_COMPAT_CREDENTIAL"),
        help="principal and secret for an agent that asks who we are: a JSON object, or one line"
        " of both",
    )


def choose(options: argparse.Namespace) -> ContainerTarget:
    """Return the containers that the options mean."""
    address = None if options.local else options.agent
    if address is None and not options.local and options.engine is None:
        address = agent_address(options.agent_runtime_dir)
    if address is None:
        return LocalTarget(default_places(options.engine))
    # HTTP takes long to load and is needed for agents only.
    from mesos_compat.cli.containers.agent import AgentTarget

    return AgentTarget(address, options.credential)


def agent_address(runtime_dir: str) -> str | None:
    """Return where the agent listens that uses ``runtime_dir`` now; ``None`` if there is none."""
    from mesos_compat.agent.workdir import listening

    return listening(runtime_dir)


def perform(options: argparse.Namespace, job: _Job) -> int:
    """Do ``job`` on the chosen containers; failures become a line and an exit code."""
    return run(lambda: _performed(options, job), verbose=options.verbose)


def run(job: Callable[[], Coroutine[Any, Any, int]], *, verbose: bool) -> int:
    """Do ``job`` and return its exit code; failures become a line and an exit code."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.CRITICAL,
        format="mesos-compat: %(message)s",
    )
    try:
        return asyncio.run(job())
    except MesosCompatError as error:
        print(f"mesos-compat: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + signal.SIGPIPE


async def _performed(options: argparse.Namespace, job: _Job) -> int:
    target = choose(options)
    try:
        return await job(target)
    finally:
        await target.close()


def environment(assignments: list[str]) -> Mapping[str, str]:
    """Read ``--env``: ``NAME=value``, or ``NAME`` for our own value. Raises ValueError."""
    made = {}
    for text in assignments:
        name, assigned, value = text.partition("=")
        if not name:
            raise ValueError(f"'{text}' is no NAME=value")
        if assigned:
            made[name] = value
        elif name in os.environ:
            made[name] = os.environ[name]
    return made


def signal_number(text: str) -> int:
    """Read ``TERM``, ``SIGTERM`` or ``15``. Raises ValueError."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit():
        return int(signal.Signals(int(name)))
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise ValueError(f"'{text}' is no signal") from None


def split(
    argv: Sequence[str], of: argparse.ArgumentParser, positionals: int = 0
) -> tuple[list[str], list[str]]:
    """Divide ``argv`` into our own part, with ``positionals``, and the container's command.

    The command begins behind ``--`` or at the first argument that is no option of ours.
    """
    flags = {name: action.nargs != 0 for action in of._actions for name in action.option_strings}
    rest = list(argv)
    own: list[str] = []
    while rest:
        argument = rest[0]
        if argument == "--":
            return own, rest[1:]
        if not argument.startswith("-") or argument == "-":
            if positionals == 0:
                return own, rest
            positionals -= 1
        own.append(rest.pop(0))
        if flags.get(argument) and rest:
            own.append(rest.pop(0))
    return own, []
