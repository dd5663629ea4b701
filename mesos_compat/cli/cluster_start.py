# SPDX-License-Identifier: Apache-2.0
"""Starts the members of a cluster and waits until all agents are registered."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from containerizer.linux import proc
from mesos_compat.base.errors import FlagError
from mesos_compat.cli.cluster_record import Cluster, ClusterError, Folders, Member, write
from mesos_compat.simulate.front import DEFAULT_IP

DEFAULT_MASTER_PORT = 5050
#: Each agent offers its own part of the usual range, so that tasks of two never meet.
_PORT_RANGE_START, _PORTS_PER_AGENT = 31000, 100
_MASTER_START_S = 30.0
_AGENT_START_S = 60.0
_POLL_S = 0.1
#: Further patience for each simulated agent.
_SIMULATED_START_S = 0.03


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


def start(folders: Folders, wish: UpOptions) -> Cluster:
    """Start all members and wait for them. The record grows with each, so that none is lost."""
    os.makedirs(folders.state, mode=0o700, exist_ok=True)
    members: list[Member] = []

    def add(member: Member) -> Member:
        members.append(member)
        write(folders, Cluster(wish.version, tuple(members)))
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
        lambda: all_registered(master, members[1:]), members, patience_s, "agents to register"
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


def reap() -> None:
    """Take note of members that have ended and are children of this process."""
    for child in _children:
        child.poll()


def _wait_for(
    ready: Callable[[], bool], members: Sequence[Member], patience_s: float, subject: str
) -> None:
    deadline = time.monotonic() + patience_s
    while not ready():
        for member in members:
            if not member.alive():
                raise ClusterError(f"{member.name} ended at once:\n{tail(member.log)}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"{m.name}, {m.log}:\n{tail(m.log, 5)}" for m in members)
            raise ClusterError(f"waited {patience_s:.0f} s for {subject}\n{logs}")
        time.sleep(_POLL_S)


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


def registered_ports(master: Member) -> Counter[int]:
    """Count the active agents of each port."""
    state = _state(master) or {}
    return Counter(
        int(agent["pid"].rpartition(":")[2])
        for agent in state.get("slaves", ())
        if agent.get("active")
    )


def all_registered(master: Member, agents: Sequence[Member]) -> bool:
    """Whether the master has all agents."""
    registered = registered_ports(master)
    return all(registered[agent.port] >= agent.agents for agent in agents)


def _flag_name(flag: str) -> str:
    name = flag[2:].partition("=")[0]
    return name.removeprefix("no-")


def tail(path: str, lines: int = 15) -> str:
    """Return the last lines of a log, indented, or why they cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"  ({error})"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
