# SPDX-License-Identifier: Apache-2.0
"""Measure launches through a real master: latency, throughput, memory and processes per task.

usage: python -m bench.launch [--master-version V] [--latency-tasks N] [--throughput-tasks N] …

One line per figure and, with ``--json FILE``, the same as JSON. Latency counts from the moment the
ACCEPT call leaves us to the moment the status update arrives, tasks one after the other. PSS is
that of all processes in a task's freezer cgroup while ``--resident-tasks`` of them sleep. Needs
root; figures of two runs are comparable only side by side on the same quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import glob
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from integration.agent import OurAgent
from integration.images import write_docker
from integration.master import LATEST, RealMaster
from mesos_compat.cli.connect import peer_of
from mesos_compat.libprocess.http_client import HttpClient
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from mesos_compat.v1.scheduler_client import SchedulerClient

IMAGE = "busybox:latest"
TASK_CPUS = 0.01
TASK_MEM_MB = 8.0
TERMINAL = {
    v1.TASK_FINISHED,
    v1.TASK_FAILED,
    v1.TASK_KILLED,
    v1.TASK_ERROR,
    v1.TASK_LOST,
    v1.TASK_DROPPED,
    v1.TASK_GONE,
}
#: Seconds that any single wait may take.
PATIENCE_S = 60.0
FREEZER = "/sys/fs/cgroup/freezer"


@dataclass(slots=True)
class Timeline:
    """When a task was accepted, and when each state of it arrived, in seconds of one clock."""

    accepted: float
    states: dict[int, float] = field(default_factory=dict)


class BenchFramework:
    """A framework that launches command tasks and notes when their states arrive."""

    def __init__(self, client: SchedulerClient) -> None:
        self._client = client
        self._framework = v1.FrameworkInfo(user="root", name="bench", roles=["*"])
        self._framework.capabilities.add(type=v1.FrameworkInfo.Capability.MULTI_ROLE)
        self._offers: dict[str, v1.Offer] = {}
        self._changed = asyncio.Condition()
        self._count = 0
        self.timelines: dict[str, Timeline] = {}
        self.failures: dict[str, str] = {}

    @property
    def in_flight(self) -> int:
        """Tasks that have not ended."""
        return sum(1 for t in self.timelines.values() if not TERMINAL & t.states.keys())

    async def run(self) -> None:
        """Take events until cancelled."""
        async for event in self._client.subscribe(self._framework):
            arrived = time.perf_counter()
            async with self._changed:
                await self._handle(event, arrived)
                self._changed.notify_all()

    async def launch(self, count: int, command: str, image: str | None) -> list[str]:
        """Launch ``count`` tasks, once there are offers for them; return their ids.

        All offers go into the call: those of finished tasks come in crumbs.
        """
        await self.until(lambda: self._fits(count), "offers")
        offers, self._offers = list(self._offers.values()), {}
        tasks = [self._task(offers[0], command, image) for _ in range(count)]
        call = self._call(api.Call.ACCEPT)
        call.accept.offer_ids.extend(offer.id for offer in offers)
        call.accept.filters.refuse_seconds = 0
        operation = call.accept.operations.add(type=v1.Offer.Operation.LAUNCH)
        operation.launch.task_infos.extend(tasks)
        now = time.perf_counter()
        for task in tasks:
            self.timelines[task.task_id.value] = Timeline(now)
        await self._client.call(call)
        return [task.task_id.value for task in tasks]

    async def kill(self, task_id: str) -> None:
        """Ask for a task's end."""
        call = self._call(api.Call.KILL)
        call.kill.task_id.value = task_id
        await self._client.call(call)

    async def teardown(self) -> None:
        """End the framework."""
        await self._client.call(self._call(api.Call.TEARDOWN))

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition``, checked at each event. Raises AssertionError after a while."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_S:g} s for {what}: {self.failures}") from None

    def reached(self, task_id: str, state: int) -> bool:
        """Whether the task has been in ``state``. Raises AssertionError if it ended otherwise."""
        if task_id in self.failures:
            raise AssertionError(f"{task_id}: {self.failures[task_id]}")
        return state in self.timelines[task_id].states

    async def _handle(self, event: api.Event, arrived: float) -> None:
        if event.type == api.Event.SUBSCRIBED:
            self._framework.id.CopyFrom(event.subscribed.framework_id)
        elif event.type == api.Event.OFFERS:
            for offer in event.offers.offers:
                self._offers[offer.id.value] = offer
        elif event.type == api.Event.RESCIND:
            self._offers.pop(event.rescind.offer_id.value, None)
        elif event.type == api.Event.UPDATE:
            status = event.update.status
            task_id = status.task_id.value
            self.timelines[task_id].states.setdefault(status.state, arrived)
            if status.state in TERMINAL - {v1.TASK_FINISHED, v1.TASK_KILLED}:
                self.failures[task_id] = f"{v1.TaskState.Name(status.state)} {status.message}"
            await self._acknowledge(status)

    async def _acknowledge(self, status: v1.TaskStatus) -> None:
        if not status.uuid:
            return
        call = self._call(api.Call.ACKNOWLEDGE)
        call.acknowledge.agent_id.CopyFrom(status.agent_id)
        call.acknowledge.task_id.CopyFrom(status.task_id)
        call.acknowledge.uuid = status.uuid
        await self._client.call(call)

    def _fits(self, count: int) -> bool:
        offered: dict[str, float] = defaultdict(float)
        for offer in self._offers.values():
            for resource in offer.resources:
                offered[resource.name] += resource.scalar.value
        return offered["cpus"] >= count * TASK_CPUS and offered["mem"] >= count * TASK_MEM_MB

    def _call(self, kind: api.Call.Type) -> api.Call:
        return api.Call(type=kind, framework_id=self._framework.id)

    def _task(self, offer: v1.Offer, command: str, image: str | None) -> v1.TaskInfo:
        self._count += 1
        task = v1.TaskInfo(name="bench", agent_id=offer.agent_id)
        task.task_id.value = f"bench-{self._count}"
        task.command.value = command
        for name, amount in (("cpus", TASK_CPUS), ("mem", TASK_MEM_MB)):
            resource = task.resources.add(name=name, type=v1.Value.SCALAR)
            resource.scalar.value = amount
            resource.allocation_info.role = "*"
        if image is not None:
            task.container.type = v1.ContainerInfo.MESOS
            task.container.mesos.image.type = v1.Image.DOCKER
            task.container.mesos.image.docker.name = image
        return task


