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

Whatever ``cluster.json`` says, a process is ours only while its start time agrees.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from containerizer.linux import proc
from mesos_compat.base.errors import FlagError, MesosCompatError
from mesos_compat.cli import leftovers, simulate
from mesos_compat.cli import master as master_command
from mesos_compat.simulate.front import DEFAULT_IP
from mesos_compat.simulate.options import MAX_AGENTS

DEFAULT_MASTER_PORT = 5050
#: Each agent offers its own part of the usual range, so that tasks of two never meet.
_PORT_RANGE_START, _PORTS_PER_AGENT = 31000, 100
_MASTER_START_S = 30.0
_AGENT_START_S = 60.0
#: Longer than --executor_shutdown_grace_period, which agents grant their tasks.
_STOP_S = 15.0
_POLL_S = 0.1
#: Further patience for each simulated agent.
_SIMULATED_START_S = 0.03


class ClusterError(MesosCompatError):
    """The cluster cannot do what was asked for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the cluster."""

    name: str
    pid: int
    #: Clock ticks after boot.
    start_ticks: int
    ip: str
    port: int
    log: str
    #: Empty for the master and for simulated agents.
    cgroups_root: str = ""
    #: How many agents of one port it is.
    agents: int = 1

    @property
    def address(self) -> str:
        """``ip:port`` of its HTTP and libprocess endpoint."""
        return f"{self.ip}:{self.port}"

    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            found = proc.stat(self.pid)
        except ProcessLookupError:
            return False
        return found.start_ticks == self.start_ticks and found.state not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Signal this very process, or nobody."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                # The descriptor holds on to whoever has the pid now; only then is it checked.
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What ``cluster.json`` holds: the master first, then the agents."""

    version: str
    members: tuple[Member, ...]

    @property
    def master(self) -> Member:
        """The master."""
        return self.members[0]

    @property
    def agents(self) -> tuple[Member, ...]:
        """The agents."""
        return self.members[1:]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a user's cluster lives."""

    runtime: str
    state: str

    @property
    def record(self) -> str:
        """The file that says which processes form the cluster."""
        return os.path.join(self.runtime, "cluster.json")

    @property
    def lock(self) -> str:
        """The file whose lock a command holds."""
        return os.path.join(self.runtime, "lock")

    def log(self, name: str) -> str:
        """The log of a member."""
        return os.path.join(self.state, f"{name}.log")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What ``cluster up`` was asked for."""

    agents: int
    version: str
    ip: str
    port: int | None
    agent_flags: tuple[str, ...]
    #: Agents that only play their tasks, and the command line that describes them.
    simulated: int = 0
    simulation: tuple[str, ...] = ()


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
    with _locked(folders):
        previous = read(folders)
        if previous is not None:
            if any(member.alive() for member in previous.members):
                raise ClusterError(
                    f"a cluster runs already, its master is {previous.master.address}; "
                    "end it with `mesos-compat cluster down`"
                )
            stop(folders, previous, keep=False)
        try:
            with _stopped_by_signals():
                cluster = start(folders, wish)
        except BaseException:
            half = read(folders)
            if half is not None:
                stop(folders, half, keep=True)
            raise
    _show(folders, cluster)
    if detach:
        return 0
    print("Ctrl-C ends it", flush=True)
    return _watch(folders, cluster)


def start(folders: Folders, wish: UpOptions) -> Cluster:
    """Start all members and wait for them. The record grows with each, so that none is lost."""
    os.makedirs(folders.state, mode=0o700, exist_ok=True)
    members: list[Member] = []

    def add(member: Member) -> Member:
        members.append(member)
        _write(folders, Cluster(wish.version, tuple(members)))
        return member

    if wish.port is not None:
        if not _free(wish.ip, wish.port):
            raise ClusterError(f"{wish.ip}:{wish.port} is not available")
        port = wish.port
    else:
        port = _free_port(wish.ip, DEFAULT_MASTER_PORT, ())
    master = add(_start_master(folders, wish, port))
    _wait_for(lambda: _state(master) is not None, [master], _MASTER_START_S, "the master to answer")
    for number in range(1, wish.agents + 1):
        taken = {member.port for member in members}
        add(_start_agent(folders, wish, master, number, taken))
    if wish.simulated:
        add(_start_simulation(folders, wish, master))
    patience_s = _AGENT_START_S + wish.simulated * _SIMULATED_START_S
    _wait_for(
        lambda: _all_registered(master, members[1:]), members, patience_s, "agents to register"
    )
    return Cluster(wish.version, tuple(members))


def _start_master(folders: Folders, wish: UpOptions, port: int) -> Member:
    work_dir = os.path.join(folders.state, "master")
    command = [
        sys.executable,
        "-m",
        "mesos_compat.cli.master",
        f"--version={wish.version}",
        f"--ip={wish.ip}",
        f"--port={port}",
        f"--work_dir={work_dir}",
        f"--hostname={wish.ip}",
    ]
    return _spawn(folders, "master", command, wish.ip, port)


def _start_agent(
    folders: Folders, wish: UpOptions, master: Member, number: int, taken: set[int]
) -> Member:
    name = f"agent-{number}"
    port = _free_port(wish.ip, master.port + number, taken)
    first_port = _PORT_RANGE_START + (number - 1) * _PORTS_PER_AGENT
    # Named after the port, which no other cluster on this host has.
    cgroups_root = f"mesos-compat-cluster-{port}"
    flags = {
        "master": master.address,
        "ip": wish.ip,
        "port": str(port),
        "hostname": wish.ip,
        "work_dir": os.path.join(folders.state, name),
        "runtime_dir": os.path.join(folders.runtime, name),
        "cgroups_root": cgroups_root,
        "docker_store_dir": os.path.join(folders.state, name, "store", "docker"),
        "appc_store_dir": os.path.join(folders.state, name, "store", "appc"),
        "resources": f"ports:[{first_port}-{first_port + _PORTS_PER_AGENT - 1}]",
    }
    if os.geteuid() != 0:
        flags |= {"launcher": "posix", "switch_user": "false"}
    given = {_flag_name(flag) for flag in wish.agent_flags if flag.startswith("--")}
    fixed = given & {"master", "ip", "port", "work_dir", "runtime_dir", "cgroups_root"}
    if fixed:
        raise FlagError(f"--{min(fixed)} is chosen per agent and cannot be given after --")
    command = [sys.executable, "-m", "mesos_compat.cli.agent"]
    command += [f"--{flag}={value}" for flag, value in flags.items() if flag not in given]
    return _spawn(
        folders, name, [*command, *wish.agent_flags], wish.ip, port, cgroups_root=cgroups_root
    )


def _start_simulation(folders: Folders, wish: UpOptions, master: Member) -> Member:
    port = _free_port("0.0.0.0", master.port + 1, ())
    command = [
        sys.executable,
        "-m",
        "mesos_compat.cli.simulate",
        f"--master={master.address}",
        f"--agents={wish.simulated}",
        f"--port={port}",
        *wish.simulation,
        "--",
        *wish.agent_flags,
    ]
    member = _spawn(folders, "simulated", command, DEFAULT_IP, port)
    return dataclasses.replace(member, agents=wish.simulated)


def _spawn(
    folders: Folders, name: str, command: list[str], ip: str, port: int, cgroups_root: str = ""
) -> Member:
    """Start a member in a session of its own, its output going to its log."""
    log = folders.log(name)
    # What the caller's environment says is meant for other masters and agents.
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("MESOS_", "LIBPROCESS_"))}
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=folders.state,
            start_new_session=True,
        )
    # The process is our child and not waited for: its pid cannot be anybody else's.
    start_ticks = proc.stat(process.pid).start_ticks
    _children.append(process)
    return Member(name, process.pid, start_ticks, ip, port, log, cgroups_root)


#: Keeps the children of this process waited for until it ends.
_children: list["subprocess.Popen[bytes]"] = []


def _wait_for(
    ready: Callable[[], bool], members: Sequence[Member], patience_s: float, subject: str
) -> None:
    deadline = time.monotonic() + patience_s
    while not ready():
        for member in members:
            if not member.alive():
                raise ClusterError(f"{member.name} ended at once:\n{_tail(member.log)}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"{m.name}, {m.log}:\n{_tail(m.log, 5)}" for m in members)
            raise ClusterError(f"waited {patience_s:.0f} s for {subject}\n{logs}")
        time.sleep(_POLL_S)


def _watch(folders: Folders, cluster: Cluster) -> int:
    """Stay until a signal, the end of a member, or somebody else's ``down``."""
    try:
        with _stopped_by_signals():
            while read(folders) == cluster:
                for member in cluster.members:
                    if not member.alive() and read(folders) == cluster:
                        raise ClusterError(
                            f"{member.name} ended, the rest is stopped:\n{_tail(member.log)}"
                        )
                time.sleep(0.5)
            print("The cluster was brought down")
            return 0
    except KeyboardInterrupt:
        return 0
    finally:
        with _locked(folders):
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
    with _locked(folders):
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
        for child in _children:
            child.poll()
        if time.monotonic() > deadline:
            for member in members:
                member.send(signal.SIGKILL)
            deadline += patience_s
        time.sleep(0.02)
    for child in _children:
        child.poll()


