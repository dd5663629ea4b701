# SPDX-License-Identifier: Apache-2.0
"""Measure the agent itself, with containers that cost nothing, through a real master.

usage: python -m bench.agent [--master-version V] [--tasks N] [--rounds N] [--agents N] …

One line per figure and, with ``--json FILE``, the same as JSON: tasks per second from the launch of
``--tasks`` tasks with one message to the last acknowledgement, and which of master, agent and
framework was busy meanwhile; memory; the latency of ``/state`` while that many tasks run; time and
memory of ``--agents`` simulated agents; memory of an idle mesos-agent. The framework talks v0 by
our own libprocess, as the C++ driver does: an update is one message, and so is its acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web
from google.protobuf.message import Message

from integration.agent import OurAgent
from integration.master import LATEST, RealMaster
from integration.processes import Program, command, flag_arguments, get
from mesos_compat.base.scope import Scope
from mesos_compat.libprocess.address import ListenOptions, bind
from mesos_compat.libprocess.links import Links
from mesos_compat.libprocess.server import Server
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.simulate.script import SCRIPT_LABEL

SCRIPT = "TASK_STARTING:0,TASK_RUNNING:0,TASK_FINISHED:0"
FOREVER = "TASK_RUNNING:0"
TERMINAL = (pb.TASK_FINISHED, pb.TASK_FAILED, pb.TASK_KILLED, pb.TASK_LOST, pb.TASK_ERROR)
CPUS, MEM_MB = 0.01, 1.0
PATIENCE_S = 120.0
STATE_REQUESTS = 30
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Framework:
    """A v0 scheduler that launches tasks and acknowledges what comes."""

    def __init__(self, master: str) -> None:
        ip, _, port = master.partition(":")
        self._master = UPID("master", ip, int(port))
        self._bound = bind(ListenOptions(ip="127.0.0.1"))
        address = self._bound.address
        self._own = UPID("scheduler(1)", address.ip, address.port)
        self._scope = Scope("framework")
        self._links = Links(self._scope, address, self._deliver, lambda upid: None)
        self._server = Server(self._bound, self._deliver, _nothing)
        self._id = pb.FrameworkID()
        self._offers: list[pb.Offer] = []
        self._changed = asyncio.Event()
        #: Number of tasks whose last update came with each state.
        self.states: dict[str, int] = {}

    async def __aenter__(self) -> Framework:
        await self._server.start()
        register = messages.RegisterFrameworkMessage()
        register.framework.user = "root"
        register.framework.name = "bench"
        self._links.link(self._master)
        self._send(register)
        await self._until(lambda: bool(self._id.value), "registration")
        return self

    async def __aexit__(self, *error: object) -> None:
        gone = messages.UnregisterFrameworkMessage()
        gone.framework_id.CopyFrom(self._id)
        self._send(gone)
        await self._links.close()
        await self._server.close(0)
        await self._scope.close()

    async def offered(self, count: int) -> None:
        """Wait for offers for so many tasks."""
        await self._until(lambda: self._room() >= count, "offers")

    async def launch(self, count: int, script: str, prefix: str) -> None:
        """Launch tasks with one message, on all that is offered."""
        launch = messages.LaunchTasksMessage()
        launch.framework_id.CopyFrom(self._id)
        launch.filters.refuse_seconds = 0
        launch.offer_ids.extend(offer.id for offer in self._offers)
        for number in range(count):
            task = launch.tasks.add(name="bench")
            task.task_id.value = f"{prefix}-{number}"
            task.slave_id.CopyFrom(self._offers[0].slave_id)
            task.command.value = "null"
            task.labels.labels.add(key=SCRIPT_LABEL, value=script)
            for name, amount in (("cpus", CPUS), ("mem", MEM_MB)):
                task.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = amount
        self._offers.clear()
        self._send(launch)

    async def wait_for(self, count: int, states: tuple[int, ...]) -> None:
        """Wait until so many updates with one of these states came."""
        names = [pb.TaskState.Name(state) for state in states]
        await self._until(
            lambda: sum(self.states.get(name, 0) for name in names) >= count, f"{count} {names}"
        )

    def _room(self) -> float:
        total = 0.0
        for offer in self._offers:
            total += sum(r.scalar.value for r in offer.resources if r.name == "cpus")
        return total / CPUS + 0.5

    async def _until(self, condition: Callable[[], bool], subject: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_S} s for {subject}: {self.states}") from None

    def _send(self, message: Message) -> None:
        name = message.DESCRIPTOR.full_name
        self._links.send(self._own, self._master, name, message.SerializeToString())

    def _deliver(self, sender: UPID, target: str, name: str, body: bytes) -> bool:
        match name.rpartition(".")[2]:
            case "StatusUpdateMessage":
                self._update(messages.StatusUpdateMessage.FromString(body).update)
            case "ResourceOffersMessage":
                self._offers += messages.ResourceOffersMessage.FromString(body).offers
            case "RescindResourceOfferMessage":
                gone = messages.RescindResourceOfferMessage.FromString(body).offer_id
                self._offers = [offer for offer in self._offers if offer.id != gone]
            case "FrameworkRegisteredMessage":
                registered = messages.FrameworkRegisteredMessage.FromString(body)
                self._id.CopyFrom(registered.framework_id)
        self._changed.set()
        return True

    def _update(self, update: messages.StatusUpdate) -> None:
        state = pb.TaskState.Name(update.status.state)
        self.states[state] = self.states.get(state, 0) + 1
        if update.uuid:
            made = messages.StatusUpdateAcknowledgementMessage(uuid=update.uuid)
            made.slave_id.CopyFrom(update.slave_id)
            made.framework_id.CopyFrom(update.framework_id)
            made.task_id.CopyFrom(update.status.task_id)
            self._send(made)


async def _nothing(request: web.BaseRequest) -> web.StreamResponse:
    raise ConnectionAbortedError("not served")


@dataclass(slots=True)
class Watch:
    """Processor time of processes since some moment."""

    pids: dict[str, int]
    begun: float
    used: dict[str, float]

    @classmethod
    def start(cls, **pids: int) -> Watch:
        """Begin."""
        return cls(pids, time.perf_counter(), {name: _cpu_s(pid) for name, pid in pids.items()})

    def stop(self) -> tuple[float, dict[str, float]]:
        """Return the seconds that passed, and those that each process used."""
        passed = time.perf_counter() - self.begun
        return passed, {name: _cpu_s(pid) - self.used[name] for name, pid in self.pids.items()}


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _rss_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


@contextmanager
def simulated(master: RealMaster, folder: str, **flags: object) -> Iterator[Program]:
    """Run simulated agents in a process."""
    program = Program("simulate", os.path.join(folder, f"simulate-{master.port}.log"))
    arguments = flag_arguments({"master": master.address, **flags})
    program.launch(command("simulate", *arguments), {}, folder)
    try:
        yield program
    finally:
        program.kill()


async def throughput(
    master: RealMaster, agent: Program, options: argparse.Namespace
) -> dict[str, float]:
    """Launch and finish tasks, round after round; figures are those of the median round."""
    figures: dict[str, list[float]] = {}
    count = options.tasks
    async with Framework(master.address) as framework:
        rss: list[float] = []
        for number in range(options.rounds + 1):
            framework.states.clear()
            await framework.offered(count)
            watch = Watch.start(master=master.pid, agent=agent.pid, framework=os.getpid())
            await framework.launch(count, SCRIPT, f"round-{number}")
            await framework.wait_for(count, TERMINAL)
            passed, used = watch.stop()
            failed = count - framework.states.get("TASK_FINISHED", 0)
            assert failed == 0, framework.states
            await asyncio.sleep(1.0)
            rss.append(_rss_mb(agent.pid))
            if number == 0:
                continue
            figures.setdefault("tasks/s", []).append(count / passed)
            for name, seconds in used.items():
                figures.setdefault(f"cpu ms/task of {name}", []).append(seconds * 1000 / count)
                figures.setdefault(f"share busy of {name}", []).append(seconds / passed)
        made = {name: statistics.median(values) for name, values in figures.items()}
        made["RSS of the agent after the first round, MB"] = rss[0]
        made["RSS growth per further task, KB"] = (
            (rss[-1] - rss[0]) * 1024 / (count * options.rounds)
        )
    return made


async def state_latency(
    master: RealMaster, agent: Program, address: str, count: int
) -> dict[str, float]:
    """Ask for ``/state`` while tasks run."""
    async with Framework(master.address) as framework:
        await framework.offered(count)
        await framework.launch(count, FOREVER, "forever")
        await framework.wait_for(count, (pb.TASK_RUNNING,))
        await asyncio.sleep(0.5)
        times: list[float] = []
        used = _cpu_s(agent.pid)
        size = 0
        for _ in range(STATE_REQUESTS):
            begun = time.perf_counter()
            size = len(await asyncio.to_thread(get, address, "/state"))
            times.append((time.perf_counter() - begun) * 1000)
        used = _cpu_s(agent.pid) - used
        return {
            f"/state with {count} tasks, ms": statistics.median(times),
            f"/state with {count} tasks, slowest, ms": max(times),
            f"/state with {count} tasks, cpu ms": used * 1000 / STATE_REQUESTS,
            f"/state with {count} tasks, KB": size / 1024,
            f"RSS of an agent with {count} running tasks, MB": _rss_mb(agent.pid),
        }


def one_agent(master: RealMaster, folder: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one agent with tasks."""
    flags: dict[str, object] = {"agents": 1, "resources": "cpus:10000;mem:1000000;disk:1"}
    if options.disk:
        flags["work-dir"] = os.path.join(folder, "work")
    with simulated(master, folder, **flags) as agent:
        found = master.wait_for_agents(1)[0]
        address = str(found["pid"]).partition("@")[2]
        figures = asyncio.run(throughput(master, agent, options))
        figures |= asyncio.run(state_latency(master, agent, address, options.tasks))
    return figures


