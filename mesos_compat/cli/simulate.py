# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat simulate``: many agents in one process, whose tasks only play their states."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from mesos_compat.base import log as glog
from mesos_compat.base.errors import MesosCompatError
from mesos_compat.base.garbage import spare_collector
from mesos_compat.base.procs import raise_open_files
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.simulate.options import Options, load, make_options

#: Flag → how it is described; names of the options but for dashes. The last ones are faults'.
_TEXTS = {
    "script": "what tasks do, e.g. TASK_STARTING:0,TASK_RUNNING:10ms,TASK_FINISHED:1s..5s",
    "kill": "time that killed tasks take to die, or 'never'",
    "resources": "of each agent, as for --resources of mesos-agent",
    "attributes": "of each agent; {index}, {index%%N}, {index/N} and {ip} are filled in",
    "hostname": "of each agent, filled in likewise",
    "seed": "what is drawn is drawn alike for the same seed",
}
_NUMBERS = {
    "fail": "share of the tasks that fail, 0 to 1",
    "start_rate": "agents that start in a second",
}
_FAULTS = {
    "per_minute": "agents that vanish in a minute, of all together",
    "kinds": "how: cut (broken network), crash (lost power), replace (a new host); with commas",
    "away": "for how long, e.g. 10s..60s",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a parser take what describes a simulation, except for the number of agents."""
    group = parser.add_argument_group("simulation")
    group.add_argument(
        "--config", metavar="FILE", help="TOML with these values, and rules of tasks"
    )
    for name, text in _TEXTS.items():
        group.add_argument(_flag(name), metavar="TEXT", help=text)
    for name, text in _NUMBERS.items():
        group.add_argument(_flag(name), metavar="N", type=float, help=text)
    group.add_argument("--faults-per-minute", metavar="N", type=float, help=_FAULTS["per_minute"])
    group.add_argument("--faults-kinds", metavar="KINDS", help=_FAULTS["kinds"])
    group.add_argument("--faults-away", metavar="TIME", help=_FAULTS["away"])


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of ``add_options``, by name; over what the file says."""
    values: dict[str, Any] = load(options.config) if options.config else {}
    for name in (*_TEXTS, *_NUMBERS):
        value = getattr(options, name)
        if value is not None:
            values[name] = value
    faults = dict(values.pop("faults", {}))
    for name in _FAULTS:
        value = getattr(options, f"faults_{name}")
        if value is not None:
            faults[name] = value
    return {**values, "faults": faults}


def arguments(options: argparse.Namespace) -> list[str]:
    """Return the command line that gives the same again."""
    names = ("config", *_TEXTS, *_NUMBERS, *(f"faults_{name}" for name in _FAULTS))
    made = []
    for name in names:
        value = getattr(options, name)
        if value is not None:
            value = os.path.abspath(value) if name == "config" else value
            made.append(f"{_flag(name)}={value}")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command; returns the exit code."""
    rest = list(sys.argv[1:] if argv is None else argv)
    agent_flags: list[str] = []
    if "--" in rest:
        split = rest.index("--")
        rest, agent_flags = rest[:split], rest[split + 1 :]
    parsed = _parser().parse_args(rest)
    logs = None
    try:
        values = given(parsed)
        for name in ("agents", "ip", "port"):
            if getattr(parsed, name) is not None:
                values[name] = getattr(parsed, name)
        options = make_options(values, tuple(agent_flags))
        logs = glog.start(
            "mesos-compat-simulate",
            level="INFO" if parsed.verbose else "WARNING",
            log_dir=None,
            quiet=False,
        )
        raise_open_files()
        return asyncio.run(_run(parsed.master, options, parsed.work_dir))
    except MesosCompatError as error:
        print(f"mesos-compat simulate: {error}", file=sys.stderr)
        return 1
    finally:
        if logs is not None:
            logs.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mesos-compat simulate",
        usage="mesos-compat simulate --master MASTER [option ...] [-- agent flag ...]",
        description="Register many agents with a master, from one process. Messages and state "
        "machines are those of mesos-agent; containers, sandboxes and files there are none: tasks "
        "play a script of states and delays. SIGTERM and Ctrl-C end it as a crash of all hosts, "
        "SIGUSR1 lets all agents unregister first.",
    )
    parser.add_argument("--master", required=True, help="as for mesos-agent")
    parser.add_argument("--agents", type=int, metavar="N", help="default: 1000")
    parser.add_argument("--ip", help="first of 127.0.0.0/8, or one for all; default: 127.64.0.1")
    parser.add_argument("--port", type=int, metavar="N", help="default: any free one")
    parser.add_argument(
        "--work-dir", metavar="DIR", help="make sandboxes and write checkpoints there after all"
    )
    parser.add_argument("--verbose", action="store_true", help="log every step of every task")
    add_options(parser)
    return parser


async def _run(master: str, options: Options, work_dir: str | None) -> int:
    # Other commands take our options without being an agent.
    from mesos_compat.agent.runner import DISK
    from mesos_compat.simulate.simulation import Simulation

    running = asyncio.get_running_loop()
    asked: asyncio.Future[signal.Signals] = running.create_future()

    def ask(number: signal.Signals) -> None:
        if not asked.done():
            asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        running.add_signal_handler(number, ask, number)
    tls = Tls.of(os.environ)
    fleet = Simulation(master, options, tls=tls)
    if work_dir is not None:
        fleet = Simulation(master, options, work_dir=os.path.abspath(work_dir), disk=DISK, tls=tls)
    async with Scope("watch") as scope, fleet as simulation:
        spare_collector()
        first = simulation.agents[0].address
        print(f"{options.agents} agents from {first} on, master {master}", flush=True)
        begun = running.time()
        ready = scope.spawn(simulation.registered(), "registration")
        broken = scope.spawn(simulation.broken(), "watch for bugs")
        ends: list[asyncio.Future[Any]] = [asked, broken]
        await asyncio.wait([ready, *ends], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not asked.done():
            print(f"All registered after {running.time() - begun:.1f} s", flush=True)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and asked.result() is signal.SIGUSR1:
            with contextlib.suppress(TimeoutError):
                await simulation.unregister()
    return 0


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