@contextlib.asynccontextmanager
async def framework(master: str) -> AsyncIterator[BenchFramework]:
    """Subscribe a framework at ``master`` for the time of the block."""
    async with HttpClient() as client:
        bench = BenchFramework(SchedulerClient(client, peer_of(master)))
        running = asyncio.create_task(bench.run())
        try:
            yield bench
            await bench.teardown()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


Figures = dict[str, float]


async def latency(bench: BenchFramework, count: int, image: str | None) -> Figures:
    """Launch tasks one by one; milliseconds from ACCEPT to RUNNING and to FINISHED."""
    samples: dict[int, list[float]] = defaultdict(list)
    for number in range(count + 1):
        (task_id,) = await bench.launch(1, "true", image)
        await bench.until(
            lambda task_id=task_id: bench.reached(task_id, v1.TASK_FINISHED),  # type: ignore[misc]
            f"{task_id} to finish",
        )
        timeline = bench.timelines[task_id]
        if number:  # the first one warms the caches
            for state in (v1.TASK_RUNNING, v1.TASK_FINISHED):
                samples[state].append((timeline.states[state] - timeline.accepted) * 1000)
    return {
        "RUNNING after ACCEPT, p50 ms": statistics.median(samples[v1.TASK_RUNNING]),
        "RUNNING after ACCEPT, p90 ms": _p90(samples[v1.TASK_RUNNING]),
        "FINISHED after ACCEPT, p50 ms": statistics.median(samples[v1.TASK_FINISHED]),
        "FINISHED after ACCEPT, p90 ms": _p90(samples[v1.TASK_FINISHED]),
    }


async def throughput(
    bench: BenchFramework, count: int, in_flight: int, image: str | None
) -> Figures:
    """Finish ``count`` tasks with up to ``in_flight`` at once; tasks per second."""
    begin = time.perf_counter()
    launched = 0
    while launched < count:
        await bench.until(lambda: bench.in_flight < in_flight, "room for a task")
        batch = min(in_flight - bench.in_flight, count - launched)
        await bench.launch(batch, "true", image)
        launched += batch
    await bench.until(lambda: not bench.in_flight, "all tasks to end")
    if bench.failures:
        raise AssertionError(f"tasks failed: {bench.failures}")
    return {f"tasks/s, {in_flight} in flight": count / (time.perf_counter() - begin)}