def _status(folders: Folders) -> int:
    cluster = read(folders)
    if cluster is None:
        print("No cluster runs")
        return 1
    _show(folders, cluster)
    return int(
        not all(member.alive() for member in cluster.members)
        or not _all_registered(cluster.master, cluster.agents)
    )


def _show(folders: Folders, cluster: Cluster) -> None:
    registered = _registered_ports(cluster.master)
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


# --- the record, folders and ports --------------------------------------------------------------


def make_folders() -> Folders:
    """Return this user's folders; the runtime folder exists then, and is this user's alone."""
    uid = os.getuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.access(base, os.W_OK):
        runtime = os.path.join(base, "mesos-compat")
    else:
        runtime = f"/tmp/mesos-compat-{uid}"
    state_base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state_base):
        state_base = os.path.join(os.path.expanduser("~"), ".local", "state")
    try:
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        found = os.lstat(runtime)
    except OSError as error:
        raise ClusterError(f"Failed to create {runtime}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise ClusterError(f"{runtime} is not a folder that only this user can write to")
    return Folders(runtime, os.path.join(state_base, "mesos-compat", "cluster"))


def read(folders: Folders) -> Cluster | None:
    """Return the recorded cluster, None if there is none. Raises ClusterError if unreadable."""
    try:
        with open(folders.record, encoding="utf-8") as file:
            value = json.load(file)
        members = tuple(Member(**member) for member in value["members"])
        cluster = Cluster(value["version"], members)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{folders.record} is unreadable ({error}); remove it when no master or agent runs"
        ) from error
    if not members:
        raise ClusterError(f"{folders.record} names no master; remove it")
    return cluster


