# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat cluster``: a real master and agents of ours on this machine.

For people who test frameworks. One cluster per user::

    <runtime folder>/                 $XDG_RUNTIME_DIR/mesos-compat, else /tmp/mesos-compat-<uid>
        lock                          held while a command changes the cluster
        cluster.json                  which processes form it (pid and start time)
        agent-1/                      runtime directory of an agent
    <state folder>/                   $XDG_STATE_HOME/mesos-compat/cluster
        master.log  master/           log and work directory
        agent-1.log agent-1/

``cluster_record`` knows these, ``cluster_start`` starts what belongs to it.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from mesos_compat.base.errors import MesosCompatError
from mesos_compat.cli import leftovers, simulate
from mesos_compat.cli import master as master_command
from mesos_compat.cli.cluster_record import (
    Cluster,
    ClusterError,
    Folders,
    Member,
    locked,
    make_folders,
    read,
)
from mesos_compat.cli.cluster_start import (
    DEFAULT_MASTER_PORT,
    UpOptions,
    all_registered,
    reap,
    registered_ports,
    start,
    tail,
)
from mesos_compat.simulate.options import MAX_AGENTS

#: Longer than --executor_shutdown_grace_period, which agents grant their tasks.
_STOP_S = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    agent_flags: list[str] = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, agent_flags = arguments[:split], arguments[split + 1 :]
    options = _parser().parse_args(arguments)
    if agent_flags and options.action != "up":
        _parser().error("agent flags after -- belong to `up`")
    try:
        folders = make_folders()
        match options.action:
            case "up":
                wish = UpOptions(
                    agents=options.agents if options.simulate is None else 0,
                    simulated=options.simulate or 0,
                    simulation=tuple(simulate.arguments(options)),
                    version=options.master_version,
                    ip=options.ip,
                    port=options.port,
                    agent_flags=tuple(agent_flags),
                )
                return _up(folders, wish, detach=options.detach)
            case "down":
                return _down(folders, keep=options.keep)
            case _:
                return _status(folders)
    except MesosCompatError as error:
        print(f"mesos-compat cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mesos-compat cluster",
        description="A real Mesos master and agents of ours on this machine, one cluster per user.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="up|down|status")
    up = actions.add_parser(
        "up",
        help="start it and wait until every agent is registered",
        usage="mesos-compat cluster up [option ...] [-- agent flag ...]",
        description="Start a master and agents and wait until every agent is registered. Without "
        "--detach it stays in the foreground; Ctrl-C brings the cluster down again. Flags after "
        "-- go to each agent, for example: -- --resources=cpus:4;mem:4096",
    )
    count = up.add_mutually_exclusive_group()
    count.add_argument("--agents", type=_count, default=1, metavar="N", help="default: 1")
    count.add_argument(
        "--simulate",
        type=_simulated,
        metavar="N",
        help="instead, N agents in one process that run nothing: tasks play a script",
    )
    up.add_argument(
        "--master-version",
        default=master_command.DEFAULT_VERSION,
        metavar="V",
        help=f"default: {master_command.DEFAULT_VERSION}",
    )
    up.add_argument("--detach", action="store_true", help="return once everything runs")
    up.add_argument("--ip", default="127.0.0.1", help="bind here (default: 127.0.0.1)")
    up.add_argument(
        "--port", type=int, help=f"of the master (default: {DEFAULT_MASTER_PORT} or the next free)"
    )
    simulate.add_options(up)
    down = actions.add_parser("down", help="stop it and remove all that it left")
    down.add_argument("--keep", action="store_true", help="keep logs and sandboxes")
    actions.add_parser("status", help="show what runs; exit code 0 only if all of it does")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError("0 to 100 agents")
    return number


def _simulated(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_AGENTS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_AGENTS} agents")
    return number


# --- up -------------------------------------------------------------------------------------


def _up(folders: Folders, wish: UpOptions, detach: bool) -> int:
    # The library is fetched and tried in the foreground: its progress and errors are for the user.
    master_command.library(wish.version)
    with _stopped_by_signals():
        cluster = _started(folders, wish)
        if not detach:
            return _watch(folders, cluster)
        _show(folders, cluster)
        return 0


def _started(folders: Folders, wish: UpOptions) -> Cluster:
    """Start a cluster in the place of one that has ended; nothing runs on if that fails."""
    with locked(folders):
        previous = read(folders)
        if previous is not None:
            if any(member.alive() for member in previous.members):
                raise ClusterError(
                    f"a cluster runs already, its master is {previous.master.address}; "
                    "end it with `mesos-compat cluster down`"
                )
            stop(folders, previous, keep=False)
        try:
            return start(folders, wish)
        except BaseException:
            half = read(folders)
            if half is not None:
                stop(folders, half, keep=True)
            raise


def _watch(folders: Folders, cluster: Cluster) -> int:
    """Stay until a signal, the end of a member, or somebody else's ``down``."""
    try:
        _show(folders, cluster)
        print("Ctrl-C ends it", flush=True)
        while read(folders) == cluster:
            for member in cluster.members:
                if not member.alive() and read(folders) == cluster:
                    raise ClusterError(
                        f"{member.name} ended, the rest is stopped:\n{tail(member.log)}"
                    )
            time.sleep(0.5)
        print("The cluster was brought down")
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        with locked(folders):
            if read(folders) == cluster:
                print("Stopping the cluster", flush=True)
                stop(folders, cluster, keep=False)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act as Ctrl-C does, so that nothing is left behind."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# --- down and status --------------------------------------------------------------------------


def _down(folders: Folders, keep: bool) -> int:
    with locked(folders):
        cluster = read(folders)
        if cluster is None:
            print("No cluster runs")
            return 0
        left = stop(folders, cluster, keep)
    if left:
        raise ClusterError(f"the cluster is down, but could not be removed:\n{left}")
    print("The cluster is down; no process, mount or cgroup of it is left")
    if keep:
        print(f"Logs and sandboxes are kept below {folders.state}")
    return 0


def stop(folders: Folders, cluster: Cluster, keep: bool) -> leftovers.Leftovers:
    """End all members, agents first, and remove what they left; returns what resisted."""
    # SIGUSR1 makes an agent unregister and end its tasks; after SIGTERM they would live on.
    for agent in cluster.agents:
        agent.send(signal.SIGUSR1)
    _end(cluster.agents, _STOP_S)
    cluster.master.send(signal.SIGTERM)
    _end((cluster.master,), _STOP_S)
    folder = os.path.realpath(folders.state)
    runtimes = [os.path.realpath(os.path.join(folders.runtime, a.name)) for a in cluster.agents]
    roots = tuple(agent.cgroups_root for agent in cluster.agents if agent.cgroups_root)
    left = leftovers.remove(leftovers.Territory((folder, *runtimes), roots, tuple(runtimes)))
    if left:
        return left
    for path in runtimes:
        shutil.rmtree(path, ignore_errors=True)
    if not keep:
        shutil.rmtree(folders.state, ignore_errors=True)
    os.unlink(folders.record)
    return left


def _end(members: Sequence[Member], patience_s: float) -> None:
    """Wait for members that were asked to end; whoever stays is killed."""
    deadline = time.monotonic() + patience_s
    while any(member.alive() for member in members):
        reap()
        if time.monotonic() > deadline:
            for member in members:
                member.send(signal.SIGKILL)
            deadline += patience_s
        time.sleep(0.02)
    reap()


def _status(folders: Folders) -> int:
    cluster = read(folders)
    if cluster is None:
        print("No cluster runs")
        return 1
    _show(folders, cluster)
    return int(
        not all(member.alive() for member in cluster.members)
        or not all_registered(cluster.master, cluster.agents)
    )


def _show(folders: Folders, cluster: Cluster) -> None:
    registered = registered_ports(cluster.master)
    for member in cluster.members:
        if not member.alive():
            state = "does not run"
        elif member is cluster.master:
            state = f"Mesos {cluster.version}, pid {member.pid}"
        else:
            word = "registered" if registered[member.port] >= member.agents else "not registered"
            if member.agents > 1:
                word = f"{registered[member.port]} of {member.agents} registered"
            state = f"{word}, pid {member.pid}"
        print(f"{member.name:<9} {member.address:<21} {state}, log {member.log}")
    print(f"sandboxes and work directories: {folders.state}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