async def resident(
    bench: BenchFramework, agent: OurAgent, count: int, image: str | None
) -> Figures:
    """Memory and processes of ``count`` sleeping tasks."""
    before = _agent_pss_kb(agent)
    tasks = await bench.launch(count, "sleep 1000", image)
    await bench.until(
        lambda: all(bench.reached(task, v1.TASK_RUNNING) for task in tasks), "tasks to run"
    )
    await asyncio.sleep(1.0)  # the last executors settle after their update
    pids = _task_pids(agent)
    figures = {
        "PSS per running task, MB": sum(map(_pss_kb, pids)) / count / 1024,
        "processes per running task": len(pids) / count,
        "growth of agent and helpers per task, MB": (_agent_pss_kb(agent) - before) / count / 1024,
    }
    for task in tasks:
        await bench.kill(task)
    await bench.until(lambda: not bench.in_flight, "killed tasks to end")
    return figures


async def measure(options: argparse.Namespace, folder: str) -> dict[str, Figures]:
    """Run everything against one master and one agent."""
    write_docker(os.path.join(folder, "registry"), IMAGE)
    master = RealMaster(
        options.master_version, os.path.join(folder, "master"), allocation_interval="20ms"
    )
    agent = OurAgent(
        master,
        os.path.join(folder, "agent"),
        isolation=options.isolation,
        image_providers="docker",
        docker_registry=os.path.join(folder, "registry"),
        launcher="linux",
    )
    try:
        master.start()
        agent.start()
        figures = {"idle": _idle(agent)}
        async with framework(master.address) as bench:
            for name, image in (("without image", None), ("with image", IMAGE)):
                figures[name] = await latency(bench, options.latency_tasks, image)
                figures[name] |= await throughput(
                    bench, options.throughput_tasks, options.in_flight, image
                )
                figures[name] |= await resident(bench, agent, options.resident_tasks, image)
        figures["after all"] = _idle(agent)
        return figures
    finally:
        left = agent.clean()
        master.kill()
        if left:
            print(f"left behind: {left}", file=sys.stderr)


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Measure launches through a real master.")
    parser.add_argument("--master-version", default=LATEST)
    parser.add_argument("--latency-tasks", type=int, default=30)
    parser.add_argument("--throughput-tasks", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--resident-tasks", type=int, default=20)
    parser.add_argument(
        "--isolation",
        default="docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid",
    )
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench.launch: needs root for images and cgroups", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="mesos-compat-bench-") as folder:
        figures = asyncio.run(measure(options, folder))
    for name, group in figures.items():
        for what, value in group.items():
            print(f"{name:14} {what:45} {value:10.2f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 0


def _p90(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.9)]


def _idle(agent: OurAgent) -> Figures:
    pids = _agent_pids(agent)
    return {
        "RSS of the agent, MB": _status_kb(pids[0], "VmRSS") / 1024,
        "PSS of agent and helpers, MB": _agent_pss_kb(agent) / 1024,
        "processes of agent and helpers": float(len(pids)),
    }


def _agent_pids(agent: OurAgent) -> list[int]:
    """Return the agent and its children outside of containers."""
    found = [agent.pid]
    inside = set(_task_pids(agent))
    for path in glob.glob(f"/proc/{agent.pid}/task/*/children"):
        with open(path, encoding="ascii") as file:
            found += [int(pid) for pid in file.read().split() if int(pid) not in inside]
    return found


def _agent_pss_kb(agent: OurAgent) -> float:
    return sum(map(_pss_kb, _agent_pids(agent)))


def _task_pids(agent: OurAgent) -> list[int]:
    found: list[int] = []
    for folder, _, _ in os.walk(os.path.join(FREEZER, agent.cgroups_root)):
        with contextlib.suppress(OSError), open(os.path.join(folder, "cgroup.procs")) as file:
            found += map(int, file.read().split())
    return found


def _pss_kb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next((float(line.split()[1]) for line in file if line.startswith("Pss:")), 0.0)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _status_kb(pid: int, key: str) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