def _write(folders: Folders, cluster: Cluster) -> None:
    temporary = f"{folders.record}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(cluster), file, indent=1)
    os.rename(temporary, folders.record)


@contextlib.contextmanager
def _locked(folders: Folders) -> Iterator[None]:
    descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ClusterError(
            "another `mesos-compat cluster` command is at work, wait for it"
        ) from None
    finally:
        os.close(descriptor)


def _free(ip: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True


def _free_port(ip: str, wanted: int, taken: "set[int] | tuple[()]") -> int:
    for port in range(wanted, min(wanted + 1000, 65536)):
        if port not in taken and _free(ip, port):
            return port
    raise ClusterError(f"no free port on {ip} from {wanted} on")


def _state(master: Member) -> dict[str, Any] | None:
    """Return the master's /state, None while it does not answer."""
    url = f"http://{master.address}/state"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as reply:
            value = json.load(reply)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return value if isinstance(value, dict) else None


def _registered_ports(master: Member) -> Counter[int]:
    """Count the active agents of each port."""
    state = _state(master) or {}
    return Counter(
        int(agent["pid"].rpartition(":")[2])
        for agent in state.get("slaves", ())
        if agent.get("active")
    )


def _all_registered(master: Member, agents: Sequence[Member]) -> bool:
    registered = _registered_ports(master)
    return all(registered[agent.port] >= agent.agents for agent in agents)


def _flag_name(flag: str) -> str:
    name = flag[2:].partition("=")[0]
    return name.removeprefix("no-")


def _tail(path: str, lines: int = 15) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"  ({error})"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