def many_agents(master: RealMaster, folder: str, count: int) -> dict[str, float]:
    """Register agents."""
    watch_master = _cpu_s(master.pid)
    begun = time.perf_counter()
    with simulated(master, folder, agents=count) as agents:
        agents.wait_for_log("All registered", PATIENCE_S)
        passed = time.perf_counter() - begun
        return {
            f"{count} agents registered after, s": passed,
            f"{count} agents, RSS, MB": _rss_mb(agents.pid),
            f"{count} agents, cpu s": _cpu_s(agents.pid),
            f"{count} agents, cpu s of the master": _cpu_s(master.pid) - watch_master,
        }


def idle_agent(master: RealMaster, folder: str) -> dict[str, float]:
    """Measure a real agent that has nothing to do."""
    agent = OurAgent(master, os.path.join(folder, "idle"), launcher="posix", switch_user="false")
    agent.spawn()
    try:
        agent.wait_until_registered()
        time.sleep(1.0)
        return {"RSS of an idle mesos-agent, MB": _rss_mb(agent.pid)}
    finally:
        agent.clean()


def _parts(
    folder: str, options: argparse.Namespace
) -> dict[str, Callable[[RealMaster], dict[str, float]]]:
    made: dict[str, Callable[[RealMaster], dict[str, float]]] = {}
    if options.tasks:
        made["tasks"] = lambda master: one_agent(master, folder, options)
    if options.agents:
        made["agents"] = lambda master: many_agents(master, folder, options.agents)
    if not options.no_idle:
        made["idle"] = lambda master: idle_agent(master, folder)
    return made


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure the agent without containers.")
    parser.add_argument("--master-version", default=LATEST, metavar="V")
    parser.add_argument("--tasks", type=int, default=1000, metavar="N", help="0: leave that out")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--agents", type=int, default=1000, metavar="N", help="0: leave that out")
    parser.add_argument("--disk", action="store_true", help="with sandboxes")
    parser.add_argument("--no-idle", action="store_true", help="no idle mesos-agent")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as folder:
        for name, part in _parts(folder, options).items():
            master = RealMaster(options.master_version, os.path.join(folder, name))
            master.start()
            try:
                made = part(master)
            finally:
                master.stop()
            for subject, value in made.items():
                print(f"{subject:<50} {value:10.2f}", flush=True)
            figures |= made
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
